//! Settings of the installation that people change in the console (what an operator sets lies in `config.toml`).

use serde::{Deserialize, Serialize};

use crate::{id::TenantId, record::Record};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSettings {
    /// Shown in the title bar and on the sign-in page.
    pub name: String,
    /// Language of people who have not chosen one.
    pub default_language: String,
    /// Model id used where none is chosen, per kind; `None` means the first that is present.
    pub default_chat_model: Option<String>,
    pub default_embedding_model: Option<String>,
    pub default_rerank_model: Option<String>,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self { name: "Filbert".into(), default_language: "en-US".into(), default_chat_model: None, default_embedding_model: None, default_rerank_model: None }
    }
}

impl Record for InstanceSettings {
    const KIND: &'static str = "instance_settings";
    fn tenant(&self) -> TenantId {
        TenantId::INSTANCE
    }
    fn id(&self) -> Vec<u8> {
        b"instance".to_vec()
    }
}
