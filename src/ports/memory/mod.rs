//! Fakes of the seams, for tests.

pub mod records;

pub use records::MemoryRecords;
