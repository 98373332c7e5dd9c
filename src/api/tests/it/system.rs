//! Settings, state, backups, and what operators ask.

use domain::{Code, Error};
use reqwest::Method;
use serde_json::json;
use testkit::{CHAT, TestApp, models::BACKUP};

#[tokio::test]
async fn settings_are_read_with_the_configuration_and_changed_one_by_one() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let before = owner.get("/console/api/settings").await.ok(200);
    assert_eq!(before["config"][0], json!({"key": "server.listen", "value": "127.0.0.1:0", "source": "flag", "description": "Address and port."}));
    let after = owner.patch("/console/api/settings", json!({"name": "Nut", "default_chat_model": CHAT})).await.ok(200);
    assert_eq!((&after["name"], &after["default_chat_model"], &after["default_language"]), (&json!("Nut"), &json!(CHAT), &json!("en-US")));
    assert_eq!(owner.get("/console/api/session").await.ok(200)["instance"]["name"], "Nut");
    assert_eq!(owner.patch("/console/api/settings", json!({"default_chat_model": ""})).await.ok(200)["default_chat_model"], json!(null));
    for (field, bad) in [("name", json!("")), ("name", json!(7)), ("default_language", json!("no language"))] {
        assert_eq!(owner.patch("/console/api/settings", json!({field: bad})).await.refusal(), (400, "invalid_param".into()));
    }
}

#[tokio::test]
async fn the_state_of_the_machine_names_its_checks() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let state = owner.get("/console/api/system").await.ok(200);
    let checks: Vec<&str> = state["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(checks, ["store", "disk", "models"]);
    assert!(state["memory"]["pss_bytes"].as_u64().unwrap() > 1_000_000 && state["disk_total_bytes"].as_u64().unwrap() > 0);
    assert_eq!(state["data_dir"], app.data_dir().display().to_string());
}

#[tokio::test]
async fn a_backup_comes_whole_with_its_checksum_and_leaves_no_file_behind() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let answer = owner.post("/console/api/backup", json!({})).await;
    assert_eq!((answer.status, &answer.bytes[..]), (200, BACKUP));
    assert_eq!((answer.header("content-type"), answer.header("content-length")), (Some("application/octet-stream"), Some(BACKUP.len().to_string().as_str())));
    assert_eq!(answer.header("x-backup-sha256"), Some("ab".repeat(32).as_str()));
    assert!(answer.header("content-disposition").unwrap().contains(".backup"));
    *app.backup.refuses.lock() = Some(Error::new(Code::StorageFull, "the disk is full"));
    assert_eq!(owner.post("/console/api/backup", json!({})).await.refusal(), (507, "storage_full".into()));
    for _ in 0..50 {
        if std::fs::read_dir(app.data_dir()).unwrap().count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a temporary folder was left in the data directory");
}

#[tokio::test]
async fn operators_are_told_about_health_and_figures() {
    let app = TestApp::start().await;
    let anybody = app.nobody();
    assert_eq!(anybody.get("/healthz").await.ok(200), json!({"status": "ok"}));
    assert_eq!(anybody.get("/readyz").await.ok(200), json!({"status": "ok"}));
    for path in ["/healthz", "/readyz"] {
        let head = anybody.send(anybody.request(Method::HEAD, path)).await;
        assert_eq!((head.status, head.bytes.len()), (200, 0));
    }
    anybody.get("/v1/models/secret-name").await;
    anybody.send(anybody.request(Method::from_bytes(b"BREW").unwrap(), "/some/where")).await;
    let figures = anybody.get("/metrics").await;
    assert!(figures.header("content-type").unwrap().starts_with("text/plain"));
    let text = figures.text();
    for line in [
        "filbert_http_requests_total{method=\"GET\",route=\"/healthz\",status=\"200\"} 1",
        "filbert_http_requests_total{method=\"GET\",route=\"/v1/models/{id}\",status=\"401\"} 1",
        "filbert_http_requests_in_flight 1",
        "filbert_streams_open 0",
        "filbert_models_queued 0",
        "filbert_models_prompt_tokens_total 5",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("secret-name") && !text.contains("BREW") && !text.contains("/some/where"), "labels are patterns");
}

#[tokio::test]
async fn the_description_is_served() {
    let app = TestApp::start().await;
    let served = app.nobody().get("/openapi.json").await.ok(200);
    assert_eq!(served, crate::document::document());
}
