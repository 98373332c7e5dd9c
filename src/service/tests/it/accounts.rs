//! Set-up, signing in, throttling, one's own profile and password.

use std::time::{Duration, Instant};

use domain::{Code, account::{Membership, User, Workspace}, id::TenantId};
use futures::future::join_all;
use service::{accounts::{ProfilePatch, Settings}, password::Hasher};

use crate::house::{PASSWORD, code, house, owner_of, with};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_set_ups_at_once_exactly_one_succeeds_and_the_others_hear_that_it_is_done() {
    for _ in 0..10 {
        let h = house();
        let tries = (0..16).map(|i| {
            let accounts = h.accounts.clone();
            tokio::spawn(async move { accounts.set_up(owner_of(&format!("olive{i}@example.org"))).await })
        });
        let outcomes: Vec<_> = join_all(tries).await.into_iter().map(|r| r.unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|r| r.is_ok()).count(), 1);
        assert!(outcomes.into_iter().filter_map(code).all(|c| c == Code::AlreadySetUp));
        let count = async |kind: &'static str| h.records.store().count(kind, TenantId::INSTANCE).await.unwrap();
        assert_eq!([count("user").await, count("workspace").await, count("membership").await], [1, 1, 1], "the losers left nothing behind");
    }
}

#[tokio::test]
async fn a_refused_set_up_changes_nothing_and_can_be_tried_again() {
    let h = house();
    let mut bad = [owner_of("no address"), owner_of("a@b.c"), owner_of("a@b.c"), owner_of("a@b.c")];
    bad[1].password = "short".into();
    bad[2].language = Some("<script>".into());
    bad[3].workspace_name = Some("x".repeat(101));
    let expected = [Code::InvalidParam, Code::WeakPassword, Code::InvalidParam, Code::InvalidParam];
    for (set_up, expected) in bad.into_iter().zip(expected) {
        assert_eq!(code(h.accounts.set_up(set_up).await), Some(expected));
        assert!(h.accounts.set_up_needed().await.unwrap());
    }
    h.accounts.set_up(owner_of("a@b.c")).await.unwrap();
    assert!(!h.accounts.set_up_needed().await.unwrap());
}

#[tokio::test]
async fn the_first_owner_owns_the_first_workspace_in_the_language_they_chose() {
    let h = house();
    let p = h.owner().await;
    assert_eq!((p.role.as_str(), p.workspace.name.as_str(), p.user.language.as_str()), ("owner", "Home", "zh-Hans"));
    assert_eq!(h.settings.get().await.unwrap().default_language, "zh-Hans");
    assert_eq!(h.workspaces.first().await.unwrap().unwrap().id, p.workspace.id);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_cannot_be_told_apart() {
    // Costly enough to be measured: without a hash an unknown address would answer a thousand times sooner.
    let h = with(Settings { login_free_attempts: 100, ..Settings::default() }, Hasher::new(32 * 1024, 3, 1));
    h.owner().await;
    let mut quickest = [Duration::MAX; 2];
    let mut said = [String::new(), String::new()];
    for _ in 0..3 {
        for (i, email) in ["olive@example.org", "ghost@example.org"].into_iter().enumerate() {
            let begun = Instant::now();
            let e = h.accounts.login(email, "wrong", "10.0.0.9", "").await.unwrap_err();
            assert_eq!(e.code, Code::InvalidCredentials);
            (quickest[i], said[i]) = (quickest[i].min(begun.elapsed()), e.to_string());
        }
    }
    assert_eq!(said[0], said[1]);
    assert!(quickest[1] * 3 > quickest[0], "{quickest:?}");
}

#[tokio::test]
async fn the_address_is_recognised_in_any_case_and_with_blanks_around() {
    let h = house();
    h.owner().await;
    assert!(h.accounts.login("  Olive@Example.ORG ", PASSWORD, "10.0.0.1", "").await.is_ok());
}

#[tokio::test]
async fn an_account_that_was_switched_off_cannot_sign_in() {
    let h = house();
    let p = h.owner().await;
    h.records.modify::<User>(TenantId::INSTANCE, p.user.id.as_bytes(), "account", |u| { u.active = false; Ok(()) }).await.unwrap();
    assert_eq!(code(h.accounts.login("olive@example.org", PASSWORD, "10.0.0.1", "").await), Some(Code::InvalidCredentials));
}

#[tokio::test]
async fn somebody_in_no_workspace_is_told_so_only_after_the_right_password() {
    let h = house();
    let p = h.owner().await;
    let key = [p.workspace.id.as_bytes().as_slice(), p.user.id.as_bytes().as_slice()].concat();
    h.records.delete::<Membership>(TenantId::INSTANCE, key).await.unwrap();
    assert_eq!(code(h.accounts.login("olive@example.org", "wrong", "10.0.0.1", "").await), Some(Code::InvalidCredentials));
    assert_eq!(code(h.accounts.login("olive@example.org", PASSWORD, "10.0.0.1", "").await), Some(Code::Forbidden));
    assert!(h.records.all::<Workspace>(TenantId::INSTANCE).to_vec().await.unwrap().len() == 1);
}

#[tokio::test]
async fn after_some_wrong_passwords_the_account_is_closed_for_a_while_to_that_address_only() {
    let h = with(Settings { login_free_attempts: 3, login_max_delay_secs: 1, ..Settings::default() }, Hasher::new(8, 1, 4));
    h.owner().await;
    let from = async |ip: &str, password: &str| h.accounts.login("olive@example.org", password, ip, "").await;
    for _ in 0..4 {
        assert_eq!(code(from("10.0.0.2", "wrong").await), Some(Code::InvalidCredentials));
    }
    let e = from("10.0.0.2", PASSWORD).await.unwrap_err();
    assert_eq!(e.code, Code::LoginThrottled, "even the right password waits");
    assert!(e.retry_after.is_some_and(|t| (1..=2).contains(&t.as_secs())));
    assert!(from("10.0.0.3", PASSWORD).await.is_ok(), "from elsewhere the owner gets in");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(from("10.0.0.2", PASSWORD).await.is_ok());
    assert_eq!(code(from("10.0.0.2", "wrong").await), Some(Code::InvalidCredentials), "a success wipes the slate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_guesses_at_once_do_not_slip_past_the_throttle_together() {
    let h = with(Settings { login_free_attempts: 3, ..Settings::default() }, Hasher::new(8, 1, 4));
    h.owner().await;
    let guesses = (0..60).map(|i| {
        let accounts = h.accounts.clone();
        tokio::spawn(async move { accounts.login("olive@example.org", &format!("guess {i}"), "10.0.0.2", "").await })
    });
    let codes: Vec<_> = join_all(guesses).await.into_iter().map(|r| code(r.unwrap()).unwrap()).collect();
    let looked_at = codes.iter().filter(|c| **c == Code::InvalidCredentials).count();
    assert!((3..=6).contains(&looked_at), "{looked_at} guesses were looked at");
    assert!(codes.iter().all(|c| [Code::InvalidCredentials, Code::LoginThrottled].contains(c)));
}

#[tokio::test]
async fn a_password_of_a_megabyte_is_wrong_and_not_hashed() {
    let h = house();
    h.owner().await;
    let begun = Instant::now();
    assert_eq!(code(h.accounts.login("olive@example.org", &"p".repeat(1 << 20), "10.0.0.1", "").await), Some(Code::InvalidCredentials));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_new_password_opens_the_old_one_does_not_and_other_sessions_end() {
    let h = house();
    let here = h.owner().await;
    let elsewhere = h.accounts.login("olive@example.org", PASSWORD, "10.0.0.7", "").await.unwrap();
    assert_eq!(code(h.accounts.change_password(&here, "wrong", "another long one").await), Some(Code::InvalidParam));
    assert_eq!(code(h.accounts.change_password(&here, PASSWORD, "short").await), Some(Code::WeakPassword));
    assert!(h.sessions.authenticate(&elsewhere.cookie).await.is_ok(), "a refused change ends nothing");
    h.accounts.change_password(&here, PASSWORD, "another long one").await.unwrap();
    assert_eq!(code(h.sessions.authenticate(&elsewhere.cookie).await), Some(Code::Unauthorized));
    assert_eq!(h.sessions.list(here.user.id).await.unwrap().iter().map(|s| s.id).collect::<Vec<_>>(), [here.session]);
    assert_eq!(code(h.accounts.login("olive@example.org", PASSWORD, "10.0.0.1", "").await), Some(Code::InvalidCredentials));
    assert!(h.accounts.login("olive@example.org", "another long one", "10.0.0.1", "").await.is_ok());
}

#[tokio::test]
async fn a_profile_changes_field_by_field_and_refuses_what_is_no_value() {
    let h = house();
    let p = h.owner().await;
    let patch = |name: Option<&str>, language: Option<&str>, theme: Option<&str>| ProfilePatch { name: name.map(Into::into), language: language.map(Into::into), theme: theme.map(Into::into) };
    let user = h.accounts.update_profile(p.user.id, patch(Some(" Ada "), None, Some("dark"))).await.unwrap();
    assert_eq!((user.name.as_str(), user.language.as_str(), user.theme.as_str()), ("Ada", "zh-Hans", "dark"));
    for bad in [patch(Some(""), None, None), patch(Some("a\nb"), None, None), patch(None, Some("no language"), None), patch(None, None, Some("neon"))] {
        assert_eq!(code(h.accounts.update_profile(p.user.id, bad).await), Some(Code::InvalidParam));
    }
    assert_eq!(h.accounts.update_profile(p.user.id, ProfilePatch::default()).await.unwrap(), user);
}

#[tokio::test]
async fn no_password_is_stored_in_clear() {
    let h = house();
    let p = h.owner().await;
    assert!(p.user.password_hash.starts_with("$argon2id$"));
    let stored = h.records.store().get("user", TenantId::INSTANCE, p.user.id.as_bytes()).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stored.bytes).contains(PASSWORD));
}
