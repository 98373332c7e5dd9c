//! Buckets per address and per key.

use std::net::IpAddr;

use domain::{Code, id::KeyId};
use service::limits::{Limits, Settings};

use crate::house::code;

#[test]
fn an_address_that_asks_too_often_waits_and_the_others_do_not() {
    let limits = Limits::new(Settings { logins_per_minute_per_ip: 5, ..Settings::default() });
    let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    assert!((0..5).all(|_| limits.login(a).is_ok()));
    let e = limits.login(a).unwrap_err();
    assert_eq!(e.code, Code::TooManyRequests);
    assert!(e.message.contains("limits.logins_per_minute_per_ip") && e.retry_after.is_some_and(|t| (1..=13).contains(&t.as_secs())), "{e:?}");
    assert!(limits.login(b).is_ok());
}

#[test]
fn a_key_has_a_bucket_of_its_own_and_zero_switches_a_limit_off() {
    let limits = Limits::new(Settings { requests_per_minute_per_key: 2, ..Settings::default() });
    let (a, b) = (KeyId::new(), KeyId::new());
    assert_eq!((0..3).map(|_| code(limits.key(a))).collect::<Vec<_>>(), [None, None, Some(Code::TooManyRequests)]);
    assert!(limits.key(b).is_ok());
    let off = Limits::new(Settings { requests_per_minute_per_key: 0, ..Settings::default() });
    assert!((0..10_000).all(|_| off.key(a).is_ok()));
}
