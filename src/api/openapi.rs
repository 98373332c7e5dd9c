//! The API's description, made from the handlers themselves.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::Value;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};

use crate::{console::{account, keys, members, models, playground, system}, internal, openai, ops};

#[derive(OpenApi)]
#[openapi(
    info(title = "Filbert", description = "The console's API, the OpenAI-compatible API and operations"),
    modifiers(&Schemes),
    components(schemas(openai::chat::ChatChunk)),
    paths(
        openai::list_models, openai::get_model, openai::chat::create, openai::completions::create, openai::vectors::embeddings, openai::vectors::rerank,
        account::setup_status, account::set_up, account::login, account::logout, account::session, account::update, account::password, account::sessions, account::end_session,
        members::workspaces, members::create_workspace, members::rename_workspace, members::switch_workspace, members::list, members::add, members::set_role, members::remove,
        keys::list, keys::create, keys::rename, keys::revoke,
        models::list, models::get, models::upload, models::configure, models::remove, models::load, models::unload,
        models::downloads, models::download, models::pause_download, models::resume_download, models::cancel_download,
        playground::chat, system::settings, system::update_settings, system::status, system::backup,
        internal::admin, internal::key, internal::backup, internal::models, internal::add_model, internal::system,
        ops::healthz, ops::readyz, ops::metrics, ops::openapi,
    )
)]
struct Document;

struct Schemes;
impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let parts = document.components.get_or_insert_with(Default::default);
        parts.add_security_scheme("key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        parts.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(crate::extract::SESSION_COOKIE))));
        parts.add_security_scheme("local", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Filbert-Local"))));
    }
}

/// The methods of a route by its pattern, as the header `Allow` lists them; `None` for what is not described.
pub(crate) fn methods(pattern: &str) -> Option<&'static str> {
    static ALL: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
        let document = serde_json::to_value(Document::openapi()).unwrap_or_default();
        let names = |methods: &Value| methods.as_object().map(|m| m.keys().map(|k| k.to_uppercase()).collect::<Vec<_>>().join(", "));
        document["paths"].as_object().into_iter().flatten().filter_map(|(path, methods)| Some((path.clone(), names(methods)?))).collect()
    });
    ALL.get(pattern).map(String::as_str)
}

/// The OpenAPI document as JSON text.
pub fn openapi() -> String {
    let mut document = Document::openapi();
    // A generated client makes a function of each operation: `list` of keys and `list` of members need names of their own.
    for (path, item) in &mut document.paths.paths {
        let family = path.trim_start_matches('/').split('/').find(|s| !s.starts_with('{') && !["console", "api", "v1"].contains(s)).unwrap_or("index").to_owned();
        for operation in [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete].into_iter().flatten() {
            if let Some(name) = &operation.operation_id {
                let surface = if path.starts_with("/v1") { "openai_" } else { "" };
                operation.operation_id = Some(if *name == family { format!("{surface}{name}") } else { format!("{surface}{}_{name}", family.replace(['-', '.'], "_")) });
            }
        }
    }
    document.to_pretty_json().expect("the description is made of plain data")
}
