//! Limits and defaults of chat requests.

use serde::{Deserialize, Serialize};

/// Limits that keep a request's preparation bounded, and the sampling used where a request says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Most answers (`n`) to one request.
    pub max_answers: u32,
    /// Most stop strings in one request.
    pub max_stops: usize,
    /// Longest stop string in bytes.
    pub max_stop_bytes: usize,
    /// Most alternatives listed per token when log-probabilities are asked for.
    pub max_logprobs: u8,
    /// Most entries in `logit_bias`.
    pub max_logit_biases: usize,
    /// Most tools offered in one request.
    pub max_tools: usize,
    /// Most tool calls in one answer.
    pub max_tool_calls: usize,
    /// Longest chat template in bytes.
    pub template_bytes: usize,
    /// Longest rendered prompt in bytes.
    pub prompt_bytes: usize,
    /// Work a template may do: one unit an instruction or 64 bytes of text.
    pub template_fuel: u64,
    /// Deepest nesting of blocks and macros while a template runs.
    pub template_recursion: usize,
    /// Longest GBNF grammar in bytes.
    pub grammar_bytes: usize,
    /// Longest JSON Schema in bytes (tools' parameters included).
    pub schema_bytes: usize,
    /// Deepest nesting of a JSON Schema.
    pub schema_depth: usize,
    /// Most symbols in a compiled grammar.
    pub grammar_symbols: usize,
    /// Work the compilation of a grammar's terminals may take.
    pub grammar_fuel: u64,
    /// Parser items one token's mask may cost.
    pub grammar_step_items: usize,
    /// Compiled grammars kept for the next request with the same one.
    pub grammar_cache: usize,
    /// Temperature when the request names none; 0 takes the likeliest token.
    pub temperature: f32,
    /// Nucleus kept when the request names none; 1 = everything.
    pub top_p: f32,
    /// Candidates kept when the request names no number; 0 = all.
    pub top_k: i32,
    /// Least probability relative to the likeliest token when the request names none.
    pub min_p: f32,
    /// Penalty on repeated tokens when the request names none; 1 = off.
    pub repeat_penalty: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_answers: 8,
            max_stops: 16,
            max_stop_bytes: 256,
            max_logprobs: 20,
            max_logit_biases: 1024,
            max_tools: 128,
            max_tool_calls: 16,
            template_bytes: 256 * 1024,
            prompt_bytes: 8 * 1024 * 1024,
            template_fuel: 1_000_000,
            template_recursion: 120,
            grammar_bytes: 64 * 1024,
            schema_bytes: 256 * 1024,
            schema_depth: 32,
            grammar_symbols: 200_000,
            grammar_fuel: 1_000_000,
            grammar_step_items: 100_000,
            grammar_cache: 32,
            temperature: 0.8,
            top_p: 0.95,
            top_k: 40,
            min_p: 0.05,
            repeat_penalty: 1.0,
        }
    }
}
