//! **The table of error codes.** One row a code: name on the wire, HTTP status, kind in OpenAI's dialect.
//!
//! A domain error says *which* code it is; the HTTP shape is decided in one place (`api/error.rs`).
//! Messages are lower-case, without a full stop, name the thing in backticks and the way out.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $wire:literal $status:literal $kind:literal;)*) => {
        /// What went wrong, as a client may match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }
        impl Code {
            /// Every code, in table order: the error manual is printed from this.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];
            /// The name on the wire (`code` in `{"code","message","status"}`).
            pub fn as_str(self) -> &'static str { match self { $(Code::$name => $wire,)* } }
            /// The HTTP status.
            pub fn status(self) -> u16 { match self { $(Code::$name => $status,)* } }
            /// `error.type` in OpenAI's error shape.
            pub fn openai_type(self) -> &'static str { match self { $(Code::$name => $kind,)* } }
            /// The code with this name on the wire.
            pub fn parse(wire: &str) -> Option<Code> { match wire { $($wire => Some(Code::$name),)* _ => None } }
        }
    };
}

codes! {
    BadRequest "bad_request" 400 "invalid_request_error";
    InvalidParam "invalid_param" 400 "invalid_request_error";
    /// Prompt and requested answer do not fit the model's context; never cut silently.
    ContextLengthExceeded "context_length_exceeded" 400 "invalid_request_error";
    InvalidGrammar "invalid_grammar" 400 "invalid_request_error";
    InvalidSchema "invalid_schema" 400 "invalid_request_error";
    InvalidTemplate "invalid_template" 400 "invalid_request_error";
    ModelUnsupported "model_unsupported" 400 "invalid_request_error";
    InvalidModelFile "invalid_model_file" 400 "invalid_request_error";
    ChecksumMismatch "checksum_mismatch" 400 "invalid_request_error";
    InvalidBackup "invalid_backup" 400 "invalid_request_error";
    WeakPassword "weak_password" 400 "invalid_request_error";
    AppUnavailable "app_unavailable" 400 "invalid_request_error";
    NotChatApp "not_chat_app" 400 "invalid_request_error";
    NotCompletionApp "not_completion_app" 400 "invalid_request_error";
    NotWorkflowApp "not_workflow_app" 400 "invalid_request_error";
    ConversationCompleted "conversation_completed" 400 "invalid_request_error";
    ProviderNotInitialize "provider_not_initialize" 400 "invalid_request_error";
    ProviderQuotaExceeded "provider_quota_exceeded" 400 "insufficient_quota";
    ModelCurrentlyNotSupport "model_currently_not_support" 400 "invalid_request_error";
    CompletionRequestError "completion_request_error" 400 "api_error";
    /// A workflow file that cannot be read or whose graph cannot be run.
    InvalidWorkflow "invalid_workflow" 400 "invalid_request_error";
    Unauthorized "unauthorized" 401 "authentication_error";
    InvalidCredentials "invalid_credentials" 401 "authentication_error";
    Forbidden "forbidden" 403 "permission_error";
    CsrfFailed "csrf_failed" 403 "permission_error";
    NotFound "not_found" 404 "invalid_request_error";
    ModelNotFound "model_not_found" 404 "invalid_request_error";
    MethodNotAllowed "method_not_allowed" 405 "invalid_request_error";
    NotAcceptable "not_acceptable" 406 "invalid_request_error";
    RequestTimeout "request_timeout" 408 "timeout";
    Conflict "conflict" 409 "invalid_request_error";
    AlreadySetUp "already_set_up" 409 "invalid_request_error";
    RequestTooLarge "request_entity_too_large" 413 "invalid_request_error";
    UnsupportedMediaType "unsupported_media_type" 415 "invalid_request_error";
    TooManyRequests "too_many_requests" 429 "rate_limit_error";
    /// The model's queue, or this tenant's share of it, is full.
    QueueFull "queue_full" 429 "rate_limit_error";
    LoginThrottled "login_throttled" 429 "rate_limit_error";
    /// The client went away or asked to stop.
    Cancelled "cancelled" 499 "cancelled";
    Internal "internal_server_error" 500 "api_error";
    StoreCorrupt "store_corrupt" 500 "api_error";
    NotImplementedHere "unsupported_operation" 501 "invalid_request_error";
    /// The upstream or the model worker failed.
    ModelWorkerCrashed "model_worker_crashed" 503 "api_error";
    UpstreamError "upstream_error" 502 "api_error";
    Unavailable "unavailable" 503 "api_error";
    /// The model does not fit the memory budget even after everything idle was unloaded.
    OutOfMemory "out_of_memory" 503 "api_error";
    StorageFull "storage_full" 507 "api_error";
}

/// One error, everywhere above the leaves.
#[derive(Clone)]
pub struct Error {
    pub code: Code,
    /// For the client: lower-case, no full stop, names the thing in backticks and the way out.
    pub message: String,
    /// The request field at fault, if there is one.
    pub param: Option<Cow<'static, str>>,
    /// When the client may try again (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// For the log only.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None, retry_after: None, source: None }
    }
    pub fn param(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(name.into());
        self
    }
    pub fn retry_after(mut self, d: Duration) -> Self {
        self.retry_after = Some(d);
        self
    }
    pub fn source(mut self, e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(e.into()));
        self
    }
    /// A field of the request is wrong.
    pub fn invalid(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParam, message).param(param)
    }
    pub fn not_found(noun: &str, id: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("there is no {noun} `{id}` here"))
    }
    /// A fault of ours. The message is generic; the cause goes to the log.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "something went wrong inside; the log has the cause under this request id").source(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)?;
        if let Some(source) = &self.source {
            write!(f, " (cause: {source})")?;
        }
        Ok(())
    }
}
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        let mut names: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|c| (400..600).contains(&c.status())));
        assert!(Code::ALL.iter().all(|c| Code::parse(c.as_str()) == Some(*c)));
    }
}
