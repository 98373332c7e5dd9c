//! What we need from the world: one small trait a file, each with a fake and a contract suite.
//!
//! A seam fits on a screen. `memory/` holds one fake a trait (for tests), `contract/` one suite a trait:
//! every implementation's tests call it in one line, so "works on this back-end" means the suite ran.
//!
//! *Invariants:* only `domain` is imported here; no trait names a vendor, a store or a protocol.

pub mod backup;
pub mod blobs;
pub mod contract;
pub mod llm;
pub mod memory;
pub mod models;
pub mod records;
