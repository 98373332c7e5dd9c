//! The contract of [`RecordStore`].

use std::sync::Arc;

use domain::{Code, id::TenantId, record::IndexEntry};

use crate::records::{Batch, Expect, RecordStore, Scan, Write};

const KIND: &str = "fruit";

fn put(tenant: TenantId, id: &str, colour: &str, name: &str, expect: Expect) -> Write {
    let indexes = vec![IndexEntry::new("colour", colour), IndexEntry::unique("name", name)];
    Write::Put { kind: KIND, tenant, id: id.into(), version: 1, bytes: format!("{{\"id\":\"{id}\"}}").into_bytes(), indexes, expect }
}

fn scan(tenant: TenantId) -> Scan {
    Scan { kind: KIND, tenant, index: None, prefix: Vec::new(), exact: false, reverse: false, after: None, limit: 100 }
}

async fn ids(store: &dyn RecordStore, scan: Scan) -> Vec<String> {
    let page = store.scan(scan).await.expect("a scan");
    page.items.into_iter().map(|s| String::from_utf8(s.id).expect("text")).collect()
}

/// Runs the whole suite on an empty store.
///
/// # Panics
/// When the store breaks the contract.
pub async fn records(store: Arc<dyn RecordStore>) {
    let (a, b) = (TenantId::new(), TenantId::new());
    let commit = |writes: Vec<Write>| {
        let store = store.clone();
        async move { store.commit(Batch(writes)).await }
    };

    // What was written is read back, by its tenant only.
    commit(vec![put(a, "1", "red", "apple", Expect::Absent), put(a, "2", "yellow", "lemon", Expect::Absent), put(a, "3", "red", "cherry", Expect::Any)]).await.expect("a batch");
    let one = store.get(KIND, a, b"1").await.expect("a read").expect("a record");
    assert_eq!((one.revision, one.version, one.bytes.as_slice()), (1, 1, b"{\"id\":\"1\"}".as_slice()));
    assert!(store.get(KIND, b, b"1").await.expect("a read").is_none());
    assert_eq!((store.count(KIND, a).await.expect("a count"), store.count(KIND, b).await.expect("a count")), (3, 0));

    // A batch that fails in its last write changes nothing.
    let failed = commit(vec![put(a, "4", "green", "lime", Expect::Any), put(a, "1", "red", "apple", Expect::Absent)]).await;
    assert_eq!(failed.expect_err("a conflict").code, Code::Conflict);
    assert!(store.get(KIND, a, b"4").await.expect("a read").is_none());
    assert_eq!(store.count(KIND, a).await.expect("a count"), 3);

    // Unique keys hold within a tenant, also inside one batch, and are free again after a change.
    assert_eq!(commit(vec![put(a, "5", "red", "apple", Expect::Any)]).await.expect_err("a conflict").code, Code::Conflict);
    assert_eq!(commit(vec![put(a, "5", "x", "fig", Expect::Any), put(a, "6", "x", "fig", Expect::Any)]).await.expect_err("a conflict").code, Code::Conflict);
    commit(vec![put(b, "1", "red", "apple", Expect::Any)]).await.expect("another tenant's name");
    commit(vec![put(a, "1", "green", "pear", Expect::Revision(1)), put(a, "7", "red", "apple", Expect::Any)]).await.expect("a freed name");
    assert_eq!(commit(vec![put(a, "1", "green", "pear", Expect::Revision(1))]).await.expect_err("a conflict").code, Code::Conflict);
    assert_eq!(commit(vec![put(a, "9", "green", "plum", Expect::Present)]).await.expect_err("a conflict").code, Code::Conflict);

    // Scans: by id, by index, by prefix, exactly, backwards, page by page.
    assert_eq!(ids(&*store, scan(a)).await, ["1", "2", "3", "7"]);
    assert_eq!(ids(&*store, Scan { reverse: true, ..scan(a) }).await, ["7", "3", "2", "1"]);
    assert_eq!(ids(&*store, Scan { index: Some("colour"), ..scan(a) }).await, ["1", "3", "7", "2"]);
    assert_eq!(ids(&*store, Scan { index: Some("colour"), prefix: b"re".to_vec(), ..scan(a) }).await, ["3", "7"]);
    assert!(ids(&*store, Scan { index: Some("colour"), prefix: b"re".to_vec(), exact: true, ..scan(a) }).await.is_empty());
    assert_eq!(ids(&*store, Scan { index: Some("colour"), prefix: b"red".to_vec(), exact: true, reverse: true, ..scan(a) }).await, ["7", "3"]);
    for (index, reverse) in [(None, false), (None, true), (Some("colour"), false), (Some("colour"), true)] {
        let whole = ids(&*store, Scan { index, reverse, ..scan(a) }).await;
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = store.scan(Scan { index, reverse, after, limit: 1, ..scan(a) }).await.expect("a page");
            pages.extend(page.items.into_iter().map(|s| String::from_utf8(s.id).expect("text")));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(pages, whole, "{index:?} {reverse}");
    }

    // Index keys with zero bytes and keys that are each other's beginnings stay apart and in order.
    let tricky: [&[u8]; 5] = [b"", b"\0", b"\0\0", b"\0\xff", b"a"];
    let tenant = TenantId::new();
    for (i, key) in tricky.iter().enumerate() {
        let write = Write::Put { kind: KIND, tenant, id: vec![b'0' + i as u8], version: 1, bytes: b"{}".to_vec(), indexes: vec![IndexEntry::new("k", *key)], expect: Expect::Any };
        commit(vec![write]).await.expect("a write");
    }
    assert_eq!(ids(&*store, Scan { index: Some("k"), ..scan(tenant) }).await, ["0", "1", "2", "3", "4"]);
    for (i, key) in tricky.iter().enumerate() {
        assert_eq!(ids(&*store, Scan { index: Some("k"), prefix: key.to_vec(), exact: true, ..scan(tenant) }).await, [i.to_string()]);
    }

    // Deleting removes the record, its index entries and its count; deleting nothing is fine.
    let delete = |id: &str, expect| Write::Delete { kind: KIND, tenant: a, id: id.into(), expect };
    commit(vec![delete("7", Expect::Any), delete("77", Expect::Any)]).await.expect("a delete");
    assert_eq!(commit(vec![delete("7", Expect::Present)]).await.expect_err("a conflict").code, Code::Conflict);
    assert_eq!(ids(&*store, Scan { index: Some("colour"), ..scan(a) }).await, ["1", "3", "2"]);
    assert_eq!(store.count(KIND, a).await.expect("a count"), 3);

    // Of many that want to be the first, exactly one is.
    let racers = (0..20).map(|_| commit(vec![put(a, "race", "x", "race", Expect::Absent)]));
    let won = futures::future::join_all(racers).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
}
