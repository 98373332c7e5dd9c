//! `POST /v1/embeddings`, `POST /v1/rerank`, `GET /v1/models`.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::chat::{EmbedPurpose, Prompt};
use serde_json::{Value, json};
use testkit::{CHAT, EMBEDDING, RERANK, TestApp};

#[tokio::test]
async fn texts_become_vectors_of_floats_or_of_base64_with_the_same_values() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let answer = program.post("/v1/embeddings", json!({"model": EMBEDDING, "input": ["a", "b"]})).await.ok(200);
    assert_eq!((&answer["object"], &answer["model"], &answer["usage"]), (&json!("list"), &json!(EMBEDDING), &json!({"prompt_tokens": 6, "total_tokens": 6})));
    assert_eq!(answer["data"][1], json!({"object": "embedding", "index": 1, "embedding": [1.0, 0.5, -0.25, 1.0]}));
    let packed = program.post("/v1/embeddings", json!({"model": EMBEDDING, "input": ["a", "b"], "encoding_format": "base64"})).await.ok(200);
    let bytes = STANDARD.decode(packed["data"][1]["embedding"].as_str().unwrap()).unwrap();
    assert_eq!(bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>(), [1.0, 0.5, -0.25, 1.0]);
}

#[tokio::test]
async fn inputs_are_text_texts_token_ids_or_lists_of_them_and_are_taken_as_they_are_unless_a_purpose_is_named() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let t = |t: &str| Prompt::Text(t.into());
    for (input, expected) in [(json!("a"), vec![t("a")]), (json!(["a", "b"]), vec![t("a"), t("b")]), (json!([1, 2]), vec![Prompt::Tokens(vec![1, 2])]), (json!([[1], [2]]), vec![Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2])])] {
        program.post("/v1/embeddings", json!({"input": input})).await.ok(200);
        assert_eq!(app.models.last_embed().inputs, expected);
    }
    for (purpose, expected) in [(json!(null), EmbedPurpose::Raw), (json!("raw"), EmbedPurpose::Raw), (json!("query"), EmbedPurpose::Query), (json!("passage"), EmbedPurpose::Passage)] {
        program.post("/v1/embeddings", json!({"input": "a", "input_type": purpose, "dimensions": 2, "truncate": true})).await.ok(200);
        let r = app.models.last_embed();
        assert_eq!((r.purpose, r.dimensions, r.truncate), (expected, Some(2), true));
    }
}

#[tokio::test]
async fn inputs_that_are_none_are_refused_by_name() {
    let app = TestApp::start().await;
    let program = app.program().await;
    for (field, body) in [
        ("input", json!({})),
        ("input", json!({"input": 9})),
        ("input", json!({"input": []})),
        ("input", json!({"input": ""})),
        ("input", json!({"input": ["a", ""]})),
        ("input", json!({"input": [[]]})),
        ("input", json!({"input": [-1]})),
        ("input", json!({"input": {"a": "b"}})),
        ("input", json!({"input": vec!["a"; 2049]})),
        ("encoding_format", json!({"input": "a", "encoding_format": "morse"})),
        ("input_type", json!({"input": "a", "input_type": "poem"})),
        ("dimensions", json!({"input": "a", "dimensions": -1})),
    ] {
        let answer = program.post("/v1/embeddings", body).await;
        assert_eq!((answer.refusal(), answer.param().as_deref()), ((400, "invalid_param".into()), Some(field)));
    }
    assert_eq!(program.post("/v1/embeddings", json!({"model": CHAT, "input": "a"})).await.refusal(), (400, "model_unsupported".into()));
}

#[tokio::test]
async fn documents_are_sorted_and_come_back_when_they_are_asked_for() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let documents = json!(["a", {"text": "b"}, "c"]);
    let answer = program.post("/v1/rerank", json!({"model": RERANK, "query": "q", "documents": documents, "top_n": 2, "return_documents": true})).await.ok(200);
    assert_eq!(answer["model"], RERANK);
    assert_eq!(answer["results"].as_array().unwrap().iter().map(|r| (r["index"].as_u64().unwrap(), r["document"]["text"].as_str().unwrap())).collect::<Vec<_>>(), [(2, "c"), (1, "b")]);
    let bare = program.post("/v1/rerank", json!({"query": "q", "documents": documents})).await.ok(200);
    assert!(bare["results"].as_array().unwrap().len() == 3 && bare["results"][0].get("document").is_none());
    for (field, body) in [
        ("documents", json!({"query": "q", "documents": []})),
        ("documents[1]", json!({"query": "q", "documents": ["a", 5]})),
        ("documents[0]", json!({"query": "q", "documents": [{"title": "x"}]})),
        ("query", json!({"documents": ["a"]})),
        ("query", json!({"query": ["q"], "documents": ["a"]})),
    ] {
        let answer = program.post("/v1/rerank", body).await;
        assert_eq!((answer.refusal(), answer.param().as_deref()), ((400, "invalid_param".into()), Some(field)));
    }
}

#[tokio::test]
async fn models_are_listed_as_openai_lists_them() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let all = program.get("/v1/models").await.ok(200);
    assert_eq!(all["object"], "list");
    assert_eq!(all["data"][0], json!({"id": CHAT, "object": "model", "created": 1_700_000_000, "owned_by": "filbert", "kind": "chat"}));
    assert_eq!(program.get(&format!("/v1/models/{RERANK}")).await.ok(200)["kind"], "rerank");
    for none in ["none", "..%2f..%2fetc%2fpasswd", "a%00b", &"m".repeat(5000)] {
        let answer = program.get(&format!("/v1/models/{none}")).await;
        assert_eq!(answer.refusal(), (404, "model_not_found".into()));
    }
    assert_eq!(Value::from(program.get("/v1/models/%ff%fe").await.status), 404);
}
