//! API keys: `app-…` (one app), `dataset-…` (a workspace's knowledge), `sk-…` (models). Shown once, stored hashed.

use rand::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    id::{AppId, KeyId, TenantId, UserId},
    record::{IndexEntry, Record},
    time::Millis,
};

/// What a key opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum KeyScope {
    /// One app, over the Service API and as a model over the OpenAI API.
    App { app: AppId },
    /// The workspace's knowledge API.
    Dataset,
    /// Models over the OpenAI API. An empty list opens every model.
    Model { models: Vec<String> },
}

impl KeyScope {
    /// Prefix of the secret's text.
    pub fn prefix(&self) -> &'static str {
        match self {
            KeyScope::App { .. } => "app-",
            KeyScope::Dataset => "dataset-",
            KeyScope::Model { .. } => "sk-",
        }
    }
    pub fn kind(&self) -> &'static str {
        match self {
            KeyScope::App { .. } => "app",
            KeyScope::Dataset => "dataset",
            KeyScope::Model { .. } => "model",
        }
    }
}

/// A key as stored: never the secret itself. A 24-character random secret carries 142 bits, so a plain
/// SHA-256 (not a password hash) is enough and a lookup costs microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: KeyId,
    pub tenant: TenantId,
    pub name: String,
    pub scope: KeyScope,
    /// SHA-256 of the whole secret text.
    pub hash: [u8; 32],
    /// Prefix and last four characters, to recognise it in a list: `sk-…x9Qz`.
    pub hint: String,
    pub created_by: Option<UserId>,
    pub created_at: Millis,
    pub expires_at: Option<Millis>,
    pub revoked_at: Option<Millis>,
    pub last_used_at: Option<Millis>,
}

/// The text a client sends. Printed once, at creation.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl KeySecret {
    const ALPHABET: &'static [u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

    /// A fresh secret: prefix and 24 random letters and digits (Service API §1), from the operating system's generator.
    pub fn generate(scope: &KeyScope) -> Self {
        let mut rng = rand::rng();
        let body: String = (0..24).map(|_| Self::ALPHABET[rng.random_range(0..Self::ALPHABET.len())] as char).collect();
        Self(format!("{}{body}", scope.prefix()))
    }
    pub fn expose(&self) -> &str {
        &self.0
    }
    pub fn hash(&self) -> [u8; 32] {
        hash_key(&self.0)
    }
    pub fn hint(&self) -> String {
        let (head, tail) = (self.0.split('-').next().unwrap_or(""), &self.0[self.0.len() - 4..]);
        format!("{head}-…{tail}")
    }
}

/// SHA-256 of a key's text: what is looked up.
pub fn hash_key(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl ApiKey {
    /// Whether it may be used at `now`.
    pub fn check_usable(&self, now: Millis) -> Result<()> {
        let dead = self.revoked_at.is_some() || self.expires_at.is_some_and(|t| t <= now);
        if dead { Err(Error::new(crate::Code::Unauthorized, "this key was revoked or has expired; create a new one in the console")) } else { Ok(()) }
    }
}

impl Record for ApiKey {
    const KIND: &'static str = "api_key";
    /// Looked up by hash before the tenant is known, hence kept with the installation.
    fn tenant(&self) -> TenantId {
        TenantId::INSTANCE
    }
    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        let mut entries = vec![IndexEntry::unique("hash", self.hash.as_slice()), IndexEntry::new("workspace", self.tenant.as_bytes().as_slice())];
        if let KeyScope::App { app } = &self.scope {
            entries.push(IndexEntry::new("app", app.as_bytes().as_slice()));
        }
        entries
    }
}
