//! `POST /v1/completions`: the prompt as it is, no template.

use std::borrow::Cow;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use domain::{chat::{ChatEvent, CompletionRequest, FinishReason, TokenLogprob, Usage}, time::Millis};
use futures::StreamExt;
use ports::llm::{Caller, ChatStream};
use serde::Serialize;
use service::{Services, models::Allowed};
use utoipa::ToSchema;

use super::{chat::{FINGERPRINT, UsageView}, request::CompletionBody, stream::{self, Writer, frame}};
use crate::{error::{ApiResult, OpenAiErrorBody}, extract::{ModelKey, With}, metrics::Metrics, state::State};

#[derive(Serialize, ToSchema)]
pub struct Completion<'a> {
    pub id: Cow<'a, str>,
    pub object: &'static str,
    pub created: i64,
    pub model: Cow<'a, str>,
    pub system_fingerprint: &'static str,
    pub choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView>,
}
#[derive(Default, Serialize, ToSchema)]
pub struct CompletionChoice {
    pub index: u32,
    pub text: String,
    pub logprobs: Option<CompletionLogprobs>,
    pub finish_reason: Option<&'static str>,
}
#[derive(Default, Serialize, ToSchema)]
pub struct CompletionLogprobs {
    pub tokens: Vec<String>,
    pub token_logprobs: Vec<f32>,
    #[schema(value_type = Vec<Object>)]
    pub top_logprobs: Vec<std::collections::BTreeMap<String, f32>>,
    pub text_offset: Vec<usize>,
}
impl CompletionLogprobs {
    /// `offset` counts the characters before these tokens.
    fn extend(&mut self, all: Vec<TokenLogprob>, offset: &mut usize) {
        for t in all {
            self.text_offset.push(*offset);
            *offset += t.token.chars().count();
            self.tokens.push(t.token);
            self.token_logprobs.push(t.logprob);
            self.top_logprobs.push(t.top.into_iter().map(|(token, _, logprob)| (token, logprob)).collect());
        }
    }
}

fn add(total: &mut Usage, u: &Usage) {
    total.prompt_tokens += u.prompt_tokens;
    total.completion_tokens += u.completion_tokens;
    total.cached_tokens += u.cached_tokens;
    total.reasoning_tokens += u.reasoning_tokens;
}

/// All prompts' answers as one stream: prompt `p`'s answer `i` has index `p * n + i`.
async fn open(services: &Services, caller: &Caller, allowed: Allowed<'_>, requests: Vec<CompletionRequest>, n: u32) -> domain::Result<(String, ChatStream)> {
    let (mut streams, mut named) = (Vec::with_capacity(requests.len()), String::new());
    for (p, request) in requests.into_iter().enumerate() {
        let (model, events) = services.models.complete(caller, allowed, request).await?;
        named = model;
        let by = p as u32 * n;
        streams.push(events.map(move |event| {
            event.map(|mut e| {
                if let ChatEvent::Text { index, .. } | ChatEvent::Reasoning { index, .. } | ChatEvent::ToolCall { index, .. } | ChatEvent::Finish { index, .. } = &mut e {
                    *index += by;
                }
                e
            })
        }));
    }
    Ok((named, futures::stream::select_all(streams).boxed()))
}

struct Chunks {
    id: String,
    created: i64,
    model: String,
    offsets: Vec<usize>,
    include_usage: bool,
    usage: Usage,
    metrics: Metrics,
}
impl Chunks {
    fn write(&self, choices: Vec<CompletionChoice>, usage: Option<UsageView>) -> Bytes {
        frame(&Completion { id: (&self.id).into(), object: "text_completion", created: self.created, model: (&self.model).into(), system_fingerprint: FINGERPRINT, choices, usage })
    }
}
impl Writer for Chunks {
    fn first(&mut self) -> Option<Bytes> {
        None
    }
    fn event(&mut self, event: ChatEvent) -> Option<Bytes> {
        match event {
            ChatEvent::Text { index, text, logprobs } => {
                let mut l = CompletionLogprobs::default();
                let offset = self.offsets.get_mut(index as usize)?;
                l.extend(logprobs, offset);
                let logprobs = if l.tokens.is_empty() { None } else { Some(l) };
                Some(self.write(vec![CompletionChoice { index, text, logprobs, finish_reason: None }], None))
            }
            ChatEvent::Finish { index, reason } => Some(self.write(vec![CompletionChoice { index, finish_reason: Some(reason.as_str()), ..CompletionChoice::default() }], None)),
            ChatEvent::Usage { usage, .. } => {
                self.metrics.tokens(&usage);
                add(&mut self.usage, &usage);
                None
            }
            ChatEvent::Reasoning { .. } | ChatEvent::ToolCall { .. } => None,
        }
    }
    fn last(&mut self) -> Option<Bytes> {
        self.include_usage.then(|| self.write(Vec::new(), Some(self.usage.into())))
    }
}

fn new_id() -> String {
    format!("cmpl-{}", uuid::Uuid::now_v7().simple())
}

/// Continues a prompt, whole or as server-sent events.
#[utoipa::path(post, path = "/v1/completions", tag = "openai", security(("key" = [])), request_body = CompletionBody,
    responses((status = 200, body = Completion, description = "with `stream: true`: `text/event-stream`"), (status = "4XX", body = OpenAiErrorBody)))]
pub async fn create(state: web::Data<State>, req: HttpRequest, sent: With<ModelKey, CompletionBody>) -> ApiResult<HttpResponse> {
    let With { who, body } = sent;
    let (stream, include_usage) = (body.stream.unwrap_or(false), body.stream_options.as_ref().is_some_and(|o| o.include_usage));
    let requests = body.into_domain(state.settings.max_batch)?;
    let n = requests[0].n.unwrap_or(1).clamp(1, 128);
    let (answers, caller, created) = (requests.len() * n as usize, who.caller(&req), Millis::now().seconds());
    if stream {
        let metrics = state.metrics.clone();
        let opening = open(&state.services, &caller, who.allowed(), requests, n);
        let writer = move |model| Chunks { id: new_id(), created, model, offsets: vec![0; answers], include_usage, usage: Usage::default(), metrics };
        return stream::respond(&state, opening, writer).await;
    }
    let (model, events) = open(&state.services, &caller, who.allowed(), requests, n).await?;
    stream::whole(req.version(), collect(model, created, answers, events, state.metrics.clone())).await
}

/// Gathers whole answers.
async fn collect(model: String, created: i64, answers: usize, mut events: ChatStream, metrics: Metrics) -> ApiResult<Completion<'static>> {
    let mut choices: Vec<CompletionChoice> = (0..answers).map(|i| CompletionChoice { index: i as u32, finish_reason: Some(FinishReason::Stop.as_str()), ..CompletionChoice::default() }).collect();
    let (mut offsets, mut total) = (vec![0; answers], Usage::default());
    while let Some(event) = events.next().await {
        match event? {
            ChatEvent::Text { index, text, logprobs } if (index as usize) < answers => {
                let choice = &mut choices[index as usize];
                choice.text.push_str(&text);
                if !logprobs.is_empty() {
                    choice.logprobs.get_or_insert_default().extend(logprobs, &mut offsets[index as usize]);
                }
            }
            ChatEvent::Finish { index, reason } if (index as usize) < answers => choices[index as usize].finish_reason = Some(reason.as_str()),
            ChatEvent::Usage { usage, .. } => add(&mut total, &usage),
            _ => {}
        }
    }
    metrics.tokens(&total);
    Ok(Completion { id: new_id().into(), object: "text_completion", created, model: model.into(), system_fingerprint: FINGERPRINT, choices, usage: Some(total.into()) })
}
