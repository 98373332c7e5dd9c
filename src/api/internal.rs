//! `/internal/*`: the command line talking to the running server of its data directory.

use std::path::PathBuf;

use actix_web::{HttpResponse, web::{self, ServiceConfig, get, post}};
use domain::{Code, Error};
use ports::backup::BackupReport;
use serde::{Deserialize, Serialize};
use service::{accounts::SetUp, keys::NewKey};
use utoipa::ToSchema;

use crate::{console::{keys::scope, models::ModelsView, schema, system::SystemView}, error::ApiResult, extract::{LocalPeer, With}, route, state::State};

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(route("/internal/admin").route(post().to(admin)))
        .service(route("/internal/keys").route(post().to(key)))
        .service(route("/internal/backup").route(post().to(backup)))
        .service(route("/internal/models").route(get().to(models)))
        .service(route("/internal/models/add").route(post().to(add_model)))
        .service(route("/internal/system").route(get().to(system)));
}

#[derive(Deserialize, ToSchema)]
pub struct AdminBody {
    pub email: String,
    pub password: String,
    #[serde(default)]
    pub name: Option<String>,
}
#[derive(Serialize, ToSchema)]
pub struct AdminView {
    pub id: String,
    pub email: String,
}
#[derive(Deserialize, ToSchema)]
pub struct LocalKeyBody {
    /// `model`, `dataset` or `app`.
    pub kind: String,
    #[serde(default)]
    pub app_id: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub models: Option<Vec<String>>,
}
#[derive(Serialize, ToSchema)]
pub struct LocalKeyView {
    pub id: String,
    pub key: String,
}
#[derive(Deserialize, ToSchema)]
pub struct BackupBody {
    /// Absolute path of the file to make.
    pub to: String,
}
#[derive(Serialize, ToSchema)]
pub struct BackupView {
    pub records: u64,
    pub blobs: u64,
    pub bytes: u64,
    pub sha256: String,
}
impl From<BackupReport> for BackupView {
    fn from(r: BackupReport) -> Self {
        Self { records: r.records, blobs: r.blobs, bytes: r.bytes, sha256: r.sha256 }
    }
}
/// Exactly one of `path` and `url`.
#[derive(Deserialize, ToSchema)]
pub struct AddModelBody {
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Makes the first owner.
#[utoipa::path(post, path = "/internal/admin", tag = "internal", security(("local" = [])), request_body = AdminBody, responses((status = 201, body = AdminView)))]
pub async fn admin(state: web::Data<State>, sent: With<LocalPeer, AdminBody>) -> ApiResult<HttpResponse> {
    let AdminBody { email, password, name } = sent.body;
    let user = state.services.accounts.set_up(SetUp { email, password, name: name.unwrap_or_default(), ..SetUp::default() }).await?;
    Ok(HttpResponse::Created().json(AdminView { id: user.id.to_string(), email: user.email.as_str().into() }))
}

/// Makes a key in the first workspace.
#[utoipa::path(post, path = "/internal/keys", tag = "internal", security(("local" = [])), request_body = LocalKeyBody, responses((status = 201, body = LocalKeyView)))]
pub async fn key(state: web::Data<State>, sent: With<LocalPeer, LocalKeyBody>) -> ApiResult<HttpResponse> {
    let b = sent.body;
    let none = || Error::new(Code::Conflict, "there is no workspace yet; make the first owner with `filbert admin create`");
    let workspace = state.services.workspaces.first().await?.ok_or_else(none)?;
    let new = NewKey { name: b.name.unwrap_or_else(|| "command line".into()), scope: scope(&b.kind, b.models, b.app_id)?, expires_at: None };
    let (key, secret) = state.services.keys.create(workspace.id, None, new).await?;
    Ok(HttpResponse::Created().json(LocalKeyView { id: key.id.to_string(), key: secret.expose().to_owned() }))
}

/// Writes a backup to a file of this machine.
#[utoipa::path(post, path = "/internal/backup", tag = "internal", security(("local" = [])), request_body = BackupBody, responses((status = 200, body = BackupView)))]
pub async fn backup(state: web::Data<State>, sent: With<LocalPeer, BackupBody>) -> ApiResult<HttpResponse> {
    let to = PathBuf::from(sent.body.to);
    if !to.is_absolute() {
        return Err(Error::invalid("to", "`to` must be an absolute path").into());
    }
    Ok(HttpResponse::Ok().json(BackupView::from(state.services.system.backup(&to).await?)))
}

/// The model files and how the runtime stands.
#[utoipa::path(get, path = "/internal/models", tag = "internal", security(("local" = [])), responses((status = 200, body = ModelsView)))]
pub async fn models(state: web::Data<State>, _: LocalPeer) -> ApiResult<HttpResponse> {
    let library = state.services.models.library();
    Ok(HttpResponse::Ok().json(ModelsView { models: library.list().await?, runtime: library.status().await? }))
}

/// Takes a file of this machine (answers the model) or starts a download (answers that).
#[utoipa::path(post, path = "/internal/models/add", tag = "internal", security(("local" = [])), request_body = AddModelBody, responses((status = 201, body = schema::LocalModel), (status = 202, body = schema::Download)))]
pub async fn add_model(state: web::Data<State>, sent: With<LocalPeer, AddModelBody>) -> ApiResult<HttpResponse> {
    let library = state.services.models.library();
    match (sent.body.path, sent.body.url) {
        (Some(path), None) => Ok(HttpResponse::Created().json(library.add_file(&PathBuf::from(path)).await?)),
        (None, Some(url)) => Ok(HttpResponse::Accepted().json(library.download(&url, None, sent.body.sha256.as_deref()).await?)),
        _ => Err(Error::invalid("path", "send either `path` or `url`").into()),
    }
}

/// How machine and installation stand.
#[utoipa::path(get, path = "/internal/system", tag = "internal", security(("local" = [])), responses((status = 200, body = SystemView)))]
pub async fn system(state: web::Data<State>, _: LocalPeer) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(SystemView::from(state.services.system.status().await?)))
}
