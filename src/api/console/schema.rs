//! Schemas of domain nouns the console sends as they are, for the OpenAPI document only.

use std::collections::BTreeMap;

use utoipa::ToSchema;

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ModelKind {
    Chat,
    Embedding,
    Rerank,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Pooling {
    None,
    Mean,
    Cls,
    Last,
    Rank,
}

#[derive(ToSchema)]
pub struct LocalModel {
    pub id: String,
    pub kind: ModelKind,
    pub file: String,
    pub bytes: u64,
    /// Unix milliseconds.
    pub modified_at: i64,
    #[schema(required)]
    pub sha256: Option<String>,
    #[schema(required)]
    pub facts: Option<GgufFacts>,
    #[schema(required)]
    pub problem: Option<String>,
    pub built_in: bool,
    pub settings: ModelSettings,
    pub effective: EffectiveSettings,
    pub load: LoadState,
}

#[derive(ToSchema)]
pub struct GgufFacts {
    pub architecture: String,
    #[schema(required)]
    pub name: Option<String>,
    pub quantization: String,
    pub parameters: u64,
    pub context_length: u32,
    pub embedding_length: u32,
    pub layers: u32,
    pub vocabulary: u32,
    #[schema(required)]
    pub pooling: Option<Pooling>,
    pub has_chat_template: bool,
    pub template_takes_tools: bool,
    #[schema(required)]
    pub licence: Option<String>,
    pub fast_kernels: bool,
}

#[derive(ToSchema)]
pub struct ModelSettings {
    pub model: String,
    #[schema(required)]
    pub kind: Option<ModelKind>,
    #[schema(required)]
    pub context_size: Option<u32>,
    #[schema(required)]
    pub parallel: Option<u32>,
    #[schema(required)]
    pub keep_alive_secs: Option<u64>,
    #[schema(required)]
    pub threads: Option<u32>,
    #[schema(required)]
    pub query_prefix: Option<String>,
    #[schema(required)]
    pub passage_prefix: Option<String>,
    #[schema(required)]
    pub pooling: Option<Pooling>,
    #[schema(required)]
    pub chat_template: Option<String>,
    pub pinned: bool,
}

#[derive(ToSchema)]
pub struct EffectiveSettings {
    pub context_size: u32,
    pub parallel: u32,
    pub keep_alive_secs: u64,
    pub threads: u32,
    pub query_prefix: String,
    pub passage_prefix: String,
}

/// Told apart by `state`.
#[derive(ToSchema, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LoadState {
    Unloaded,
    Loading {
        /// 0.0 – 1.0
        progress: f32,
    },
    Loaded { since: i64, last_used: i64, memory_bytes: u64, running: u32, queued: u32 },
    Failed { code: String, message: String },
}

#[derive(ToSchema)]
pub struct RuntimeStatus {
    pub memory_budget_bytes: u64,
    pub memory_used_bytes: u64,
    pub loaded: u32,
    pub running: u32,
    pub queued: u32,
    pub cpu_features: Vec<String>,
    pub counters: BTreeMap<String, u64>,
}

#[derive(ToSchema)]
pub struct Download {
    pub id: String,
    pub url: String,
    pub file: String,
    #[schema(required)]
    pub sha256: Option<String>,
    pub state: DownloadState,
    pub received_bytes: u64,
    #[schema(required)]
    pub total_bytes: Option<u64>,
    #[schema(required)]
    pub rate: Option<u64>,
    #[schema(required)]
    pub error: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum DownloadState {
    Running,
    Paused,
    Verifying,
    Done,
    Failed,
    Cancelled,
}
