//! Somebody who talks to a server: nobody in particular, a signed-in person, or a program with a key.

use std::net::SocketAddr;

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

/// Cookie, CSRF token and key go with each request when there are any; cookies that come back are kept.
pub struct Client {
    http: reqwest::Client,
    base: String,
    cookie: Mutex<Option<String>>,
    csrf: Mutex<Option<String>>,
    key: Option<String>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    /// The body as JSON. Panics when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{} with a body that is no JSON ({e}): {:?}", self.status, self.text()))
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
    /// The body of a success. Panics with the body otherwise.
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }
    /// Status and code of a refusal in either shape. Panics when the body has neither shape or says another status.
    pub fn refusal(&self) -> (u16, String) {
        let body = self.json();
        let detail = if body["error"].is_object() {
            let names: Vec<&str> = body["error"].as_object().into_iter().flat_map(|o| o.keys().map(String::as_str)).collect();
            assert!(body.as_object().is_some_and(|o| o.len() == 1) && ["message", "type", "param", "code"].iter().all(|n| names.contains(n)), "{body}");
            &body["error"]
        } else {
            assert_eq!(body["status"], self.status, "{body}");
            &body
        };
        let message = detail["message"].as_str().unwrap_or_else(|| panic!("no message: {body}"));
        assert!(!message.is_empty() && message.chars().count() <= 1000 && !message.ends_with('.'), "{message:?}");
        (self.status, detail["code"].as_str().unwrap_or_else(|| panic!("no code: {body}")).to_owned())
    }
    /// The field a refusal names.
    pub fn param(&self) -> Option<String> {
        let body = self.json();
        let detail = if body["error"].is_object() { &body["error"] } else { &body };
        detail["param"].as_str().map(str::to_owned)
    }
}

fn builder() -> reqwest::ClientBuilder {
    // The TLS library wants to be told whose arithmetic to use even where no TLS is spoken.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

impl Client {
    /// Nobody in particular at a server that runs elsewhere.
    pub fn at(address: SocketAddr) -> Self {
        Self::new(address, None, None, None)
    }
    /// A program with a key at a server that runs elsewhere.
    pub fn with_key_at(address: SocketAddr, key: &str) -> Self {
        Self::new(address, None, None, Some(key.into()))
    }

    pub(crate) fn over_http2(address: SocketAddr, key: &str) -> Self {
        let http = builder().http2_prior_knowledge().build().expect("a client without special wishes can be built");
        Self { http, ..Self::with_key_at(address, key) }
    }

    pub(crate) fn new(address: SocketAddr, cookie: Option<String>, csrf: Option<String>, key: Option<String>) -> Self {
        let http = builder().build().expect("a client without special wishes can be built");
        Self { http, base: format!("http://{address}"), cookie: Mutex::new(cookie), csrf: Mutex::new(csrf), key }
    }

    /// A request with this client's credentials, to be changed and sent by hand.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(cookie) = &*self.cookie.lock() {
            request = request.header("cookie", format!("filbert_session={cookie}"));
        }
        if let Some(csrf) = self.csrf.lock().as_ref().filter(|_| method != Method::GET) {
            request = request.header("x-csrf-token", csrf);
        }
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        request
    }

    /// Sends it, keeps the session cookie and CSRF token that come back.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("the whole body comes");
        for set in headers.get_all("set-cookie").iter().filter_map(|v| v.to_str().ok()) {
            if let Some(value) = set.strip_prefix("filbert_session=").and_then(|v| v.split(';').next()) {
                *self.cookie.lock() = Some(value.to_owned());
            }
        }
        let answer = Answer { status, headers, bytes };
        if status == 200
            && answer.bytes.starts_with(b"{")
            && let Some(token) = answer.json()["csrf_token"].as_str()
        {
            *self.csrf.lock() = Some(token.to_owned());
        }
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body)).await
    }
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }
    /// Bytes as they are, as `application/json`.
    pub async fn post_bytes(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::POST, path).header("content-type", "application/json").body(body)).await
    }
    /// The same person without their CSRF token.
    pub fn without_csrf(&self) -> Self {
        Self { http: self.http.clone(), base: self.base.clone(), cookie: Mutex::new(self.cookie.lock().clone()), csrf: Mutex::new(None), key: self.key.clone() }
    }
    pub fn cookie(&self) -> Option<String> {
        self.cookie.lock().clone()
    }
}
