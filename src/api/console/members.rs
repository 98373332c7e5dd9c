//! Workspaces and their members.

use actix_web::{HttpResponse, web};
use domain::account::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DONE, Done, account::{SessionView, WorkspaceRef, WorkspaceView, session_view}};
use crate::{error::{ApiResult, ErrorBody}, extract::{Admin, Member, Owner, With, id}, state::State};

#[derive(Serialize, ToSchema)]
pub struct WorkspaceList {
    pub workspaces: Vec<WorkspaceView>,
}
#[derive(Deserialize, ToSchema)]
pub struct NameBody {
    pub name: String,
}
#[derive(Serialize, ToSchema)]
pub struct MemberList {
    pub members: Vec<MemberView>,
}
#[derive(Serialize, ToSchema)]
pub struct MemberView {
    pub user_id: String,
    pub email: String,
    pub name: String,
    /// `member`, `editor`, `admin` or `owner`.
    pub role: String,
    #[schema(required)]
    pub last_login_at: Option<i64>,
    pub created_at: i64,
}
#[derive(Deserialize, ToSchema)]
pub struct MemberBody {
    pub email: String,
    pub name: String,
    pub password: String,
    pub role: String,
}
#[derive(Deserialize, ToSchema)]
pub struct RoleBody {
    pub role: String,
}

fn view(m: service::members::Member) -> MemberView {
    MemberView {
        user_id: m.user.id.to_string(),
        email: m.user.email.as_str().into(),
        name: m.user.name,
        role: m.role.as_str().into(),
        last_login_at: m.user.last_login_at.map(|t| t.0),
        created_at: m.created_at.0,
    }
}

/// One's workspaces.
#[utoipa::path(get, path = "/console/api/workspaces", tag = "workspaces", security(("session" = [])), responses((status = 200, body = WorkspaceList)))]
pub async fn workspaces(state: web::Data<State>, who: Member) -> ApiResult<HttpResponse> {
    let all = state.services.workspaces.of_user(who.0.user.id).await?.into_iter();
    let workspaces = all.map(|(w, role)| WorkspaceView { id: w.id.to_string(), name: w.name, role: role.as_str().into() }).collect();
    Ok(HttpResponse::Ok().json(WorkspaceList { workspaces }))
}

/// Makes a workspace.
#[utoipa::path(post, path = "/console/api/workspaces", tag = "workspaces", security(("session" = [])), request_body = NameBody, responses((status = 200, body = WorkspaceRef), (status = 403, body = ErrorBody)))]
pub async fn create_workspace(state: web::Data<State>, sent: With<Owner, NameBody>) -> ApiResult<HttpResponse> {
    let w = state.services.workspaces.create(sent.who.0.user.id, &sent.body.name).await?;
    Ok(HttpResponse::Ok().json(WorkspaceRef { id: w.id.to_string(), name: w.name }))
}

/// Renames a workspace.
#[utoipa::path(patch, path = "/console/api/workspaces/{id}", tag = "workspaces", security(("session" = [])), params(("id" = String, Path)), request_body = NameBody, responses((status = 200, body = WorkspaceRef), (status = 404, body = ErrorBody)))]
pub async fn rename_workspace(state: web::Data<State>, path: web::Path<String>, sent: With<Member, NameBody>) -> ApiResult<HttpResponse> {
    let w = state.services.workspaces.rename(sent.who.0.user.id, id(&path)?, &sent.body.name).await?;
    Ok(HttpResponse::Ok().json(WorkspaceRef { id: w.id.to_string(), name: w.name }))
}

/// Looks at another workspace.
#[utoipa::path(post, path = "/console/api/workspaces/{id}/switch", tag = "workspaces", security(("session" = [])), params(("id" = String, Path)), responses((status = 200, body = SessionView), (status = 404, body = ErrorBody)))]
pub async fn switch_workspace(state: web::Data<State>, who: Member, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let principal = state.services.sessions.switch(&who.0, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(session_view(&state, principal).await?))
}

/// Who is in the workspace.
#[utoipa::path(get, path = "/console/api/members", tag = "members", security(("session" = [])), responses((status = 200, body = MemberList)))]
pub async fn list(state: web::Data<State>, who: Admin) -> ApiResult<HttpResponse> {
    let members = state.services.members.list(who.0.workspace.id).await?.into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(MemberList { members }))
}

/// Adds somebody.
#[utoipa::path(post, path = "/console/api/members", tag = "members", security(("session" = [])), request_body = MemberBody, responses((status = 200, body = MemberView), (status = 409, body = ErrorBody)))]
pub async fn add(state: web::Data<State>, sent: With<Admin, MemberBody>) -> ApiResult<HttpResponse> {
    let MemberBody { email, name, password, role } = sent.body;
    let member = state.services.members.add(&sent.who.0, &email, &name, &password, Role::parse(&role)?).await?;
    Ok(HttpResponse::Ok().json(view(member)))
}

/// Gives somebody another role.
#[utoipa::path(patch, path = "/console/api/members/{user_id}", tag = "members", security(("session" = [])), params(("user_id" = String, Path)), request_body = RoleBody, responses((status = 200, body = MemberView), (status = 404, body = ErrorBody)))]
pub async fn set_role(state: web::Data<State>, path: web::Path<String>, sent: With<Admin, RoleBody>) -> ApiResult<HttpResponse> {
    let member = state.services.members.set_role(&sent.who.0, id(&path)?, Role::parse(&sent.body.role)?).await?;
    Ok(HttpResponse::Ok().json(view(member)))
}

/// Takes somebody out of the workspace.
#[utoipa::path(delete, path = "/console/api/members/{user_id}", tag = "members", security(("session" = [])), params(("user_id" = String, Path)), responses((status = 200, body = Done), (status = 404, body = ErrorBody)))]
pub async fn remove(state: web::Data<State>, who: Admin, path: web::Path<String>) -> ApiResult<HttpResponse> {
    state.services.members.remove(&who.0, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(DONE))
}
