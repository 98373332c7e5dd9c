//! Token buckets per address and per key. The maps are bounded: strangers cannot grow memory.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use domain::{Code, Error, Result, id::KeyId};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::{Clock, DefaultClock}};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

/// The section `[limits]`. 0 switches a limit off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Sign-ins and set-ups a minute from one address.
    pub logins_per_minute_per_ip: u32,
    /// Requests a minute with one key.
    pub requests_per_minute_per_key: u32,
    /// Addresses and keys remembered at most.
    pub tracked: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { logins_per_minute_per_ip: 60, requests_per_minute_per_key: 0, tracked: 50_000 }
    }
}

type Buckets<K> = Cache<K, Arc<DefaultDirectRateLimiter>>;

pub struct Limits {
    settings: Settings,
    logins: Buckets<IpAddr>,
    keys: Buckets<KeyId>,
}

fn take<K: std::hash::Hash + Eq + Send + Sync + 'static>(buckets: &Buckets<K>, key: K, per_minute: u32, name: &str) -> Result<()> {
    let Some(n) = NonZeroU32::new(per_minute) else { return Ok(()) };
    let bucket = buckets.get_with(key, || Arc::new(RateLimiter::direct(Quota::per_minute(n))));
    bucket.check().map_err(|not_until| {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        let secs = wait.as_secs() + 1;
        Error::new(Code::TooManyRequests, format!("more than {per_minute} requests a minute (`limits.{name}`); try again in {secs} seconds")).retry_after(Duration::from_secs(secs))
    })
}

impl Limits {
    pub fn new(settings: Settings) -> Self {
        let idle = Duration::from_secs(600);
        Self {
            logins: Cache::builder().max_capacity(settings.tracked).time_to_idle(idle).build(),
            keys: Cache::builder().max_capacity(settings.tracked).time_to_idle(idle).build(),
            settings,
        }
    }
    /// Counts a sign-in from an address.
    pub fn login(&self, ip: IpAddr) -> Result<()> {
        take(&self.logins, ip, self.settings.logins_per_minute_per_ip, "logins_per_minute_per_ip")
    }
    /// Counts a request with a key.
    pub fn key(&self, key: KeyId) -> Result<()> {
        take(&self.keys, key, self.settings.requests_per_minute_per_key, "requests_per_minute_per_key")
    }
}
