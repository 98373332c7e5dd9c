//! The playground's chat: `/v1/chat/completions` for people who are signed in.

use actix_web::{HttpRequest, HttpResponse, web};
use service::models::Allowed;

use crate::{error::{ApiResult, OpenAiErrorBody}, extract::{Member, With, caller}, openai::{chat::{self, ChatCompletion}, request::ChatBody}, state::State};

/// Answers a conversation, whole or as server-sent events.
#[utoipa::path(post, path = "/console/api/playground/chat", tag = "playground", security(("session" = [])), request_body = ChatBody,
    responses((status = 200, body = ChatCompletion, description = "with `stream: true`: `text/event-stream` of chunks, then `[DONE]`"), (status = "4XX", body = OpenAiErrorBody)))]
pub async fn chat(state: web::Data<State>, req: HttpRequest, sent: With<Member, ChatBody>) -> ApiResult<HttpResponse> {
    chat::answer(&state, &req, caller(sent.who.0.workspace.id, &req), Allowed::All, sent.body).await
}
