//! Set-up, signing in and out, one's own profile, password and sessions.

use domain::{account::{Role, Session}, id::TenantId, time::Millis};
use futures::future::join_all;
use serde_json::{Value, json};
use testkit::{PASSWORD, Settings, TestApp};

fn set_up_body(i: usize) -> Value {
    json!({"email": format!("owner{i}@example.org"), "name": "Olive", "password": PASSWORD})
}

#[tokio::test]
async fn the_first_set_up_signs_in_and_the_next_is_told_that_it_is_done() {
    let app = TestApp::start().await;
    let browser = app.nobody();
    let before = browser.get("/console/api/setup").await.ok(200);
    assert_eq!((&before["needed"], &before["version"], &before["instance_name"]), (&json!(true), &json!("1.2.3"), &json!("Filbert")));
    let answer = browser.post("/console/api/setup", json!({"email": "o@example.org", "name": "Olive", "password": PASSWORD, "workspace_name": "Home", "language": "zh-Hans"})).await;
    let session = answer.ok(200);
    assert_eq!((&session["user"]["role"], &session["workspace"]["name"], &session["user"]["language"]), (&json!("owner"), &json!("Home"), &json!("zh-Hans")));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["filbert_session=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(browser.get("/console/api/session").await.ok(200)["user"]["email"], "o@example.org");
    assert_eq!(app.nobody().post("/console/api/setup", set_up_body(2)).await.refusal(), (409, "already_set_up".into()));
    assert_eq!(app.nobody().get("/console/api/setup").await.ok(200)["needed"], false);
}

#[tokio::test]
async fn of_many_set_ups_over_http_at_once_one_succeeds_and_each_other_is_a_409() {
    for _ in 0..5 {
        let app = TestApp::start().await;
        let browsers: Vec<_> = (0..8).map(|_| app.nobody()).collect();
        let answers = join_all(browsers.iter().enumerate().map(|(i, b)| b.post("/console/api/setup", set_up_body(i)))).await;
        assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 1);
        assert!(answers.iter().filter(|a| a.status != 200).all(|a| a.refusal() == (409, "already_set_up".into())));
    }
}

#[tokio::test]
async fn a_set_up_that_is_refused_names_the_field() {
    let app = TestApp::start().await;
    for (field, value, code) in [("email", "none", "invalid_param"), ("password", "short", "weak_password"), ("name", "a\u{0}b", "invalid_param"), ("language", "<script>", "invalid_param"), ("workspace_name", &"w".repeat(101), "invalid_param")] {
        let mut body = set_up_body(1);
        body[field] = json!(value);
        let answer = app.nobody().post("/console/api/setup", body).await;
        assert_eq!((answer.refusal(), answer.param()), ((400, code.into()), Some(field.into())));
    }
}

#[tokio::test]
async fn behind_a_proxy_that_speaks_https_the_cookie_is_secure() {
    let mut settings = Settings::quick();
    settings.http.secure_cookie = true;
    let app = TestApp::with(settings).await;
    let answer = app.nobody().post("/console/api/setup", set_up_body(1)).await;
    assert!(answer.header("set-cookie").unwrap().contains("; Secure"));
}

#[tokio::test]
async fn signing_out_ends_the_session_and_takes_the_cookie_away() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let stolen = owner.cookie().unwrap();
    let answer = owner.post("/console/api/logout", json!({})).await;
    assert_eq!(answer.ok(200), json!({"ok": true}));
    assert!(answer.header("set-cookie").unwrap().starts_with("filbert_session=;"), "{:?}", answer.headers);
    let thief = app.nobody();
    let request = thief.request(reqwest::Method::GET, "/console/api/session").header("cookie", format!("filbert_session={stolen}"));
    assert_eq!(thief.send(request).await.refusal().0, 401);
    let again = app.nobody();
    again.post("/console/api/login", json!({"email": "OWNER@example.org ", "password": PASSWORD})).await.ok(200);
    again.get("/console/api/session").await.ok(200);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_person_get_the_same_answer() {
    let app = TestApp::start().await;
    app.set_up().await;
    let answers = join_all([("owner@example.org", "wrong"), ("ghost@example.org", PASSWORD), ("no address", "x")].map(async |(email, password)| {
        let answer = app.nobody().post("/console/api/login", json!({"email": email, "password": password})).await;
        assert_eq!(answer.refusal(), (401, "invalid_credentials".into()));
        answer.text()
    }))
    .await;
    assert!(answers.iter().all(|a| *a == answers[0]));
}

#[tokio::test]
async fn too_many_wrong_passwords_wait_as_long_as_the_header_says() {
    let mut settings = Settings::quick();
    settings.service.accounts.login_free_attempts = 2;
    let app = TestApp::with(settings).await;
    app.set_up().await;
    let wrong = json!({"email": "owner@example.org", "password": "wrong"});
    for _ in 0..3 {
        assert_eq!(app.nobody().post("/console/api/login", wrong.clone()).await.refusal().1, "invalid_credentials");
    }
    let answer = app.nobody().post("/console/api/login", json!({"email": "owner@example.org", "password": PASSWORD})).await;
    assert_eq!(answer.refusal(), (429, "login_throttled".into()));
    assert!(answer.header("retry-after").and_then(|t| t.parse::<u64>().ok()).is_some_and(|t| (1..=2).contains(&t)));
}

#[tokio::test]
async fn one_address_signs_in_a_bounded_number_of_times_a_minute_and_a_header_does_not_make_it_another() {
    let mut settings = Settings::quick();
    settings.service.limits.logins_per_minute_per_ip = 3;
    let app = TestApp::with(settings).await;
    app.set_up().await;
    let browser = app.nobody();
    let mut codes = Vec::new();
    for i in 0..4 {
        let request = browser.request(reqwest::Method::POST, "/console/api/login").header("x-forwarded-for", format!("10.0.0.{i}")).json(&json!({"email": "owner@example.org", "password": PASSWORD}));
        codes.push(browser.send(request).await.status);
    }
    assert_eq!(codes, [200, 200, 429, 429], "the set-up counted");
}

#[tokio::test]
async fn one_s_profile_is_changed_field_by_field() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let session = owner.patch("/console/api/account", json!({"theme": "dark", "name": " Ada "})).await.ok(200);
    assert_eq!((&session["user"]["theme"], &session["user"]["name"], &session["user"]["language"]), (&json!("dark"), &json!("Ada"), &json!("en-US")));
    for (field, bad) in [("theme", json!("neon")), ("language", json!("<script>")), ("name", json!("")), ("name", json!(5)), ("theme", json!(["dark"]))] {
        let answer = owner.patch("/console/api/account", json!({field: bad})).await;
        assert_eq!((answer.refusal(), answer.param()), ((400, "invalid_param".into()), Some(field.into())));
    }
    assert_eq!(owner.patch("/console/api/account", json!({"unknown": 1})).await.ok(200)["user"]["name"], "Ada");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let elsewhere = app.nobody();
    elsewhere.post("/console/api/login", json!({"email": "owner@example.org", "password": PASSWORD})).await.ok(200);
    let change = |current: &str, new: &str| json!({"current": current, "new": new});
    let wrong = owner.post("/console/api/account/password", change("wrong", "a new long one")).await;
    assert_eq!((wrong.refusal(), wrong.param().as_deref()), ((400, "invalid_param".into()), Some("current")), "401 would mean that one is signed out");
    assert_eq!(owner.post("/console/api/account/password", change(PASSWORD, "short")).await.refusal(), (400, "weak_password".into()));
    owner.post("/console/api/account/password", change(PASSWORD, "a new long one")).await.ok(200);
    assert_eq!(elsewhere.get("/console/api/session").await.status, 401);
    assert_eq!(owner.get("/console/api/session").await.status, 200);
}

#[tokio::test]
async fn one_sees_and_ends_one_s_own_sessions_only() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let elsewhere = app.nobody();
    elsewhere.post("/console/api/login", json!({"email": "owner@example.org", "password": PASSWORD})).await.ok(200);
    let other = app.person(app.home().await, Role::Owner).await;
    let theirs = other.get("/console/api/sessions").await.ok(200)["sessions"][0]["id"].as_str().unwrap().to_owned();
    let mine = owner.get("/console/api/sessions").await.ok(200)["sessions"].clone();
    assert_eq!(mine.as_array().unwrap().iter().map(|s| s["current"].as_bool().unwrap()).collect::<Vec<_>>(), [false, true], "newest first");
    assert_eq!(owner.delete(&format!("/console/api/sessions/{theirs}")).await.refusal(), (404, "not_found".into()));
    owner.delete(&format!("/console/api/sessions/{}", mine[0]["id"].as_str().unwrap())).await.ok(200);
    assert_eq!(elsewhere.get("/console/api/session").await.status, 401);
    assert_eq!(other.get("/console/api/session").await.status, 200);
}

#[tokio::test]
async fn a_cookie_that_is_old_is_renewed_on_any_answer() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let session = app.records.all::<Session>(TenantId::INSTANCE).to_vec().await.unwrap().remove(0);
    app.records.modify::<Session>(TenantId::INSTANCE, session.id.as_bytes(), "session", |s| { s.rotated_at = Millis(1); Ok(()) }).await.unwrap();
    let before = owner.cookie();
    let answer = owner.get("/console/api/nothing").await;
    assert_eq!(answer.status, 404);
    assert!(answer.header("set-cookie").is_none(), "nobody was asked who they are");
    let answer = owner.get("/console/api/models/none").await;
    assert_eq!(answer.status, 404);
    assert!(answer.header("set-cookie").is_some_and(|c| c.contains("HttpOnly")));
    assert_ne!(owner.cookie(), before);
    owner.get("/console/api/session").await.ok(200);
}
