//! What is stored: a record has a kind, a schema version, a tenant, an id and index entries.
//!
//! The store keeps records as opaque bytes with their index entries beside them (`ports::records`);
//! this trait is how a noun says which those are.

use serde::{Serialize, de::DeserializeOwned};

use crate::id::TenantId;

/// One entry of a secondary index. Entries sort by `key` bytes, then by record id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Name of the index within the kind, e.g. `"email"`.
    pub index: &'static str,
    /// Order-preserving key bytes: text as UTF-8, numbers big-endian (see [`key_i64`]).
    pub key: Vec<u8>,
    /// At most one record of this kind and tenant may carry this key.
    pub unique: bool,
}

impl IndexEntry {
    pub fn new(index: &'static str, key: impl Into<Vec<u8>>) -> Self {
        Self { index, key: key.into(), unique: false }
    }
    pub fn unique(index: &'static str, key: impl Into<Vec<u8>>) -> Self {
        Self { index, key: key.into(), unique: true }
    }
}

/// Order-preserving bytes of a signed number.
pub fn key_i64(n: i64) -> [u8; 8] {
    ((n as u64) ^ (1 << 63)).to_be_bytes()
}

/// A noun that is stored.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name of the kind, e.g. `"api_key"`: part of every key, never changed.
    const KIND: &'static str;
    /// Schema version written beside the record; a migration lifts older ones.
    const VERSION: u16 = 1;
    /// The workspace it belongs to, or [`TenantId::INSTANCE`].
    fn tenant(&self) -> TenantId;
    /// Its id within kind and tenant (at most 200 bytes; a UUID's 16 bytes or short text).
    fn id(&self) -> Vec<u8>;
    /// Its secondary index entries.
    fn indexes(&self) -> Vec<IndexEntry> {
        Vec::new()
    }
}
