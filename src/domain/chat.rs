//! What is asked of a model and what it answers, in nobody's dialect.
//!
//! OpenAI's, Anthropic's and the local engine's shapes are translated to and from these types at the
//! edges (`api/openai`, `inference/*`, `llama`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}
impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    Text { text: String },
    /// `url` is `https:` or `data:`; `detail` is `auto`, `low` or `high`.
    Image { url: String, detail: Option<String> },
    Audio { data: String, format: String },
    /// A document handed to the model as it is.
    File { url: String, name: Option<String>, mime_type: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub role: Role,
    pub content: Vec<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// For role `tool`: the call this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}
impl Message {
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: vec![Part::Text { text: text.into() }], name: None, reasoning: None, tool_calls: Vec::new(), tool_call_id: None }
    }
    pub fn system(text: impl Into<String>) -> Self {
        Self::text(Role::System, text)
    }
    pub fn user(text: impl Into<String>) -> Self {
        Self::text(Role::User, text)
    }
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::text(Role::Assistant, text)
    }
    /// The text parts joined by newlines.
    pub fn plain_text(&self) -> String {
        let texts: Vec<&str> = self.content.iter().filter_map(|p| if let Part::Text { text } = p { Some(text.as_str()) } else { None }).collect();
        texts.join("\n")
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// JSON text, as the model wrote it.
    pub arguments: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// JSON Schema of the arguments; `{}` when there are none.
    pub parameters: Value,
    #[serde(default)]
    pub strict: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolChoice {
    #[default]
    Auto,
    None,
    /// At least one call of any offered tool.
    Required,
    /// A call of this tool.
    Named { name: String },
}

/// The form the answer must have; enforced by constrained decoding on local models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat {
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    JsonSchema { name: String, schema: Value, strict: bool },
    /// GBNF text (llama.cpp's grammar notation).
    Grammar { gbnf: String },
}

/// How tokens are drawn. `None` leaves the model's or the provider's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i32>,
    pub min_p: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub frequency_penalty: Option<f32>,
    /// llama.cpp's `repeat_penalty`; 1.0 = off.
    pub repeat_penalty: Option<f32>,
    pub seed: Option<u64>,
    /// Token id → added to its logit, −100 … 100.
    #[serde(default)]
    pub logit_bias: BTreeMap<u32, f32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatRequest {
    pub model: String,
    pub messages: Vec<Message>,
    #[serde(default)]
    pub tools: Vec<Tool>,
    #[serde(default)]
    pub tool_choice: ToolChoice,
    /// `false`: at most one call in an answer.
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    #[serde(default)]
    pub response_format: ResponseFormat,
    #[serde(default)]
    pub sampling: Sampling,
    /// Most tokens to generate; `None` = what is left of the context.
    pub max_tokens: Option<u32>,
    #[serde(default)]
    pub stop: Vec<String>,
    /// Answers wanted; 1 when `None`.
    pub n: Option<u32>,
    /// `Some(k)`: log-probabilities of the chosen and the k likeliest tokens (0 – 20).
    pub logprobs: Option<u8>,
    /// Parameters only some providers know, passed through.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

/// Plain completion: no template, the prompt as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CompletionRequest {
    pub model: String,
    pub prompt: Prompt,
    /// Repeat the prompt before the answer.
    #[serde(default)]
    pub echo: bool,
    #[serde(default)]
    pub response_format: ResponseFormat,
    #[serde(default)]
    pub sampling: Sampling,
    pub max_tokens: Option<u32>,
    #[serde(default)]
    pub stop: Vec<String>,
    pub n: Option<u32>,
    pub logprobs: Option<u8>,
    #[serde(default)]
    pub extra: Map<String, Value>,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}
impl Default for Prompt {
    fn default() -> Self {
        Prompt::Text(String::new())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    Stop,
    Length,
    ToolCalls,
    ContentFilter,
}
impl FinishReason {
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
            FinishReason::ContentFilter => "content_filter",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    /// Of the prompt tokens, how many came out of the prefix cache.
    pub cached_tokens: u32,
    pub reasoning_tokens: u32,
}
impl Usage {
    pub fn total_tokens(&self) -> u32 {
        self.prompt_tokens + self.completion_tokens
    }
}

/// Log-probability of one token (natural logarithm).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    pub token: String,
    pub bytes: Vec<u8>,
    pub logprob: f32,
    /// The likeliest tokens at this place: text, bytes, log-probability.
    pub top: Vec<(String, Vec<u8>, f32)>,
}

/// What comes back, piece by piece. One stream a request; `index` tells the `n` answers apart.
/// Order: any number of deltas, one `Finish` per index, one `Usage` as the last event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChatEvent {
    /// Whole characters only: never half a UTF-8 sequence.
    Text { index: u32, text: String, logprobs: Vec<TokenLogprob> },
    Reasoning { index: u32, text: String },
    /// First event of a call carries id and name; later ones add to the arguments.
    ToolCall { index: u32, call: u32, id: Option<String>, name: Option<String>, arguments: String },
    Finish { index: u32, reason: FinishReason },
    Usage { usage: Usage, timings: Timings },
}

/// Where the time of a request went, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    pub queued_ms: f64,
    pub first_token_ms: f64,
    pub total_ms: f64,
}

/// Which prefix an embedding model wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbedPurpose {
    /// The text as it is.
    Raw,
    /// A question to search with.
    #[default]
    Query,
    /// A text to be found.
    Passage,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbedRequest {
    pub model: String,
    pub inputs: Vec<Prompt>,
    pub purpose: EmbedPurpose,
    /// Cut to this width and normalised anew (Matryoshka models); `None` = full width.
    pub dimensions: Option<u32>,
    /// Cut inputs that are longer than the context instead of refusing them.
    #[serde(default)]
    pub truncate: bool,
}
/// One L2-normalised vector an input, in order; shape `[inputs][dimensions]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Embeddings {
    pub vectors: Vec<Vec<f32>>,
    pub usage: Usage,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RerankRequest {
    pub model: String,
    pub query: String,
    pub documents: Vec<String>,
    pub top_n: Option<u32>,
}
/// Scores by falling relevance; `index` is the document's place in the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reranked {
    pub results: Vec<RerankHit>,
    pub usage: Usage,
}
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankHit {
    pub index: u32,
    pub score: f32,
}
