//! Server-sent events: frames, comments while a model is silent, errors in the middle.

use std::{future::Future, time::Duration};

use actix_web::{HttpResponse, http::{Version, header}};
use bytes::{BufMut, Bytes, BytesMut};
use domain::{Code, Error, Result};
use futures::StreamExt;
use ports::llm::ChatStream;
use serde::Serialize;

use crate::{error::{ApiResult, openai_body}, state::State};

/// How often a whole answer over HTTP/2 asks whether its client is still there.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Answers with what is being made, as JSON.
///
/// Over HTTP/1 a client that goes away ends the connection, which drops the handler, which cancels the work. Over HTTP/2
/// nobody tells a handler that its stream was reset. There the body is begun after a second, with the white space that
/// JSON allows: when it cannot be sent the body is dropped, and the work with it. What fails after that resets the stream.
pub async fn whole<T: Serialize + 'static>(version: Version, making: impl Future<Output = ApiResult<T>> + 'static) -> ApiResult<HttpResponse> {
    if version < Version::HTTP_2 {
        return Ok(HttpResponse::Ok().json(making.await?));
    }
    let mut making = Box::pin(making);
    if let Ok(made) = tokio::time::timeout(ASK_EVERY, &mut making).await {
        return Ok(HttpResponse::Ok().json(made?));
    }
    let body = async_stream::stream! {
        loop {
            yield Ok::<Bytes, actix_web::Error>(Bytes::from_static(b"\n"));
            match tokio::time::timeout(ASK_EVERY, &mut making).await {
                Err(_) => {}
                Ok(Ok(made)) => {
                    yield serde_json::to_vec(&made).map(Bytes::from).map_err(Into::into);
                    return;
                }
                Ok(Err(e)) => {
                    tracing::error!(error = %e, "an answer broke off");
                    yield Err(e.into());
                    return;
                }
            }
        }
    };
    Ok(HttpResponse::Ok().content_type("application/json").streaming(body))
}

/// One `data:` frame.
pub fn frame(value: &impl Serialize) -> Bytes {
    let mut out = BytesMut::with_capacity(256).writer();
    out.get_mut().extend_from_slice(b"data: ");
    if let Err(error) = serde_json::to_writer(&mut out, value) {
        tracing::error!(%error, "a stream frame could not be written");
    }
    let mut out = out.into_inner();
    out.extend_from_slice(b"\n\n");
    out.freeze()
}

/// Turns model events into frames; what `last` gives comes before `[DONE]`.
pub trait Writer: 'static {
    /// Frames before the first event.
    fn first(&mut self) -> Option<Bytes>;
    fn event(&mut self, event: domain::chat::ChatEvent) -> Option<Bytes>;
    fn last(&mut self) -> Option<Bytes>;
}

/// Streams an answer. A client that goes away drops the body, which drops the model's stream, which cancels the work.
///
/// `opening` is awaited before the head is sent: whatever is refused (bad parameters, overflow, a full queue, a model
/// that does not load) is answered with its status. Waiting in line comes after it, with comment lines.
pub async fn respond<W: Writer>(state: &State, opening: impl Future<Output = Result<(String, ChatStream)>>, writer: impl FnOnce(String) -> W + 'static) -> ApiResult<HttpResponse> {
    let limit = state.settings.max_streams;
    if state.metrics.streams_open() >= limit {
        return Err(Error::new(Code::TooManyRequests, format!("{limit} answers are being streamed already (`http.max_streams`); try again later")).retry_after(Duration::from_secs(1)).into());
    }
    let held = state.metrics.stream();
    let quiet = Duration::from_secs(state.settings.keep_alive_secs.max(1));
    let (model, mut events) = opening.await?;
    let mut writer = writer(model);
    let body = async_stream::stream! {
        let _held = held;
        if let Some(bytes) = writer.first() {
            yield Ok::<Bytes, actix_web::Error>(bytes);
        }
        loop {
            match tokio::time::timeout(quiet, events.next()).await {
                Err(_) => yield Ok(Bytes::from_static(b": waiting\n\n")),
                Ok(Some(Ok(event))) => {
                    if let Some(bytes) = writer.event(event) {
                        yield Ok(bytes);
                    }
                }
                Ok(Some(Err(e))) => {
                    if e.code.status() >= 500 {
                        tracing::error!(error = %e, "an answer broke off");
                    }
                    yield Ok(frame(&openai_body(&e)));
                    return;
                }
                Ok(None) => break,
            }
        }
        if let Some(bytes) = writer.last() {
            yield Ok(bytes);
        }
        yield Ok(Bytes::from_static(b"data: [DONE]\n\n"));
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body))
}
