//! Keys over HTTP, and what they open.

use domain::{account::Role, time::Millis};
use serde_json::json;
use testkit::{CHAT, EMBEDDING, TestApp};

use crate::document::NOWHERE;

#[tokio::test]
async fn a_key_is_shown_once_opens_models_and_is_closed_at_once() {
    let app = TestApp::start().await;
    app.set_up().await;
    let editor = app.person(app.home().await, Role::Editor).await;
    let made = editor.post("/console/api/keys", json!({"name": "script", "kind": "model"})).await.ok(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("sk-") && made["hint"].as_str().unwrap().ends_with(&secret[secret.len() - 4..]));
    let listed = editor.get("/console/api/keys").await;
    assert!(!listed.text().contains(secret) && listed.ok(200)["keys"][0]["id"] == made["id"]);
    let program = app.with_key(secret);
    assert_eq!(program.get("/v1/models").await.ok(200)["data"].as_array().map(Vec::len), Some(3));
    let path = format!("/console/api/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(editor.patch(&path, json!({"name": "renamed"})).await.ok(200)["name"], "renamed");
    assert!(editor.delete(&path).await.ok(200)["revoked_at"].is_i64());
    assert_eq!(program.get("/v1/models").await.refusal(), (401, "unauthorized".into()));
    assert!(editor.get("/console/api/keys").await.ok(200)["keys"][0]["revoked_at"].is_i64(), "it stays in the list");
}

#[tokio::test]
async fn a_key_for_one_model_opens_that_one_and_knows_of_no_other() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let made = owner.post("/console/api/keys", json!({"name": "narrow", "kind": "model", "models": [CHAT]})).await.ok(201);
    let program = app.with_key(made["secret"].as_str().unwrap());
    let listed = program.get("/v1/models").await.ok(200);
    assert_eq!(listed["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect::<Vec<_>>(), [CHAT]);
    program.get(&format!("/v1/models/{CHAT}")).await.ok(200);
    assert_eq!(program.get(&format!("/v1/models/{EMBEDDING}")).await.refusal(), (404, "model_not_found".into()));
    assert_eq!(program.post("/v1/embeddings", json!({"model": EMBEDDING, "input": "x"})).await.refusal(), (404, "model_not_found".into()));
    assert_eq!(program.post("/v1/embeddings", json!({"input": "x"})).await.refusal(), (404, "model_not_found".into()), "nor as the default");
    program.post("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "hi"}]})).await.ok(200);
}

#[tokio::test]
async fn another_workspace_s_keys_are_not_there() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let (_, neighbour) = app.neighbour().await;
    let theirs = neighbour.post("/console/api/keys", json!({"name": "theirs", "kind": "model"})).await.ok(201);
    for id in [theirs["id"].as_str().unwrap(), NOWHERE, "1%20or%201=1", "%00"] {
        assert_eq!(owner.patch(&format!("/console/api/keys/{id}"), json!({"name": "mine"})).await.refusal(), (404, "not_found".into()), "{id}");
        assert_eq!(owner.delete(&format!("/console/api/keys/{id}")).await.refusal(), (404, "not_found".into()), "{id}");
    }
    assert_eq!(owner.get("/console/api/keys").await.ok(200)["keys"], json!([]));
    app.with_key(theirs["secret"].as_str().unwrap()).get("/v1/models").await.ok(200);
}

#[tokio::test]
async fn keys_are_filtered_by_kind_and_a_kind_that_is_none_is_refused() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    owner.post("/console/api/keys", json!({"name": "d", "kind": "dataset"})).await.ok(201);
    owner.post("/console/api/keys", json!({"name": "a", "kind": "app", "app_id": NOWHERE})).await.ok(201);
    for (kind, names) in [("dataset", vec!["d"]), ("app", vec!["a"]), ("model", vec![])] {
        let keys = owner.get(&format!("/console/api/keys?kind={kind}")).await.ok(200)["keys"].clone();
        assert_eq!(keys.as_array().unwrap().iter().map(|k| k["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
    }
    for bad in ["?kind=spoon", "?kind=", "?kind=model&kind=app"] {
        assert_eq!(owner.get(&format!("/console/api/keys{bad}")).await.refusal(), (400, "invalid_param".into()), "{bad}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_new_key_is_said() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    for (field, body) in [
        ("kind", json!({"name": "x", "kind": "master"})),
        ("app_id", json!({"name": "x", "kind": "app"})),
        ("app_id", json!({"name": "x", "kind": "app", "app_id": "zz"})),
        ("expires_at", json!({"name": "x", "kind": "model", "expires_at": Millis::now().0 - 1000})),
        ("expires_at", json!({"name": "x", "kind": "model", "expires_at": "soon"})),
        ("name", json!({"name": "", "kind": "model"})),
        ("name", json!({"name": "n".repeat(3_000_000), "kind": "model"})),
        ("name", json!({"kind": "model"})),
        ("models", json!({"name": "x", "kind": "model", "models": "all"})),
        ("models[1]", json!({"name": "x", "kind": "model", "models": ["a", 2]})),
    ] {
        let answer = owner.post("/console/api/keys", body).await;
        assert_eq!((answer.refusal(), answer.param().as_deref()), ((400, "invalid_param".into()), Some(field)));
    }
    assert_eq!(owner.get("/console/api/keys").await.ok(200)["keys"], json!([]));
}

#[tokio::test]
async fn a_key_that_asks_too_often_waits() {
    let mut settings = testkit::Settings::quick();
    settings.service.limits.requests_per_minute_per_key = 2;
    let app = TestApp::with(settings).await;
    let (busy, quiet) = (app.program().await, app.program().await);
    busy.get("/v1/models").await.ok(200);
    busy.get("/v1/models").await.ok(200);
    let answer = busy.get("/v1/models").await;
    assert_eq!(answer.refusal(), (429, "too_many_requests".into()));
    assert!(answer.header("retry-after").is_some());
    quiet.get("/v1/models").await.ok(200);
}
