//! Wiring: the one place that names concrete back-ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use llama::{Manifest, Runtime};
use ports::records::Records;
use service::{Deps, Services};
use store_embedded::Store;

use crate::config::{Config, Loaded};

/// Everything that runs, to be stopped together.
pub struct App {
    pub store: Arc<Store>,
    pub runtime: Arc<Runtime>,
    pub services: Arc<Services>,
}

/// The models that come with this version.
pub const MANIFEST: &str = include_str!("../models/manifest.toml");

/// Where model files lie: the folder that is set, else `models` here if there is one, else `models` among the data.
pub fn models_dir(config: &Config) -> PathBuf {
    match &config.llama.models_dir {
        set if !set.as_os_str().is_empty() => set.clone(),
        _ if Path::new("models").is_dir() => "models".into(),
        _ => config.server.data_dir.join("models"),
    }
}

impl App {
    /// Opens the store and starts the services; no model is loaded yet.
    pub async fn start(loaded: &Loaded) -> Result<Self> {
        let config = &loaded.config;
        let (dir, settings) = (config.server.data_dir.clone(), config.store.clone());
        let store = tokio::task::spawn_blocking(move || Store::open(&dir, &settings)).await?.map_err(plain)?;
        store.start_exports();
        let records = Records::new(store.clone());
        let exe = std::env::current_exe().context("this executable cannot be found")?;
        let llama = llama::Settings { models_dir: models_dir(config), ..config.llama.clone() };
        let runtime = Runtime::start(llama, Manifest::parse(MANIFEST).map_err(plain)?, records.clone(), exe).await.map_err(plain)?;
        let services = Services::new(Deps {
            records,
            backup: store.clone(),
            models: runtime.clone(),
            library: runtime.clone(),
            settings: service::Settings { accounts: config.accounts.clone(), limits: config.limits.clone() },
            data_dir: config.server.data_dir.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            config: loaded.entries.clone(),
        });
        Ok(Self { store, runtime, services })
    }

    /// Ends the workers and flushes the store.
    pub async fn stop(self) {
        self.runtime.shutdown().await;
        self.store.close().await;
    }
}

/// A domain error as people read it.
pub fn plain(e: domain::Error) -> anyhow::Error {
    anyhow::anyhow!("{}", e.message).context(e.code.as_str())
}

/// Restores a backup into an absent or empty data directory.
pub fn restore(file: &Path, dir: &Path) -> Result<ports::backup::BackupReport> {
    store_embedded::restore(file, dir).map_err(plain)
}
