//! OpenAI's dialect: `/v1/models`, chat, completions, embeddings, rerank.

pub mod chat;
pub mod completions;
pub mod request;
pub mod stream;
pub mod vectors;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{error::{ApiResult, OpenAiErrorBody}, extract::ModelKey, route, state::State};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(route("/v1/models").route(web::get().to(list_models)))
        .service(route("/v1/models/{id}").route(web::get().to(get_model)))
        .service(route("/v1/chat/completions").route(web::post().to(chat::create)))
        .service(route("/v1/completions").route(web::post().to(completions::create)))
        .service(route("/v1/embeddings").route(web::post().to(vectors::embeddings)))
        .service(route("/v1/rerank").route(web::post().to(vectors::rerank)));
}

#[derive(Serialize, ToSchema)]
pub struct Model {
    pub id: String,
    pub object: &'static str,
    /// Unix seconds.
    pub created: i64,
    pub owned_by: &'static str,
    /// `chat`, `embedding` or `rerank` (ours).
    pub kind: &'static str,
}
#[derive(Serialize, ToSchema)]
pub struct ModelList {
    pub object: &'static str,
    pub data: Vec<Model>,
}

fn model(m: domain::model::LocalModel) -> Model {
    Model { id: m.id, object: "model", created: m.modified_at.seconds(), owned_by: "filbert", kind: m.kind.as_str() }
}

/// Models this key opens.
#[utoipa::path(get, path = "/v1/models", tag = "openai", security(("key" = [])), responses((status = 200, body = ModelList), (status = 401, body = OpenAiErrorBody)))]
pub async fn list_models(key: ModelKey, state: web::Data<State>) -> ApiResult<HttpResponse> {
    let data = state.services.models.list(key.allowed()).await?.into_iter().map(model).collect();
    Ok(HttpResponse::Ok().json(ModelList { object: "list", data }))
}

/// One model.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "openai", security(("key" = [])), params(("id" = String, Path)), responses((status = 200, body = Model), (status = 404, body = OpenAiErrorBody)))]
pub async fn get_model(key: ModelKey, state: web::Data<State>, id: web::Path<String>, _: HttpRequest) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(model(state.services.models.get(key.allowed(), &id).await?)))
}
