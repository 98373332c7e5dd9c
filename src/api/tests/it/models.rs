//! The console's model files: settings, loading, uploads, downloads.

use std::time::Duration;

use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, CHAT, Client, Settings, TestApp};

use crate::document::NOWHERE;

const UPLOAD: &str = "/console/api/models/upload?file_name=new.gguf";

async fn upload(who: &Client, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    who.send(who.request(Method::POST, path).header("content-type", "application/octet-stream").body(body)).await
}

/// A body of unknown length in pieces with a pause after each.
fn pieces(all: Vec<&'static [u8]>, pause: Duration) -> reqwest::Body {
    reqwest::Body::wrap_stream(stream::iter(all).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, std::io::Error>(piece)
    }))
}

#[tokio::test]
async fn models_are_listed_loaded_unloaded_and_deleted() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let listed = owner.get("/console/api/models").await.ok(200);
    assert_eq!((listed["models"].as_array().map(Vec::len), &listed["runtime"]["loaded"]), (Some(3), &json!(0)));
    let path = format!("/console/api/models/{CHAT}");
    assert_eq!(owner.post(&format!("{path}/load"), json!({})).await.ok(200)["load"]["state"], "loaded");
    assert_eq!(owner.get("/console/api/models").await.ok(200)["runtime"]["loaded"], 1);
    assert_eq!(owner.post(&format!("{path}/unload"), json!({})).await.ok(200)["load"]["state"], "unloaded");
    owner.delete(&path).await.ok(200);
    for answer in [owner.get(&path).await, owner.delete(&path).await, owner.post(&format!("{path}/load"), json!({})).await, owner.patch(&path, json!({"pinned": true})).await] {
        assert_eq!(answer.refusal(), (404, "model_not_found".into()));
    }
}

#[tokio::test]
async fn a_setting_that_is_absent_stays_and_one_that_is_null_goes_back_to_its_default() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let path = format!("/console/api/models/{CHAT}");
    let set = owner.patch(&path, json!({"context_size": 512, "query_prefix": "q: ", "pinned": true, "pooling": "mean", "kind": "embedding"})).await.ok(200)["settings"].clone();
    assert_eq!((&set["context_size"], &set["query_prefix"], &set["pinned"], &set["pooling"], &set["kind"]), (&json!(512), &json!("q: "), &json!(true), &json!("mean"), &json!("embedding")));
    let set = owner.patch(&path, json!({"context_size": null, "parallel": 2})).await.ok(200)["settings"].clone();
    assert_eq!((&set["context_size"], &set["query_prefix"], &set["parallel"], &set["pinned"]), (&Value::Null, &json!("q: "), &json!(2), &json!(true)));
    for (field, bad) in [("context_size", json!(-1)), ("context_size", json!("big")), ("pooling", json!("median")), ("kind", json!("poet")), ("pinned", json!("yes")), ("threads", json!(1.5)), ("parallel", json!(4_294_967_296_u64))] {
        let answer = owner.patch(&path, json!({field: bad})).await;
        assert_eq!((answer.refusal(), answer.param().as_deref()), ((400, "invalid_param".into()), Some(field)));
    }
}

#[tokio::test]
async fn an_upload_appears_as_a_model_and_one_that_is_no_model_does_not() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let mut file = b"GGUF".to_vec();
    file.resize(300_000, 7);
    assert_eq!(upload(&owner, UPLOAD, file).await.ok(201)["id"], "new");
    assert_eq!(app.models.uploads(), [("new.gguf".to_owned(), 300_000)]);
    owner.get("/console/api/models/new").await.ok(200);
    assert_eq!(upload(&owner, UPLOAD, "hello").await.refusal(), (400, "invalid_model_file".into()));
    assert_eq!(upload(&owner, UPLOAD, "").await.refusal(), (400, "invalid_model_file".into()));
    assert_eq!(upload(&owner, "/console/api/models/upload?file_name=x.sh", "GGUF").await.refusal(), (400, "invalid_param".into()));
    for no_name in ["/console/api/models/upload", "/console/api/models/upload?name=x.gguf", "/console/api/models/upload?file_name=a.gguf&file_name=b.gguf"] {
        assert_eq!(upload(&owner, no_name, "GGUF").await.refusal(), (400, "invalid_param".into()), "{no_name}");
    }
    assert_eq!(app.models.uploads().len(), 1);
}

#[tokio::test]
async fn an_upload_larger_than_allowed_is_refused_whether_it_says_so_or_not() {
    let mut settings = Settings::quick();
    settings.http.max_upload_bytes = 1000;
    let app = TestApp::with(settings).await;
    let owner = app.set_up().await;
    let fits = [b"GGUF".as_slice(), &[0; 996]].concat();
    upload(&owner, UPLOAD, fits.clone()).await.ok(201);
    let said = upload(&owner, UPLOAD, [fits, vec![0]].concat()).await;
    let unsaid = upload(&owner, UPLOAD, pieces(vec![b"GGUF", &[0; 600], &[0; 600]], Duration::ZERO)).await;
    for answer in [said, unsaid] {
        assert_eq!(answer.refusal(), (413, "request_entity_too_large".into()));
        assert!(answer.text().contains("http.max_upload_bytes"));
    }
    assert_eq!(app.models.uploads().len(), 1);
}

#[tokio::test]
async fn an_upload_that_stalls_is_given_up_and_a_slow_one_is_not() {
    let mut settings = Settings::quick();
    settings.http.upload_stall_secs = 1;
    let app = TestApp::with(settings).await;
    let owner = app.set_up().await;
    let slow = upload(&owner, UPLOAD, pieces(vec![b"GG", b"UF", b"ab", b"cd", b"ef"], Duration::from_millis(300))).await;
    assert_eq!(slow.status, 201, "{}", slow.text());
    let stalled = upload(&owner, UPLOAD, pieces(vec![b"GGUF", b"x"], Duration::from_millis(1900))).await;
    assert_eq!(stalled.refusal(), (408, "request_timeout".into()));
    assert!(stalled.text().contains("http.upload_stall_secs"));
    assert_eq!(app.models.uploads().len(), 1);
}

#[tokio::test]
async fn an_upload_whose_client_goes_away_leaves_nothing() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let request = owner.request(Method::POST, UPLOAD).body(pieces(vec![b"GGUF"; 100], Duration::from_millis(50)));
    assert!(tokio::time::timeout(Duration::from_millis(300), request.send()).await.is_err());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(app.models.uploads(), []);
    assert_eq!(owner.get("/console/api/models/new").await.status, 404);
}

#[tokio::test]
async fn a_download_is_started_paused_resumed_and_cancelled() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let made = owner.post("/console/api/downloads", json!({"url": "https://example.org/x.gguf", "sha256": "ab"})).await.ok(201);
    assert_eq!((&made["state"], &made["file"], &made["sha256"]), (&json!("running"), &json!("x.gguf"), &json!("ab")));
    let path = format!("/console/api/downloads/{}", made["id"].as_str().unwrap());
    assert_eq!(owner.post(&format!("{path}/pause"), json!({})).await.ok(200)["state"], "paused");
    assert_eq!(owner.post(&format!("{path}/resume"), json!({})).await.ok(200)["state"], "running");
    owner.delete(&path).await.ok(200);
    assert_eq!(owner.get("/console/api/downloads").await.ok(200)["downloads"][0]["state"], "cancelled");
    assert_eq!(owner.post("/console/api/downloads", json!({"url": "file:///etc/passwd"})).await.refusal(), (400, "invalid_param".into()));
    for id in [NOWHERE, "none"] {
        for answer in [owner.post(&format!("/console/api/downloads/{id}/pause"), json!({})).await, owner.post(&format!("/console/api/downloads/{id}/resume"), json!({})).await, owner.delete(&format!("/console/api/downloads/{id}")).await] {
            assert_eq!(answer.refusal(), (404, "not_found".into()));
        }
    }
}
