//! HTTP: paths, shapes, status codes. What is done is `service`'s business.
//!
//! *Invariants:* no store and no engine by name; a handler's first argument says who may call it (`extract`);
//! errors become HTTP in `error.rs` only. The front door wraps the application in [`observe`](observe::observe) and
//! calls [`routes`].

pub mod console;
pub mod error;
pub mod extract;
pub mod internal;
pub mod metrics;
pub mod observe;
pub mod openai;
pub mod openapi;
pub mod ops;
pub mod state;

use actix_web::{Resource, web};
use domain::{Code, Error};

pub use observe::observe;
pub use openapi::openapi;
pub use state::{Settings, State};

use error::{ApiError, ApiResult};

/// A path that answers other methods with `method_not_allowed`.
pub(crate) fn route(path: &str) -> Resource {
    web::resource(path).default_service(web::to(wrong_method))
}

async fn wrong_method(req: actix_web::HttpRequest) -> ApiResult<String> {
    let path: String = req.path().chars().take(200).collect();
    Err(ApiError(Error::new(Code::MethodNotAllowed, format!("`{}` is not allowed on `{path}`", req.method()))))
}

async fn nothing_here() -> ApiResult<String> {
    Err(ApiError(Error::new(Code::NotFound, "there is nothing at this path; `/openapi.json` lists what there is")))
}

/// Every path but the console's files.
pub fn routes(cfg: &mut web::ServiceConfig, state: State) {
    cfg.app_data(web::Data::new(state));
    let query = web::QueryConfig::default().error_handler(|e, _| ApiError(Error::new(Code::InvalidParam, format!("the query is wrong: {e}"))).into());
    cfg.app_data(query);
    openai::routes(cfg);
    console::routes(cfg);
    internal::routes(cfg);
    ops::routes(cfg);
    for family in ["/v1", "/console/api", "/internal"] {
        cfg.service(web::scope(family).default_service(web::to(nothing_here)));
    }
}
