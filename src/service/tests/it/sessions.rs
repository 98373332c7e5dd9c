//! Cookies: opened, rotated, ended, and what they say about a person.

use std::time::Duration;

use domain::{Code, account::{Role, Session}, id::{SessionId, TenantId}, time::Millis};
use futures::future::join_all;
use service::sessions::Issued;

use crate::house::{House, PASSWORD, code, house};

async fn issued(h: &House) -> Issued {
    h.owner().await;
    h.accounts.login("olive@example.org", PASSWORD, "10.0.0.5", "Browser\n<b>").await.unwrap()
}

/// Changes a stored session behind everybody's back: how time passes in these tests.
async fn alter(h: &House, id: SessionId, change: impl Fn(&mut Session)) {
    h.records.modify::<Session>(TenantId::INSTANCE, id.as_bytes(), "session", |s| { change(s); Ok(()) }).await.unwrap();
}

fn ago(d: Duration) -> Millis {
    Millis(Millis::now().0 - d.as_millis() as i64)
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn a_cookie_says_who_one_is_and_a_forged_one_says_nothing() {
    let h = house();
    let s = issued(&h).await;
    let (p, renewed) = h.sessions.authenticate(&s.cookie).await.unwrap();
    assert_eq!((p.user.email.as_str(), p.session, renewed), ("olive@example.org", s.principal.session, None));
    let (id, secret) = s.cookie.split_once('.').unwrap();
    let turned: String = secret.chars().rev().collect();
    let forged = ["", ".", "x.y", id, &format!("{id}."), &format!("{id}.{turned}"), &format!("{id}.{}", &secret[..62]), &format!("{}.{secret}", SessionId::new().0.simple()), &format!("{id}.zz")];
    for cookie in forged {
        assert_eq!(code(h.sessions.authenticate(cookie).await), Some(Code::Unauthorized), "{cookie:?}");
    }
}

#[tokio::test]
async fn the_secret_of_a_cookie_is_stored_as_its_hash_only() {
    let h = house();
    let s = issued(&h).await;
    let stored = h.records.store().get("session", TenantId::INSTANCE, s.principal.session.as_bytes()).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stored.bytes).contains(s.cookie.split_once('.').unwrap().1));
}

#[tokio::test]
async fn the_csrf_token_of_one_session_is_no_good_for_another() {
    let h = house();
    let (a, b) = (issued(&h).await.principal, h.sign_in("olive@example.org").await);
    assert!(h.sessions.check_csrf(&a, &a.csrf_token).is_ok());
    for wrong in [b.csrf_token.as_str(), "", &a.csrf_token[1..]] {
        assert_eq!(code(h.sessions.check_csrf(&a, wrong)), Some(Code::CsrfFailed));
    }
}

#[tokio::test]
async fn a_session_ends_when_it_was_idle_too_long_or_is_too_old_and_then_is_gone() {
    for change in [
        (|s: &mut Session| s.last_seen_at = ago(DAY * 8)) as fn(&mut Session),
        |s: &mut Session| s.expires_at = ago(Duration::from_secs(1)),
    ] {
        let h = house();
        let s = issued(&h).await;
        alter(&h, s.principal.session, change).await;
        assert_eq!(code(h.sessions.authenticate(&s.cookie).await), Some(Code::Unauthorized));
        assert!(h.records.get::<Session>(TenantId::INSTANCE, s.principal.session.as_bytes()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_session_in_use_stays_and_notes_when_it_was_seen() {
    let h = house();
    let s = issued(&h).await;
    alter(&h, s.principal.session, |s| s.last_seen_at = ago(DAY * 6)).await;
    h.sessions.authenticate(&s.cookie).await.unwrap();
    let seen = h.records.get::<Session>(TenantId::INSTANCE, s.principal.session.as_bytes()).await.unwrap().unwrap().last_seen_at;
    assert!(Millis::now().since(seen) < Duration::from_secs(10));
}

#[tokio::test]
async fn an_old_secret_is_replaced_and_the_one_before_works_for_a_grace_only() {
    let h = house();
    let s = issued(&h).await;
    alter(&h, s.principal.session, |s| s.rotated_at = ago(DAY * 2)).await;
    let (_, renewed) = h.sessions.authenticate(&s.cookie).await.unwrap();
    let renewed = renewed.expect("the secret is two days old");
    assert_ne!(renewed, s.cookie);
    assert_eq!(h.sessions.authenticate(&renewed).await.unwrap().1, None);
    assert!(h.sessions.authenticate(&s.cookie).await.is_ok(), "a request under way still carries the old one");
    alter(&h, s.principal.session, |s| s.previous_until = ago(Duration::from_secs(1))).await;
    assert_eq!(code(h.sessions.authenticate(&s.cookie).await), Some(Code::Unauthorized));
    assert!(h.sessions.authenticate(&renewed).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_side_by_side_all_pass_while_one_of_them_rotates_the_secret() {
    let h = house();
    let s = issued(&h).await;
    alter(&h, s.principal.session, |s| s.rotated_at = ago(DAY * 2)).await;
    let requests = (0..32).map(|_| {
        let (sessions, cookie) = (h.sessions.clone(), s.cookie.clone());
        tokio::spawn(async move { sessions.authenticate(&cookie).await })
    });
    let outcomes: Vec<_> = join_all(requests).await.into_iter().map(|r| r.unwrap().expect("each is let in").1).collect();
    assert_eq!(outcomes.iter().flatten().count(), 1, "only one new cookie is given out");
}

#[tokio::test]
async fn sessions_are_listed_newest_first_and_only_one_s_own_can_be_ended() {
    let h = house();
    let owner = issued(&h).await.principal;
    let other = h.joins(&owner, Role::Member, "mia@example.org").await;
    let mine = h.sessions.list(owner.user.id).await.unwrap();
    assert_eq!(mine.len(), 2);
    assert!(mine[0].created_at >= mine[1].created_at && mine.iter().any(|s| s.user_agent == "Browser<b>" && s.ip == "10.0.0.5"));
    assert_eq!(code(h.sessions.end_own(owner.user.id, other.session).await), Some(Code::NotFound));
    assert_eq!(code(h.sessions.end_own(owner.user.id, SessionId::new()).await), Some(Code::NotFound));
    h.sessions.end_own(owner.user.id, owner.session).await.unwrap();
    assert_eq!(h.sessions.list(owner.user.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_person_who_signs_in_again_and_again_keeps_a_hundred_sessions() {
    let h = house();
    let first = issued(&h).await;
    let user = first.principal.user.clone();
    for _ in 0..120 {
        h.sessions.open(&user, "10.0.0.5", "").await.unwrap();
    }
    assert_eq!(h.records.store().count("session", TenantId::INSTANCE).await.unwrap(), 100);
    assert_eq!(code(h.sessions.authenticate(&first.cookie).await), Some(Code::Unauthorized), "the oldest ended");
}

#[tokio::test]
async fn signing_in_clears_away_sessions_that_have_expired() {
    let h = house();
    let old = issued(&h).await.principal;
    alter(&h, old.session, |s| s.expires_at = ago(DAY)).await;
    h.sign_in("olive@example.org").await;
    assert!(h.records.get::<Session>(TenantId::INSTANCE, old.session.as_bytes()).await.unwrap().is_none());
}

#[tokio::test]
async fn one_switches_to_one_s_own_workspaces_and_finds_no_others() {
    let h = house();
    let owner = h.owner().await;
    let neighbour = h.neighbour(&owner).await;
    let second = h.workspaces.create(owner.user.id, "Second").await.unwrap();
    let there = h.sessions.switch(&owner, second.id).await.unwrap();
    assert_eq!((there.workspace.id, there.role), (second.id, Role::Owner));
    for strange in [neighbour.workspace.id, TenantId::new(), TenantId::INSTANCE] {
        assert_eq!(code(h.sessions.switch(&owner, strange).await), Some(Code::NotFound));
    }
}

#[tokio::test]
async fn a_role_that_changes_counts_from_the_next_request() {
    let h = house();
    let owner = h.owner().await;
    h.members.add(&owner, "mia@example.org", "Mia", PASSWORD, Role::Admin).await.unwrap();
    let mia = h.accounts.login("mia@example.org", PASSWORD, "10.0.0.1", "").await.unwrap();
    h.members.set_role(&owner, mia.principal.user.id, Role::Member).await.unwrap();
    assert_eq!(h.sessions.authenticate(&mia.cookie).await.unwrap().0.role, Role::Member);
}
