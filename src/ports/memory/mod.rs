//! One fake a trait, for tests.
