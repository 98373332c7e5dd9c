//! What the product does, in nobody's protocol: accounts, sessions, members, keys, models, settings, system.
//!
//! *Invariants:* no HTTP here and no store by name; every function that touches a workspace's data is told whose
//! workspace it is. Roles are checked here where they depend on the data (who may change whom); the plain floor of
//! a route (`Admin`, `Editor`, …) is a type in `api`.

pub mod accounts;
pub mod keys;
pub mod limits;
pub mod members;
pub mod models;
pub mod password;
pub mod sessions;
pub mod settings;
pub mod system;
pub mod workspaces;

use std::{path::PathBuf, sync::Arc};

use domain::time::Millis;
use ports::{
    backup::Backup,
    llm::ModelSource,
    models::ModelLibrary,
    records::Records,
};
use serde::{Deserialize, Serialize};

pub use accounts::Accounts;
pub use keys::Keys;
pub use limits::Limits;
pub use members::Members;
pub use models::Models;
pub use sessions::{Principal, Sessions};
pub use settings::InstanceService;
pub use system::System;
pub use workspaces::Workspaces;

/// Settings of this room: the sections `[accounts]` and `[limits]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub accounts: accounts::Settings,
    pub limits: limits::Settings,
}

/// What the services stand on.
pub struct Deps {
    pub records: Records,
    pub backup: Arc<dyn Backup>,
    pub models: Arc<dyn ModelSource>,
    pub library: Arc<dyn ModelLibrary>,
    pub settings: Settings,
    pub data_dir: PathBuf,
    /// Version of the executable, e.g. `0.1.0`.
    pub version: String,
    /// The configuration in force, secrets masked; shown to admins.
    pub config: Vec<settings::ConfigEntry>,
}

/// Every service, made once at start.
pub struct Services {
    pub accounts: Accounts,
    pub sessions: Sessions,
    pub workspaces: Workspaces,
    pub members: Members,
    pub keys: Keys,
    pub models: Models,
    pub settings: InstanceService,
    pub system: System,
    pub limits: Limits,
}

impl Services {
    pub fn new(deps: Deps) -> Arc<Self> {
        let Deps { records, backup, models, library, settings, data_dir, version, config } = deps;
        let hasher = password::Hasher::new(settings.accounts.hash_memory_kib, settings.accounts.hash_passes, settings.accounts.hash_concurrency);
        let instance = InstanceService::new(records.clone(), config);
        let sessions = Sessions::new(records.clone(), settings.accounts.clone());
        Arc::new(Self {
            accounts: Accounts::new(records.clone(), hasher.clone(), sessions.clone(), settings.accounts.clone()),
            members: Members::new(records.clone(), hasher, sessions.clone()),
            workspaces: Workspaces::new(records.clone()),
            keys: Keys::new(records.clone()),
            models: Models::new(models, library.clone(), instance.clone()),
            system: System::new(records, backup, library, data_dir, version, Millis::now()),
            limits: Limits::new(settings.limits),
            settings: instance,
            sessions,
        })
    }
}

/// Checks a text a person typed: trimmed, not empty, at most `max` characters, no control characters.
pub(crate) fn clean_text(param: &'static str, text: &str, max: usize) -> domain::Result<String> {
    let t = text.trim();
    let n = t.chars().count();
    if n == 0 || n > max || t.chars().any(char::is_control) {
        return Err(domain::Error::invalid(param, format!("`{param}` needs 1 to {max} characters and no control characters; it has {n} characters")));
    }
    Ok(t.to_owned())
}
