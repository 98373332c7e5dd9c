//! Models that answer: chat, completion, embeddings, rerank. The local engine and every remote vendor look alike here.

use async_trait::async_trait;
use futures::stream::BoxStream;

use domain::{
    Result,
    chat::{ChatEvent, ChatRequest, CompletionRequest, EmbedRequest, Embeddings, RerankRequest, Reranked},
    id::TenantId,
};

/// On whose behalf a model is called.
#[derive(Clone, Debug)]
pub struct Caller {
    pub tenant: TenantId,
    /// Names the request in logs and traces.
    pub request_id: String,
    /// Interactive work goes before background work (indexing) of the same tenant.
    pub background: bool,
}

/// Events of one answer. Dropping the stream cancels the work within one step.
pub type ChatStream = BoxStream<'static, Result<ChatEvent>>;

/// Everything a source of models can do; what it cannot do for a model is `model_unsupported`, an unknown
/// model is `model_not_found`. Refusals (bad parameters, overflow, full queue) come from the call itself,
/// before the first event, so that HTTP can still answer with a status.
#[async_trait]
pub trait ModelSource: Send + Sync + 'static {
    async fn chat(&self, caller: &Caller, request: ChatRequest) -> Result<ChatStream>;
    async fn complete(&self, caller: &Caller, request: CompletionRequest) -> Result<ChatStream>;
    async fn embed(&self, caller: &Caller, request: EmbedRequest) -> Result<Embeddings>;
    async fn rerank(&self, caller: &Caller, request: RerankRequest) -> Result<Reranked>;
}
