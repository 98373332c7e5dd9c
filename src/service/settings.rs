//! Settings of the installation that people change in the console.

use std::sync::Arc;

use domain::{Result, id::TenantId, settings::InstanceSettings};
use ports::records::Records;

use crate::{accounts::check_language, clean_text};

/// One key of the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub key: String,
    pub value: String,
    /// Where the value comes from: `default`, `file`, `environment` or `flag`.
    pub source: String,
    pub description: String,
}

/// Changes; `None` leaves a field as it is. An empty default model means "the first that is present".
#[derive(Clone, Debug, Default)]
pub struct SettingsPatch {
    pub name: Option<String>,
    pub default_language: Option<String>,
    pub default_chat_model: Option<String>,
    pub default_embedding_model: Option<String>,
    pub default_rerank_model: Option<String>,
}

#[derive(Clone)]
pub struct InstanceService {
    records: Records,
    config: Arc<Vec<ConfigEntry>>,
}

impl InstanceService {
    pub fn new(records: Records, config: Vec<ConfigEntry>) -> Self {
        Self { records, config: Arc::new(config) }
    }
    pub fn config(&self) -> &[ConfigEntry] {
        &self.config
    }
    pub async fn get(&self) -> Result<InstanceSettings> {
        Ok(self.records.get::<InstanceSettings>(TenantId::INSTANCE, b"instance").await?.map(|s| s.value).unwrap_or_default())
    }
    pub async fn update(&self, patch: SettingsPatch) -> Result<InstanceSettings> {
        let name = patch.name.as_deref().map(|n| clean_text("name", n, 100)).transpose()?;
        let language = patch.default_language.as_deref().map(check_language).transpose()?;
        let pick = |new: &Option<String>, old: &mut Option<String>| {
            if let Some(new) = new {
                *old = Some(new.trim().to_owned()).filter(|m| !m.is_empty());
            }
        };
        self.records
            .modify::<InstanceSettings>(TenantId::INSTANCE, b"instance", "installation", |s| {
                s.name = name.clone().unwrap_or_else(|| s.name.clone());
                s.default_language = language.clone().unwrap_or_else(|| s.default_language.clone());
                pick(&patch.default_chat_model, &mut s.default_chat_model);
                pick(&patch.default_embedding_model, &mut s.default_embedding_model);
                pick(&patch.default_rerank_model, &mut s.default_rerank_model);
                Ok(())
            })
            .await
    }
}
