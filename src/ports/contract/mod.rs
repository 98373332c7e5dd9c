//! What every implementation of a seam must do, as suites its tests call in one line.

mod records;

pub use records::records;
