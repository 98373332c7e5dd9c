//! Records in a map: the reference the contract suite is written against.

use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::BTreeMap;

use crate::records::{Batch, Page, RecordStore, Scan, Stored, Write, bad_cursor, check, taken_error};
use domain::{Result, id::TenantId, record::IndexEntry};

type Key = (&'static str, TenantId, Vec<u8>);

/// A [`RecordStore`] that forgets everything when it is dropped.
#[derive(Default)]
pub struct MemoryRecords(Mutex<BTreeMap<Key, (Stored, Vec<IndexEntry>)>>);

impl MemoryRecords {
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl RecordStore for MemoryRecords {
    async fn get(&self, kind: &'static str, tenant: TenantId, id: &[u8]) -> Result<Option<Stored>> {
        Ok(self.0.lock().get(&(kind, tenant, id.to_vec())).map(|(stored, _)| stored.clone()))
    }

    async fn scan(&self, scan: Scan) -> Result<Page<Stored>> {
        let map = self.0.lock();
        let rows = map.iter().filter(|((kind, tenant, _), _)| *kind == scan.kind && *tenant == scan.tenant);
        // A row appears once for each key it has in the index, or once under its id. Cursors are key ++ id.
        let mut hits: Vec<((Vec<u8>, Vec<u8>), &Stored)> = Vec::new();
        for (_, (stored, indexes)) in rows {
            match scan.index {
                None => hits.push(((stored.id.clone(), Vec::new()), stored)),
                Some(name) => hits.extend(indexes.iter().filter(|e| e.index == name).map(|e| ((e.key.clone(), stored.id.clone()), stored))),
            }
        }
        hits.retain(|((key, _), _)| if scan.exact { *key == scan.prefix } else { key.starts_with(&scan.prefix) });
        hits.sort_by(|a, b| a.0.cmp(&b.0));
        if scan.reverse {
            hits.reverse();
        }
        let cursor = |k: &(Vec<u8>, Vec<u8>)| serde_json::to_vec(k).expect("bytes serialise");
        if let Some(after) = &scan.after {
            let after: (Vec<u8>, Vec<u8>) = serde_json::from_slice(after).map_err(|_| bad_cursor())?;
            hits.retain(|(k, _)| if scan.reverse { *k < after } else { *k > after });
        }
        let more = hits.len() > scan.limit;
        hits.truncate(scan.limit);
        let next = if more { hits.last().map(|(k, _)| cursor(k)) } else { None };
        Ok(Page { items: hits.into_iter().map(|(_, stored)| stored.clone()).collect(), next })
    }

    async fn count(&self, kind: &'static str, tenant: TenantId) -> Result<u64> {
        Ok(self.0.lock().keys().filter(|(k, t, _)| *k == kind && *t == tenant).count() as u64)
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        let mut map = self.0.lock();
        let mut next = map.clone();
        for write in batch.0 {
            match write {
                Write::Put { kind, tenant, id, version, bytes, indexes, expect } => {
                    let key = (kind, tenant, id.clone());
                    let revision = next.get(&key).map(|(s, _)| s.revision);
                    check(kind, expect, revision)?;
                    for entry in indexes.iter().filter(|e| e.unique) {
                        let taken = next.iter().any(|((k, t, i), (_, es))| *k == kind && *t == tenant && *i != id && es.iter().any(|e| e.unique && e.index == entry.index && e.key == entry.key));
                        if taken {
                            return Err(taken_error(kind, entry.index));
                        }
                    }
                    next.insert(key, (Stored { id, version, revision: revision.unwrap_or(0) + 1, bytes }, indexes));
                }
                Write::Delete { kind, tenant, id, expect } => {
                    let key = (kind, tenant, id);
                    check(kind, expect, next.get(&key).map(|(s, _)| s.revision))?;
                    next.remove(&key);
                }
            }
        }
        *map = next;
        Ok(())
    }
}
