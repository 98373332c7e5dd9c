//! Preparing model files: another weight layout, and the measures that choose between layouts.

mod layout;
mod quality;
mod requantize;

pub use layout::Layout;
pub use quality::{Comparison, Quality, compare, perplexity};
pub use requantize::requantize;

/// The fixed text that weight layouts are judged on: English prose, dialogue, code, tables and a little Chinese, written
/// for this purpose so that no model has seen it.
pub const QUALITY_TEXT: &str = include_str!("quality.txt");
