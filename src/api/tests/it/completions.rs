//! `POST /v1/completions`.

use domain::chat::{ChatEvent, FinishReason, Prompt, TokenLogprob};
use serde_json::{Value, json};
use testkit::{CHAT, Frame, Script, TestApp, models::usage, sse::frames};

const PATH: &str = "/v1/completions";

#[tokio::test]
async fn a_prompt_is_continued_and_by_default_with_sixteen_tokens_at_most() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let answer = program.post(PATH, json!({"model": CHAT, "prompt": "a b", "top_k": 3, "logprobs": 2, "echo": true})).await.ok(200);
    assert_eq!((&answer["object"], &answer["model"]), (&json!("text_completion"), &json!(CHAT)));
    assert_eq!(answer["choices"], json!([{"index": 0, "text": "a b", "logprobs": null, "finish_reason": "stop"}]));
    assert_eq!(answer["usage"]["total_tokens"], 4);
    let r = app.models.last_completion();
    assert_eq!((r.max_tokens, r.echo, r.logprobs, r.sampling.top_k), (Some(16), true, Some(2), Some(3)));
}

#[tokio::test]
async fn prompts_are_text_texts_token_ids_or_lists_of_them_and_answers_are_numbered_through() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let texts = async |prompt: Value, n: u32| {
        let answer = program.post(PATH, json!({"prompt": prompt, "n": n})).await.ok(200);
        answer["choices"].as_array().unwrap().iter().map(|c| (c["index"].as_u64().unwrap(), c["text"].as_str().unwrap().to_owned())).collect::<Vec<_>>()
    };
    let expected = |all: &[&str]| all.iter().enumerate().map(|(i, t)| (i as u64, (*t).to_owned())).collect::<Vec<_>>();
    assert_eq!(texts(json!("x"), 1).await, expected(&["x"]));
    assert_eq!(texts(json!(["x", "y"]), 2).await, expected(&["x", "x", "y", "y"]));
    assert_eq!(texts(json!([1, 2]), 1).await, expected(&["[1, 2]"]));
    assert_eq!(app.models.last_completion().prompt, Prompt::Tokens(vec![1, 2]));
    assert_eq!(texts(json!([[1], [2, 3]]), 1).await, expected(&["[1]", "[2, 3]"]));
}

#[tokio::test]
async fn what_cannot_be_a_prompt_is_refused_by_name() {
    let app = TestApp::start().await;
    let program = app.program().await;
    for (field, body) in [
        ("prompt", json!({})),
        ("prompt", json!({"prompt": 5})),
        ("prompt", json!({"prompt": [-1]})),
        ("prompt", json!({"prompt": [4_294_967_296_u64]})),
        ("prompt", json!({"prompt": []})),
        ("prompt", json!({"prompt": vec!["a"; 3000]})),
        ("suffix", json!({"prompt": "a", "suffix": "b"})),
        ("logit_bias", json!({"prompt": "a", "logit_bias": {"x": 1}})),
    ] {
        let answer = program.post(PATH, body).await;
        assert_eq!((answer.refusal(), answer.param().as_deref()), ((400, "invalid_param".into()), Some(field)));
    }
}

#[tokio::test]
async fn log_probabilities_count_their_place_in_characters() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let l = |t: &str| TokenLogprob { token: t.into(), bytes: t.into(), logprob: -1.0, top: vec![(t.into(), t.into(), -1.0)] };
    let events = vec![
        ChatEvent::Text { index: 0, text: "ü".into(), logprobs: vec![l("ü")] },
        ChatEvent::Text { index: 0, text: "bc".into(), logprobs: vec![l("b"), l("c")] },
        ChatEvent::Finish { index: 0, reason: FinishReason::Length },
        usage(1, 3, 0),
    ];
    let expected = json!({"tokens": ["ü", "b", "c"], "token_logprobs": [-1.0, -1.0, -1.0], "top_logprobs": [{"ü": -1.0}, {"b": -1.0}, {"c": -1.0}], "text_offset": [0, 1, 2]});
    app.models.next(Script::Says(events.clone()));
    let answer = program.post(PATH, json!({"prompt": "x", "logprobs": 1})).await.ok(200);
    assert_eq!((&answer["choices"][0]["logprobs"], &answer["choices"][0]["finish_reason"]), (&expected, &json!("length")));
    app.models.next(Script::Says(events));
    let all = frames(&program.post(PATH, json!({"prompt": "x", "logprobs": 1, "stream": true})).await.text());
    let offsets: Vec<u64> = all.iter().filter_map(|f| if let Frame::Data(v) = f { v["choices"][0]["logprobs"]["text_offset"].as_array() } else { None }).flatten().filter_map(Value::as_u64).collect();
    assert_eq!(offsets, [0, 1, 2]);
}

#[tokio::test]
async fn a_stream_of_several_prompts_carries_their_numbers_and_the_sum_of_their_usage() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let all = frames(&program.post(PATH, json!({"prompt": ["a b", "c"], "stream": true, "stream_options": {"include_usage": true}})).await.text());
    let mut said = [String::new(), String::new()];
    for f in &all {
        if let Frame::Data(v) = f {
            for c in v["choices"].as_array().unwrap() {
                said[c["index"].as_u64().unwrap() as usize].push_str(c["text"].as_str().unwrap());
            }
        }
    }
    assert_eq!(said, ["a b", "c"]);
    let Frame::Data(last) = &all[all.len() - 2] else { panic!("{all:?}") };
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(6)));
    assert_eq!(all.last(), Some(&Frame::Done));
}
