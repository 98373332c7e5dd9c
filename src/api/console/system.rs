//! Settings of the installation, its state, backups.

use actix_web::{HttpResponse, http::header, web};
use bytes::Bytes;
use domain::{Error, settings::InstanceSettings};
use serde::{Deserialize, Serialize};
use service::{settings::SettingsPatch, system::{CheckStatus, SystemStatus}};
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

use crate::{error::{ApiResult, ErrorBody}, extract::{Admin, Owner, With}, state::State};

#[derive(Serialize, ToSchema)]
pub struct SettingsView {
    pub name: String,
    pub default_language: String,
    #[schema(required)]
    pub default_chat_model: Option<String>,
    #[schema(required)]
    pub default_embedding_model: Option<String>,
    #[schema(required)]
    pub default_rerank_model: Option<String>,
    /// The configuration in force; read-only here, secrets masked.
    pub config: Vec<ConfigView>,
}
#[derive(Serialize, ToSchema)]
pub struct ConfigView {
    pub key: String,
    pub value: String,
    /// `default`, `file`, `environment` or `flag`.
    pub source: String,
    pub description: String,
}
/// Absent: as it is. An empty model: the first that is present.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SettingsBody {
    pub name: Option<String>,
    pub default_language: Option<String>,
    pub default_chat_model: Option<String>,
    pub default_embedding_model: Option<String>,
    pub default_rerank_model: Option<String>,
}
#[derive(Serialize, ToSchema)]
pub struct SystemView {
    pub version: String,
    pub started_at: i64,
    pub data_dir: String,
    pub disk_free_bytes: u64,
    pub disk_total_bytes: u64,
    pub memory: MemoryView,
    pub checks: Vec<CheckView>,
}
#[derive(Serialize, ToSchema)]
pub struct MemoryView {
    /// This process, without model workers.
    pub pss_bytes: u64,
    pub total_bytes: u64,
    pub available_bytes: u64,
}
#[derive(Serialize, ToSchema)]
pub struct CheckView {
    pub name: String,
    /// `ok`, `warn` or `fail`.
    pub status: &'static str,
    pub message: String,
    /// What to do about it; empty when nothing.
    pub hint: String,
}

impl From<SystemStatus> for SystemView {
    fn from(s: SystemStatus) -> Self {
        let status = |s| match s {
            CheckStatus::Ok => "ok",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "fail",
        };
        Self {
            version: s.version,
            started_at: s.started_at.0,
            data_dir: s.data_dir.display().to_string(),
            disk_free_bytes: s.disk_free_bytes,
            disk_total_bytes: s.disk_total_bytes,
            memory: MemoryView { pss_bytes: s.pss_bytes, total_bytes: s.memory_total_bytes, available_bytes: s.memory_available_bytes },
            checks: s.checks.into_iter().map(|c| CheckView { name: c.name.into(), status: status(c.status), message: c.message, hint: c.hint }).collect(),
        }
    }
}

fn view(state: &State, s: InstanceSettings) -> SettingsView {
    let config = state.services.settings.config().iter().cloned();
    SettingsView {
        name: s.name,
        default_language: s.default_language,
        default_chat_model: s.default_chat_model,
        default_embedding_model: s.default_embedding_model,
        default_rerank_model: s.default_rerank_model,
        config: config.map(|c| ConfigView { key: c.key, value: c.value, source: c.source, description: c.description }).collect(),
    }
}

/// Settings of the installation.
#[utoipa::path(get, path = "/console/api/settings", tag = "system", security(("session" = [])), responses((status = 200, body = SettingsView)))]
pub async fn settings(state: web::Data<State>, _: Admin) -> ApiResult<HttpResponse> {
    let settings = state.services.settings.get().await?;
    Ok(HttpResponse::Ok().json(view(&state, settings)))
}

/// Changes settings of the installation.
#[utoipa::path(patch, path = "/console/api/settings", tag = "system", security(("session" = [])), request_body = SettingsBody, responses((status = 200, body = SettingsView), (status = 400, body = ErrorBody)))]
pub async fn update_settings(state: web::Data<State>, sent: With<Admin, SettingsBody>) -> ApiResult<HttpResponse> {
    let SettingsBody { name, default_language, default_chat_model, default_embedding_model, default_rerank_model } = sent.body;
    let patch = SettingsPatch { name, default_language, default_chat_model, default_embedding_model, default_rerank_model };
    let settings = state.services.settings.update(patch).await?;
    Ok(HttpResponse::Ok().json(view(&state, settings)))
}

/// How machine and installation stand.
#[utoipa::path(get, path = "/console/api/system", tag = "system", security(("session" = [])), responses((status = 200, body = SystemView)))]
pub async fn status(state: web::Data<State>, _: Admin) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(SystemView::from(state.services.system.status().await?)))
}

/// A backup of everything, as a download.
#[utoipa::path(post, path = "/console/api/backup", tag = "system", security(("session" = [])), responses((status = 200, description = "the backup file", body = Vec<u8>, content_type = "application/octet-stream"), (status = 507, body = ErrorBody)))]
pub async fn backup(state: web::Data<State>, _: Owner) -> ApiResult<HttpResponse> {
    let data_dir = state.services.system.data_dir().to_owned();
    let dir = tokio::task::spawn_blocking(move || tempfile::Builder::new().prefix("backup-").tempdir_in(data_dir)).await.map_err(Error::internal)?.map_err(Error::internal)?;
    let path = dir.path().join("filbert.backup");
    let report = state.services.system.backup(&path).await?;
    let mut file = tokio::fs::File::open(&path).await.map_err(Error::internal)?;
    let body = async_stream::stream! {
        // The folder goes when the download is over or given up.
        let _dir = dir;
        let mut buffer = vec![0u8; 256 << 10];
        loop {
            match file.read(&mut buffer).await {
                Ok(0) => break,
                Ok(n) => yield Ok::<Bytes, std::io::Error>(Bytes::copy_from_slice(&buffer[..n])),
                Err(e) => {
                    yield Err(e);
                    break;
                }
            }
        }
    };
    let name = format!("attachment; filename=\"filbert-{}.backup\"", domain::time::Millis::now().seconds());
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header(("x-backup-sha256", report.sha256))
        .no_chunking(report.bytes)
        .streaming(body))
}
