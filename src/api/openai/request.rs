//! What clients send, and its translation into the domain's words. Unknown fields are passed through as `extra`.

use std::collections::BTreeMap;

use domain::{
    Error, Result,
    chat::{ChatRequest, CompletionRequest, Message, Part, Prompt, ResponseFormat, Role, Sampling, Tool, ToolCall, ToolChoice},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}
impl OneOrMany {
    pub fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMany::One(s) => vec![s],
            OneOrMany::Many(v) => v,
        }
    }
}

#[derive(Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Send a last chunk with the usage.
    #[serde(default)]
    pub include_usage: bool,
}

#[derive(Deserialize, ToSchema)]
pub struct ChatBody {
    /// A model's id; empty or absent: the installation's default.
    #[serde(default)]
    pub model: Option<String>,
    pub messages: Vec<MessageBody>,
    #[serde(default)]
    pub stream: Option<bool>,
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub tools: Option<Vec<ToolBody>>,
    /// `none`, `auto`, `required` or `{"type":"function","function":{"name"}}`.
    #[serde(default)]
    pub tool_choice: Option<Value>,
    #[serde(default)]
    pub parallel_tool_calls: Option<bool>,
    #[serde(default)]
    pub response_format: Option<ResponseFormatBody>,
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Wins over `max_tokens`.
    #[serde(default)]
    pub max_completion_tokens: Option<u32>,
    #[serde(default)]
    pub logprobs: Option<bool>,
    #[serde(default)]
    pub top_logprobs: Option<u8>,
    #[serde(default)]
    pub n: Option<u32>,
    #[serde(default)]
    pub stop: Option<OneOrMany>,
    #[serde(default)]
    pub temperature: Option<f32>,
    #[serde(default)]
    pub top_p: Option<f32>,
    #[serde(default)]
    pub top_k: Option<i32>,
    #[serde(default)]
    pub min_p: Option<f32>,
    #[serde(default)]
    pub presence_penalty: Option<f32>,
    #[serde(default)]
    pub frequency_penalty: Option<f32>,
    #[serde(default)]
    pub repeat_penalty: Option<f32>,
    #[serde(default)]
    pub seed: Option<i64>,
    #[serde(default)]
    pub logit_bias: Option<BTreeMap<String, f32>>,
    /// GBNF text the answer must follow (ours).
    #[serde(default)]
    pub grammar: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub extra: Map<String, Value>,
}

#[derive(Deserialize, ToSchema)]
pub struct MessageBody {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    #[serde(default)]
    pub content: Option<ContentBody>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub reasoning_content: Option<String>,
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCallBody>>,
    #[serde(default)]
    pub tool_call_id: Option<String>,
}
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ContentBody {
    Text(String),
    Parts(Vec<PartBody>),
}
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PartBody {
    Text { text: String },
    Refusal { refusal: String },
    ImageUrl { image_url: ImageUrlBody },
    InputAudio { input_audio: AudioBody },
}
#[derive(Deserialize, ToSchema)]
pub struct ImageUrlBody {
    pub url: String,
    #[serde(default)]
    pub detail: Option<String>,
}
#[derive(Deserialize, ToSchema)]
pub struct AudioBody {
    pub data: String,
    pub format: String,
}
#[derive(Deserialize, ToSchema)]
pub struct ToolCallBody {
    pub id: String,
    pub function: CalledBody,
}
#[derive(Deserialize, ToSchema)]
pub struct CalledBody {
    pub name: String,
    /// JSON text.
    pub arguments: String,
}
#[derive(Deserialize, ToSchema)]
pub struct ToolBody {
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: String,
    pub function: FunctionBody,
}
#[derive(Deserialize, ToSchema)]
pub struct FunctionBody {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    /// JSON Schema.
    #[serde(default)]
    pub parameters: Option<Value>,
    #[serde(default)]
    pub strict: Option<bool>,
}
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormatBody {
    Text,
    JsonObject,
    JsonSchema { json_schema: JsonSchemaBody },
}
#[derive(Deserialize, ToSchema)]
pub struct JsonSchemaBody {
    pub name: String,
    #[serde(default)]
    pub schema: Option<Value>,
    #[serde(default)]
    pub strict: Option<bool>,
}

fn message(i: usize, m: MessageBody) -> Result<Message> {
    let role = match m.role.as_str() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        _ => return Err(Error::invalid(format!("messages[{i}].role"), "the role of a message is `system`, `developer`, `user`, `assistant` or `tool`")),
    };
    let content = match m.content {
        None if role == Role::Assistant => Vec::new(),
        None => return Err(Error::invalid(format!("messages[{i}].content"), "this message has no `content`; only an assistant's may be without")),
        Some(ContentBody::Text(text)) => vec![Part::Text { text }],
        Some(ContentBody::Parts(parts)) => parts
            .into_iter()
            .map(|p| match p {
                PartBody::Text { text } | PartBody::Refusal { refusal: text } => Part::Text { text },
                PartBody::ImageUrl { image_url } => Part::Image { url: image_url.url, detail: image_url.detail },
                PartBody::InputAudio { input_audio } => Part::Audio { data: input_audio.data, format: input_audio.format },
            })
            .collect(),
    };
    let calls = m.tool_calls.unwrap_or_default();
    let tool_calls = calls.into_iter().map(|c| ToolCall { id: c.id, name: c.function.name, arguments: c.function.arguments }).collect();
    Ok(Message { role, content, name: m.name, reasoning: m.reasoning_content, tool_calls, tool_call_id: m.tool_call_id })
}

fn tool_choice(value: Value) -> Result<ToolChoice> {
    let named = value.pointer("/function/name").and_then(Value::as_str);
    Ok(match (value.as_str(), named) {
        (Some("auto"), _) => ToolChoice::Auto,
        (Some("none"), _) => ToolChoice::None,
        (Some("required"), _) => ToolChoice::Required,
        (None, Some(name)) => ToolChoice::Named { name: name.to_owned() },
        _ => return Err(Error::invalid("tool_choice", "`tool_choice` is `none`, `auto`, `required` or names a function")),
    })
}

fn logit_bias(bias: Option<BTreeMap<String, f32>>) -> Result<BTreeMap<u32, f32>> {
    let read = |(token, by): (String, f32)| Ok((token.parse().map_err(|_| Error::invalid("logit_bias", "the keys of `logit_bias` are token ids"))?, by));
    bias.unwrap_or_default().into_iter().map(read).collect()
}

fn format(body: Option<ResponseFormatBody>, grammar: Option<String>) -> Result<ResponseFormat> {
    let format = match body {
        None | Some(ResponseFormatBody::Text) => ResponseFormat::Text,
        Some(ResponseFormatBody::JsonObject) => ResponseFormat::JsonObject,
        Some(ResponseFormatBody::JsonSchema { json_schema: s }) => ResponseFormat::JsonSchema { name: s.name, schema: s.schema.unwrap_or_else(|| json!({})), strict: s.strict.unwrap_or(false) },
    };
    match (grammar.filter(|g| !g.is_empty()), format) {
        (None, format) => Ok(format),
        (Some(gbnf), ResponseFormat::Text) => Ok(ResponseFormat::Grammar { gbnf }),
        (Some(_), _) => Err(Error::invalid("grammar", "`grammar` and `response_format` exclude each other; send one of them")),
    }
}

impl ChatBody {
    /// Errors: `invalid_param` naming the field.
    pub fn into_domain(self) -> Result<ChatRequest> {
        for old in ["functions", "function_call"] {
            if self.extra.get(old).is_some_and(|v| !v.is_null()) {
                return Err(Error::invalid(old, format!("`{old}` is not supported any more; use `tools` and `tool_choice`")));
            }
        }
        if self.messages.is_empty() {
            return Err(Error::invalid("messages", "`messages` is empty; send at least one message"));
        }
        if self.top_logprobs.is_some_and(|k| k > 20) {
            return Err(Error::invalid("top_logprobs", "`top_logprobs` is at most 20"));
        }
        let mut tools = Vec::new();
        for (i, t) in self.tools.unwrap_or_default().into_iter().enumerate() {
            if t.kind != "function" {
                return Err(Error::invalid(format!("tools[{i}].type"), "a tool's `type` is `function`"));
            }
            let f = t.function;
            tools.push(Tool { name: f.name, description: f.description.unwrap_or_default(), parameters: f.parameters.unwrap_or_else(|| json!({})), strict: f.strict.unwrap_or(false) });
        }
        Ok(ChatRequest {
            model: self.model.unwrap_or_default(),
            messages: self.messages.into_iter().enumerate().map(|(i, m)| message(i, m)).collect::<Result<_>>()?,
            tools,
            tool_choice: self.tool_choice.filter(|v| !v.is_null()).map(tool_choice).transpose()?.unwrap_or_default(),
            parallel_tool_calls: self.parallel_tool_calls,
            response_format: format(self.response_format, self.grammar)?,
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                min_p: self.min_p,
                presence_penalty: self.presence_penalty,
                frequency_penalty: self.frequency_penalty,
                repeat_penalty: self.repeat_penalty,
                seed: self.seed.map(|s| s as u64),
                logit_bias: logit_bias(self.logit_bias)?,
            },
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
            stop: self.stop.map(OneOrMany::into_vec).unwrap_or_default(),
            n: self.n,
            logprobs: if self.logprobs.unwrap_or(false) { Some(self.top_logprobs.unwrap_or(0)) } else { None },
            extra: self.extra,
        })
    }
}

/// Text, several texts, token ids, or several lists of them.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PromptBody {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}
impl PromptBody {
    pub fn into_prompts(self) -> Vec<Prompt> {
        match self {
            PromptBody::Text(t) => vec![Prompt::Text(t)],
            PromptBody::Texts(all) => all.into_iter().map(Prompt::Text).collect(),
            PromptBody::Tokens(t) => vec![Prompt::Tokens(t)],
            PromptBody::TokenLists(all) => all.into_iter().map(Prompt::Tokens).collect(),
        }
    }
}

#[derive(Deserialize, ToSchema)]
pub struct CompletionBody {
    #[serde(default)]
    pub model: Option<String>,
    pub prompt: PromptBody,
    #[serde(default)]
    pub stream: Option<bool>,
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub echo: Option<bool>,
    #[serde(default)]
    pub suffix: Option<String>,
    #[serde(default)]
    pub response_format: Option<ResponseFormatBody>,
    /// 16 when absent, as OpenAI has it.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    #[serde(default)]
    pub logprobs: Option<u8>,
    #[serde(default)]
    pub n: Option<u32>,
    #[serde(default)]
    pub stop: Option<OneOrMany>,
    #[serde(default)]
    pub temperature: Option<f32>,
    #[serde(default)]
    pub top_p: Option<f32>,
    #[serde(default)]
    pub top_k: Option<i32>,
    #[serde(default)]
    pub min_p: Option<f32>,
    #[serde(default)]
    pub presence_penalty: Option<f32>,
    #[serde(default)]
    pub frequency_penalty: Option<f32>,
    #[serde(default)]
    pub repeat_penalty: Option<f32>,
    #[serde(default)]
    pub seed: Option<i64>,
    #[serde(default)]
    pub logit_bias: Option<BTreeMap<String, f32>>,
    #[serde(default)]
    pub grammar: Option<String>,
    #[serde(flatten)]
    #[schema(ignore)]
    pub extra: Map<String, Value>,
}

impl CompletionBody {
    /// One request a prompt.
    pub fn into_domain(self, max_batch: usize) -> Result<Vec<CompletionRequest>> {
        if self.suffix.as_deref().is_some_and(|s| !s.is_empty()) {
            return Err(Error::invalid("suffix", "`suffix` is not supported; put the text into the prompt"));
        }
        let prompts = self.prompt.into_prompts();
        if prompts.is_empty() || prompts.len() > max_batch {
            return Err(Error::invalid("prompt", format!("`prompt` holds 1 to {max_batch} prompts (`http.max_batch`)")));
        }
        let first = CompletionRequest {
            model: self.model.unwrap_or_default(),
            prompt: Prompt::default(),
            echo: self.echo.unwrap_or(false),
            response_format: format(self.response_format, self.grammar)?,
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.top_k,
                min_p: self.min_p,
                presence_penalty: self.presence_penalty,
                frequency_penalty: self.frequency_penalty,
                repeat_penalty: self.repeat_penalty,
                seed: self.seed.map(|s| s as u64),
                logit_bias: logit_bias(self.logit_bias)?,
            },
            max_tokens: Some(self.max_tokens.unwrap_or(16)),
            stop: self.stop.map(OneOrMany::into_vec).unwrap_or_default(),
            n: self.n,
            logprobs: self.logprobs,
            extra: self.extra,
        };
        Ok(prompts.into_iter().map(|prompt| CompletionRequest { prompt, ..first.clone() }).collect())
    }
}
