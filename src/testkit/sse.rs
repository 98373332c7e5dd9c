//! Server-sent events, as they come.

use std::time::Duration;

use serde_json::Value;

/// One frame of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A line that begins with a colon.
    Comment(String),
    /// JSON after `data: `.
    Data(Value),
    /// `data: [DONE]`.
    Done,
}

/// Reads a whole stream. Panics at what is no frame: a stream under test must be well formed to the last byte.
pub fn frames(text: &str) -> Vec<Frame> {
    let whole = text.strip_suffix("\n\n").unwrap_or_else(|| panic!("the stream ends inside a frame: {text:?}"));
    whole.split("\n\n").map(frame).collect()
}

fn frame(text: &str) -> Frame {
    if let Some(comment) = text.strip_prefix(':') {
        return Frame::Comment(comment.trim().into());
    }
    match text.strip_prefix("data: ").unwrap_or_else(|| panic!("not a frame: {text:?}")) {
        "[DONE]" => Frame::Done,
        data => Frame::Data(serde_json::from_str(data).unwrap_or_else(|e| panic!("not JSON ({e}): {data:?}"))),
    }
}

/// Frames of a response that is still coming. Dropping it closes the connection: the client goes away.
pub struct SseReader {
    response: reqwest::Response,
    buffer: String,
}

impl SseReader {
    pub fn new(response: reqwest::Response) -> Self {
        Self { response, buffer: String::new() }
    }

    /// The next frame; `None` at the end. Panics when nothing comes for ten seconds.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((first, rest)) = self.buffer.split_once("\n\n") {
                let found = frame(first);
                self.buffer = rest.to_owned();
                return Some(found);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk()).await.expect("a frame comes within ten seconds").ok()??;
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("no frame is cut inside a character"));
        }
    }
}
