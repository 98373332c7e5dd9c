//! Every refusal has one of two shapes, whatever part of the server it comes from.

use std::time::Duration;

use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;
use testkit::{PASSWORD, Script, Settings, TestApp};

use crate::{chat, document::operations};

/// Bodies that are no JSON, or not JSON of any use.
fn rubbish() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str, n: usize| [open.repeat(n), close.repeat(n)].concat().into_bytes();
    vec![
        ("nothing", b"".into()),
        ("half an object", b"{\"a\": [".into()),
        ("a quote", b"\"".into()),
        ("a number", b"42".into()),
        ("null", b"null".into()),
        ("an array", b"[]".into()),
        ("values without names", b" [\"a@b.c\", \"name\", \"password 1\", \"member\"]".into()),
        ("two values", b"{}{}".into()),
        ("a trailing comma", b"{\"a\":1,}".into()),
        ("NaN", b"{\"a\":NaN}".into()),
        ("bad UTF-8", b"{\"model\":\"\xff\xfe\",\"email\":\"\xff\",\"name\":\"\xff\"}".into()),
        ("an overlong sequence", b"{\"model\":\"\xc0\xaf\",\"email\":\"\xc0\xaf\",\"name\":\"\xc0\xaf\"}".into()),
        ("a lone surrogate", b"{\"model\":\"\\ud800\",\"email\":\"\\ud800\",\"name\":\"\\ud800\",\"kind\":\"\\ud800\"}".into()),
        ("a control character", b"{\"model\":\"\x01\",\"email\":\"\x01\",\"name\":\"\x01\",\"kind\":\"\x01\"}".into()),
        ("a byte order mark", b"\xef\xbb\xbf{}".into()),
        ("NULs", vec![0; 100]),
        ("arrays 25,000 deep", deep("[", "]", 25_000)),
        ("objects 10,000 deep", deep("{\"a\":", "}", 10_000)),
        ("nothing but blanks", vec![b' '; 60_000]),
    ]
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused_on_every_route_that_takes_one() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let program = app.program().await;
    let document = crate::document::document();
    let mut routes = 0;
    for o in operations() {
        let takes = &document["paths"][&o.template][o.method.as_str().to_lowercase()]["requestBody"]["content"]["application/json"];
        if takes.is_null() || o.security.as_deref() == Some("local") {
            continue;
        }
        routes += 1;
        let who = if o.security.as_deref() == Some("key") { &program } else { &owner };
        for (name, body) in rubbish() {
            let answer = who.send(who.request(o.method.clone(), &o.path()).header("content-type", "application/json").body(body)).await;
            let (status, code) = answer.refusal();
            assert!(status == 400 && (code == "bad_request" || code == "invalid_param"), "{} with {name}: {status} {code}", o.name());
        }
    }
    assert!(routes >= 17, "{routes} routes take JSON");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let mut settings = Settings::quick();
    (settings.http.max_json_bytes, settings.http.max_stranger_json_bytes) = (2000, 500);
    let app = TestApp::with(settings).await;
    let owner = app.set_up().await;
    let program = app.program().await;
    for (who, path, limit, name) in [(&program, chat::PATH, 2000, "http.max_json_bytes"), (&owner, "/console/api/keys", 2000, "http.max_json_bytes"), (&owner, "/console/api/login", 500, "http.max_stranger_json_bytes")] {
        let large = format!("{{\"x\":\"{}\"}}", "y".repeat(limit));
        let unsaid = reqwest::Body::wrap_stream(stream::iter(large.clone().into_bytes().chunks(100).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>()));
        for answer in [who.post_bytes(path, large).await, who.post_bytes(path, unsaid).await] {
            assert_eq!(answer.refusal(), (413, "request_entity_too_large".into()), "{path}");
            assert!(answer.text().contains(name), "{}", answer.text());
        }
        let fits = format!("{{\"x\":\"{}\"}}", "y".repeat(limit - 100));
        assert_eq!(who.post_bytes(path, fits).await.status, 400, "a smaller one is read");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_given_up() {
    let mut settings = Settings::quick();
    settings.http.body_timeout_secs = 1;
    let app = TestApp::with(settings).await;
    let program = app.program().await;
    let slow = stream::iter(vec!["{", "\"a\"", ":", "1", "}"]).then(async |piece| {
        tokio::time::sleep(Duration::from_millis(600)).await;
        Ok::<_, std::io::Error>(piece)
    });
    let answer = program.post_bytes(chat::PATH, reqwest::Body::wrap_stream(slow.boxed())).await;
    assert_eq!(answer.refusal(), (408, "request_timeout".into()));
}

#[tokio::test]
async fn json_must_be_called_json_where_it_is_called_anything() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let body = chat::hello().to_string();
    for (kind, status) in [("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("multipart/form-data; boundary=x", 415), ("application/json; charset=utf-8", 200), ("application/problem+json", 200)] {
        let answer = program.send(program.request(Method::POST, chat::PATH).header("content-type", kind).body(body.clone())).await;
        assert_eq!(answer.status, status, "{kind}: {}", answer.text());
        if status == 415 {
            assert_eq!(answer.refusal().1, "unsupported_media_type");
        }
    }
    assert_eq!(program.send(program.request(Method::POST, chat::PATH).body(body)).await.status, 200, "none is fine");
}

#[tokio::test]
async fn signing_in_must_be_called_json_because_other_sites_can_send_bodies_without_a_name() {
    let app = TestApp::start().await;
    app.set_up().await;
    let nobody = app.nobody();
    for path in ["/console/api/login", "/console/api/setup"] {
        let body = json!({"email": "owner@example.org", "name": "Olive", "password": PASSWORD}).to_string();
        assert_eq!(nobody.send(nobody.request(Method::POST, path).body(body)).await.refusal(), (415, "unsupported_media_type".into()), "{path}");
    }
}

#[tokio::test]
async fn every_known_path_answers_other_methods_with_405() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let all = operations();
    let mut count = 0;
    for o in &all {
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            if all.iter().any(|other| other.method == method && (other.template == o.template || other.template.replace("{id}", "upload") == o.template)) {
                continue;
            }
            let answer = owner.send(owner.request(method.clone(), &o.path())).await;
            assert_eq!(answer.refusal(), (405, "method_not_allowed".into()), "{method} {}", o.template);
            let allowed: Vec<&str> = answer.header("allow").expect("the methods that are").split(", ").collect();
            assert!(allowed.contains(&o.method.as_str()) && !allowed.contains(&method.as_str()), "{allowed:?}");
            count += 1;
        }
    }
    assert!(count > 150, "{count}");
}

#[tokio::test]
async fn an_unknown_path_is_not_found_in_its_family_s_shape() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    for path in ["/v1", "/v1/", "/v1/nothing", "/console/api", "/console/api/", "/console/api/nothing", "/console/api/keys/", "/console/api/keys/a/b", "/internal/nothing", "/console/api//keys"] {
        let answer = owner.get(path).await;
        assert_eq!(answer.refusal(), (404, "not_found".into()), "{path}");
        assert!(answer.json()["status"].is_number(), "{path}");
    }
    for path in ["/v1/chat/nothing", "/v1/models/a/b"] {
        let answer = owner.get(path).await;
        assert_eq!((answer.refusal(), answer.json()["error"].is_object()), ((404, "not_found".into()), true), "{path}");
    }
}

#[tokio::test]
async fn what_a_client_sends_is_never_echoed_at_length() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let program = app.program().await;
    let long = "m".repeat(100_000);
    for answer in [
        program.post(chat::PATH, json!({"model": long, "messages": [{"role": "user", "content": "x"}]})).await,
        program.post(chat::PATH, json!({"messages": [{"role": long, "content": "x"}]})).await,
        program.post(chat::PATH, json!({"messages": long})).await,
        program.post(chat::PATH, json!({"temperature": long, "messages": []})).await,
        owner.post("/console/api/members", json!({"email": "a@b.c", "name": "n", "password": "long enough", "role": long})).await,
        owner.delete(&format!("/console/api/keys/{}", &long[..5000])).await,
        owner.get(&format!("/console/api/keys?kind={}", &long[..5000])).await,
        owner.get(&format!("/console/api/{}", &long[..5000])).await,
    ] {
        let (status, _) = answer.refusal();
        assert!((400..500).contains(&status) && answer.bytes.len() < 2000, "{} bytes", answer.bytes.len());
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_a_500_with_its_request_id_and_the_server_goes_on() {
    let app = TestApp::start().await;
    let program = app.program().await;
    for stream in [false, true] {
        app.models.next(Script::Panics);
        let answer = program.post(chat::PATH, chat::with(json!({"stream": stream}))).await;
        assert_eq!(answer.refusal(), (500, "internal_server_error".into()));
        assert!(answer.header("x-request-id").is_some() && !answer.text().contains("asked for by a test"));
        assert_eq!(program.post(chat::PATH, chat::hello()).await.status, 200);
    }
    assert!(app.nobody().get("/metrics").await.text().contains("filbert_http_requests_in_flight 1"));
}

#[tokio::test]
async fn every_answer_names_its_request_by_the_client_s_name_when_that_is_a_decent_one() {
    let app = TestApp::start().await;
    let nobody = app.nobody();
    for (path, given, kept) in [("/healthz", "my-id.1:2_3", true), ("/v1/models", "abc", true), ("/healthz", "a b", false), ("/healthz", "<script>", false), ("/healthz", &"i".repeat(129), false)] {
        let answer = nobody.send(nobody.request(Method::GET, path).header("x-request-id", given)).await;
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(id == given, kept, "{id}");
    }
    let ids = [nobody.get("/healthz").await, nobody.get("/v1/nothing").await].map(|a| a.header("x-request-id").unwrap().to_owned());
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn browsers_of_any_origin_may_use_v1_and_none_but_ours_the_console() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let ask = async |path: &str| program.send(program.request(Method::OPTIONS, path).header("origin", "https://example.org").header("access-control-request-method", "POST")).await;
    let answer = ask(chat::PATH).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
    assert!(answer.header("access-control-allow-credentials").is_none() && answer.header("access-control-allow-headers").unwrap().contains("Authorization"));
    assert_eq!(program.get("/v1/models").await.header("access-control-allow-origin"), Some("*"));
    assert_eq!(app.nobody().get("/v1/models").await.header("access-control-allow-origin"), Some("*"), "a browser may read why it was refused");
    for path in ["/console/api/session", "/internal/system"] {
        let answer = ask(path).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, None));
    }
    let mut settings = Settings::quick();
    settings.http.cors = false;
    let closed = TestApp::with(settings).await;
    assert!(closed.nobody().get("/v1/models").await.header("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn no_answer_can_be_taken_for_another_kind_of_file() {
    let app = TestApp::start().await;
    for path in ["/healthz", "/v1/models", "/console/api/session", "/metrics"] {
        assert_eq!(app.nobody().get(path).await.header("x-content-type-options"), Some("nosniff"));
    }
}
