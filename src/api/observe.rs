//! The outermost middleware: request id, error shape, panics, metrics, access log, CORS of `/v1`, common headers.

use std::{panic::AssertUnwindSafe, time::Instant};

use actix_web::{
    HttpMessage, HttpResponse,
    body::{BoxBody, MessageBody},
    cookie::Cookie,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode, header::{self, HeaderMap, HeaderName, HeaderValue}},
    middleware::Next,
};
use domain::{Code, Error};
use futures::FutureExt;

use crate::{error::{self, ApiError}, state::State};

/// Names a request in answers and logs.
#[derive(Clone)]
pub struct RequestId(pub String);

/// A session cookie to send with the answer (its secret was rotated).
pub(crate) struct RenewedCookie(pub Cookie<'static>);

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|v| v.to_str().ok());
    let valid = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    given.filter(valid).map_or_else(|| uuid::Uuid::now_v7().simple().to_string(), str::to_owned)
}

fn cors(headers: &mut HeaderMap) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, PUT, POST, DELETE, OPTIONS, PATCH"),
        ("access-control-allow-headers", "Content-Type, Authorization, X-Request-Id, X-App-Code, Idempotency-Key, Last-Event-ID"),
        ("access-control-expose-headers", "X-Request-Id, X-Version, Retry-After"),
        ("access-control-max-age", "3600"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
}

/// Wrap the application in it: `App::new().wrap(actix_web::middleware::from_fn(api::observe))`.
pub async fn observe<B: MessageBody + 'static>(req: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let begun = Instant::now();
    let state = State::of(req.request()).clone();
    let id = request_id(req.headers());
    req.extensions_mut().insert(RequestId(id.clone()));
    // No clone of the request may live while it is routed: the router wants it for itself.
    let (method, path, ip) = (req.method().clone(), req.path().to_owned(), state.client_ip(req.request()));
    let in_flight = state.metrics.begin();
    let mut gone = Gone { state: &state, id: &id, method: &method, path: &path, begun, answered: false };
    let open_to_browsers = state.settings.cors && path.starts_with("/v1");
    let preflight = open_to_browsers && method == Method::OPTIONS && req.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);

    let mut res = if preflight {
        req.into_response(HttpResponse::NoContent().finish()).map_into_boxed_body()
    } else {
        match AssertUnwindSafe(next.call(req)).catch_unwind().await {
            Ok(Ok(res)) => match res.response().error().map(own_error) {
                Some(e) => {
                    log_fault(&e, &id);
                    ServiceResponse::new(res.request().clone(), error::response(&e, error::is_openai_path(&path)))
                }
                None => res.map_into_boxed_body(),
            },
            Ok(Err(e)) => {
                gone.answered = true;
                return Err(failed(&own_error(&e), &path, &id));
            }
            Err(panic) => {
                gone.answered = true;
                let cause = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                return Err(failed(&Error::internal(format!("a handler panicked: {cause}")), &path, &id));
            }
        }
    };
    gone.answered = true;
    drop(gone);
    drop(in_flight);

    let renewed = res.request().extensions_mut().remove::<RenewedCookie>();
    if let Some(RenewedCookie(cookie)) = renewed
        && let Err(error) = res.response_mut().add_cookie(&cookie)
    {
        tracing::warn!(%error, "a session cookie could not be sent");
    }
    let allow = if res.status() == StatusCode::METHOD_NOT_ALLOWED { res.request().match_pattern().and_then(|p| crate::openapi::methods(&p)) } else { None };
    let headers = res.headers_mut();
    if let Some(methods) = allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if open_to_browsers {
        cors(headers);
    }
    if (path.starts_with("/console/api") || path.starts_with("/internal")) && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let (status, route, elapsed) = (res.status().as_u16(), res.request().match_pattern().unwrap_or_else(|| "other".into()), begun.elapsed());
    let known = matches!(method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS");
    state.metrics.answered(if known { method.as_str() } else { "other" }, &route, status, elapsed.as_secs_f64());
    tracing::info!(target: "access", request_id = %id, method = %method, path = %path, status, ms = elapsed.as_secs_f64() * 1e3, ip = %ip, "request");
    Ok(res)
}

/// Notes a request whose client went away before it was answered: its handler is dropped, and this with it.
struct Gone<'a> {
    state: &'a State,
    id: &'a str,
    method: &'a Method,
    path: &'a str,
    begun: Instant,
    answered: bool,
}
impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let (status, elapsed) = (Code::Cancelled.status(), self.begun.elapsed());
            self.state.metrics.answered("other", "gone", status, elapsed.as_secs_f64());
            tracing::info!(target: "access", request_id = %self.id, method = %self.method, path = %self.path, status, ms = elapsed.as_secs_f64() * 1e3, "the client went away");
        }
    }
}

/// The answer to a request that has no response of its own, in the shape its path promises.
fn failed(e: &Error, path: &str, id: &str) -> actix_web::Error {
    log_fault(e, id);
    let mut response = error::response(e, error::is_openai_path(path));
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    actix_web::error::InternalError::from_response(e.message.clone(), response).into()
}

/// Every error a framework part may raise, as one of the table.
fn own_error(e: &actix_web::Error) -> Error {
    if let Some(ApiError(e)) = e.as_error::<ApiError>() {
        return e.clone();
    }
    let code = match e.as_response_error().status_code().as_u16() {
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        413 => Code::RequestTooLarge,
        415 => Code::UnsupportedMediaType,
        400..500 => Code::BadRequest,
        _ => return Error::internal(e.to_string()),
    };
    Error::new(code, e.to_string())
}

fn log_fault(e: &Error, id: &str) {
    if e.code.status() >= 500 {
        tracing::error!(request_id = %id, error = %e, "a request failed");
    }
}
