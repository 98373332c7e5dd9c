//! How records lie in the tree: one tree, the first byte of a key says what it is.
//!
//! | first byte | key | value |
//! |---|---|---|
//! | `r` | kind 0 tenant id | the record ([`Row`]) |
//! | `i` | kind 0 index 0 tenant key-escaped id | empty |
//! | `c` | kind 0 tenant | number of records, 8 bytes big-endian |
//! | `m` | name | the store's own notes (schema version, sequence) |
//!
//! Index keys are escaped (0 → 0 255, end → 0 0), so that bytes sort as the keys do and none is another's beginning.

use domain::id::TenantId;
use serde::{Deserialize, Serialize};

/// Where the schema version stands.
pub const SCHEMA: &[u8] = b"mschema";

/// How many groups were committed, 8 bytes big-endian: what a log that lost its end falls behind with.
pub const SEQUENCE: &[u8] = b"msequence";

/// A record as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub version: u16,
    pub revision: u64,
    pub bytes: Vec<u8>,
    /// Whole keys of its index entries, to remove them with the record.
    pub indexes: Vec<Vec<u8>>,
}

fn begin(tag: u8, names: &[&str]) -> Vec<u8> {
    let mut key = vec![tag];
    for name in names {
        key.extend_from_slice(name.as_bytes());
        key.push(0);
    }
    key
}

/// Beginning of all rows of a kind and tenant; the record's id follows.
pub fn rows(kind: &str, tenant: TenantId) -> Vec<u8> {
    let mut key = begin(b'r', &[kind]);
    key.extend_from_slice(tenant.as_bytes());
    key
}

pub fn row(kind: &str, tenant: TenantId, id: &[u8]) -> Vec<u8> {
    let mut key = rows(kind, tenant);
    key.extend_from_slice(id);
    key
}

pub fn counter(kind: &str, tenant: TenantId) -> Vec<u8> {
    let mut key = begin(b'c', &[kind]);
    key.extend_from_slice(tenant.as_bytes());
    key
}

/// Beginning of all entries of an index.
pub fn index(kind: &str, name: &str, tenant: TenantId) -> Vec<u8> {
    let mut key = begin(b'i', &[kind, name]);
    key.extend_from_slice(tenant.as_bytes());
    key
}

/// `key` escaped; with `whole`, ended, so that only equal keys begin with it.
pub fn escape(key: &[u8], whole: bool, out: &mut Vec<u8>) {
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xFF);
        }
    }
    if whole {
        out.extend_from_slice(&[0, 0]);
    }
}

/// The record's id out of an index entry's key, `base` being [`index`].
pub fn id_of_entry<'k>(key: &'k [u8], base: &[u8]) -> Option<&'k [u8]> {
    let rest = key.get(base.len()..)?;
    let mut at = 0;
    loop {
        match (rest.get(at)?, rest.get(at + 1)) {
            (0, Some(0)) => return rest.get(at + 2..),
            (0, Some(_)) => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn escaped_keys_sort_as_the_keys_do_and_give_the_id_back(a in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..6), b in prop::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..6), id in prop::collection::vec(any::<u8>(), 0..5)) {
            let key = |k: &[u8]| { let mut out = b"base".to_vec(); escape(k, true, &mut out); out.extend_from_slice(&id); out };
            if a != b {
                prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
            }
            let entry = key(&a);
            prop_assert_eq!(id_of_entry(&entry, b"base"), Some(id.as_slice()));
        }
    }
}
