//! Records in the tree.

use std::ops::Bound;

use async_trait::async_trait;
use domain::{Error, Result, id::TenantId};
use ports::records::{Batch, Page, RecordStore, Scan, Stored, bad_cursor};
use tokio::sync::oneshot;

use crate::{
    Store,
    commit::{Job, decode, number, store_error},
    keys::{self, Row},
};

fn stored(id: &[u8], row: Row) -> Stored {
    Stored { id: id.to_vec(), version: row.version, revision: row.revision, bytes: row.bytes }
}

fn run_scan(tree: &sled::Tree, scan: &Scan) -> Result<Page<Stored>> {
    let base = match scan.index {
        None => keys::rows(scan.kind, scan.tenant),
        Some(name) => keys::index(scan.kind, name, scan.tenant),
    };
    let mut prefix = base.clone();
    match scan.index {
        None => prefix.extend_from_slice(&scan.prefix),
        Some(_) => keys::escape(&scan.prefix, scan.exact, &mut prefix),
    }
    let exact_row = scan.index.is_none() && scan.exact;
    let mut low = Bound::Included(prefix.clone());
    let mut high = end_of(&prefix);
    if let Some(after) = &scan.after {
        if !after.starts_with(&prefix) {
            return Err(bad_cursor());
        }
        if scan.reverse { high = Bound::Excluded(after.clone()) } else { low = Bound::Excluded(after.clone()) }
    }
    let mut page = Page { items: Vec::new(), next: None };
    let mut last = None;
    let mut keys = tree.range::<Vec<u8>, _>((low, high));
    while let Some(entry) = if scan.reverse { keys.next_back() } else { keys.next() } {
        let (key, value) = entry.map_err(store_error)?;
        if exact_row && *key != *prefix {
            continue;
        }
        let item = match scan.index {
            None => Some(stored(&key[base.len()..], decode(&value)?)),
            Some(_) => {
                let id = keys::id_of_entry(&key, &base).unwrap_or_default();
                // Gone between the two looks: a later write removed it.
                tree.get(keys::row(scan.kind, scan.tenant, id)).map_err(store_error)?.map(|v| decode(&v)).transpose()?.map(|row| stored(id, row))
            }
        };
        let Some(item) = item else { continue };
        if page.items.len() == scan.limit {
            page.next = last;
            break;
        }
        page.items.push(item);
        last = Some(key.to_vec());
    }
    Ok(page)
}

/// The first key behind all that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

#[async_trait]
impl RecordStore for Store {
    async fn get(&self, kind: &'static str, tenant: TenantId, id: &[u8]) -> Result<Option<Stored>> {
        let row = self.tree.get(keys::row(kind, tenant, id)).map_err(store_error)?;
        row.map(|bytes| Ok(stored(id, decode(&bytes)?))).transpose()
    }

    async fn scan(&self, scan: Scan) -> Result<Page<Stored>> {
        let tree = self.tree.clone();
        tokio::task::spawn_blocking(move || run_scan(&tree, &scan)).await.map_err(Error::internal)?
    }

    async fn count(&self, kind: &'static str, tenant: TenantId) -> Result<u64> {
        Ok(self.tree.get(keys::counter(kind, tenant)).map_err(store_error)?.map_or(0, |v| number(&v)))
    }

    async fn commit(&self, batch: Batch) -> Result<()> {
        if batch.0.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job::Commit(batch, done)).await.map_err(|_| crate::closed())?;
        answer.await.map_err(|_| crate::closed())?
    }
}
