use super::*;
use bytes::Bytes;
use domain::{id::TenantId, record::IndexEntry};
use futures::StreamExt;
use ports::{
    backup::Backup,
    blobs::Blobs,
    records::{Batch, Expect, RecordStore, Scan, Write},
};
use std::collections::HashMap;

fn settings() -> Settings {
    Settings { min_free_bytes: 0, ..Settings::default() }
}
fn open(dir: &Path) -> Arc<Store> {
    Store::open(dir, &settings()).unwrap()
}
fn put(id: &str, value: &str) -> Write {
    let indexes = vec![IndexEntry::new("value", value)];
    Write::Put { kind: "thing", tenant: TenantId::INSTANCE, id: id.into(), version: 1, bytes: value.into(), indexes, expect: Expect::Any }
}
async fn all(store: &Store) -> HashMap<String, String> {
    let scan = Scan { kind: "thing", tenant: TenantId::INSTANCE, index: None, prefix: Vec::new(), exact: false, reverse: false, after: None, limit: 1_000_000 };
    let page = store.scan(scan).await.unwrap();
    page.items.into_iter().map(|s| (String::from_utf8(s.id).unwrap(), String::from_utf8(s.bytes).unwrap())).collect()
}
fn pieces(text: &'static str) -> futures::stream::BoxStream<'static, std::io::Result<Bytes>> {
    futures::stream::iter(text.as_bytes().chunks(3).map(|c| Ok(Bytes::from_static(c)))).boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_records() {
    let dir = tempfile::tempdir().unwrap();
    ports::contract::records(open(dir.path())).await;
}

#[tokio::test]
async fn a_closed_store_opens_again_with_everything_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(Batch(vec![put("a", "1"), put("b", "2")])).await.unwrap();
    store.close().await;
    assert_eq!(store.commit(Batch(vec![put("c", "3")])).await.unwrap_err().code, Code::Unavailable);
    drop(store);
    let store = open(dir.path());
    assert_eq!(all(&store).await.len(), 2);
    assert_eq!(store.count("thing", TenantId::INSTANCE).await.unwrap(), 2);
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    let error = Store::open(dir.path(), &settings()).err().unwrap();
    assert_eq!(error.code, Code::Conflict);
    assert!(error.message.contains(&std::process::id().to_string()), "{error}");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_by_name_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &Settings { min_free_bytes: u64::MAX, ..settings() }).unwrap();
    let error = store.commit(Batch(vec![put("a", "1")])).await.unwrap_err();
    assert_eq!(error.code, Code::StorageFull);
    assert!(error.message.contains("min_free_bytes") && all(&store).await.is_empty());
}

#[tokio::test]
async fn blobs_are_whole_or_absent_and_names_cannot_leave_their_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.put("up/one.txt", pieces("hello world"), None).await.unwrap(), 11);
    assert_eq!(Blobs::get(&*store, "up/one.txt").await.unwrap().unwrap(), "hello world");
    let (size, mut rest) = store.stream("up/one.txt", 6).await.unwrap().unwrap();
    assert_eq!((size, rest.next().await.unwrap().unwrap()), (11, Bytes::from_static(b"world")));
    assert_eq!(store.put("up/two", pieces("hello world"), Some(5)).await.unwrap_err().code, Code::RequestTooLarge);
    let broken = futures::stream::iter([Ok(Bytes::from_static(b"x")), Err(std::io::Error::other("gone"))]).boxed();
    assert!(store.put("up/one.txt", broken, None).await.is_err());
    assert_eq!(store.list("up/").await.unwrap(), ["up/one.txt"]);
    assert_eq!(store.size("up/one.txt").await.unwrap(), Some(11));
    assert_eq!(std::fs::read_dir(dir.path().join("blobs/.unfinished")).unwrap().count(), 0);
    for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\0b", ".", "a/.unfinished/b", "é"] {
        assert!(Blobs::get(&*store, bad).await.is_err(), "{bad:?}");
    }
    store.delete("up/one.txt").await.unwrap();
    store.delete("up/one.txt").await.unwrap();
    assert!(Blobs::get(&*store, "up/one.txt").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_holds_all_that_was_acknowledged_before_it_and_whole_batches_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    store.put("file", pieces("blob"), None).await.unwrap();
    let acknowledged = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let writer = {
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        tokio::spawn(async move {
            for i in 0..400u32 {
                store.commit(Batch(vec![put(&format!("a{i}"), "x"), put(&format!("b{i}"), "x")])).await.unwrap();
                acknowledged.store(i + 1, std::sync::atomic::Ordering::SeqCst);
            }
        })
    };
    while acknowledged.load(std::sync::atomic::Ordering::SeqCst) < 50 {
        tokio::task::yield_now().await;
    }
    let before = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
    let file = dir.path().join("b.filbert");
    let report = store.backup(&file).await.unwrap();
    writer.await.unwrap();
    assert_eq!((report.blobs, report.bytes), (1, std::fs::metadata(&file).unwrap().len()));

    let target = dir.path().join("restored");
    assert_eq!(restore(&file, &target).unwrap(), report);
    let restored = open(&target);
    let records = all(&restored).await;
    for i in 0..400u32 {
        let pair = (records.contains_key(&format!("a{i}")), records.contains_key(&format!("b{i}")));
        assert!(pair.0 == pair.1, "half a batch: {i}");
        assert!(pair.0 || i >= before, "record {i} was acknowledged before the backup");
    }
    assert_eq!(Blobs::get(&*restored, "file").await.unwrap().unwrap(), "blob");
    assert_eq!(restored.count("thing", TenantId::INSTANCE).await.unwrap(), records.len() as u64);
}

#[tokio::test]
async fn a_damaged_cut_off_or_foreign_backup_is_refused_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    store.commit(Batch((0..50).map(|i| put(&format!("{i}"), "x")).collect())).await.unwrap();
    let file = dir.path().join("b.filbert");
    store.backup(&file).await.unwrap();
    let good = std::fs::read(&file).unwrap();
    let target = dir.path().join("restored");
    let mut bad: Vec<Vec<u8>> = (0..good.len()).step_by(good.len() / 20 + 1).map(|n| good[..n].to_vec()).collect();
    bad.extend((0..good.len()).step_by(good.len() / 20 + 1).map(|n| {
        let mut copy = good.clone();
        copy[n] ^= 0x40;
        copy
    }));
    bad.push(b"PK\x03\x04 something else entirely, longer than a trailer is, so that it is looked at".to_vec());
    for bytes in bad {
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(restore(&file, &target).unwrap_err().code, Code::InvalidBackup);
        assert!(!target.exists());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside");
    std::fs::write(&file, &good).unwrap();
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("mine"), "x").unwrap();
    assert_eq!(restore(&file, &target).unwrap_err().code, Code::Conflict);
    std::fs::remove_file(target.join("mine")).unwrap();
    restore(&file, &target).unwrap();
}

#[tokio::test]
async fn a_damaged_database_is_restored_from_its_export_and_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(Batch((0..200).map(|i| put(&format!("{i}"), "x")).collect())).await.unwrap();
    for _ in 0..5 {
        store.export().await.unwrap();
    }
    assert_eq!(archive::exports(&dir.path().join("exports")).len(), 3);
    store.close().await;
    drop(store);
    // Every byte of the log turned around: worse than any single flip.
    for entry in std::fs::read_dir(dir.path().join("db")).unwrap().flatten().filter(|e| e.path().is_file()) {
        let bytes: Vec<u8> = std::fs::read(entry.path()).unwrap().into_iter().map(|b| !b).collect();
        std::fs::write(entry.path(), bytes).unwrap();
    }
    match Store::open(dir.path(), &settings()) {
        Ok(store) => {
            assert!(store.recovered().is_some());
            assert_eq!(all(&store).await.len(), 200);
            let aside = std::fs::read_dir(dir.path()).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().starts_with("db.damaged-")).count();
            assert_eq!(aside, 1);
        }
        Err(error) => panic!("{error}"),
    }
}

/// A directory with 300 records, exported, closed.
async fn used(dir: &Path) {
    let store = open(dir);
    for i in 0..300 {
        store.commit(Batch(vec![put(&format!("{i}"), &"x".repeat(200))])).await.unwrap();
    }
    store.export().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_database_that_lost_its_files_or_their_end_is_restored_and_never_taken_for_a_new_one() {
    let damages: [(&str, fn(&Path)); 5] = [
        ("removed", |dir| std::fs::remove_dir_all(dir.join("db")).unwrap()),
        ("emptied", |dir| std::fs::write(dir.join("db/db"), b"").unwrap()),
        ("cut in half", |dir| {
            let file = std::fs::File::options().write(true).open(dir.join("db/db")).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(length / 2).unwrap();
        }),
        ("cut to a page", |dir| std::fs::File::options().write(true).open(dir.join("db/db")).unwrap().set_len(4096).unwrap()),
        // What a crash between two renames used to leave.
        ("moved aside", |dir| std::fs::rename(dir.join("db"), dir.join("db.damaged-x")).unwrap()),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        used(dir.path()).await;
        damage(dir.path());
        let store = open(dir.path());
        assert!(all(&store).await.len() == 300, "{what}: {} records", all(&store).await.len());
        // It serves, and the next start finds nothing wrong.
        store.commit(Batch(vec![put("new", "x")])).await.unwrap();
        store.close().await;
        drop(store);
        let store = open(dir.path());
        assert!(store.recovered().is_none() && all(&store).await.len() == 301, "{what}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_lost_database_without_an_export_is_an_error_and_not_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.commit(Batch(vec![put("a", "1")])).await.unwrap();
    store.close().await;
    drop(store);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let error = Store::open(dir.path(), &settings()).err().unwrap();
    assert_eq!(error.code, Code::StoreCorrupt);
    assert!(error.message.contains("restore"), "{error}");
}

#[tokio::test]
async fn a_flipped_bit_anywhere_ends_with_all_records_or_a_clear_error_and_never_with_fewer() {
    let origin = tempfile::tempdir().unwrap();
    used(origin.path()).await;
    let files: Vec<std::path::PathBuf> = std::fs::read_dir(origin.path().join("db")).unwrap().flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
    let mut tried = 0;
    for file in files {
        let good = std::fs::read(&file).unwrap();
        let step = (good.len() / 12).max(1);
        for at in (0..good.len()).step_by(step) {
            let dir = tempfile::tempdir().unwrap();
            for folder in ["db", "exports", "run", "blobs"] {
                std::fs::create_dir(dir.path().join(folder)).unwrap();
            }
            for part in ["db", "exports"] {
                for entry in std::fs::read_dir(origin.path().join(part)).unwrap().flatten().filter(|e| e.path().is_file()) {
                    std::fs::copy(entry.path(), dir.path().join(part).join(entry.file_name())).unwrap();
                }
            }
            std::fs::copy(origin.path().join("seen"), dir.path().join("seen")).unwrap();
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(dir.path().join("db").join(file.file_name().unwrap()), bad).unwrap();
            tried += 1;
            match Store::open(dir.path(), &settings()) {
                Ok(store) => {
                    let scan = Scan { kind: "thing", tenant: TenantId::INSTANCE, index: None, prefix: Vec::new(), exact: false, reverse: false, after: None, limit: 1_000_000 };
                    match store.scan(scan).await {
                        Ok(page) => assert_eq!(page.items.len(), 300, "byte {at} of {}", file.display()),
                        Err(error) => assert_eq!(error.code, Code::StoreCorrupt),
                    }
                    store.close().await;
                }
                Err(error) => assert_eq!(error.code, Code::StoreCorrupt, "{error}"),
            }
        }
    }
    assert!(tried >= 12);
}

#[tokio::test]
async fn the_newest_export_is_the_one_made_last_whatever_its_name_begins_with() {
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..3).map(|_| { std::thread::sleep(std::time::Duration::from_millis(2)); uuid::Uuid::now_v7().to_string() }).collect();
    for name in [format!("before-schema-2-{}", ids[0]), ids[1].clone(), format!("before-schema-3-{}", ids[2])] {
        std::fs::write(dir.path().join(format!("{name}.filbert")), "").unwrap();
    }
    let order: Vec<String> = archive::exports(dir.path()).iter().map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(order, [format!("before-schema-2-{}", ids[0]), ids[1].clone(), format!("before-schema-3-{}", ids[2])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_and_overwrites_during_a_backup_leave_one_moment_of_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    store.commit(Batch((0..20_000).map(|i| put(&format!("{i:05}"), "before")).collect())).await.unwrap();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for i in 0..300 {
                // In one batch: two values change and one record goes; a picture has all of it or nothing.
                let gone = Write::Delete { kind: "thing", tenant: TenantId::INSTANCE, id: format!("{:05}", 10_000 + i).into_bytes(), expect: Expect::Any };
                store.commit(Batch(vec![put(&format!("{i:05}"), "after"), put(&format!("{:05}", 19_999 - i), "after"), gone])).await.unwrap();
            }
        })
    };
    let file = dir.path().join("b.filbert");
    store.backup(&file).await.unwrap();
    writer.await.unwrap();
    let target = dir.path().join("restored");
    restore(&file, &target).unwrap();
    let records = all(&open(&target)).await;
    for i in 0..300 {
        let after = records[&format!("{i:05}")] == "after";
        assert_eq!(records[&format!("{:05}", 19_999 - i)] == "after", after, "{i}");
        assert_eq!(records.contains_key(&format!("{:05}", 10_000 + i)), !after, "{i}");
    }
}

#[tokio::test]
async fn a_migration_takes_an_export_first_and_a_newer_schema_is_refused() {
    const STEP: &[Migration] = &[Migration {
        to: 2,
        name: "shout",
        run: |tree, batch| {
            for entry in tree.scan_prefix(b"mnote") {
                let (key, value) = entry.map_err(store_error)?;
                batch.insert(key, value.to_ascii_uppercase());
            }
            Ok(())
        },
    }];
    let dir = tempfile::tempdir().unwrap();
    let db = open_db(&dir.path().join("db"), 1).unwrap();
    let tree = db.open_tree("data").unwrap();
    tree.insert(keys::SCHEMA, &1u32.to_be_bytes()).unwrap();
    tree.insert("mnote", "quiet").unwrap();
    migrate::run(&db, &tree, STEP, dir.path()).unwrap();
    migrate::run(&db, &tree, STEP, dir.path()).unwrap();
    assert_eq!(tree.get("mnote").unwrap().unwrap(), "QUIET");
    assert_eq!(archive::exports(dir.path()).len(), 1);
    assert!(migrate::run(&db, &tree, &[], dir.path()).unwrap_err().message.contains("newer version"));
}

/// Run by the test below in a process of its own: writes and reports each acknowledged write until it is killed.
#[tokio::test]
async fn helper_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var("FILBERT_TEST_KILLED_STORE") else { return };
    let store = open(Path::new(&dir));
    let start = all(&store).await.len();
    for i in start.. {
        store.commit(Batch(vec![put(&format!("{i:08}"), "x"), twin(i)])).await.unwrap();
        println!("acknowledged {i}");
    }
}
fn twin(i: usize) -> Write {
    Write::Put { kind: "twin", tenant: TenantId::INSTANCE, id: format!("{i:08}").into_bytes(), version: 1, bytes: b"x".to_vec(), indexes: Vec::new(), expect: Expect::Any }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_kill_9() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut most = 0;
    for round in 0..5 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::helper_that_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env("FILBERT_TEST_KILLED_STORE", dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while let Some(Ok(line)) = lines.next() {
            if let Some(i) = line.split("acknowledged ").nth(1) {
                most = i.trim().parse::<usize>().unwrap() + 1;
                seen += 1;
            }
            if seen > 20 + 17 * round {
                break;
            }
        }
        child.kill().unwrap();
        for line in lines.map_while(std::io::Result::ok) {
            if let Some(i) = line.split("acknowledged ").nth(1).and_then(|i| i.trim().parse::<usize>().ok()) {
                most = i + 1;
            }
        }
        child.wait().unwrap();
        assert!(seen > 0);
        let store = open(dir.path());
        let records = all(&store).await;
        assert!(records.len() >= most, "{} of {most} acknowledged records", records.len());
        assert_eq!(store.count("twin", TenantId::INSTANCE).await.unwrap(), records.len() as u64, "half a batch");
        most = records.len();
        store.close().await;
    }
}
