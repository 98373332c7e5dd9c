//! What the command line asks of a running server.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, TestApp, app::LOCAL_TOKEN};

async fn ask(app: &TestApp, method: Method, path: &str, body: Value) -> Answer {
    let nobody = app.nobody();
    let request = nobody.request(method.clone(), path).header("x-filbert-local", LOCAL_TOKEN);
    nobody.send(if method == Method::GET { request } else { request.json(&body) }).await
}

#[tokio::test]
async fn the_first_owner_is_made_once_and_then_a_key() {
    let app = TestApp::start().await;
    let post = async |path: &str, body| ask(&app, Method::POST, path, body).await;
    assert_eq!(post("/internal/keys", json!({"kind": "model"})).await.refusal(), (409, "conflict".into()), "there is no workspace yet");
    let owner = json!({"email": "a@b.c", "password": "a long password"});
    assert_eq!(post("/internal/admin", owner.clone()).await.ok(201)["email"], "a@b.c");
    assert_eq!(post("/internal/admin", owner).await.refusal(), (409, "already_set_up".into()));
    let key = post("/internal/keys", json!({"kind": "model", "models": ["chatty"]})).await.ok(201);
    assert_eq!(app.with_key(key["key"].as_str().unwrap()).get("/v1/models").await.ok(200)["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(post("/internal/keys", json!({"kind": "spoon"})).await.refusal(), (400, "invalid_param".into()));
    app.nobody().post("/console/api/login", json!({"email": "a@b.c", "password": "a long password"})).await.ok(200);
}

#[tokio::test]
async fn a_backup_is_written_where_it_is_told() {
    let app = TestApp::start().await;
    let to = app.data_dir().join("out.backup");
    let report = ask(&app, Method::POST, "/internal/backup", json!({"to": to})).await.ok(200);
    assert_eq!((&report["records"], std::fs::metadata(&to).unwrap().len()), (&json!(3), report["bytes"].as_u64().unwrap()));
    assert_eq!(ask(&app, Method::POST, "/internal/backup", json!({"to": "relative"})).await.param().as_deref(), Some("to"));
}

#[tokio::test]
async fn models_are_listed_and_added_by_path_or_by_address_but_not_by_both() {
    let app = TestApp::start().await;
    let add = async |body| ask(&app, Method::POST, "/internal/models/add", body).await;
    assert_eq!(add(json!({"path": "/tmp/other.gguf"})).await.ok(201)["id"], "other");
    assert_eq!(add(json!({"url": "https://example.org/x.gguf", "sha256": "ab"})).await.ok(202)["state"], "running");
    for bad in [json!({}), json!({"path": "/a", "url": "https://b"})] {
        assert_eq!(add(bad).await.refusal(), (400, "invalid_param".into()));
    }
    assert_eq!(ask(&app, Method::GET, "/internal/models", Value::Null).await.ok(200)["models"].as_array().map(Vec::len), Some(4));
    assert_eq!(ask(&app, Method::GET, "/internal/system", Value::Null).await.ok(200)["version"], "1.2.3");
}
