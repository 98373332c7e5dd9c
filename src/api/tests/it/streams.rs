//! Streams of events: their shape to the byte, their ends, and clients that go away.

use std::time::Duration;

use domain::{Code, Error, chat::{ChatEvent, FinishReason}};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{CHAT, Client, Frame, Script, Settings, SseReader, TestApp, models::{finish, text, usage}, sse::frames};

use crate::chat::{PATH, cancelled, give_up, with};

fn streamed(fields: Value) -> Value {
    let mut body = with(fields);
    body["stream"] = json!(true);
    body
}

async fn open(who: &Client, path: &str, body: Value) -> SseReader {
    let response = who.request(Method::POST, path).json(&body).send().await.expect("the server answers");
    assert_eq!(response.status(), 200);
    SseReader::new(response)
}

fn data(frames: &[Frame]) -> Vec<&Value> {
    frames.iter().filter_map(|f| if let Frame::Data(v) = f { Some(v) } else { None }).collect()
}

#[tokio::test]
async fn a_stream_begins_with_the_role_ends_with_done_and_repeats_its_head_in_each_chunk() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let answer = program.post(PATH, streamed(json!({}))).await;
    assert_eq!(answer.status, 200);
    assert_eq!((answer.header("content-type"), answer.header("cache-control"), answer.header("x-accel-buffering")), (Some("text/event-stream; charset=utf-8"), Some("no-store"), Some("no")));
    let all = frames(&answer.text());
    assert_eq!(all.last(), Some(&Frame::Done));
    let chunks = data(&all);
    assert_eq!(chunks[0]["choices"], json!([{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": null, "finish_reason": null}]));
    let said: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "one two three");
    assert_eq!(chunks.last().unwrap()["choices"], json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}]));
    for chunk in &chunks {
        assert_eq!((&chunk["object"], &chunk["model"], &chunk["id"], &chunk["created"]), (&json!("chat.completion.chunk"), &json!(CHAT), &chunks[0]["id"], &chunks[0]["created"]));
        assert!(chunk.get("usage").is_none(), "nobody asked for it");
    }
}

#[tokio::test]
async fn usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let all = frames(&program.post(PATH, streamed(json!({"stream_options": {"include_usage": true}}))).await.text());
    let chunks = data(&all);
    let last = chunks.last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(6)));
    assert_eq!(chunks.iter().filter(|c| c.get("usage").is_some_and(|u| !u.is_null())).count(), 1);
    assert_eq!(all.last(), Some(&Frame::Done));
}

#[tokio::test]
async fn each_of_several_answers_has_its_role_and_its_end() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let all = frames(&program.post(PATH, streamed(json!({"n": 3}))).await.text());
    for index in 0..3 {
        let mine: Vec<&Value> = data(&all).into_iter().map(|c| &c["choices"][0]).filter(|c| c["index"] == index).collect();
        assert_eq!((&mine[0]["delta"]["role"], &mine.last().unwrap()["finish_reason"]), (&json!("assistant"), &json!("stop")));
        assert_eq!(mine.iter().filter_map(|c| c["delta"]["content"].as_str()).collect::<String>(), "one two three");
    }
}

#[tokio::test]
async fn tool_calls_stream_as_deltas_that_name_their_place() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let call = |call, id: Option<&str>, name: Option<&str>, arguments: &str| ChatEvent::ToolCall { index: 0, call, id: id.map(Into::into), name: name.map(Into::into), arguments: arguments.into() };
    app.models.next(Script::Says(vec![call(0, Some("c0"), Some("f"), ""), call(0, None, None, "{}"), call(1, Some("c1"), Some("g"), "{"), finish(FinishReason::ToolCalls), usage(1, 1, 0)]));
    let all = frames(&program.post(PATH, streamed(json!({}))).await.text());
    let deltas: Vec<&Value> = data(&all).into_iter().map(|c| &c["choices"][0]["delta"]["tool_calls"]).filter(|d| !d.is_null()).collect();
    assert_eq!(deltas[0], &json!([{"index": 0, "id": "c0", "type": "function", "function": {"name": "f", "arguments": ""}}]));
    assert_eq!(deltas[1], &json!([{"index": 0, "function": {"arguments": "{}"}}]));
    assert_eq!(deltas[2][0]["index"], 1);
}

#[tokio::test]
async fn text_of_any_script_arrives_as_it_was_said() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let pieces = ["Grüße\n", "你好\u{2028}", "👩‍👩‍👧", "\"quoted\" \\ back", "data: [DONE]\n\n", "\u{0}"];
    app.models.next(Script::Says(pieces.iter().map(|p| text(p)).chain([finish(FinishReason::Stop), usage(1, 1, 0)]).collect()));
    let all = frames(&program.post(PATH, streamed(json!({}))).await.text());
    assert_eq!(data(&all).iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect::<String>(), pieces.concat());
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_why_and_does_not_say_done() {
    let app = TestApp::start().await;
    let program = app.program().await;
    app.models.next(Script::Breaks(vec![text("half")], Error::new(Code::ModelWorkerCrashed, "the process ended")));
    let all = frames(&program.post(PATH, streamed(json!({}))).await.text());
    assert_eq!(all.last(), Some(&Frame::Data(json!({"error": {"message": "the process ended", "type": "api_error", "param": null, "code": "model_worker_crashed"}}))));
    assert!(!all.contains(&Frame::Done));
}

#[tokio::test]
async fn a_refusal_has_its_status_however_late_it_comes() {
    let mut settings = Settings::quick();
    settings.http.keep_alive_secs = 1;
    let app = TestApp::with(settings).await;
    let program = app.program().await;
    app.models.next(Script::After(Duration::from_millis(2500), Box::new(Script::Refuses(Error::new(Code::InvalidModelFile, "damaged")))));
    assert_eq!(program.post(PATH, streamed(json!({}))).await.refusal(), (400, "invalid_model_file".into()));
}

#[tokio::test]
async fn while_a_model_is_silent_comments_keep_the_connection_alive() {
    let mut settings = Settings::quick();
    settings.http.keep_alive_secs = 1;
    let app = TestApp::with(settings).await;
    let program = app.program().await;
    app.models.next(Script::Silent);
    let mut reader = open(&program, PATH, streamed(json!({}))).await;
    assert!(matches!(reader.next().await, Some(Frame::Data(_))), "the role");
    for _ in 0..2 {
        assert_eq!(reader.next().await, Some(Frame::Comment("waiting".into())));
    }
    drop(reader);
    cancelled(&app, 1).await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_cancels_the_work() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let program = app.program().await;
    let mut count = 0;
    for script in [Script::Rambles, Script::Silent] {
        for (who, path, body) in [
            (&program, PATH, streamed(json!({}))),
            (&owner, "/console/api/playground/chat", streamed(json!({}))),
            (&program, "/v1/completions", json!({"prompt": "x", "stream": true})),
        ] {
            app.models.next(script.clone());
            let mut reader = open(who, path, body).await;
            if matches!(script, Script::Rambles) {
                for _ in 0..5 {
                    reader.next().await.expect("it rambles");
                }
            }
            assert_eq!(app.models.running(), 1);
            drop(reader);
            count += 1;
            cancelled(&app, count).await;
        }
    }
    assert!(app.nobody().get("/metrics").await.text().contains("filbert_streams_open 0"));
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_head_cancels_the_work() {
    let app = TestApp::start().await;
    let program = app.program().await;
    app.models.next(Script::After(Duration::from_secs(60), Box::new(Script::Rambles)));
    give_up(&app, &program, PATH, streamed(json!({}))).await;
    cancelled(&app, 1).await;
    assert!(app.nobody().get("/metrics").await.text().contains("filbert_streams_open 0"));
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_until_one_ends() {
    let mut settings = Settings::quick();
    settings.http.max_streams = 2;
    let app = TestApp::with(settings).await;
    let program = app.program().await;
    let mut open_ones = Vec::new();
    for _ in 0..2 {
        app.models.next(Script::Rambles);
        open_ones.push(open(&program, PATH, streamed(json!({}))).await);
    }
    let refused = program.post(PATH, streamed(json!({}))).await;
    assert_eq!(refused.refusal(), (429, "too_many_requests".into()));
    assert!(refused.text().contains("http.max_streams") && refused.header("retry-after").is_some());
    assert_eq!(program.post(PATH, with(json!({}))).await.status, 200, "whole answers are not streams");
    drop(open_ones);
    cancelled(&app, 2).await;
    assert_eq!(program.post(PATH, streamed(json!({}))).await.status, 200);
}

#[tokio::test]
async fn hundreds_of_streams_at_once_all_come_to_their_end_and_are_counted_out() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let answers = futures::future::join_all((0..300).map(|_| program.post(PATH, streamed(json!({}))))).await;
    assert!(answers.iter().all(|a| frames(&a.text()).last() == Some(&Frame::Done)));
    let figures = app.nobody().get("/metrics").await.text();
    assert!(figures.contains("filbert_streams_open 0") && figures.contains("filbert_tokens_total{kind=\"completion\"} 900"), "{figures}");
}

#[tokio::test]
async fn the_playground_streams_to_people_who_are_signed_in() {
    let app = TestApp::start().await;
    app.set_up().await;
    let member = app.person(app.home().await, domain::account::Role::Member).await;
    let all = frames(&member.post("/console/api/playground/chat", streamed(json!({}))).await.text());
    assert_eq!(all.last(), Some(&Frame::Done));
    assert_eq!(app.models.last_chat().0.tenant, app.home().await);
    let refused = member.post("/console/api/playground/chat", streamed(json!({"messages": []}))).await;
    assert_eq!((refused.refusal(), refused.json()["error"].is_object()), ((400, "invalid_param".into()), true));
}

/// Memory of this process in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("this is Linux");
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:")).expect("the kernel counts it");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).expect("a number") * 1024
}

/// The client's side is counted in, too: bare sockets.
#[tokio::test]
async fn an_open_stream_takes_less_than_sixty_kilobytes() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const STREAMS: usize = 300;
    let app = TestApp::start().await;
    let (_, key) = app.key(domain::id::TenantId::new(), domain::key::KeyScope::Model { models: Vec::new() }).await;
    let body = streamed(json!({})).to_string();
    let request = format!("POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut sockets = Vec::with_capacity(STREAMS);
    let mut before = 0;
    for i in 0..STREAMS + 20 {
        if i == 20 {
            before = resident();
        }
        app.models.next(Script::Silent);
        let mut socket = tokio::net::TcpStream::connect(app.address).await.expect("a connection");
        socket.write_all(request.as_bytes()).await.expect("it takes the request");
        let mut head = [0; 1024];
        assert!(socket.read(&mut head).await.expect("an answer") > 0 && head.starts_with(b"HTTP/1.1 200"));
        sockets.push(socket);
    }
    let each = (resident() - before) / STREAMS as u64;
    assert!(each <= 60_000, "{each} bytes a stream");
    println!("{each} bytes a stream");
    drop(sockets);
    cancelled(&app, STREAMS + 20).await;
}
