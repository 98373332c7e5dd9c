//! Set-up, signing in and out, one's own account and sessions.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use serde::{Deserialize, Serialize};
use service::{Principal, accounts::{ProfilePatch, SetUp}};
use utoipa::ToSchema;

use super::{DONE, Done};
use crate::{error::{ApiResult, ErrorBody}, extract::{Anyone, Member, With, id, session_cookie}, state::State};

#[derive(Serialize, ToSchema)]
pub struct SetupStatus {
    /// The first owner is still to be made.
    pub needed: bool,
    pub version: String,
    pub instance_name: String,
    pub default_language: String,
}
#[derive(Deserialize, ToSchema)]
pub struct SetupBody {
    pub email: String,
    pub name: String,
    pub password: String,
    #[serde(default)]
    pub workspace_name: Option<String>,
    #[serde(default)]
    pub language: Option<String>,
}
#[derive(Deserialize, ToSchema)]
pub struct LoginBody {
    pub email: String,
    pub password: String,
}
#[derive(Deserialize, ToSchema)]
pub struct AccountPatch {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub language: Option<String>,
    /// `light`, `dark` or `system`.
    #[serde(default)]
    pub theme: Option<String>,
}
#[derive(Deserialize, ToSchema)]
pub struct PasswordBody {
    pub current: String,
    pub new: String,
}
#[derive(Serialize, ToSchema)]
pub struct SessionView {
    pub user: UserView,
    pub workspace: WorkspaceRef,
    pub workspaces: Vec<WorkspaceView>,
    pub csrf_token: String,
    pub instance: InstanceView,
}
#[derive(Serialize, ToSchema)]
pub struct UserView {
    pub id: String,
    pub email: String,
    pub name: String,
    pub language: String,
    pub theme: String,
    /// `member`, `editor`, `admin` or `owner`, in the present workspace.
    pub role: String,
}
#[derive(Serialize, ToSchema)]
pub struct WorkspaceRef {
    pub id: String,
    pub name: String,
}
#[derive(Serialize, ToSchema)]
pub struct WorkspaceView {
    pub id: String,
    pub name: String,
    pub role: String,
}
#[derive(Serialize, ToSchema)]
pub struct InstanceView {
    pub name: String,
    pub version: String,
}
#[derive(Serialize, ToSchema)]
pub struct SessionList {
    pub sessions: Vec<SessionEntry>,
}
#[derive(Serialize, ToSchema)]
pub struct SessionEntry {
    pub id: String,
    pub current: bool,
    pub ip: String,
    pub user_agent: String,
    pub created_at: i64,
    pub last_seen_at: i64,
}

/// What the browser knows about who it is.
pub async fn session_view(state: &State, p: Principal) -> ApiResult<SessionView> {
    let workspaces = state.services.workspaces.of_user(p.user.id).await?;
    let instance = state.services.settings.get().await?;
    Ok(SessionView {
        user: UserView { id: p.user.id.to_string(), email: p.user.email.as_str().into(), name: p.user.name, language: p.user.language, theme: p.user.theme, role: p.role.as_str().into() },
        workspace: WorkspaceRef { id: p.workspace.id.to_string(), name: p.workspace.name },
        workspaces: workspaces.into_iter().map(|(w, role)| WorkspaceView { id: w.id.to_string(), name: w.name, role: role.as_str().into() }).collect(),
        csrf_token: p.csrf_token,
        instance: InstanceView { name: instance.name, version: state.services.system.version().into() },
    })
}

fn user_agent(req: &HttpRequest) -> &str {
    req.headers().get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("")
}

async fn sign_in(state: &State, req: &HttpRequest, email: &str, password: &str) -> ApiResult<HttpResponse> {
    let ip = state.client_ip(req).to_string();
    let issued = state.services.accounts.login(email, password, &ip, user_agent(req)).await?;
    let cookie = session_cookie(state, issued.cookie);
    Ok(HttpResponse::Ok().cookie(cookie).json(session_view(state, issued.principal).await?))
}

/// Whether the first owner is still to be made.
#[utoipa::path(get, path = "/console/api/setup", tag = "account", responses((status = 200, body = SetupStatus)))]
pub async fn setup_status(state: web::Data<State>) -> ApiResult<HttpResponse> {
    let (needed, instance) = (state.services.accounts.set_up_needed().await?, state.services.settings.get().await?);
    let version = state.services.system.version().into();
    Ok(HttpResponse::Ok().json(SetupStatus { needed, version, instance_name: instance.name, default_language: instance.default_language }))
}

/// Makes the first owner, once, and signs them in.
#[utoipa::path(post, path = "/console/api/setup", tag = "account", request_body = SetupBody, responses((status = 200, body = SessionView), (status = 409, body = ErrorBody)))]
pub async fn set_up(state: web::Data<State>, req: HttpRequest, sent: With<Anyone, SetupBody>) -> ApiResult<HttpResponse> {
    state.services.limits.login(state.client_ip(&req))?;
    let SetupBody { email, name, password, workspace_name, language } = sent.body;
    state.services.accounts.set_up(SetUp { email: email.clone(), name, password: password.clone(), workspace_name, language }).await?;
    sign_in(&state, &req, &email, &password).await
}

/// Signs in.
#[utoipa::path(post, path = "/console/api/login", tag = "account", request_body = LoginBody, responses((status = 200, body = SessionView), (status = 401, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub async fn login(state: web::Data<State>, req: HttpRequest, sent: With<Anyone, LoginBody>) -> ApiResult<HttpResponse> {
    state.services.limits.login(state.client_ip(&req))?;
    sign_in(&state, &req, &sent.body.email, &sent.body.password).await
}

/// Ends this session.
#[utoipa::path(post, path = "/console/api/logout", tag = "account", security(("session" = [])), responses((status = 200, body = Done)))]
pub async fn logout(state: web::Data<State>, who: Member) -> ApiResult<HttpResponse> {
    state.services.sessions.end(who.0.session).await?;
    Ok(HttpResponse::Ok().cookie(session_cookie(&state, String::new())).json(DONE))
}

/// Who is signed in.
#[utoipa::path(get, path = "/console/api/session", tag = "account", security(("session" = [])), responses((status = 200, body = SessionView), (status = 401, body = ErrorBody)))]
pub async fn session(state: web::Data<State>, who: Member) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(session_view(&state, who.0).await?))
}

/// Changes one's own profile.
#[utoipa::path(patch, path = "/console/api/account", tag = "account", security(("session" = [])), request_body = AccountPatch, responses((status = 200, body = SessionView), (status = 400, body = ErrorBody)))]
pub async fn update(state: web::Data<State>, sent: With<Member, AccountPatch>) -> ApiResult<HttpResponse> {
    let AccountPatch { name, language, theme } = sent.body;
    let mut principal = sent.who.0;
    principal.user = state.services.accounts.update_profile(principal.user.id, ProfilePatch { name, language, theme }).await?;
    Ok(HttpResponse::Ok().json(session_view(&state, principal).await?))
}

/// Replaces one's password and ends one's other sessions.
#[utoipa::path(post, path = "/console/api/account/password", tag = "account", security(("session" = [])), request_body = PasswordBody, responses((status = 200, body = Done), (status = 400, body = ErrorBody)))]
pub async fn password(state: web::Data<State>, req: HttpRequest, sent: With<Member, PasswordBody>) -> ApiResult<HttpResponse> {
    state.services.limits.login(state.client_ip(&req))?;
    state.services.accounts.change_password(&sent.who.0, &sent.body.current, &sent.body.new).await?;
    Ok(HttpResponse::Ok().json(DONE))
}

/// One's own sessions, newest first.
#[utoipa::path(get, path = "/console/api/sessions", tag = "account", security(("session" = [])), responses((status = 200, body = SessionList)))]
pub async fn sessions(state: web::Data<State>, who: Member) -> ApiResult<HttpResponse> {
    let all = state.services.sessions.list(who.0.user.id).await?.into_iter();
    let entry = |s: domain::account::Session| SessionEntry {
        id: s.id.to_string(),
        current: s.id == who.0.session,
        ip: s.ip,
        user_agent: s.user_agent,
        created_at: s.created_at.0,
        last_seen_at: s.last_seen_at.0,
    };
    Ok(HttpResponse::Ok().json(SessionList { sessions: all.map(entry).collect() }))
}

/// Ends one of one's own sessions.
#[utoipa::path(delete, path = "/console/api/sessions/{id}", tag = "account", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub async fn end_session(state: web::Data<State>, who: Member, path: web::Path<String>) -> ApiResult<HttpResponse> {
    state.services.sessions.end_own(who.0.user.id, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(DONE))
}
