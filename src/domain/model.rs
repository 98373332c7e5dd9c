//! Models: what a model is, where it comes from, how it is set, and how a local one fares right now.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::{
    id::{DownloadId, TenantId},
    record::{IndexEntry, Record},
    time::Millis,
};

/// What a model is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    Chat,
    Embedding,
    Rerank,
}

impl ModelKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ModelKind::Chat => "chat",
            ModelKind::Embedding => "embedding",
            ModelKind::Rerank => "rerank",
        }
    }
}

/// How token vectors become one vector: what the file names (`*.pooling_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    None,
    Mean,
    Cls,
    Last,
    Rank,
}

/// What the header of a GGUF file says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GgufFacts {
    /// `general.architecture`, e.g. `llama`, `bert`.
    pub architecture: String,
    /// `general.name`.
    pub name: Option<String>,
    /// Dominant tensor type by bytes, e.g. `Q4_0`.
    pub quantization: String,
    /// Number of weights.
    pub parameters: u64,
    /// Context the model was trained for, in tokens.
    pub context_length: u32,
    /// Width of the hidden state = width of an embedding.
    pub embedding_length: u32,
    pub layers: u32,
    pub vocabulary: u32,
    pub pooling: Option<Pooling>,
    pub has_chat_template: bool,
    /// The model was taught to call tools (its template takes `tools`).
    pub template_takes_tools: bool,
    pub licence: Option<String>,
    /// The weights' type has fast (repacked) CPU kernels; when not, the models page advises a re-layout.
    pub fast_kernels: bool,
}

/// Settings of one local model; absent values mean "as the file or the configuration says".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// The model's id: its file name without `.gguf`.
    pub model: String,
    /// Overrides what the file's header suggests.
    pub kind: Option<ModelKind>,
    /// Tokens shared by all sequences.
    pub context_size: Option<u32>,
    /// Sequences generated at once.
    pub parallel: Option<u32>,
    /// Seconds without use after which it is unloaded; 0 = at once, `None` = as configured.
    pub keep_alive_secs: Option<u64>,
    pub threads: Option<u32>,
    /// Put before texts to be searched for, e.g. `query: ` (E5).
    pub query_prefix: Option<String>,
    /// Put before texts to be found, e.g. `passage: ` (E5).
    pub passage_prefix: Option<String>,
    pub pooling: Option<Pooling>,
    /// Replaces the file's chat template.
    pub chat_template: Option<String>,
    /// Load at start and never unload.
    pub pinned: bool,
}
impl Record for ModelSettings {
    const KIND: &'static str = "model_settings";
    fn tenant(&self) -> TenantId {
        TenantId::INSTANCE
    }
    fn id(&self) -> Vec<u8> {
        self.model.as_bytes().to_vec()
    }
}

/// Where a local model is in its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LoadState {
    Unloaded,
    /// 0.0 – 1.0
    Loading {
        progress: f32,
    },
    Loaded {
        since: Millis,
        last_used: Millis,
        /// Proportional set size of the worker in bytes.
        memory_bytes: u64,
        running: u32,
        queued: u32,
    },
    /// The last load failed; the reason names the way out.
    Failed {
        code: String,
        message: String,
    },
}

/// A model file on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalModel {
    /// File name without `.gguf`: what clients write into `model`.
    pub id: String,
    pub kind: ModelKind,
    pub file: String,
    pub bytes: u64,
    pub modified_at: Millis,
    /// From the manifest; `None` for files that were dropped in.
    pub sha256: Option<String>,
    /// `None` when the header could not be read; `problem` says why.
    pub facts: Option<GgufFacts>,
    pub problem: Option<String>,
    /// Came with the product (named in `manifest.toml`).
    pub built_in: bool,
    pub settings: ModelSettings,
    /// What the settings come to, with defaults filled in.
    pub effective: EffectiveSettings,
    pub load: LoadState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectiveSettings {
    pub context_size: u32,
    pub parallel: u32,
    pub keep_alive_secs: u64,
    pub threads: u32,
    pub query_prefix: String,
    pub passage_prefix: String,
}

/// A download of a model file: survives a restart, resumes by HTTP range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Download {
    pub id: DownloadId,
    pub url: String,
    pub file: String,
    /// Expected SHA-256 in hex; checked before the file appears.
    pub sha256: Option<String>,
    pub state: DownloadState,
    pub received_bytes: u64,
    pub total_bytes: Option<u64>,
    /// Bytes per second over the last seconds.
    pub rate: Option<u64>,
    pub error: Option<String>,
    pub created_at: Millis,
    pub updated_at: Millis,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownloadState {
    Running,
    /// Interrupted (restart, network, pause); can be resumed.
    Paused,
    Verifying,
    Done,
    Failed,
    Cancelled,
}
impl Record for Download {
    const KIND: &'static str = "download";
    fn tenant(&self) -> TenantId {
        TenantId::INSTANCE
    }
    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        Vec::new()
    }
}

/// How the local runtime stands as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// Bytes all loaded models may take together.
    pub memory_budget_bytes: u64,
    pub memory_used_bytes: u64,
    pub loaded: u32,
    pub running: u32,
    pub queued: u32,
    /// CPU features the kernels use here, e.g. `avx2`, `avx512_vnni`.
    pub cpu_features: Vec<String>,
    /// Counters since start, by name (tokens generated, prompt tokens, cached tokens, crashes, …).
    pub counters: BTreeMap<String, u64>,
}
