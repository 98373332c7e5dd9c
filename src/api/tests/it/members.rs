//! Workspaces and members over HTTP.

use domain::account::Role;
use serde_json::json;
use testkit::{PASSWORD, TestApp};

#[tokio::test]
async fn somebody_is_added_signs_in_is_promoted_and_removed() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let mia = owner.post("/console/api/members", json!({"email": "Mia@example.org", "name": "Mia", "password": PASSWORD, "role": "member"})).await.ok(200);
    assert_eq!((&mia["email"], &mia["role"], &mia["last_login_at"]), (&json!("mia@example.org"), &json!("member"), &json!(null)));
    let browser = app.nobody();
    browser.post("/console/api/login", json!({"email": "mia@example.org", "password": PASSWORD})).await.ok(200);
    assert_eq!(browser.get("/console/api/members").await.status, 403);
    let path = format!("/console/api/members/{}", mia["user_id"].as_str().unwrap());
    assert_eq!(owner.patch(&path, json!({"role": "admin"})).await.ok(200)["role"], "admin");
    let members = browser.get("/console/api/members").await.ok(200)["members"].clone();
    assert_eq!(members.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect::<Vec<_>>(), ["owner", "admin"]);
    assert!(members[1]["last_login_at"].is_i64());
    owner.delete(&path).await.ok(200);
    assert_eq!(browser.get("/console/api/session").await.status, 401);
    assert_eq!(owner.delete(&path).await.refusal(), (404, "not_found".into()));
}

#[tokio::test]
async fn what_is_wrong_with_a_new_member_is_said() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let good = json!({"email": "z@example.org", "name": "Z", "password": PASSWORD, "role": "member"});
    for (field, value, expected) in [
        ("role", json!("god"), (400, "invalid_param")),
        ("role", json!(null), (400, "invalid_param")),
        ("email", json!("none"), (400, "invalid_param")),
        ("email", json!("owner@example.org"), (409, "conflict")),
        ("password", json!("123"), (400, "weak_password")),
        ("name", json!("n".repeat(301)), (400, "invalid_param")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = owner.post("/console/api/members", body).await;
        assert_eq!((answer.refusal(), answer.param().as_deref()), ((expected.0, expected.1.into()), Some(field)));
    }
    let mut missing = good;
    missing.as_object_mut().unwrap().remove("email");
    assert_eq!(owner.post("/console/api/members", missing).await.param().as_deref(), Some("email"));
}

#[tokio::test]
async fn an_admin_touches_neither_owners_nor_admins_and_the_last_owner_stays() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let admin = app.person(app.home().await, Role::Admin).await;
    let me = |session: serde_json::Value| format!("/console/api/members/{}", session["user"]["id"].as_str().unwrap());
    let (of_owner, of_admin) = (me(owner.get("/console/api/session").await.json()), me(admin.get("/console/api/session").await.json()));
    assert_eq!(admin.patch(&of_owner, json!({"role": "member"})).await.refusal(), (403, "forbidden".into()));
    assert_eq!(admin.delete(&of_owner).await.refusal(), (403, "forbidden".into()));
    assert_eq!(admin.patch(&of_admin, json!({"role": "owner"})).await.refusal(), (403, "forbidden".into()));
    let new = |role: &str| json!({"email": format!("{role}@example.org"), "name": "N", "password": PASSWORD, "role": role});
    assert_eq!(admin.post("/console/api/members", new("admin")).await.refusal(), (403, "forbidden".into()));
    admin.post("/console/api/members", new("editor")).await.ok(200);
    assert_eq!(owner.patch(&of_owner, json!({"role": "admin"})).await.refusal(), (409, "conflict".into()));
    assert_eq!(owner.delete(&of_owner).await.refusal(), (409, "conflict".into()));
    admin.delete(&of_admin).await.ok(200);
}

#[tokio::test]
async fn members_of_another_workspace_do_not_exist_for_its_neighbours() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let (_, neighbour) = app.neighbour().await;
    for who in [&owner, &neighbour] {
        let other = if std::ptr::eq(who, &owner) { &neighbour } else { &owner };
        let id = other.get("/console/api/session").await.json()["user"]["id"].as_str().unwrap().to_owned();
        assert_eq!(who.patch(&format!("/console/api/members/{id}"), json!({"role": "member"})).await.refusal(), (404, "not_found".into()));
        assert_eq!(who.delete(&format!("/console/api/members/{id}")).await.refusal(), (404, "not_found".into()));
        assert_eq!(who.get("/console/api/members").await.ok(200)["members"].as_array().map(Vec::len), Some(1));
    }
}

#[tokio::test]
async fn one_makes_renames_and_switches_one_s_own_workspaces_and_finds_no_others() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let (strange, _) = app.neighbour().await;
    let made = owner.post("/console/api/workspaces", json!({"name": "Second"})).await.ok(200);
    let path = format!("/console/api/workspaces/{}", made["id"].as_str().unwrap());
    assert_eq!(owner.patch(&path, json!({"name": "Third"})).await.ok(200)["name"], "Third");
    assert_eq!(owner.post(&format!("{path}/switch"), json!({})).await.ok(200)["workspace"]["name"], "Third");
    assert_eq!(owner.get("/console/api/session").await.ok(200)["workspace"]["name"], "Third", "it lasts");
    let names: Vec<String> = owner.get("/console/api/workspaces").await.ok(200)["workspaces"].as_array().unwrap().iter().map(|w| w["name"].as_str().unwrap().into()).collect();
    assert_eq!(names, ["Home", "Third"]);
    for id in [strange.to_string(), "nonsense".into(), TENANT_ZERO.into()] {
        assert_eq!(owner.post(&format!("/console/api/workspaces/{id}/switch"), json!({})).await.refusal(), (404, "not_found".into()));
        assert_eq!(owner.patch(&format!("/console/api/workspaces/{id}"), json!({"name": "Mine"})).await.refusal(), (404, "not_found".into()));
    }
    let admin = app.person(app.home().await, Role::Admin).await;
    assert_eq!(admin.patch(&format!("/console/api/workspaces/{}", app.home().await), json!({"name": "Mine"})).await.refusal(), (403, "forbidden".into()));
}

/// The tenant of what belongs to the installation: never anybody's workspace.
const TENANT_ZERO: &str = "00000000-0000-0000-0000-000000000000";
