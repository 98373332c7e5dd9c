//! From [`domain::Error`] to HTTP, in one place.
//!
//! Handlers return [`ApiError`]; the outermost middleware knows the path and writes OpenAI's shape on `/v1` model
//! routes and the playground's chat, `{"code","message","status"}` everywhere else.

use std::fmt;

use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError, http::{StatusCode, header}};
use domain::{Code, Error};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A domain error on its way to a client.
#[derive(Debug)]
pub struct ApiError(pub Error);

pub type ApiResult<T> = Result<T, ApiError>;

impl From<Error> for ApiError {
    fn from(e: Error) -> Self {
        Self(e)
    }
}
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        status(self.0.code)
    }
    fn error_response(&self) -> HttpResponse {
        response(&self.0, false)
    }
}

/// The error shape of every path but OpenAI's.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// A row of the error table, e.g. `not_found`.
    pub code: String,
    pub message: String,
    /// The HTTP status again.
    pub status: u16,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
}

/// OpenAI's error shape.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenAiErrorBody {
    pub error: OpenAiErrorDetail,
}
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenAiErrorDetail {
    pub message: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub param: Option<String>,
    pub code: Option<String>,
}

/// Longest message sent, in characters: what a client sent is never echoed at length.
const MESSAGE_MAX: usize = 1000;

fn message(e: &Error) -> String {
    e.message.chars().take(MESSAGE_MAX).collect()
}

/// OpenAI's shape of an error, also used for errors in the middle of a stream.
pub fn openai_body(e: &Error) -> OpenAiErrorBody {
    let detail = OpenAiErrorDetail { message: message(e), kind: e.code.openai_type().into(), param: e.param.as_ref().map(ToString::to_string), code: Some(e.code.as_str().into()) };
    OpenAiErrorBody { error: detail }
}

fn status(code: Code) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The response to an error, in OpenAI's shape or ours.
pub fn response(e: &Error, openai: bool) -> HttpResponse {
    let mut builder = HttpResponseBuilder::new(status(e.code));
    if let Some(wait) = e.retry_after {
        builder.insert_header((header::RETRY_AFTER, wait.as_secs().max(1).to_string()));
    }
    if e.code == Code::Unauthorized {
        builder.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"api\""));
    }
    if openai {
        return builder.json(openai_body(e));
    }
    builder.json(ErrorBody { code: e.code.as_str().into(), message: message(e), status: e.code.status(), param: e.param.as_ref().map(ToString::to_string) })
}

/// Whether errors on this path have OpenAI's shape.
pub fn is_openai_path(path: &str) -> bool {
    ["/v1/models", "/v1/chat/", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/console/api/playground/"].iter().any(|p| path.starts_with(p))
}
