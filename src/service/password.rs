//! Password hashes: argon2id off the async threads, a bounded number at once.

use std::sync::{Arc, OnceLock};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use domain::{Error, Result};
use tokio::sync::Semaphore;

/// Makes and checks password hashes. Cheap to clone.
#[derive(Clone)]
pub struct Hasher(Arc<Inner>);

struct Inner {
    argon: Argon2<'static>,
    slots: Semaphore,
    /// A hash of nothing anybody knows: checked against when the account does not exist, so that both take as long.
    decoy: OnceLock<String>,
}

impl Hasher {
    /// `memory_kib` and `passes` are argon2's cost; out-of-range values fall back to the library's defaults.
    pub fn new(memory_kib: u32, passes: u32, concurrency: usize) -> Self {
        let params = Params::new(memory_kib, passes, 1, None).unwrap_or_default();
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        Self(Arc::new(Inner { argon, slots: Semaphore::new(concurrency.max(1)), decoy: OnceLock::new() }))
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> Result<T> + Send + 'static) -> Result<T> {
        let _slot = self.0.slots.acquire().await.map_err(Error::internal)?;
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(Error::internal)?
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let password = password.to_owned();
        self.run(move |inner| inner.hash(&password)).await
    }

    /// Whether the password fits the PHC string; `None` (no such account) takes as long and is `false`.
    pub async fn verify(&self, password: &str, phc: Option<String>) -> Result<bool> {
        let password = password.to_owned();
        self.run(move |inner| {
            let real = phc.is_some();
            let phc = match phc {
                Some(phc) => phc,
                None => match inner.decoy.get() {
                    Some(decoy) => decoy.clone(),
                    None => {
                        let made = inner.hash(&hex::encode(rand::random::<[u8; 16]>()))?;
                        inner.decoy.get_or_init(|| made).clone()
                    }
                },
            };
            let parsed = PasswordHash::new(&phc).map_err(|e| Error::internal(e.to_string()))?;
            Ok(inner.argon.verify_password(password.as_bytes(), &parsed).is_ok() && real)
        })
        .await
    }
}

impl Inner {
    fn hash(&self, password: &str) -> Result<String> {
        Ok(self.argon.hash_password(password.as_bytes()).map_err(|e| Error::internal(e.to_string()))?.to_string())
    }
}
