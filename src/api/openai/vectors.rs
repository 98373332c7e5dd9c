//! `POST /v1/embeddings` and `POST /v1/rerank`.

use actix_web::{HttpRequest, HttpResponse, web};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{Error, chat::{EmbedPurpose, EmbedRequest, Prompt, RerankRequest}};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::request::PromptBody;
use crate::{error::{ApiResult, OpenAiErrorBody}, extract::{ModelKey, With}, state::State};

#[derive(Deserialize, ToSchema)]
pub struct EmbeddingsBody {
    #[serde(default)]
    pub model: Option<String>,
    pub input: PromptBody,
    /// `float` (default) or `base64` (little-endian 32-bit floats).
    #[serde(default)]
    pub encoding_format: Option<String>,
    #[serde(default)]
    pub dimensions: Option<u32>,
    /// Which prefix of the model is put before the texts: `query`, `passage` or `raw` (default: none, as OpenAI's
    /// clients expect; write `query: ` yourself or say `query` for models of the E5 family). Ours.
    #[serde(default)]
    pub input_type: Option<String>,
    /// Cut inputs that are too long instead of refusing them. Ours.
    #[serde(default)]
    pub truncate: Option<bool>,
}

#[derive(Serialize, ToSchema)]
pub struct EmbeddingList {
    pub object: &'static str,
    pub data: Vec<Embedding>,
    pub model: String,
    pub usage: InputUsage,
}
#[derive(Serialize, ToSchema)]
pub struct Embedding {
    pub object: &'static str,
    pub index: usize,
    pub embedding: Vector,
}
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector {
    Floats(Vec<f32>),
    Base64(String),
}
#[derive(Serialize, ToSchema)]
pub struct InputUsage {
    pub prompt_tokens: u32,
    pub total_tokens: u32,
}

/// Turns texts into vectors.
#[utoipa::path(post, path = "/v1/embeddings", tag = "openai", security(("key" = [])), request_body = EmbeddingsBody, responses((status = 200, body = EmbeddingList), (status = "4XX", body = OpenAiErrorBody)))]
pub async fn embeddings(state: web::Data<State>, req: HttpRequest, sent: With<ModelKey, EmbeddingsBody>) -> ApiResult<HttpResponse> {
    let With { who, body } = sent;
    let base64 = match body.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Error::invalid("encoding_format", "`encoding_format` is `float` or `base64`").into()),
    };
    let purpose = match body.input_type.as_deref() {
        None | Some("raw") => EmbedPurpose::Raw,
        Some("query") => EmbedPurpose::Query,
        Some("passage") => EmbedPurpose::Passage,
        Some(_) => return Err(Error::invalid("input_type", "`input_type` is `query`, `passage` or `raw`").into()),
    };
    let (inputs, most) = (body.input.into_prompts(), state.settings.max_batch);
    if inputs.is_empty() || inputs.len() > most {
        return Err(Error::invalid("input", format!("`input` holds 1 to {most} texts (`http.max_batch`)")).into());
    }
    if inputs.iter().any(|p| matches!(p, Prompt::Text(t) if t.is_empty()) || matches!(p, Prompt::Tokens(t) if t.is_empty())) {
        return Err(Error::invalid("input", "`input` holds an empty text; leave it out").into());
    }
    let request = EmbedRequest { model: body.model.unwrap_or_default(), inputs, purpose, dimensions: body.dimensions, truncate: body.truncate.unwrap_or(false) };
    let (model, found) = state.services.models.embed(&who.caller(&req), who.allowed(), request).await?;
    state.metrics.tokens(&found.usage);
    let vector = |v: Vec<f32>| if base64 { Vector::Base64(STANDARD.encode(v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())) } else { Vector::Floats(v) };
    let data = found.vectors.into_iter().enumerate().map(|(index, v)| Embedding { object: "embedding", index, embedding: vector(v) }).collect();
    let usage = InputUsage { prompt_tokens: found.usage.prompt_tokens, total_tokens: found.usage.prompt_tokens };
    Ok(HttpResponse::Ok().json(EmbeddingList { object: "list", data, model, usage }))
}

#[derive(Deserialize, ToSchema)]
pub struct RerankBody {
    #[serde(default)]
    pub model: Option<String>,
    pub query: String,
    /// Texts, or objects with a `text`.
    #[schema(value_type = Vec<Object>)]
    pub documents: Vec<Value>,
    #[serde(default)]
    pub top_n: Option<u32>,
    #[serde(default)]
    pub return_documents: Option<bool>,
}
#[derive(Serialize, ToSchema)]
pub struct RerankList {
    pub model: String,
    pub results: Vec<RerankResult>,
    pub usage: InputUsage,
}
#[derive(Serialize, ToSchema)]
pub struct RerankResult {
    pub index: u32,
    pub relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<RerankDocument>,
}
#[derive(Serialize, ToSchema)]
pub struct RerankDocument {
    pub text: String,
}

/// Sorts documents by how well they answer a query.
#[utoipa::path(post, path = "/v1/rerank", tag = "openai", security(("key" = [])), request_body = RerankBody, responses((status = 200, body = RerankList), (status = "4XX", body = OpenAiErrorBody)))]
pub async fn rerank(state: web::Data<State>, req: HttpRequest, sent: With<ModelKey, RerankBody>) -> ApiResult<HttpResponse> {
    let With { who, body } = sent;
    let most = state.settings.max_batch;
    if body.documents.is_empty() || body.documents.len() > most {
        return Err(Error::invalid("documents", format!("`documents` holds 1 to {most} texts (`http.max_batch`)")).into());
    }
    let text = |(i, d): (usize, Value)| match d {
        Value::String(s) => Ok(s),
        Value::Object(mut o) => match o.remove("text") {
            Some(Value::String(s)) => Ok(s),
            _ => Err(Error::invalid(format!("documents[{i}]"), "a document is a text or an object with a `text`")),
        },
        _ => Err(Error::invalid(format!("documents[{i}]"), "a document is a text or an object with a `text`")),
    };
    let documents = body.documents.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?;
    let mut kept = if body.return_documents.unwrap_or(false) { documents.clone() } else { Vec::new() };
    let request = RerankRequest { model: body.model.unwrap_or_default(), query: body.query, documents, top_n: body.top_n };
    let (model, found) = state.services.models.rerank(&who.caller(&req), who.allowed(), request).await?;
    state.metrics.tokens(&found.usage);
    let result = |hit: domain::chat::RerankHit| RerankResult {
        index: hit.index,
        relevance_score: hit.score,
        document: kept.get_mut(hit.index as usize).map(|text| RerankDocument { text: std::mem::take(text) }),
    };
    let results = found.results.into_iter().map(result).collect();
    let usage = InputUsage { prompt_tokens: found.usage.prompt_tokens, total_tokens: found.usage.prompt_tokens };
    Ok(HttpResponse::Ok().json(RerankList { model, results, usage }))
}
