//! For operators: health, readiness, metrics, the API's description.

use actix_web::{HttpResponse, web::{self, ServiceConfig, get, head}};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{error::{ApiResult, ErrorBody}, route, state::State};

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(route("/healthz").route(get().to(healthz)).route(head().to(healthz)))
        .service(route("/readyz").route(get().to(readyz)).route(head().to(readyz)))
        .service(route("/metrics").route(get().to(metrics)))
        .service(route("/openapi.json").route(get().to(openapi)));
}

#[derive(Serialize, ToSchema)]
pub struct Health {
    pub status: &'static str,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, body = Health)))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// The store answers, too.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses((status = 200, body = Health), (status = 500, body = ErrorBody)))]
pub async fn readyz(state: web::Data<State>) -> ApiResult<HttpResponse> {
    state.services.system.ready().await?;
    Ok(HttpResponse::Ok().json(Health { status: "ok" }))
}

/// Figures in Prometheus' text form.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn metrics(state: web::Data<State>) -> HttpResponse {
    let runtime = state.services.models.library().status().await.ok();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(state.metrics.render(runtime.as_ref()))
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, body = Object)))]
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(crate::openapi())
}
