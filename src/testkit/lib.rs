//! What tests stand on: a whole server in this process over fakes, people who talk to it, a reader of event streams.
//!
//! ```ignore
//! let app = TestApp::start().await;
//! let owner = app.set_up().await;
//! let made = owner.post("/console/api/keys", json!({"name": "k", "kind": "model"})).await.ok(201);
//! ```
//!
//! *Invariants:* only tests depend on this room; every server listens on a free loopback port and ends with its `TestApp`.

pub mod app;
pub mod client;
pub mod models;
pub mod sse;

pub use app::{PASSWORD, Settings, TestApp};
pub use client::{Answer, Client};
pub use models::{CHAT, EMBEDDING, RERANK, Script, ScriptedModels};
pub use sse::{Frame, SseReader};
