//! Who may what: tables over every operation of the description.

use domain::{account::Role, id::{AppId, TenantId}, key::KeyScope, time::Millis};
use reqwest::Method;
use serde_json::json;
use testkit::{Answer, Client, TestApp};

use crate::document::{Operation, operations};

/// What anybody may ask, signed in or not.
const PUBLIC: &[&str] = &["GET /console/api/setup", "POST /console/api/setup", "POST /console/api/login", "GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json"];

/// The least role of every operation of the console.
const LEAST: &[(Role, &[&str])] = &[
    (
        Role::Member,
        &[
            "POST /console/api/logout",
            "GET /console/api/session",
            "PATCH /console/api/account",
            "POST /console/api/account/password",
            "GET /console/api/sessions",
            "DELETE /console/api/sessions/{id}",
            "GET /console/api/workspaces",
            "PATCH /console/api/workspaces/{id}",
            "POST /console/api/workspaces/{id}/switch",
            "GET /console/api/models",
            "GET /console/api/models/{id}",
            "POST /console/api/playground/chat",
        ],
    ),
    (Role::Editor, &["GET /console/api/keys", "POST /console/api/keys", "PATCH /console/api/keys/{id}", "DELETE /console/api/keys/{id}"]),
    (
        Role::Admin,
        &[
            "GET /console/api/members",
            "POST /console/api/members",
            "PATCH /console/api/members/{user_id}",
            "DELETE /console/api/members/{user_id}",
            "POST /console/api/models/upload",
            "PATCH /console/api/models/{id}",
            "DELETE /console/api/models/{id}",
            "POST /console/api/models/{id}/load",
            "POST /console/api/models/{id}/unload",
            "GET /console/api/downloads",
            "POST /console/api/downloads",
            "POST /console/api/downloads/{id}/pause",
            "POST /console/api/downloads/{id}/resume",
            "DELETE /console/api/downloads/{id}",
            "GET /console/api/settings",
            "PATCH /console/api/settings",
            "GET /console/api/system",
        ],
    ),
    (Role::Owner, &["POST /console/api/workspaces", "POST /console/api/backup"]),
];

fn least(name: &str) -> Option<Role> {
    LEAST.iter().find(|(_, all)| all.contains(&name)).map(|(role, _)| *role)
}

async fn ask(client: &Client, o: &Operation) -> Answer {
    let request = client.request(o.method.clone(), &o.path());
    client.send(if o.method == Method::GET || o.method == Method::DELETE { request } else { request.json(&json!({})) }).await
}

fn with_security(security: &str) -> impl Iterator<Item = Operation> {
    operations().into_iter().filter(move |o| o.security.as_deref() == Some(security))
}

#[tokio::test]
async fn every_operation_answers_401_without_credentials_except_the_public_list() {
    let app = TestApp::start().await;
    app.set_up().await;
    let stranger = app.nobody();
    let mut count = 0;
    for o in operations() {
        if PUBLIC.contains(&o.name().as_str()) {
            assert!(o.security.is_none(), "{} is public and says it wants `{:?}`", o.name(), o.security);
            continue;
        }
        assert!(o.security.is_some(), "{} does not say what it wants", o.name());
        let answer = ask(&stranger, &o).await;
        assert_eq!(answer.refusal(), (401, "unauthorized".into()), "{}", o.name());
        assert!(answer.header("www-authenticate").is_some());
        count += 1;
    }
    assert_eq!(count + PUBLIC.len(), operations().len());
    assert!(operations().len() >= 54);
}

#[tokio::test]
async fn every_operation_of_the_console_asks_for_the_role_of_the_table_and_for_no_higher_one() {
    let app = TestApp::start().await;
    app.set_up().await;
    let home = app.home().await;
    for o in with_security("session") {
        let needed = least(&o.name()).unwrap_or_else(|| panic!("{} is not in the table", o.name()));
        for role in Role::ALL {
            // Somebody new each time: some operations end their session.
            let answer = ask(&app.person(home, role).await, &o).await;
            if role < needed {
                assert_eq!(answer.refusal(), (403, "forbidden".into()), "{} by {role:?}", o.name());
            } else {
                assert!(![401, 403, 405].contains(&answer.status) && answer.status < 500, "{} by {role:?}: {} {}", o.name(), answer.status, answer.text());
            }
        }
    }
    assert_eq!(LEAST.iter().map(|(_, all)| all.len()).sum::<usize>(), with_security("session").count(), "the table names operations that are not there");
}

#[tokio::test]
async fn every_change_in_the_console_needs_the_csrf_token_of_the_very_session() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let (home, bare) = (app.home().await, owner.without_csrf());
    let another = app.person(home, Role::Owner).await.get("/console/api/session").await.json()["csrf_token"].as_str().unwrap().to_owned();
    for o in with_security("session").filter(|o| o.method != Method::GET) {
        assert_eq!(ask(&bare, &o).await.refusal(), (403, "csrf_failed".into()), "{} without", o.name());
        for wrong in ["", "x", another.as_str()] {
            let request = bare.request(o.method.clone(), &o.path()).header("x-csrf-token", wrong).json(&json!({}));
            assert_eq!(bare.send(request).await.refusal(), (403, "csrf_failed".into()), "{} with {wrong:?}", o.name());
        }
    }
    assert_eq!(owner.get("/console/api/session").await.status, 200, "nothing of it had an effect");
}

#[tokio::test]
async fn models_open_to_living_model_keys_only() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let home = app.home().await;
    let all = KeyScope::Model { models: Vec::new() };
    let (revoked, revoked_text) = app.key(home, all.clone()).await;
    let (expired, expired_text) = app.key(home, all.clone()).await;
    app.with_key(&revoked_text).get("/v1/models").await.ok(200);
    app.services.keys.revoke(home, revoked.id).await.unwrap();
    app.records.modify::<domain::key::ApiKey>(TenantId::INSTANCE, expired.id.as_bytes(), "key", |k| { k.expires_at = Some(Millis(1)); Ok(()) }).await.unwrap();
    let mut strangers = vec![("revoked", revoked_text), ("expired", expired_text), ("unknown", "sk-aaaaaaaaaaaaaaaaaaaaaaaa".into()), ("nonsense", "x".into())];
    strangers.push(("dataset", app.key(home, KeyScope::Dataset).await.1));
    strangers.push(("app", app.key(home, KeyScope::App { app: AppId::new() }).await.1));
    for o in with_security("key") {
        for (who, text) in &strangers {
            assert_eq!(ask(&app.with_key(text), &o).await.refusal(), (401, "unauthorized".into()), "{} with a key that is {who}", o.name());
        }
        assert_eq!(ask(&owner, &o).await.refusal().0, 401, "{} with a session", o.name());
        let (_, good) = app.key(home, all.clone()).await;
        for header in ["Bearer", "Basic c2s6c2s=", &format!("Token {good}"), &good] {
            let request = app.nobody().request(o.method.clone(), &o.path()).header("authorization", header).json(&json!({}));
            assert_eq!(app.nobody().send(request).await.refusal().0, 401, "{} with `{header}`", o.name());
        }
        let good = ask(&app.with_key(&good), &o).await;
        assert!(![401, 403].contains(&good.status), "{}: {}", o.name(), good.text());
    }
}

#[tokio::test]
async fn a_key_opens_nothing_of_the_console_and_nothing_internal() {
    let app = TestApp::start().await;
    app.set_up().await;
    let program = app.program().await;
    for o in with_security("session").chain(with_security("local")) {
        assert_eq!(ask(&program, &o).await.refusal(), (401, "unauthorized".into()), "{}", o.name());
    }
}

#[tokio::test]
async fn internal_paths_open_to_the_token_of_the_data_directory_only() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    for o in with_security("local") {
        assert_eq!(ask(&owner, &o).await.refusal().0, 401, "{} with a session", o.name());
        for guess in ["", "x", &testkit::app::LOCAL_TOKEN[1..]] {
            let request = owner.request(o.method.clone(), &o.path()).header("x-filbert-local", guess).json(&json!({}));
            assert_eq!(owner.send(request).await.refusal().0, 401, "{} with {guess:?}", o.name());
        }
    }
}

#[tokio::test]
async fn a_cookie_that_is_no_session_is_no_session() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let true_one = owner.cookie().unwrap();
    for cookie in ["filbert_session=", "filbert_session=x", "filbert_session=%00%ff", &format!("filbert_session={}", &true_one[..true_one.len() - 1]), &format!("other={true_one}"), ";;==;\"\""] {
        let answer = owner.send(app.nobody().request(Method::GET, "/console/api/session").header("cookie", cookie)).await;
        assert_eq!(answer.refusal(), (401, "unauthorized".into()), "{cookie}");
    }
}
