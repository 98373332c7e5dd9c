//! Extractors that are policies: a handler that does not name who may call it cannot reach anybody's data.

use std::{future::{Ready, ready}, pin::Pin, sync::Arc, time::Duration};

use actix_web::{FromRequest, HttpMessage, HttpRequest, cookie::{Cookie, SameSite}, dev::Payload, http::{Method, header}, web};
use bytes::BytesMut;
use domain::{Code, Error, account::Role, id::TenantId, key::{ApiKey, KeyScope}};
use futures::{Future, StreamExt};
use ports::llm::Caller;
use serde::de::DeserializeOwned;
use service::{Principal, models::Allowed};
use subtle::ConstantTimeEq;

use crate::{error::{ApiError, ApiResult}, observe::{RenewedCookie, RequestId}, state::{Settings, State}};

pub const SESSION_COOKIE: &str = "filbert_session";

/// Who a JSON body is read from: how much of it, and the setting that says so.
pub trait Sender {
    /// Whether the body must be called JSON. Browsers let other sites send bodies without a name.
    const NAMED: bool = false;
    fn most(settings: &Settings) -> (usize, &'static str) {
        (settings.max_json_bytes, "http.max_json_bytes")
    }
}
impl<const MIN: u8> Sender for Guard<MIN> {}
impl Sender for ModelKey {}
impl Sender for LocalPeer {}
impl Sender for Anyone {
    const NAMED: bool = true;
    fn most(settings: &Settings) -> (usize, &'static str) {
        (settings.max_stranger_json_bytes, "http.max_stranger_json_bytes")
    }
}

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, ApiError>>>>;

/// The session cookie with this text; an empty text takes it away.
pub fn session_cookie(state: &State, text: String) -> Cookie<'static> {
    let age = if text.is_empty() { 0 } else { state.services.sessions.absolute_lifetime().as_secs() as i64 };
    Cookie::build(SESSION_COOKIE, text)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(state.settings.secure_cookie)
        .max_age(actix_web::cookie::time::Duration::seconds(age))
        .finish()
}

/// A signed-in user with at least role `MIN`; every method but GET needs the session's CSRF token.
pub struct Guard<const MIN: u8>(pub Principal);
pub type Member = Guard<0>;
pub type Editor = Guard<1>;
pub type Admin = Guard<2>;
pub type Owner = Guard<3>;

impl<const MIN: u8> FromRequest for Guard<MIN> {
    type Error = ApiError;
    type Future = Extracting<Self>;
    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let state = State::of(&req);
            let cookie = req.cookie(SESSION_COOKIE).ok_or_else(|| Error::new(Code::Unauthorized, "you are not signed in; sign in first"))?;
            let (principal, renewed) = state.services.sessions.authenticate(cookie.value()).await?;
            if let Some(text) = renewed {
                req.extensions_mut().insert(RenewedCookie(session_cookie(state, text)));
            }
            if ![Method::GET, Method::HEAD].contains(req.method()) {
                let token = req.headers().get("x-csrf-token").and_then(|v| v.to_str().ok()).unwrap_or("");
                state.services.sessions.check_csrf(&principal, token)?;
            }
            let needed = Role::ALL[MIN as usize];
            if principal.role < needed {
                return Err(Error::new(Code::Forbidden, format!("this needs the role `{}`; yours is `{}`", needed.as_str(), principal.role.as_str())).into());
            }
            Ok(Self(principal))
        })
    }
}

/// A caller with an `sk-` key.
pub struct ModelKey {
    pub key: Arc<ApiKey>,
}
impl ModelKey {
    pub fn allowed(&self) -> Allowed<'_> {
        match &self.key.scope {
            KeyScope::Model { models } => Allowed::Only(models),
            _ => Allowed::Only(&[]),
        }
    }
    pub fn caller(&self, req: &HttpRequest) -> Caller {
        caller(self.key.tenant, req)
    }
}

/// On whose behalf models are called.
pub fn caller(tenant: TenantId, req: &HttpRequest) -> Caller {
    let request_id = req.extensions().get::<RequestId>().map(|r| r.0.clone()).unwrap_or_default();
    Caller { tenant, request_id, background: false }
}

impl FromRequest for ModelKey {
    type Error = ApiError;
    type Future = Extracting<Self>;
    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let state = State::of(&req);
            let missing = || Error::new(Code::Unauthorized, "the header `Authorization: Bearer <key>` is missing or malformed; send an `sk-` key from the console's `Keys` page");
            let text = req.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).ok_or_else(missing)?;
            let (scheme, key) = text.split_once(' ').ok_or_else(missing)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(missing().into());
            }
            let key = state.services.keys.lookup(key.trim()).await?;
            if !matches!(key.scope, KeyScope::Model { .. }) {
                return Err(Error::new(Code::Unauthorized, "this key does not open models; use an `sk-` key").into());
            }
            state.services.limits.key(key.id)?;
            Ok(Self { key })
        })
    }
}

/// The command line on this machine, with the token of the data directory.
pub struct LocalPeer;
impl FromRequest for LocalPeer {
    type Error = ApiError;
    type Future = Ready<ApiResult<Self>>;
    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = State::of(req);
        let local = req.peer_addr().is_some_and(|a| a.ip().is_loopback());
        let sent = req.headers().get("x-filbert-local").map_or(&b""[..], |v| v.as_bytes());
        let fits = state.local_token.as_deref().is_some_and(|t| t.as_bytes().ct_eq(sent).into());
        let refused = || Error::new(Code::Unauthorized, "this is for the command line on the server's machine, which reads the token in the data directory");
        ready(if local && fits { Ok(Self) } else { Err(refused().into()) })
    }
}

/// Nobody in particular: sign-in, set-up.
pub struct Anyone;
impl FromRequest for Anyone {
    type Error = ApiError;
    type Future = Ready<ApiResult<Self>>;
    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self))
    }
}

/// Who calls, then what they sent as JSON: the body is not read for strangers.
pub struct With<G, T> {
    pub who: G,
    pub body: T,
}
impl<G: FromRequest<Error = ApiError> + Sender + 'static, T: DeserializeOwned + 'static> FromRequest for With<G, T> {
    type Error = ApiError;
    type Future = Extracting<Self>;
    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            let who = G::from_request(&req, &mut Payload::None).await?;
            let bytes = read_body::<G>(&req, payload).await?;
            Ok(Self { who, body: parse(&bytes)? })
        })
    }
}

async fn read_body<G: Sender>(req: &HttpRequest, mut payload: Payload) -> ApiResult<BytesMut> {
    let settings = &State::of(req).settings;
    let (limit, name) = G::most(settings);
    let kind = req.content_type();
    if (G::NAMED || !kind.is_empty()) && kind != "application/json" && !kind.ends_with("+json") {
        return Err(Error::new(Code::UnsupportedMediaType, "the body must be JSON; send `Content-Type: application/json`").into());
    }
    let too_large = || ApiError(Error::new(Code::RequestTooLarge, format!("the body is larger than {limit} bytes (`{name}`)")));
    let announced = req.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
    if announced > limit as u64 {
        return Err(too_large());
    }
    let reading = async {
        let mut body = BytesMut::with_capacity(announced as usize);
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|e| Error::new(Code::BadRequest, format!("the body broke off: {e}")))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    match tokio::time::timeout(Duration::from_secs(settings.body_timeout_secs.max(1)), reading).await {
        Ok(body) => body,
        Err(_) => Err(Error::new(Code::RequestTimeout, "the body did not arrive in time (`http.body_timeout_secs`)").into()),
    }
}

/// Reads JSON; the second, slower reading only finds out which field is at fault.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    // serde would take a list for a struct, field after field.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| b"[\"tfn-0123456789".contains(b)) {
        return Err(Error::new(Code::BadRequest, "the body must be a JSON object").into());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Error::new(Code::BadRequest, "the body is not valid JSON: it is not UTF-8"))?;
    let e = match serde_json::from_str::<T>(text) {
        Ok(value) => return Ok(value),
        Err(e) if e.is_data() => e,
        Err(e) => return Err(Error::new(Code::BadRequest, format!("the body is not valid JSON: {e}")).into()),
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let path = serde_path_to_error::deserialize::<_, T>(&mut reader).err().map(|e| e.path().to_string()).unwrap_or_default();
    let mut said: String = e.to_string().chars().take(300).collect();
    if let Some(at) = said.find(" at line ") {
        said.truncate(at);
    }
    let field = if path.is_empty() || path == "." { missing_field(&said).unwrap_or_default() } else { path };
    let error = Error::new(Code::InvalidParam, if field.is_empty() { said } else { format!("`{field}` is wrong: {said}") });
    Err(if field.is_empty() { error } else { error.param(field) }.into())
}

/// The field serde says is missing.
fn missing_field(said: &str) -> Option<String> {
    said.strip_prefix("missing field `")?.split('`').next().map(str::to_owned)
}

/// An id from the path; what is no id is not found.
pub fn id<T: std::str::FromStr<Err = Error>>(path: &web::Path<String>) -> ApiResult<T> {
    path.as_str().parse().map_err(ApiError)
}
