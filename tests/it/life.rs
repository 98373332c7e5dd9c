//! Start, stop, restart, and two processes on one data directory.

use std::{os::unix::fs::PermissionsExt, time::{Duration, Instant}};

use futures::StreamExt;
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::json;
use testkit::PASSWORD;

use crate::process::Home;

#[tokio::test]
async fn a_server_says_where_it_is_answers_and_leaves_in_peace() {
    let home = Home::new();
    let begun = Instant::now();
    let mut server = home.serve();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let file = home.data().join("run/server.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let nobody = server.nobody();
    nobody.get("/readyz").await.ok(200);
    assert_eq!(nobody.get("/console/api/setup").await.ok(200)["needed"], true);
    assert_eq!(nobody.get("/v1/nothing").await.refusal(), (404, "not_found".into()));
    assert_eq!(nobody.get("/assets/..%2f..%2fCargo.toml").await.status, 404);
    assert_eq!(nobody.post("/playground", json!({})).await.status, 405, "the console's files are read only");
    server.signal(Signal::SIGTERM);
    let (code, printed) = server.end(Duration::from_secs(10)).await;
    assert_eq!((code, printed), (Some(0), Vec::<String>::new()), "one line was all it printed");
    assert!(!file.exists());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_kill_9() {
    let home = Home::new();
    let server = home.serve();
    let owner = server.set_up().await;
    let mut secrets = Vec::new();
    for i in 0..20 {
        let made = owner.post("/console/api/keys", json!({"name": format!("k{i}"), "kind": "model"})).await.ok(201);
        secrets.push(made["secret"].as_str().unwrap().to_owned());
    }
    let id = owner.get("/console/api/keys").await.json()["keys"][19]["id"].as_str().unwrap().to_owned();
    owner.delete(&format!("/console/api/keys/{id}")).await.ok(200);
    let cookie = owner.cookie().unwrap();
    server.kill();
    let server = home.serve();
    let browser = server.nobody();
    let session = browser.send(browser.request(Method::GET, "/console/api/session").header("cookie", format!("filbert_session={cookie}"))).await;
    assert_eq!(session.ok(200)["user"]["email"], "o@example.org");
    let mut statuses = Vec::new();
    for secret in &secrets {
        statuses.push(server.with_key(secret).get("/v1/models").await.status);
    }
    assert_eq!((statuses[0], statuses[1..].iter().all(|s| *s == 200)), (401, true), "the revoked one and the others");
    assert_eq!(server.nobody().post("/console/api/setup", json!({"email": "x@example.org", "name": "X", "password": PASSWORD})).await.refusal(), (409, "already_set_up".into()));
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_told_whose_they_are() {
    let home = Home::new();
    let server = home.serve();
    let said = home.fails(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(said.contains(&format!("in use by process {}", server.pid())) && said.contains("--data"), "{said}");
    server.nobody().get("/readyz").await.ok(200);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_way_out() {
    let home = Home::new();
    let server = home.serve();
    let said = Home::new().fails(&["serve", "--listen", &server.address.to_string()]);
    assert!(said.contains(&server.address.to_string()) && said.contains("--listen"), "{said}");
}

#[tokio::test]
async fn commands_do_the_same_with_a_running_server_and_without_one() {
    let home = Home::new();
    let said = home.fails(&["key", "create", "--model"]);
    assert!(said.contains("filbert admin create"), "{said}");
    home.ok(&["admin", "create", "--email", "o@example.org", "--password", PASSWORD]);
    let before = home.ok(&["key", "create", "--model"]);
    let server = home.serve();
    let beside: serde_json::Value = serde_json::from_str(&home.ok(&["key", "create", "--model", "--json"])).unwrap();
    for key in [before.as_str(), beside["key"].as_str().unwrap()] {
        assert!(key.starts_with("sk-"));
        server.with_key(key).get("/v1/models").await.ok(200);
    }
    assert!(home.fails(&["admin", "create", "--email", "x@example.org", "--password", PASSWORD]).contains("first owner already"));
    server.nobody().post("/console/api/login", json!({"email": "o@example.org", "password": PASSWORD})).await.ok(200);
}

#[tokio::test]
async fn a_backup_taken_beside_a_running_server_is_restored_elsewhere_and_a_damaged_one_nowhere() {
    let home = Home::new();
    let server = home.serve();
    server.set_up().await;
    let key = home.ok(&["key", "create", "--model"]);
    let file = home.path().join("b.backup");
    home.ok(&["backup", file.to_str().unwrap()]);
    let elsewhere = Home::new();
    let mut damaged = std::fs::read(&file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let bad = elsewhere.path().join("bad.backup");
    for bytes in [&damaged[..], &damaged[..middle], &[]] {
        std::fs::write(&bad, bytes).unwrap();
        elsewhere.fails(&["restore", bad.to_str().unwrap()]);
        assert!(std::fs::read_dir(elsewhere.data()).map_or(0, Iterator::count) == 0, "nothing was left");
    }
    elsewhere.ok(&["restore", file.to_str().unwrap()]);
    assert!(elsewhere.run(&["restore", file.to_str().unwrap()]).status.code() != Some(0), "not over data that are there");
    elsewhere.serve().with_key(&key).get("/v1/models").await.ok(200);
}

/// A request that is under way for about this long: an upload that comes slowly.
fn slow_upload(owner: &testkit::Client, tenths: usize) -> tokio::task::JoinHandle<Result<reqwest::Response, reqwest::Error>> {
    let pieces = futures::stream::iter(vec!["x"; tenths]).then(async |piece| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok::<_, std::io::Error>(piece)
    });
    tokio::spawn(owner.request(Method::POST, "/console/api/models/upload?file_name=x.gguf").body(reqwest::Body::wrap_stream(pieces.boxed())).send())
}

#[tokio::test]
async fn a_stopping_server_finishes_what_is_under_way_and_takes_nothing_new() {
    let home = Home::new();
    let mut server = home.serve();
    let owner = server.set_up().await;
    let upload = slow_upload(&owner, 15);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.signal(Signal::SIGTERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(std::net::TcpStream::connect_timeout(&server.address, Duration::from_millis(300)).is_err(), "it still takes connections");
    assert_eq!(upload.await.unwrap().expect("it is answered").status(), 400, "and read to its end: this is no model");
    assert_eq!(server.end(Duration::from_secs(10)).await.0, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_a_stopping_server_at_once() {
    let home = Home::new();
    let mut server = home.serve();
    let owner = server.set_up().await;
    let _upload = slow_upload(&owner, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.signal(Signal::SIGTERM);
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.signal(Signal::SIGINT);
    server.end(Duration::from_secs(3)).await;
}

#[tokio::test]
async fn a_server_takes_as_many_open_files_as_it_may_have() {
    let home = Home::new();
    let script = format!("ulimit -Sn 256 && exec {} serve --listen 127.0.0.1:0 --data {}", env!("CARGO_BIN_EXE_filbert"), home.data().display());
    let mut child = std::process::Command::new("sh").args(["-c", &script]).env_clear().env("FILBERT_LLAMA__MODELS_DIR", home.path().join("models")).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut ready).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert!(ready.starts_with("Filbert is ready") && numbers[0] == numbers[1], "{line}");
}
