//! Local inference: llama.cpp in supervised worker processes of this executable.

pub mod chat;
pub mod cpu;
pub mod engine;
pub mod library;
pub mod prepare;
pub mod runtime;
pub mod worker;

pub use library::{BuiltIn, Manifest, bundle};
pub use runtime::{Runtime, Settings};
