//! Every operation is called once as it is meant to be, and its answer compared with the description.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, CHAT, Client, PASSWORD, TestApp, app::LOCAL_TOKEN};

use crate::document::{check, operations};

/// Calls operations and remembers which.
struct Walk {
    done: BTreeSet<String>,
}

impl Walk {
    /// `template` in the description, `id` in the place of its braces.
    async fn call(&mut self, who: &Client, method: &str, template: &str, id: &str, body: Value) -> Value {
        self.call_with_query(who, method, template, id, "", body).await
    }
    async fn call_with_query(&mut self, who: &Client, method: &str, template: &str, id: &str, query: &str, body: Value) -> Value {
        let path = template.replace("{id}", id).replace("{user_id}", id) + query;
        let mut request = who.request(method.to_uppercase().parse::<Method>().unwrap(), &path);
        if template.starts_with("/internal") {
            request = request.header("x-filbert-local", LOCAL_TOKEN);
        }
        let request = match body {
            Value::Null => request,
            Value::String(raw) => request.header("content-type", "application/octet-stream").body(raw),
            body => request.json(&body),
        };
        let answer = who.send(request).await;
        self.note(method, template, &answer)
    }
    fn note(&mut self, method: &str, template: &str, answer: &Answer) -> Value {
        assert!((200..300).contains(&answer.status), "{method} {template}: {} {}", answer.status, answer.text());
        self.done.insert(format!("{} {template}", method.to_uppercase()));
        if answer.header("content-type").is_some_and(|t| t.starts_with("application/json")) && template != "/openapi.json" {
            check(method, template, answer.status, &answer.json());
            return answer.json();
        }
        Value::Null
    }
}

fn id(of: &Value, name: &str) -> String {
    of[name].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn every_operation_answers_as_it_is_described() {
    let app = TestApp::start().await;
    let mut w = Walk { done: BTreeSet::new() };
    let (owner, none) = (app.nobody(), Value::Null);
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/console/api/setup"] {
        w.call(&owner, "get", path, "", none.clone()).await;
    }
    w.call(&owner, "post", "/console/api/setup", "", json!({"email": "o@example.org", "name": "O", "password": PASSWORD})).await;
    w.call(&owner, "post", "/console/api/login", "", json!({"email": "o@example.org", "password": PASSWORD})).await;
    w.call(&owner, "get", "/console/api/session", "", none.clone()).await;
    w.call(&owner, "patch", "/console/api/account", "", json!({"theme": "dark"})).await;
    w.call(&owner, "post", "/console/api/account/password", "", json!({"current": PASSWORD, "new": PASSWORD})).await;
    let second = app.nobody();
    w.call(&second, "post", "/console/api/login", "", json!({"email": "o@example.org", "password": PASSWORD})).await;
    let sessions = w.call(&owner, "get", "/console/api/sessions", "", none.clone()).await;
    w.call(&owner, "delete", "/console/api/sessions/{id}", &id(&sessions["sessions"][0], "id"), none.clone()).await;

    let workspace = w.call(&owner, "post", "/console/api/workspaces", "", json!({"name": "Second"})).await;
    w.call(&owner, "get", "/console/api/workspaces", "", none.clone()).await;
    w.call(&owner, "patch", "/console/api/workspaces/{id}", &id(&workspace, "id"), json!({"name": "2"})).await;
    w.call(&owner, "post", "/console/api/workspaces/{id}/switch", &id(&workspace, "id"), json!({})).await;
    let member = w.call(&owner, "post", "/console/api/members", "", json!({"email": "m@example.org", "name": "M", "password": PASSWORD, "role": "member"})).await;
    w.call(&owner, "get", "/console/api/members", "", none.clone()).await;
    w.call(&owner, "patch", "/console/api/members/{user_id}", &id(&member, "user_id"), json!({"role": "editor"})).await;
    w.call(&owner, "delete", "/console/api/members/{user_id}", &id(&member, "user_id"), none.clone()).await;

    let key = w.call(&owner, "post", "/console/api/keys", "", json!({"name": "k", "kind": "model"})).await;
    w.call(&owner, "get", "/console/api/keys", "", none.clone()).await;
    w.call(&owner, "patch", "/console/api/keys/{id}", &id(&key, "id"), json!({"name": "k2"})).await;
    let program = app.with_key(&id(&key, "secret"));
    let messages = json!([{"role": "user", "content": "hi"}]);
    w.call(&program, "get", "/v1/models", "", none.clone()).await;
    w.call(&program, "get", "/v1/models/{id}", CHAT, none.clone()).await;
    w.call(&program, "post", "/v1/chat/completions", "", json!({"messages": messages})).await;
    w.call(&program, "post", "/v1/completions", "", json!({"prompt": "hi"})).await;
    w.call(&program, "post", "/v1/embeddings", "", json!({"input": "hi"})).await;
    w.call(&program, "post", "/v1/embeddings", "", json!({"input": "hi", "encoding_format": "base64"})).await;
    w.call(&program, "post", "/v1/rerank", "", json!({"query": "q", "documents": ["d"], "return_documents": true})).await;
    w.call(&owner, "delete", "/console/api/keys/{id}", &id(&key, "id"), none.clone()).await;

    w.call(&owner, "get", "/console/api/models", "", none.clone()).await;
    w.call_with_query(&owner, "post", "/console/api/models/upload", "", "?file_name=up.gguf", json!("GGUF")).await;
    w.call(&owner, "get", "/console/api/models/{id}", "up", none.clone()).await;
    w.call(&owner, "patch", "/console/api/models/{id}", "up", json!({"parallel": 2})).await;
    w.call(&owner, "post", "/console/api/models/{id}/load", "up", json!({})).await;
    w.call(&owner, "post", "/console/api/models/{id}/unload", "up", json!({})).await;
    w.call(&owner, "delete", "/console/api/models/{id}", "up", none.clone()).await;
    w.call(&owner, "post", "/console/api/playground/chat", "", json!({"messages": messages})).await;
    let download = w.call(&owner, "post", "/console/api/downloads", "", json!({"url": "https://example.org/x.gguf"})).await;
    w.call(&owner, "get", "/console/api/downloads", "", none.clone()).await;
    w.call(&owner, "post", "/console/api/downloads/{id}/pause", &id(&download, "id"), json!({})).await;
    w.call(&owner, "post", "/console/api/downloads/{id}/resume", &id(&download, "id"), json!({})).await;
    w.call(&owner, "delete", "/console/api/downloads/{id}", &id(&download, "id"), none.clone()).await;

    w.call(&owner, "get", "/console/api/settings", "", none.clone()).await;
    w.call(&owner, "patch", "/console/api/settings", "", json!({"name": "N"})).await;
    w.call(&owner, "get", "/console/api/system", "", none.clone()).await;
    w.call(&owner, "post", "/console/api/backup", "", json!({})).await;
    w.call(&owner, "post", "/internal/keys", "", json!({"kind": "model"})).await;
    w.call(&owner, "post", "/internal/backup", "", json!({"to": app.data_dir().join("b")})).await;
    w.call(&owner, "get", "/internal/models", "", none.clone()).await;
    w.call(&owner, "post", "/internal/models/add", "", json!({"path": "/tmp/x.gguf"})).await;
    w.call(&owner, "post", "/internal/models/add", "", json!({"url": "https://example.org/y.gguf"})).await;
    w.call(&owner, "get", "/internal/system", "", none.clone()).await;
    w.call(&owner, "post", "/console/api/logout", "", json!({})).await;
    let fresh = TestApp::start().await;
    w.call(&fresh.nobody(), "post", "/internal/admin", "", json!({"email": "a@b.c", "password": PASSWORD})).await;

    let missing: Vec<String> = operations().iter().map(|o| o.name()).filter(|name| !w.done.contains(name)).collect();
    assert!(missing.is_empty(), "not called: {missing:?}");
}
