//! API keys: made, shown once, found by hash, revoked at once.

use std::{sync::Arc, time::Duration};

use domain::{
    Code, Error, Result,
    id::{KeyId, TenantId, UserId},
    key::{ApiKey, KeyScope, KeySecret, hash_key},
    time::Millis,
};
use moka::sync::Cache;
use parking_lot::Mutex;
use ports::records::Records;

use crate::clean_text;

/// `last_used_at` of a key is written at most this often.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub name: String,
    pub scope: KeyScope,
    pub expires_at: Option<Millis>,
}

pub struct Keys {
    records: Records,
    by_hash: Cache<[u8; 32], Arc<ApiKey>>,
    touched: Cache<KeyId, ()>,
    /// Rises with every revocation. A look-up that began before one must not put what it read into the cache.
    generation: Mutex<u64>,
}

impl Keys {
    pub fn new(records: Records) -> Self {
        Self {
            records,
            by_hash: Cache::builder().max_capacity(10_000).time_to_live(Duration::from_secs(300)).build(),
            touched: Cache::builder().max_capacity(100_000).time_to_live(TOUCH_EVERY).build(),
            generation: Mutex::new(0),
        }
    }

    /// Makes a key in a workspace. The secret is in the answer and nowhere else.
    pub async fn create(&self, tenant: TenantId, by: Option<UserId>, new: NewKey) -> Result<(ApiKey, KeySecret)> {
        if new.expires_at.is_some_and(|t| t <= Millis::now()) {
            return Err(Error::invalid("expires_at", "`expires_at` lies in the past; give a later moment in unix milliseconds or leave it out"));
        }
        let secret = KeySecret::generate(&new.scope);
        let key = ApiKey {
            id: KeyId::new(),
            tenant,
            name: clean_text("name", &new.name, 100)?,
            hash: secret.hash(),
            hint: secret.hint(),
            scope: new.scope,
            created_by: by,
            created_at: Millis::now(),
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        self.records.insert(&key).await?;
        Ok((key, secret))
    }

    /// The workspace's keys, newest first; `kind` is `model`, `dataset` or `app`.
    pub async fn list(&self, tenant: TenantId, kind: Option<&str>) -> Result<Vec<ApiKey>> {
        let found = self.records.find::<ApiKey>(TenantId::INSTANCE, "workspace", tenant.as_bytes(), 10_000).await?;
        let mut all: Vec<ApiKey> = found.into_iter().map(|k| k.value).filter(|k| kind.is_none_or(|kind| k.scope.kind() == kind)).collect();
        all.sort_by_key(|k| std::cmp::Reverse((k.created_at, k.id)));
        Ok(all)
    }

    async fn change(&self, tenant: TenantId, id: KeyId, mut change: impl FnMut(&mut ApiKey)) -> Result<ApiKey> {
        let missing = || Error::not_found("key", id);
        let key = self.records.get::<ApiKey>(TenantId::INSTANCE, id.as_bytes()).await?.filter(|k| k.tenant == tenant).ok_or_else(missing)?;
        let changed = self.records.modify::<ApiKey>(TenantId::INSTANCE, id.as_bytes(), "key", |k| { change(k); Ok(()) }).await?;
        *self.generation.lock() += 1;
        self.by_hash.invalidate(&key.hash);
        Ok(changed)
    }

    pub async fn rename(&self, tenant: TenantId, id: KeyId, name: &str) -> Result<ApiKey> {
        let name = clean_text("name", name, 100)?;
        self.change(tenant, id, |k| k.name.clone_from(&name)).await
    }

    /// From the moment this returns no request with the key is let in.
    pub async fn revoke(&self, tenant: TenantId, id: KeyId) -> Result<ApiKey> {
        let now = Millis::now();
        self.change(tenant, id, |k| k.revoked_at = Some(k.revoked_at.unwrap_or(now))).await
    }

    /// The key with this text. `unauthorized` when there is none or it may not be used any more.
    pub async fn lookup(&self, text: &str) -> Result<Arc<ApiKey>> {
        let hash = hash_key(text);
        let key = match self.by_hash.get(&hash) {
            Some(key) => key,
            None => {
                let before = *self.generation.lock();
                let found = self.records.find_one::<ApiKey>(TenantId::INSTANCE, "hash", hash).await?;
                let key = Arc::new(found.ok_or_else(|| Error::new(Code::Unauthorized, "this key is not known here; create one in the console under `Keys`"))?.value);
                let generation = self.generation.lock();
                if *generation == before {
                    self.by_hash.insert(hash, key.clone());
                }
                key
            }
        };
        key.check_usable(Millis::now())?;
        self.touch(key.id);
        Ok(key)
    }

    /// Notes the use, off the request's path.
    fn touch(&self, id: KeyId) {
        if self.touched.contains_key(&id) {
            return;
        }
        self.touched.insert(id, ());
        let records = self.records.clone();
        tokio::spawn(async move {
            let note = records.modify::<ApiKey>(TenantId::INSTANCE, id.as_bytes(), "key", |k| { k.last_used_at = Some(Millis::now()); Ok(()) });
            if let Err(error) = note.await {
                tracing::debug!(%error, key = %id, "the use of a key could not be noted");
            }
        });
    }
}
