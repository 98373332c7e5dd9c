//! What every handler stands on.

use std::{net::IpAddr, sync::Arc};

use actix_web::{HttpRequest, web};
use serde::{Deserialize, Serialize};
use service::Services;

use crate::metrics::Metrics;

/// Settings of the HTTP face.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Largest JSON body in bytes.
    pub max_json_bytes: usize,
    /// Largest JSON body in bytes of somebody who has not shown who they are (signing in, setting up).
    pub max_stranger_json_bytes: usize,
    /// Largest model upload in bytes.
    pub max_upload_bytes: u64,
    /// Seconds a client has to send a JSON body.
    pub body_timeout_secs: u64,
    /// Seconds without a byte after which an upload is given up.
    pub upload_stall_secs: u64,
    /// Seconds of silence after which a stream carries a comment line.
    pub keep_alive_secs: u64,
    /// Answers streamed at once.
    pub max_streams: usize,
    /// Texts in one embedding or rerank request.
    pub max_batch: usize,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Mark the session cookie `Secure` (set it when a proxy speaks HTTPS).
    pub secure_cookie: bool,
    /// Answer browsers of any origin on `/v1` (keys are sent in a header, never by cookie).
    pub cors: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_json_bytes: 16 << 20,
            max_stranger_json_bytes: 64 << 10,
            max_upload_bytes: 64 << 30,
            body_timeout_secs: 60,
            upload_stall_secs: 30,
            keep_alive_secs: 5,
            max_streams: 10_000,
            max_batch: 2048,
            trusted_proxies: Vec::new(),
            secure_cookie: false,
            cors: true,
        }
    }
}

/// Cheap to clone; one a process.
#[derive(Clone)]
pub struct State {
    pub services: Arc<Services>,
    pub settings: Arc<Settings>,
    /// What the command line shows on `/internal`; `None` shuts those paths.
    pub local_token: Option<Arc<str>>,
    pub metrics: Metrics,
}

impl State {
    pub fn new(services: Arc<Services>, settings: Settings, local_token: Option<String>) -> Self {
        Self { services, settings: Arc::new(settings), local_token: local_token.map(Into::into), metrics: Metrics::new() }
    }

    /// The state of the server a request came to.
    pub(crate) fn of(req: &HttpRequest) -> &State {
        req.app_data::<web::Data<State>>().expect("routes() puts the state into the application").get_ref()
    }

    /// The client's address; what proxies say counts only from trusted ones.
    pub(crate) fn client_ip(&self, req: &HttpRequest) -> IpAddr {
        let peer = req.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |a| a.ip());
        if !self.settings.trusted_proxies.contains(&peer) {
            return peer;
        }
        let said = req.headers().get_all("x-forwarded-for").filter_map(|v| v.to_str().ok());
        let hops: Vec<IpAddr> = said.flat_map(|v| v.split(',')).filter_map(|h| h.trim().parse().ok()).collect();
        hops.into_iter().rev().find(|h| !self.settings.trusted_proxies.contains(h)).unwrap_or(peer)
    }
}
