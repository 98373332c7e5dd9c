//! `POST /v1/chat/completions`: whole or streamed.

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::{Bytes, BytesMut};
use domain::{chat::{ChatEvent, FinishReason, TokenLogprob, Usage}, time::Millis};
use futures::StreamExt;
use ports::llm::{Caller, ChatStream};
use serde::Serialize;
use service::models::Allowed;
use utoipa::ToSchema;

use super::{request::ChatBody, stream::{self, Writer, frame}};
use crate::{error::{ApiError, ApiResult, OpenAiErrorBody}, extract::{ModelKey, With}, metrics::Metrics, state::State};

#[derive(Clone, Serialize, ToSchema)]
pub struct UsageView {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    pub total_tokens: u32,
    pub prompt_tokens_details: PromptTokensDetails,
    pub completion_tokens_details: CompletionTokensDetails,
}
#[derive(Clone, Serialize, ToSchema)]
pub struct PromptTokensDetails {
    pub cached_tokens: u32,
}
#[derive(Clone, Serialize, ToSchema)]
pub struct CompletionTokensDetails {
    pub reasoning_tokens: u32,
}
impl From<Usage> for UsageView {
    fn from(u: Usage) -> Self {
        Self {
            prompt_tokens: u.prompt_tokens,
            completion_tokens: u.completion_tokens,
            total_tokens: u.total_tokens(),
            prompt_tokens_details: PromptTokensDetails { cached_tokens: u.cached_tokens },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: u.reasoning_tokens },
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct Logprobs {
    pub content: Vec<TokenView>,
}
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
    pub top_logprobs: Vec<TopView>,
}
#[derive(Serialize, ToSchema)]
pub struct TopView {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
}
fn logprobs(all: Vec<TokenLogprob>) -> Option<Logprobs> {
    let top = |(token, bytes, logprob)| TopView { token, logprob, bytes };
    let view = |t: TokenLogprob| TokenView { token: t.token, logprob: t.logprob, bytes: t.bytes, top_logprobs: t.top.into_iter().map(top).collect() };
    if all.is_empty() { None } else { Some(Logprobs { content: all.into_iter().map(view).collect() }) }
}

#[derive(Serialize, ToSchema)]
pub struct ChatCompletion {
    pub id: String,
    pub object: &'static str,
    pub created: i64,
    pub model: String,
    pub system_fingerprint: &'static str,
    pub choices: Vec<Choice>,
    pub usage: UsageView,
}
#[derive(Serialize, ToSchema)]
pub struct Choice {
    pub index: u32,
    pub message: AnswerMessage,
    pub logprobs: Option<Logprobs>,
    /// `stop`, `length`, `tool_calls` or `content_filter`.
    pub finish_reason: &'static str,
}
#[derive(Default, Serialize, ToSchema)]
pub struct AnswerMessage {
    pub role: &'static str,
    pub content: Option<String>,
    pub refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<AnswerToolCall>,
}
#[derive(Clone, Default, Serialize, ToSchema)]
pub struct AnswerToolCall {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub function: AnswerFunction,
}
#[derive(Clone, Default, Serialize, ToSchema)]
pub struct AnswerFunction {
    pub name: String,
    pub arguments: String,
}

#[derive(Serialize, ToSchema)]
pub struct ChatChunk<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: i64,
    pub model: &'a str,
    pub system_fingerprint: &'static str,
    pub choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
}
#[derive(Serialize, ToSchema)]
pub struct ChunkChoice {
    pub index: u32,
    pub delta: Delta,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: Option<&'static str>,
}
#[derive(Default, Serialize, ToSchema)]
pub struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<DeltaToolCall>>,
}
#[derive(Serialize, ToSchema)]
pub struct DeltaToolCall {
    pub index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    pub function: DeltaFunction,
}
#[derive(Serialize, ToSchema)]
pub struct DeltaFunction {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub arguments: String,
}

/// Names the build that answered.
pub const FINGERPRINT: &str = concat!("filbert-", env!("CARGO_PKG_VERSION"));

struct Chunks {
    id: String,
    created: i64,
    model: String,
    n: u32,
    include_usage: bool,
    usage: Option<Usage>,
    metrics: Metrics,
}
impl Chunks {
    fn chunk(&self, index: u32, delta: Delta, logprobs: Option<Logprobs>, finish_reason: Option<&'static str>) -> Bytes {
        self.write(vec![ChunkChoice { index, delta, logprobs, finish_reason }], None)
    }
    fn write(&self, choices: Vec<ChunkChoice>, usage: Option<UsageView>) -> Bytes {
        frame(&ChatChunk { id: &self.id, object: "chat.completion.chunk", created: self.created, model: &self.model, system_fingerprint: FINGERPRINT, choices, usage })
    }
}
impl Writer for Chunks {
    fn first(&mut self) -> Option<Bytes> {
        let mut all = BytesMut::new();
        for index in 0..self.n {
            all.extend_from_slice(&self.chunk(index, Delta { role: Some("assistant"), content: Some(String::new()), ..Delta::default() }, None, None));
        }
        Some(all.freeze())
    }
    fn event(&mut self, event: ChatEvent) -> Option<Bytes> {
        Some(match event {
            ChatEvent::Text { index, text, logprobs: l } => self.chunk(index, Delta { content: Some(text), ..Delta::default() }, logprobs(l), None),
            ChatEvent::Reasoning { index, text } => self.chunk(index, Delta { reasoning_content: Some(text), ..Delta::default() }, None, None),
            ChatEvent::ToolCall { index, call, id, name, arguments } => {
                let kind = id.as_ref().map(|_| "function");
                let calls = vec![DeltaToolCall { index: call, id, kind, function: DeltaFunction { name, arguments } }];
                self.chunk(index, Delta { tool_calls: Some(calls), ..Delta::default() }, None, None)
            }
            ChatEvent::Finish { index, reason } => self.chunk(index, Delta::default(), None, Some(reason.as_str())),
            ChatEvent::Usage { usage, .. } => {
                self.metrics.tokens(&usage);
                self.usage = Some(usage);
                return None;
            }
        })
    }
    fn last(&mut self) -> Option<Bytes> {
        let usage = self.usage.filter(|_| self.include_usage)?;
        Some(self.write(Vec::new(), Some(usage.into())))
    }
}

fn new_id() -> String {
    format!("chatcmpl-{}", uuid::Uuid::now_v7().simple())
}

/// Gathers a whole answer.
async fn collect(model: String, n: u32, mut events: ChatStream, metrics: Metrics) -> ApiResult<ChatCompletion> {
    struct Gathered {
        message: AnswerMessage,
        /// Which call each of the message's tool calls is.
        calls: Vec<u32>,
        logprobs: Vec<TokenLogprob>,
        reason: FinishReason,
    }
    let empty = || Gathered { message: AnswerMessage { role: "assistant", ..AnswerMessage::default() }, calls: Vec::new(), logprobs: Vec::new(), reason: FinishReason::Stop };
    let mut all: Vec<Gathered> = (0..n).map(|_| empty()).collect();
    let mut total = Usage::default();
    while let Some(event) = events.next().await {
        let event = event?;
        let (ChatEvent::Text { index, .. } | ChatEvent::Reasoning { index, .. } | ChatEvent::ToolCall { index, .. } | ChatEvent::Finish { index, .. }) = &event else {
            if let ChatEvent::Usage { usage, .. } = event {
                total = usage;
            }
            continue;
        };
        let Some(g) = all.get_mut(*index as usize) else { continue };
        match event {
            ChatEvent::Text { text, logprobs, .. } => {
                g.message.content.get_or_insert_default().push_str(&text);
                g.logprobs.extend(logprobs);
            }
            ChatEvent::Reasoning { text, .. } => g.message.reasoning_content.get_or_insert_default().push_str(&text),
            ChatEvent::ToolCall { call, id, name, arguments, .. } => {
                let at = g.calls.iter().position(|n| *n == call).unwrap_or_else(|| {
                    g.calls.push(call);
                    g.message.tool_calls.push(AnswerToolCall { kind: "function", ..AnswerToolCall::default() });
                    g.calls.len() - 1
                });
                let c = &mut g.message.tool_calls[at];
                c.id.extend(id);
                c.function.name.extend(name);
                c.function.arguments.push_str(&arguments);
            }
            ChatEvent::Finish { reason, .. } => g.reason = reason,
            ChatEvent::Usage { .. } => {}
        }
    }
    metrics.tokens(&total);
    let choice = |(i, mut g): (usize, Gathered)| {
        if g.message.content.is_none() && g.message.tool_calls.is_empty() {
            g.message.content = Some(String::new());
        }
        Choice { index: i as u32, message: g.message, logprobs: logprobs(g.logprobs), finish_reason: g.reason.as_str() }
    };
    let choices = all.into_iter().enumerate().map(choice).collect();
    Ok(ChatCompletion { id: new_id(), object: "chat.completion", created: Millis::now().seconds(), model, system_fingerprint: FINGERPRINT, choices, usage: total.into() })
}

/// Answers a chat request on somebody's behalf; the playground shares it.
pub async fn answer(state: &State, req: &HttpRequest, caller: Caller, allowed: Allowed<'_>, body: ChatBody) -> ApiResult<HttpResponse> {
    let (stream, include_usage) = (body.stream.unwrap_or(false), body.stream_options.as_ref().is_some_and(|o| o.include_usage));
    let request = body.into_domain()?;
    let n = request.n.unwrap_or(1).clamp(1, 128);
    if !stream {
        let (model, events) = state.services.models.chat(&caller, allowed, request).await?;
        return stream::whole(req.version(), collect(model, n, events, state.metrics.clone())).await;
    }
    let metrics = state.metrics.clone();
    let opening = state.services.models.chat(&caller, allowed, request);
    stream::respond(state, opening, move |model| Chunks { id: new_id(), created: Millis::now().seconds(), model, n, include_usage, usage: None, metrics }).await
}

/// Answers a conversation, whole or as server-sent events.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", security(("key" = [])), request_body = ChatBody,
    responses((status = 200, body = ChatCompletion, description = "with `stream: true`: `text/event-stream` of chunks, then `[DONE]`"), (status = "4XX", body = OpenAiErrorBody)))]
pub async fn create(state: web::Data<State>, req: HttpRequest, sent: With<ModelKey, ChatBody>) -> Result<HttpResponse, ApiError> {
    answer(&state, &req, sent.who.caller(&req), sent.who.allowed(), sent.body).await
}
