//! `POST /v1/chat/completions`, answered whole.

use std::time::{Duration, Instant};

use domain::{
    Code, Error,
    chat::{ChatEvent, FinishReason, Part, ResponseFormat, Role, TokenLogprob, ToolChoice},
};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{CHAT, Client, EMBEDDING, Script, TestApp, models::{finish, text, usage}};

pub const PATH: &str = "/v1/chat/completions";

pub fn hello() -> Value {
    json!({"model": CHAT, "messages": [{"role": "user", "content": "one two three"}]})
}

/// `hello` with other fields.
pub fn with(fields: Value) -> Value {
    let mut body = hello();
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// Waits until a number of requests has been cancelled and nothing runs.
pub async fn cancelled(app: &TestApp, count: usize) {
    let begun = Instant::now();
    while app.models.cancelled() != count || app.models.running() != 0 {
        assert!(begun.elapsed() < Duration::from_secs(2), "{} cancelled, {} running", app.models.cancelled(), app.models.running());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_answer_has_the_shape_openai_s_clients_expect() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let answer = program.post(PATH, hello()).await.ok(200);
    assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!(CHAT)));
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-") && answer["created"].as_i64().unwrap() > 1_700_000_000);
    assert!(answer["system_fingerprint"].as_str().unwrap().starts_with("filbert-"));
    assert_eq!(answer["choices"], json!([{"index": 0, "message": {"role": "assistant", "content": "one two three", "refusal": null}, "logprobs": null, "finish_reason": "stop"}]));
    assert_eq!(answer["usage"], json!({"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6, "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}));
}

#[tokio::test]
async fn everything_a_client_sends_reaches_the_model_in_the_domain_s_words() {
    let app = TestApp::start().await;
    let (key, secret) = app.key(domain::id::TenantId::new(), domain::key::KeyScope::Model { models: Vec::new() }).await;
    let program = app.with_key(&secret);
    let body = json!({
        "model": CHAT,
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": false,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}},
        "temperature": 0.5, "top_p": 0.25, "top_k": 7, "min_p": 0.125, "presence_penalty": 1, "frequency_penalty": -1, "repeat_penalty": 1.5, "seed": 9,
        "logit_bias": {"5": -100}, "max_tokens": 1, "max_completion_tokens": 20, "stop": "END", "n": 2, "logprobs": true, "top_logprobs": 3,
        "user": "u", "store": false, "ignore_eos": true, "metadata": null,
    });
    let request = program.request(Method::POST, PATH).header("x-request-id", "my-request").json(&body);
    program.send(request).await.ok(200);
    let (caller, r) = app.models.last_chat();
    assert_eq!((caller.tenant, caller.request_id.as_str(), caller.background), (key.tenant, "my-request", false));
    assert_eq!(r.messages.iter().map(|m| m.role).collect::<Vec<_>>(), [Role::System, Role::User, Role::Assistant, Role::Tool]);
    assert_eq!((r.messages[1].name.as_deref(), r.messages[1].content.len()), (Some("ann"), 2));
    assert_eq!(r.messages[1].content[1], Part::Image { url: "data:image/png;base64,AA".into(), detail: Some("low".into()) });
    assert_eq!((r.messages[2].tool_calls[0].arguments.as_str(), r.messages[3].tool_call_id.as_deref()), ("{\"a\":1}", Some("c1")));
    assert_eq!((r.tools[0].name.as_str(), r.tools[0].strict, r.tool_choice, r.parallel_tool_calls), ("f", true, ToolChoice::Named { name: "f".into() }, Some(false)));
    assert_eq!(r.response_format, ResponseFormat::JsonSchema { name: "n".into(), schema: json!({"type": "object"}), strict: true });
    let s = r.sampling;
    assert_eq!((s.temperature, s.top_p, s.top_k, s.min_p), (Some(0.5), Some(0.25), Some(7), Some(0.125)));
    assert_eq!((s.presence_penalty, s.frequency_penalty, s.repeat_penalty, s.seed, s.logit_bias[&5]), (Some(1.0), Some(-1.0), Some(1.5), Some(9), -100.0));
    assert_eq!((r.max_tokens, r.stop, r.n, r.logprobs), (Some(20), vec!["END".to_owned()], Some(2), Some(3)));
    assert_eq!((&r.extra["ignore_eos"], r.extra.contains_key("model")), (&json!(true), false));
}

#[tokio::test]
async fn a_request_with_nulls_everywhere_is_a_request_without_those_fields() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let nulls = json!({"tools": null, "tool_choice": null, "response_format": null, "temperature": null, "stop": null, "n": null, "logprobs": null, "stream": null, "stream_options": null, "logit_bias": null, "max_tokens": null, "seed": null, "functions": null});
    program.post(PATH, with(nulls)).await.ok(200);
    let (_, nulled) = app.models.last_chat();
    program.post(PATH, hello()).await.ok(200);
    assert_eq!(domain_without_extra(nulled), domain_without_extra(app.models.last_chat().1));
}

fn domain_without_extra(mut r: domain::chat::ChatRequest) -> domain::chat::ChatRequest {
    r.extra.clear();
    r
}

#[tokio::test]
async fn several_answers_come_apart_by_their_index() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let t = |index, text: &str| ChatEvent::Text { index, text: text.into(), logprobs: Vec::new() };
    let f = |index, reason| ChatEvent::Finish { index, reason };
    app.models.next(Script::Says(vec![t(1, "b"), t(0, "a"), t(1, "B"), f(1, FinishReason::Length), t(0, "A"), t(9, "nobody's"), f(0, FinishReason::Stop), usage(2, 4, 1)]));
    let answer = program.post(PATH, with(json!({"n": 2}))).await.ok(200);
    let said: Vec<_> = answer["choices"].as_array().unwrap().iter().map(|c| (c["index"].as_u64().unwrap(), c["message"]["content"].as_str().unwrap(), c["finish_reason"].as_str().unwrap())).collect();
    assert_eq!(said, [(0, "aA", "stop"), (1, "bB", "length")]);
    assert_eq!((&answer["usage"]["total_tokens"], &answer["usage"]["prompt_tokens_details"]["cached_tokens"]), (&json!(6), &json!(1)));
}

#[tokio::test]
async fn tool_calls_that_come_in_pieces_and_across_each_other_are_put_together_each_by_itself() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let call = |call, id: Option<&str>, name: Option<&str>, arguments: &str| ChatEvent::ToolCall { index: 0, call, id: id.map(Into::into), name: name.map(Into::into), arguments: arguments.into() };
    app.models.next(Script::Says(vec![
        call(0, Some("c0"), Some("add"), "{\"a\""),
        call(1, Some("c1"), Some("sub"), "{\"b\""),
        call(0, None, None, ":1}"),
        call(2, Some("c2"), Some("mul"), "{}"),
        call(1, None, None, ":2}"),
        finish(FinishReason::ToolCalls),
        usage(1, 1, 0),
    ]));
    let answer = program.post(PATH, hello()).await.ok(200);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let made = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    assert_eq!(choice["message"]["tool_calls"], json!([made("c0", "add", "{\"a\":1}"), made("c1", "sub", "{\"b\":2}"), made("c2", "mul", "{}")]));
}

#[tokio::test]
async fn reasoning_and_log_probabilities_stand_beside_the_text() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let l = TokenLogprob { token: "hü".into(), bytes: "hü".into(), logprob: -0.5, top: vec![("ha".into(), b"ha".to_vec(), -1.5)] };
    app.models.next(Script::Says(vec![ChatEvent::Reasoning { index: 0, text: "hm".into() }, ChatEvent::Text { index: 0, text: "hü".into(), logprobs: vec![l] }, finish(FinishReason::Stop), usage(1, 1, 0)]));
    let answer = program.post(PATH, with(json!({"logprobs": true, "top_logprobs": 1}))).await.ok(200);
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["reasoning_content"], "hm");
    assert_eq!(choice["logprobs"]["content"], json!([{"token": "hü", "logprob": -0.5, "bytes": [104, 195, 188], "top_logprobs": [{"token": "ha", "logprob": -1.5, "bytes": [104, 97]}]}]));
}

#[tokio::test]
async fn without_a_model_the_default_of_the_installation_answers_or_the_first_there_is() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let program = app.program().await;
    let mut body = hello();
    for nameless in [json!(null), json!("")] {
        body["model"] = nameless;
        assert_eq!(program.post(PATH, body.clone()).await.ok(200)["model"], CHAT);
    }
    app.models.drop_in("another", domain::model::ModelKind::Chat);
    owner.patch("/console/api/settings", json!({"default_chat_model": "another"})).await.ok(200);
    assert_eq!(program.post(PATH, body.clone()).await.ok(200)["model"], "another");
    owner.patch("/console/api/settings", json!({"default_chat_model": "gone"})).await.ok(200);
    assert_eq!(program.post(PATH, body).await.refusal(), (404, "model_not_found".into()));
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let rows = [
        ("messages", json!({"messages": []})),
        ("messages", json!({"messages": {}})),
        ("messages[0]", json!({"messages": ["hi"]})),
        ("messages[0].role", json!({"messages": [{"role": "wizard", "content": "x"}]})),
        ("messages[0].content", json!({"messages": [{"role": "user"}]})),
        ("model", json!({"model": 5})),
        ("temperature", json!({"temperature": "hot"})),
        ("max_tokens", json!({"max_tokens": -1})),
        ("max_tokens", json!({"max_tokens": 1.5})),
        ("n", json!({"n": "two"})),
        ("seed", json!({"seed": 1.5})),
        ("stream", json!({"stream": "yes"})),
        ("top_logprobs", json!({"logprobs": true, "top_logprobs": 21})),
        ("logit_bias", json!({"logit_bias": {"abc": 1}})),
        ("tools[0].type", json!({"tools": [{"type": "web", "function": {"name": "x"}}]})),
        ("tool_choice", json!({"tool_choice": "perhaps"})),
        ("tool_choice", json!({"tool_choice": {"type": "function"}})),
        ("grammar", json!({"grammar": "root ::= \"a\"", "response_format": {"type": "json_object"}})),
        ("functions", json!({"functions": [{"name": "f"}]})),
        ("function_call", json!({"function_call": "auto"})),
    ];
    for (field, fields) in rows {
        let answer = program.post(PATH, with(fields.clone())).await;
        assert_eq!(answer.refusal(), (400, "invalid_param".into()), "{fields}");
        let param = answer.param().unwrap_or_else(|| panic!("{fields} names no field"));
        assert!(param == field || param.split(['.', '[']).next() == Some(field), "{fields} names {param}");
        assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    }
    assert_eq!(app.models.chats(), 0, "none reached the model");
}

#[tokio::test]
async fn refusals_of_the_model_have_their_status_streamed_or_not() {
    let app = TestApp::start().await;
    let program = app.program().await;
    for stream in [false, true] {
        for (code, status) in [(Code::QueueFull, 429), (Code::ContextLengthExceeded, 400), (Code::InvalidGrammar, 400), (Code::ModelUnsupported, 400), (Code::OutOfMemory, 503), (Code::ModelWorkerCrashed, 503)] {
            app.models.next(Script::Refuses(Error::new(code, "no").retry_after(Duration::from_millis(100))));
            let answer = program.post(PATH, with(json!({"stream": stream}))).await;
            assert_eq!(answer.refusal(), (status, code.as_str().into()));
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        assert_eq!(program.post(PATH, with(json!({"stream": stream, "model": "gpt-99"}))).await.refusal(), (404, "model_not_found".into()));
        assert_eq!(program.post(PATH, with(json!({"stream": stream, "model": EMBEDDING}))).await.refusal(), (400, "model_unsupported".into()));
    }
}

#[tokio::test]
async fn a_whole_answer_that_breaks_off_is_an_error_and_not_half_an_answer() {
    let app = TestApp::start().await;
    let program = app.program().await;
    app.models.next(Script::Breaks(vec![text("half")], Error::new(Code::ModelWorkerCrashed, "the process ended")));
    let answer = program.post(PATH, hello()).await;
    assert_eq!(answer.refusal(), (503, "model_worker_crashed".into()));
    assert!(!answer.text().contains("half"));
}

/// Sends a request and gives up on it while the model works.
pub async fn give_up(app: &TestApp, who: &Client, path: &str, body: Value) {
    let before = app.models.running();
    let sending = tokio::spawn(who.request(Method::POST, path).json(&body).send());
    let begun = Instant::now();
    while app.models.running() == before {
        assert!(begun.elapsed() < Duration::from_secs(2), "the request never reached the model");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sending.abort();
}

#[tokio::test]
async fn a_client_that_gives_up_on_a_whole_answer_cancels_the_work() {
    let app = TestApp::start().await;
    let owner = app.set_up().await;
    let program = app.program().await;
    let mut count = 0;
    for script in [Script::Rambles, Script::Silent, Script::After(Duration::from_secs(60), Box::new(Script::Rambles))] {
        for (who, path, body) in [(&program, PATH, hello()), (&owner, "/console/api/playground/chat", hello()), (&program, "/v1/completions", json!({"prompt": "x"}))] {
            app.models.next(script.clone());
            give_up(&app, who, path, body).await;
            count += 1;
            cancelled(&app, count).await;
        }
    }
    assert!(app.nobody().get("/metrics").await.text().contains("status=\"499\""), "it is counted");
    assert_eq!(program.post(PATH, hello()).await.status, 200);
}

#[tokio::test]
async fn over_http2_too_a_client_that_gives_up_cancels_the_work_and_one_that_waits_gets_the_whole_answer() {
    let app = TestApp::start().await;
    let (_, secret) = app.key(domain::id::TenantId::new(), domain::key::KeyScope::Model { models: Vec::new() }).await;
    let program = app.with_key_over_http2(&secret);
    let quick = program.request(Method::POST, PATH).json(&hello()).send().await.unwrap();
    assert_eq!((quick.version(), quick.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    for (count, (path, body)) in [(PATH, hello()), ("/v1/completions", json!({"prompt": "x"}))].into_iter().enumerate() {
        app.models.next(Script::Rambles);
        give_up(&app, &program, path, body).await;
        cancelled(&app, count + 1).await;
    }
    app.models.next(Script::SaysSlowly(vec![text("late "), text("but "), text("whole"), finish(FinishReason::Stop), usage(1, 3, 0)], Duration::from_millis(600)));
    let answer = program.post(PATH, hello()).await;
    assert!(answer.text().starts_with("\n"), "white space came first");
    assert_eq!((answer.ok(200)["choices"][0]["message"]["content"].as_str(), answer.header("content-type")), (Some("late but whole"), Some("application/json")));
    app.models.next(Script::Refuses(Error::new(Code::QueueFull, "full")));
    assert_eq!(program.post(PATH, hello()).await.refusal(), (429, "queue_full".into()));
}
