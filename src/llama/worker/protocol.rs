//! What the server and a worker process say to each other.
//!
//! Frames over a socket pair: length (4 bytes little-endian), then the message in postcard. Requests and events of
//! `domain::chat` travel inside as JSON bytes, because postcard cannot read tagged enums back.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use domain::{Code, Error, model::{ModelKind, Pooling}};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{chat, engine::Stats};

/// Longest frame in bytes: far above the longest prompt, far below what would hurt.
const LONGEST: usize = 64 << 20;

/// What a worker needs to load its model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    pub path: PathBuf,
    pub kind: ModelKind,
    /// Cells of the key-value cache: tokens of all sequences together.
    pub context: u32,
    /// Answers generated at once.
    pub parallel: u32,
    /// Finished sequences kept for their prefixes.
    pub prefixes: u32,
    /// Prompt tokens computed in a step while others generate.
    pub prefill: u32,
    pub threads: u32,
    /// Niceness of the worker, 0 to 19: how far it stands behind the server when the processor is short.
    pub nice: i32,
    pub pooling: Option<Pooling>,
    /// Replaces the file's template.
    pub chat_template: Option<String>,
    pub chat: chat::Settings,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum ToWorker {
    Load(Box<Load>),
    /// `request` is a `domain::chat::ChatRequest` in JSON.
    Chat { id: u64, tenant: [u8; 16], background: bool, request: Vec<u8> },
    /// `request` is a `domain::chat::CompletionRequest` in JSON.
    Complete { id: u64, tenant: [u8; 16], background: bool, request: Vec<u8> },
    Embed { id: u64, inputs: Vec<Input>, truncate: bool },
    Rerank { id: u64, query: String, documents: Vec<String> },
    Cancel { id: u64 },
}

/// A text to embed, with its prefix, or its tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Input {
    Text(String),
    Tokens(Vec<u32>),
}

/// What a loaded model turned out to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Build of ggml's kernels in use.
    pub kernels: String,
    /// Tokens a request may have.
    pub context: u32,
    /// Width of an embedding.
    pub width: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum FromWorker {
    /// Share of the model's weights that is read, 0 to 1.
    Loading { progress: f32 },
    Ready(Ready),
    /// The model cannot be loaded; the worker ends.
    Refused(WireError),
    /// The request is in order and in line.
    Accepted { id: u64 },
    /// `event` is a `domain::chat::ChatEvent` in JSON.
    Event { id: u64, event: Vec<u8> },
    Failed { id: u64, error: WireError },
    Done { id: u64 },
    /// One vector an input, shape `[inputs][width]`; one score a document for rerank (width 1).
    Vectors { id: u64, vectors: Vec<Vec<f32>>, tokens: u32 },
    /// Also says that the engine is alive.
    Stats(Stats),
}

/// An error without its cause.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireError {
    code: String,
    message: String,
    param: Option<String>,
}
impl From<Error> for WireError {
    fn from(e: Error) -> Self {
        if let Some(source) = &e.source {
            tracing::warn!(code = e.code.as_str(), cause = %source, "{}", e.message);
        }
        Self { code: e.code.as_str().into(), message: e.message, param: e.param.map(|p| p.into_owned()) }
    }
}
impl From<WireError> for Error {
    fn from(e: WireError) -> Self {
        let error = Error::new(Code::parse(&e.code).unwrap_or(Code::Internal), e.message);
        match e.param {
            Some(param) => error.param(param),
            None => error,
        }
    }
}

/// Writes one frame; the caller flushes.
pub fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let bytes = encode(message)?;
    to.write_all(&bytes)
}

/// One frame as bytes.
pub fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    if length > LONGEST {
        return Err(io::Error::other("a frame is too long"));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// Length of the frame's body from its first four bytes. Errors when no frame can be that long.
pub fn body_length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(head) as usize;
    if length > LONGEST { Err(io::Error::other("a frame is too long")) } else { Ok(length) }
}

pub fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    postcard::from_bytes(body).map_err(io::Error::other)
}

/// Reads one frame; `None` when the other side is gone.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut body = vec![0; body_length(head)?];
    from.read_exact(&mut body)?;
    decode(&body).map(Some)
}
