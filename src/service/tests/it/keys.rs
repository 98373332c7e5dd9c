//! Keys: shown once, found by hash, revoked at once, never another workspace's.

use std::time::Duration;

use domain::{Code, id::{AppId, KeyId, TenantId}, key::{ApiKey, KeyScope, KeySecret}, time::Millis};
use futures::future::join_all;
use service::keys::NewKey;

use crate::house::{House, code, house};

const HOME: TenantId = TenantId(uuid::Uuid::from_u128(1));
const NEXT_DOOR: TenantId = TenantId(uuid::Uuid::from_u128(2));

fn opening(scope: KeyScope) -> NewKey {
    NewKey { name: "k".into(), scope, expires_at: None }
}

async fn model_key(h: &House, tenant: TenantId) -> (ApiKey, KeySecret) {
    h.keys.create(tenant, None, opening(KeyScope::Model { models: Vec::new() })).await.unwrap()
}

#[tokio::test]
async fn each_kind_has_its_prefix_and_is_found_by_its_text_alone() {
    let h = house();
    for (scope, prefix) in [(KeyScope::Model { models: vec!["m".into()] }, "sk-"), (KeyScope::Dataset, "dataset-"), (KeyScope::App { app: AppId::new() }, "app-")] {
        let (key, secret) = h.keys.create(HOME, None, opening(scope.clone())).await.unwrap();
        assert!(secret.expose().starts_with(prefix) && secret.expose().len() == prefix.len() + 24);
        assert!(key.hint.starts_with(prefix) && secret.expose().ends_with(&key.hint[key.hint.len() - 4..]));
        let found = h.keys.lookup(secret.expose()).await.unwrap();
        assert_eq!((found.id, found.tenant, &found.scope), (key.id, HOME, &scope));
    }
    for stranger in ["", "sk-", "sk-aaaaaaaaaaaaaaaaaaaaaaaa", &"x".repeat(100_000)] {
        assert_eq!(code(h.keys.lookup(stranger).await), Some(Code::Unauthorized));
    }
}

#[tokio::test]
async fn the_text_of_a_key_is_stored_nowhere() {
    let h = house();
    let (key, secret) = model_key(&h, HOME).await;
    let stored = h.records.store().get("api_key", TenantId::INSTANCE, key.id.as_bytes()).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stored.bytes).contains(secret.expose()));
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_from_that_moment_although_it_was_in_use() {
    let h = house();
    let (key, secret) = model_key(&h, HOME).await;
    for _ in 0..3 {
        h.keys.lookup(secret.expose()).await.unwrap();
    }
    let revoked = h.keys.revoke(HOME, key.id).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(code(h.keys.lookup(secret.expose()).await), Some(Code::Unauthorized));
    assert_eq!(h.keys.revoke(HOME, key.id).await.unwrap().revoked_at, revoked.revoked_at, "twice changes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_look_up_beside_a_revocation_brings_the_key_back() {
    for _ in 0..50 {
        let h = house();
        let (key, secret) = model_key(&h, HOME).await;
        let readers: Vec<_> = (0..6)
            .map(|_| {
                let (keys, text) = (h.keys.clone(), secret.expose().to_owned());
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let _ = keys.lookup(&text).await;
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        h.keys.revoke(HOME, key.id).await.unwrap();
        assert_eq!(code(h.keys.lookup(secret.expose()).await), Some(Code::Unauthorized));
        join_all(readers).await;
        assert_eq!(code(h.keys.lookup(secret.expose()).await), Some(Code::Unauthorized));
    }
}

#[tokio::test]
async fn another_workspace_s_key_is_neither_listed_nor_renamed_nor_revoked() {
    let h = house();
    let (key, secret) = model_key(&h, NEXT_DOOR).await;
    assert!(h.keys.list(HOME, None).await.unwrap().is_empty());
    for id in [key.id, KeyId::new()] {
        assert_eq!(code(h.keys.rename(HOME, id, "mine").await), Some(Code::NotFound));
        assert_eq!(code(h.keys.revoke(HOME, id).await), Some(Code::NotFound));
    }
    assert_eq!(h.keys.lookup(secret.expose()).await.unwrap().name, "k");
}

#[tokio::test]
async fn keys_are_listed_newest_first_and_by_kind() {
    let h = house();
    let (a, _) = model_key(&h, HOME).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (b, _) = h.keys.create(HOME, None, opening(KeyScope::Dataset)).await.unwrap();
    let ids = async |kind| h.keys.list(HOME, kind).await.unwrap().iter().map(|k| k.id).collect::<Vec<_>>();
    assert_eq!(ids(None).await, [b.id, a.id]);
    assert_eq!(ids(Some("model")).await, [a.id]);
    assert_eq!(ids(Some("app")).await, []);
}

#[tokio::test]
async fn a_key_expires_when_it_said_and_none_begins_expired() {
    let h = house();
    for past in [-5, 0, Millis::now().0 - 1] {
        let new = NewKey { expires_at: Some(Millis(past)), ..opening(KeyScope::Dataset) };
        assert_eq!(code(h.keys.create(HOME, None, new).await), Some(Code::InvalidParam));
    }
    let soon = Millis::now().plus(Duration::from_millis(150));
    let (_, secret) = h.keys.create(HOME, None, NewKey { expires_at: Some(soon), ..opening(KeyScope::Dataset) }).await.unwrap();
    assert!(h.keys.lookup(secret.expose()).await.is_ok());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(code(h.keys.lookup(secret.expose()).await), Some(Code::Unauthorized));
}

#[tokio::test]
async fn a_renamed_key_still_opens_and_a_name_must_be_one() {
    let h = house();
    let (key, secret) = model_key(&h, HOME).await;
    h.keys.lookup(secret.expose()).await.unwrap();
    assert_eq!(h.keys.rename(HOME, key.id, " new ").await.unwrap().name, "new");
    assert_eq!(h.keys.lookup(secret.expose()).await.unwrap().name, "new", "nothing stale");
    for bad in ["", "  ", "a\0b", &"n".repeat(101)] {
        assert_eq!(code(h.keys.rename(HOME, key.id, bad).await), Some(Code::InvalidParam));
    }
}

#[tokio::test]
async fn the_use_of_a_key_is_noted_once_a_minute() {
    let h = house();
    let (key, secret) = model_key(&h, HOME).await;
    let revision = async || h.records.get::<ApiKey>(TenantId::INSTANCE, key.id.as_bytes()).await.unwrap().unwrap();
    for _ in 0..20 {
        h.keys.lookup(secret.expose()).await.unwrap();
    }
    for _ in 0..100 {
        if revision().await.last_used_at.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let noted = revision().await;
    assert!(noted.last_used_at.is_some());
    assert_eq!(noted.revision, 2, "one write for twenty uses");
}
