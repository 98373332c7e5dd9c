//! API keys of the workspace.

use actix_web::{HttpResponse, web};
use domain::{Error, key::{ApiKey, KeyScope}, time::Millis};
use serde::{Deserialize, Serialize};
use service::keys::NewKey;
use utoipa::{IntoParams, ToSchema};

use super::members::NameBody;
use crate::{error::{ApiError, ApiResult, ErrorBody}, extract::{Editor, With, id}, state::State};

#[derive(Deserialize, IntoParams)]
pub struct KeyFilter {
    /// `model`, `dataset` or `app`.
    pub kind: Option<String>,
}
#[derive(Deserialize, ToSchema)]
pub struct KeyBody {
    pub name: String,
    /// `model`, `dataset` or `app`.
    pub kind: String,
    /// For `model`: the models it opens; none or an empty list: all.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// For `app`: the app it opens.
    #[serde(default)]
    pub app_id: Option<String>,
    #[serde(default)]
    pub expires_at: Option<i64>,
}
#[derive(Serialize, ToSchema)]
pub struct KeyList {
    pub keys: Vec<KeyView>,
}
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    pub id: String,
    pub name: String,
    pub kind: String,
    /// Enough to recognise it: `sk-…x9Qz`.
    pub hint: String,
    pub models: Vec<String>,
    #[schema(required)]
    pub app_id: Option<String>,
    pub created_at: i64,
    #[schema(required)]
    pub expires_at: Option<i64>,
    #[schema(required)]
    pub revoked_at: Option<i64>,
    #[schema(required)]
    pub last_used_at: Option<i64>,
}
#[derive(Serialize, ToSchema)]
pub struct NewKeyView {
    #[serde(flatten)]
    pub key: KeyView,
    /// The key itself: shown now and never again.
    pub secret: String,
}

pub fn view(k: ApiKey) -> KeyView {
    let kind = k.scope.kind().into();
    let (models, app_id) = match k.scope {
        KeyScope::Model { models } => (models, None),
        KeyScope::App { app } => (Vec::new(), Some(app.to_string())),
        KeyScope::Dataset => (Vec::new(), None),
    };
    let ms = |t: Option<Millis>| t.map(|t| t.0);
    KeyView { id: k.id.to_string(), name: k.name, kind, hint: k.hint, models, app_id, created_at: k.created_at.0, expires_at: ms(k.expires_at), revoked_at: ms(k.revoked_at), last_used_at: ms(k.last_used_at) }
}

/// What a key of this kind opens.
pub fn scope(kind: &str, models: Option<Vec<String>>, app_id: Option<String>) -> ApiResult<KeyScope> {
    match (kind, app_id) {
        ("model", _) => Ok(KeyScope::Model { models: models.unwrap_or_default() }),
        ("dataset", _) => Ok(KeyScope::Dataset),
        ("app", Some(app)) => Ok(KeyScope::App { app: app.parse().map_err(|_| Error::invalid("app_id", "`app_id` is not the id of an app"))? }),
        ("app", None) => Err(ApiError(Error::invalid("app_id", "a key of kind `app` needs an `app_id`"))),
        _ => Err(ApiError(Error::invalid("kind", "`kind` is `model`, `dataset` or `app`"))),
    }
}

/// The workspace's keys.
#[utoipa::path(get, path = "/console/api/keys", tag = "keys", security(("session" = [])), params(KeyFilter), responses((status = 200, body = KeyList)))]
pub async fn list(state: web::Data<State>, who: Editor, filter: web::Query<KeyFilter>) -> ApiResult<HttpResponse> {
    if filter.kind.as_deref().is_some_and(|k| !["model", "dataset", "app"].contains(&k)) {
        return Err(Error::invalid("kind", "`kind` is `model`, `dataset` or `app`").into());
    }
    let keys = state.services.keys.list(who.0.workspace.id, filter.kind.as_deref()).await?.into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(KeyList { keys }))
}

/// Makes a key; its secret is in this answer only.
#[utoipa::path(post, path = "/console/api/keys", tag = "keys", security(("session" = [])), request_body = KeyBody, responses((status = 201, body = NewKeyView), (status = 400, body = ErrorBody)))]
pub async fn create(state: web::Data<State>, sent: With<Editor, KeyBody>) -> ApiResult<HttpResponse> {
    let (p, b) = (sent.who.0, sent.body);
    let new = NewKey { name: b.name, scope: scope(&b.kind, b.models, b.app_id)?, expires_at: b.expires_at.map(Millis) };
    let (key, secret) = state.services.keys.create(p.workspace.id, Some(p.user.id), new).await?;
    Ok(HttpResponse::Created().json(NewKeyView { key: view(key), secret: secret.expose().to_owned() }))
}

/// Renames a key.
#[utoipa::path(patch, path = "/console/api/keys/{id}", tag = "keys", security(("session" = [])), params(("id" = String, Path)), request_body = NameBody, responses((status = 200, body = KeyView), (status = 404, body = ErrorBody)))]
pub async fn rename(state: web::Data<State>, path: web::Path<String>, sent: With<Editor, NameBody>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(view(state.services.keys.rename(sent.who.0.workspace.id, id(&path)?, &sent.body.name).await?)))
}

/// Revokes a key: from now on it opens nothing.
#[utoipa::path(delete, path = "/console/api/keys/{id}", tag = "keys", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = KeyView), (status = 404, body = ErrorBody)))]
pub async fn revoke(state: web::Data<State>, who: Editor, path: web::Path<String>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(view(state.services.keys.revoke(who.0.workspace.id, id(&path)?).await?)))
}
