//! Nouns and rules: everybody's ground.
//!
//! This room has no IO and no async. It knows what an account, a key, a model, a chat request and an
//! error *are*, how they are written down (serde) and which rules they obey; it never knows where they
//! are kept, who asked over which protocol, or which engine answers.
//!
//! *Invariants:* no room is imported here; serde is derived for what is stored, journalled or exported,
//! never for HTTP (the DTOs live in `api`).

pub mod account;
pub mod chat;
pub mod error;
pub mod id;
pub mod key;
pub mod model;
pub mod record;
pub mod settings;
pub mod time;

pub use error::{Code, Error, Result};
