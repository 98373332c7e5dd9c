//! One suite a trait; every implementation calls it.
