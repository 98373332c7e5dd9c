//! Local model files: list, add, settings, load and unload; downloads.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use domain::{Code, Error, model::{Download, LocalModel, ModelKind, ModelSettings, Pooling, RuntimeStatus}};
use futures::StreamExt;
use serde::{Deserialize, Deserializer, Serialize};
use service::models::Allowed;
use utoipa::{IntoParams, ToSchema};

use super::{DONE, Done, schema};
use crate::{error::{ApiResult, ErrorBody}, extract::{Admin, Member, With, id}, state::State};

#[derive(Serialize, ToSchema)]
pub struct ModelsView {
    #[schema(value_type = Vec<schema::LocalModel>)]
    pub models: Vec<LocalModel>,
    #[schema(value_type = schema::RuntimeStatus)]
    pub runtime: RuntimeStatus,
}
#[derive(Deserialize, IntoParams)]
pub struct UploadQuery {
    /// Name of the file to make, ending in `.gguf`.
    pub file_name: String,
}
#[derive(Deserialize, ToSchema)]
pub struct DownloadBody {
    pub url: String,
    #[serde(default)]
    pub file_name: Option<String>,
    /// Expected SHA-256 in hex.
    #[serde(default)]
    pub sha256: Option<String>,
}
#[derive(Serialize, ToSchema)]
pub struct DownloadList {
    #[schema(value_type = Vec<schema::Download>)]
    pub downloads: Vec<Download>,
}

/// Tells an absent field (leave it) from `null` (back to the default).
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(d).map(Some)
}

/// Absent: as it is. `null`: back to what the file or the configuration says.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ModelPatch {
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<schema::ModelKind>)]
    pub kind: Option<Option<ModelKind>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    pub context_size: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    pub parallel: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    pub keep_alive_secs: Option<Option<u64>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    pub threads: Option<Option<u32>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub query_prefix: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub passage_prefix: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<schema::Pooling>)]
    pub pooling: Option<Option<Pooling>>,
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub chat_template: Option<Option<String>>,
    pub pinned: Option<bool>,
}
impl ModelPatch {
    fn apply(self, to: &mut ModelSettings) {
        fn set<T>(new: Option<Option<T>>, old: &mut Option<T>) {
            if let Some(new) = new {
                *old = new;
            }
        }
        set(self.kind, &mut to.kind);
        set(self.context_size, &mut to.context_size);
        set(self.parallel, &mut to.parallel);
        set(self.keep_alive_secs, &mut to.keep_alive_secs);
        set(self.threads, &mut to.threads);
        set(self.query_prefix, &mut to.query_prefix);
        set(self.passage_prefix, &mut to.passage_prefix);
        set(self.pooling, &mut to.pooling);
        set(self.chat_template, &mut to.chat_template);
        to.pinned = self.pinned.unwrap_or(to.pinned);
    }
}

/// The model files and how the runtime stands.
#[utoipa::path(get, path = "/console/api/models", tag = "models", security(("session" = [])), responses((status = 200, body = ModelsView)))]
pub async fn list(state: web::Data<State>, _: Member) -> ApiResult<HttpResponse> {
    let library = state.services.models.library();
    Ok(HttpResponse::Ok().json(ModelsView { models: library.list().await?, runtime: library.status().await? }))
}

/// One model file.
#[utoipa::path(get, path = "/console/api/models/{id}", tag = "models", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = schema::LocalModel), (status = 404, body = ErrorBody)))]
pub async fn get(state: web::Data<State>, _: Member, path: web::Path<String>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(state.services.models.get(Allowed::All, &path).await?))
}

/// Takes a model file as the raw body.
#[utoipa::path(post, path = "/console/api/models/upload", tag = "models", security(("session" = [])), params(UploadQuery), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses((status = 201, body = schema::LocalModel), (status = 400, body = ErrorBody)))]
pub async fn upload(state: web::Data<State>, _: Admin, req: HttpRequest, query: web::Query<UploadQuery>, mut payload: web::Payload) -> ApiResult<HttpResponse> {
    let length = req.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    let (limit, patience) = (state.settings.max_upload_bytes, Duration::from_secs(state.settings.upload_stall_secs.max(1)));
    let too_large = || Error::new(Code::RequestTooLarge, format!("the upload is larger than {limit} bytes (`http.max_upload_bytes`)"));
    if length.is_some_and(|l| l > limit) {
        return Err(too_large().into());
    }
    // The payload stays on this thread, the library may run on another: a short channel joins them.
    let (send, receive) = tokio::sync::mpsc::channel::<std::io::Result<bytes::Bytes>>(8);
    let pump = async move {
        let mut total = 0u64;
        loop {
            let fault = match tokio::time::timeout(patience, payload.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(chunk))) if total + chunk.len() as u64 <= limit => {
                    total += chunk.len() as u64;
                    if send.send(Ok(chunk)).await.is_err() {
                        return None;
                    }
                    continue;
                }
                Ok(Some(Ok(_))) => too_large(),
                Ok(Some(Err(e))) => Error::new(Code::BadRequest, format!("the upload broke off: {e}; send it again")),
                Err(_) => Error::new(Code::RequestTimeout, format!("nothing of the upload came for {} seconds (`http.upload_stall_secs`)", patience.as_secs())),
            };
            // The library sees the fault as a broken file and keeps nothing.
            let _ = send.send(Err(std::io::Error::other(fault.message.clone()))).await;
            return Some(fault);
        }
    };
    let stream = futures::stream::unfold(receive, |mut r| async move { r.recv().await.map(|item| (item, r)) }).boxed();
    let (fault, added) = futures::join!(pump, state.services.models.library().add_upload(&query.file_name, stream));
    match (fault, added) {
        (Some(fault), Err(_)) => Err(fault.into()),
        (_, added) => Ok(HttpResponse::Created().json(added?)),
    }
}

/// Changes a model's settings.
#[utoipa::path(patch, path = "/console/api/models/{id}", tag = "models", security(("session" = [])), params(("id" = String, Path)), request_body = ModelPatch, responses((status = 200, body = schema::LocalModel), (status = 404, body = ErrorBody)))]
pub async fn configure(state: web::Data<State>, path: web::Path<String>, sent: With<Admin, ModelPatch>) -> ApiResult<HttpResponse> {
    let model = state.services.models.get(Allowed::All, &path).await?;
    let mut settings = model.settings;
    settings.model = model.id;
    sent.body.apply(&mut settings);
    Ok(HttpResponse::Ok().json(state.services.models.library().configure(settings).await?))
}

/// Deletes a model file.
#[utoipa::path(delete, path = "/console/api/models/{id}", tag = "models", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub async fn remove(state: web::Data<State>, _: Admin, path: web::Path<String>) -> ApiResult<HttpResponse> {
    state.services.models.library().remove(&path).await?;
    Ok(HttpResponse::Ok().json(DONE))
}

/// Brings a model into memory; answers when it is ready.
#[utoipa::path(post, path = "/console/api/models/{id}/load", tag = "models", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = schema::LocalModel), (status = 503, body = ErrorBody)))]
pub async fn load(state: web::Data<State>, _: Admin, path: web::Path<String>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(state.services.models.library().load(&path).await?))
}

/// Frees a model's memory once its running requests are done.
#[utoipa::path(post, path = "/console/api/models/{id}/unload", tag = "models", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = schema::LocalModel), (status = 404, body = ErrorBody)))]
pub async fn unload(state: web::Data<State>, _: Admin, path: web::Path<String>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(state.services.models.library().unload(&path).await?))
}

/// Downloads, running and past.
#[utoipa::path(get, path = "/console/api/downloads", tag = "models", security(("session" = [])), responses((status = 200, body = DownloadList)))]
pub async fn downloads(state: web::Data<State>, _: Admin) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(DownloadList { downloads: state.services.models.library().downloads().await? }))
}

/// Starts a download.
#[utoipa::path(post, path = "/console/api/downloads", tag = "models", security(("session" = [])), request_body = DownloadBody, responses((status = 201, body = schema::Download), (status = 400, body = ErrorBody)))]
pub async fn download(state: web::Data<State>, sent: With<Admin, DownloadBody>) -> ApiResult<HttpResponse> {
    let DownloadBody { url, file_name, sha256 } = sent.body;
    Ok(HttpResponse::Created().json(state.services.models.library().download(&url, file_name.as_deref(), sha256.as_deref()).await?))
}

/// Interrupts a download, keeping what has come.
#[utoipa::path(post, path = "/console/api/downloads/{id}/pause", tag = "models", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = schema::Download), (status = 404, body = ErrorBody)))]
pub async fn pause_download(state: web::Data<State>, _: Admin, path: web::Path<String>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(state.services.models.library().pause_download(id(&path)?).await?))
}

/// Goes on with a download.
#[utoipa::path(post, path = "/console/api/downloads/{id}/resume", tag = "models", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = schema::Download), (status = 404, body = ErrorBody)))]
pub async fn resume_download(state: web::Data<State>, _: Admin, path: web::Path<String>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(state.services.models.library().resume_download(id(&path)?).await?))
}

/// Stops a download and removes what has come.
#[utoipa::path(delete, path = "/console/api/downloads/{id}", tag = "models", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub async fn cancel_download(state: web::Data<State>, _: Admin, path: web::Path<String>) -> ApiResult<HttpResponse> {
    state.services.models.library().cancel_download(id(&path)?).await?;
    Ok(HttpResponse::Ok().json(DONE))
}
