//! The console's own API: session cookie and CSRF header, times in unix milliseconds.

pub mod account;
pub mod keys;
pub mod members;
pub mod models;
pub mod playground;
pub mod schema;
pub mod system;

use actix_web::web::{ServiceConfig, delete, get, patch, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::route;

/// An answer with nothing to tell.
#[derive(Serialize, ToSchema)]
pub struct Done {
    pub ok: bool,
}
pub const DONE: Done = Done { ok: true };

/// A body without fields.
#[derive(Deserialize, ToSchema)]
pub struct Nothing {}

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(route("/console/api/setup").route(get().to(account::setup_status)).route(post().to(account::set_up)))
        .service(route("/console/api/login").route(post().to(account::login)))
        .service(route("/console/api/logout").route(post().to(account::logout)))
        .service(route("/console/api/session").route(get().to(account::session)))
        .service(route("/console/api/account").route(patch().to(account::update)))
        .service(route("/console/api/account/password").route(post().to(account::password)))
        .service(route("/console/api/sessions").route(get().to(account::sessions)))
        .service(route("/console/api/sessions/{id}").route(delete().to(account::end_session)))
        .service(route("/console/api/workspaces").route(get().to(members::workspaces)).route(post().to(members::create_workspace)))
        .service(route("/console/api/workspaces/{id}").route(patch().to(members::rename_workspace)))
        .service(route("/console/api/workspaces/{id}/switch").route(post().to(members::switch_workspace)))
        .service(route("/console/api/members").route(get().to(members::list)).route(post().to(members::add)))
        .service(route("/console/api/members/{user_id}").route(patch().to(members::set_role)).route(delete().to(members::remove)))
        .service(route("/console/api/keys").route(get().to(keys::list)).route(post().to(keys::create)))
        .service(route("/console/api/keys/{id}").route(patch().to(keys::rename)).route(delete().to(keys::revoke)))
        .service(route("/console/api/models").route(get().to(models::list)))
        .service(route("/console/api/models/upload").route(post().to(models::upload)))
        .service(route("/console/api/models/{id}").route(get().to(models::get)).route(patch().to(models::configure)).route(delete().to(models::remove)))
        .service(route("/console/api/models/{id}/load").route(post().to(models::load)))
        .service(route("/console/api/models/{id}/unload").route(post().to(models::unload)))
        .service(route("/console/api/downloads").route(get().to(models::downloads)).route(post().to(models::download)))
        .service(route("/console/api/downloads/{id}").route(delete().to(models::cancel_download)))
        .service(route("/console/api/downloads/{id}/pause").route(post().to(models::pause_download)))
        .service(route("/console/api/downloads/{id}/resume").route(post().to(models::resume_download)))
        .service(route("/console/api/playground/chat").route(post().to(playground::chat)))
        .service(route("/console/api/settings").route(get().to(system::settings)).route(patch().to(system::update_settings)))
        .service(route("/console/api/system").route(get().to(system::status)))
        .service(route("/console/api/backup").route(post().to(system::backup)));
}
