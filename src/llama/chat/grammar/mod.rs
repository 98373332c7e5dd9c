//! Constrained decoding: which tokens may come next so that the answer keeps a form.
//!
//! Grammars are compiled by llguidance over the model's own vocabulary. JSON Schema it speaks itself; GBNF is translated
//! to its dialect of Lark ([`gbnf`]); tool calls are written in Lark to begin with. Before the form begins there may be
//! free text: a thought, or words before a tool call. That part needs no grammar, only an eye on the mark that ends it.

pub mod gbnf;

use std::sync::{Arc, OnceLock};

use llguidance::{
    Matcher, ParserFactory,
    api::{ParserLimits, TopLevelGrammar},
    earley::SlicedBiasComputer,
    toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use domain::{Code, Error, Result};

use super::{Settings, TokenKind, Vocabulary, tools::Dialect};

/// The form of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// The model may begin with a thought.
    pub thinks: bool,
    /// The prompt has begun one.
    pub thinking: bool,
    pub body: Body,
}

/// The form of what follows the thought.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Anything.
    Text,
    /// A JSON document of this schema.
    Schema(Value),
    /// A word of this grammar in llama.cpp's notation.
    Gbnf(String),
    /// A word of this grammar; with `after`, from where that mark is first written, and anything before it.
    Lark { after: Option<&'static str>, lark: String },
}

/// Schema with compact spelling asked for: a small model would otherwise fill the answer with white space.
pub fn compact(mut schema: Value) -> Value {
    if let Some(map) = schema.as_object_mut() {
        map.insert("x-guidance".into(), json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "}));
    }
    schema
}

/// A Lark string literal.
pub fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// Compiles forms for one vocabulary.
pub struct Grammars {
    vocabulary: Arc<dyn Vocabulary>,
    limits: ParserLimits,
    settings: Settings,
    /// Made on first use: the vocabulary's prefix tree takes a moment and some memory.
    factory: OnceLock<Result<ParserFactory>>,
    /// Compiled grammars, the most recently used last.
    cache: Mutex<Vec<(String, Matcher)>>,
}

impl Grammars {
    pub fn new(vocabulary: Arc<dyn Vocabulary>, settings: &Settings) -> Self {
        let limits = ParserLimits {
            step_max_items: settings.grammar_step_items,
            initial_lexer_fuel: settings.grammar_fuel,
            max_grammar_size: settings.grammar_symbols,
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Self { vocabulary, limits, settings: settings.clone(), factory: OnceLock::new(), cache: Mutex::new(Vec::new()) }
    }

    /// The constraint of a form; `None` when anything goes.
    /// Errors: `invalid_schema` or `invalid_grammar` with what is wrong, also when a limit of the settings is passed.
    pub fn constraint(&self, form: Form) -> Result<Option<Constraint>> {
        let settings = &self.settings;
        let (tag, source, after) = match form.body {
            Body::Text => return Ok(None),
            Body::Schema(schema) => {
                check_schema(&schema, settings)?;
                ("json", compact(schema).to_string(), None)
            }
            Body::Gbnf(text) => {
                if text.len() > settings.grammar_bytes {
                    let why = format!("the grammar has {} bytes; at most {} (`grammar_bytes`) are allowed", text.len(), settings.grammar_bytes);
                    return Err(Error::new(Code::InvalidGrammar, why).param("grammar"));
                }
                ("gbnf", gbnf::to_lark(&text)?, None)
            }
            Body::Lark { after, lark } => {
                if lark.len() > settings.schema_bytes {
                    let why = format!("the tools' parameters have {} bytes; at most {} (`schema_bytes`) are allowed", lark.len(), settings.schema_bytes);
                    return Err(Error::new(Code::InvalidSchema, why).param("tools"));
                }
                ("tools", lark, after)
            }
        };
        let matcher = self.matcher(tag, source)?;
        let mut gates = Vec::new();
        if let Some(mark) = after {
            gates.push(Gate::new(mark, true));
        }
        if form.thinking || (form.thinks && after.is_none()) {
            gates.push(Gate { may_think: !form.thinking, ..Gate::new("</think>", false) });
        }
        Ok(Some(Constraint { vocabulary: self.vocabulary.clone(), gates, matcher, mask: Vec::new() }))
    }

    fn matcher(&self, tag: &str, source: String) -> Result<Matcher> {
        let key = format!("{tag}:{source}");
        let mut cache = self.cache.lock();
        if let Some(at) = cache.iter().position(|(k, _)| *k == key) {
            let entry = cache.remove(at);
            let matcher = entry.1.deep_clone();
            cache.push(entry);
            return Ok(matcher);
        }
        drop(cache);
        let (code, param) = match tag {
            "json" => (Code::InvalidSchema, "response_format"),
            "tools" => (Code::InvalidSchema, "tools"),
            _ => (Code::InvalidGrammar, "grammar"),
        };
        let refuse = |why: String| Error::new(code, format!("the form asked for cannot be enforced: {}", first_words(&why))).param(param);
        let grammar = if tag == "json" {
            TopLevelGrammar::from_json_schema(serde_json::from_str(&source).map_err(|e| refuse(e.to_string()))?)
        } else {
            TopLevelGrammar::from_lark(source)
        };
        let factory = self.factory.get_or_init(|| self.make_factory()).as_ref().map_err(Clone::clone)?;
        let mut matcher = Matcher::new(factory.create_parser(grammar));
        if let Some(why) = matcher.get_error() {
            return Err(refuse(why));
        }
        // Finds at once what would otherwise fail at the first token.
        matcher.compute_mask().map_err(|e| refuse(e.to_string()))?;
        let mut cache = self.cache.lock();
        if cache.len() >= self.settings.grammar_cache && !cache.is_empty() {
            cache.remove(0);
        }
        cache.push((key, matcher.deep_clone()));
        Ok(matcher)
    }

    fn make_factory(&self) -> Result<ParserFactory> {
        let vocabulary = &*self.vocabulary;
        let eos = vocabulary.eos().or_else(|| (0..vocabulary.size()).find(|t| vocabulary.ends_answer(*t))).unwrap_or(0);
        let marks: Vec<&[u8]> =
            [Dialect::Hermes, Dialect::Llama3, Dialect::Mistral, Dialect::MistralArgs].iter().flat_map(|d| d.marks()).map(|m| m.as_bytes()).collect();
        let words: Vec<Vec<u8>> = (0..vocabulary.size())
            .map(|token| {
                let piece = vocabulary.piece(token);
                match vocabulary.kind(token) {
                    _ if vocabulary.ends_answer(token) => special(&piece),
                    // A dialect's mark is written into the grammar as text, whether it is one token or several.
                    TokenKind::Control if !marks.contains(&piece.as_slice()) => special(&piece),
                    TokenKind::Unused | TokenKind::Unknown => special(&piece),
                    _ => piece,
                }
            })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(vocabulary.size(), eos), &words);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &SlicedBiasComputer::general_slices()).map_err(internal)?;
        factory.quiet();
        *factory.limits_mut() = self.limits.clone();
        Ok(factory)
    }
}

/// A token no text can match, as toktrie marks them.
fn special(piece: &[u8]) -> Vec<u8> {
    [b"\xFF".as_slice(), piece].concat()
}

fn internal(e: impl std::fmt::Display) -> Error {
    Error::internal(std::io::Error::other(e.to_string()))
}

fn first_words(text: &str) -> String {
    let line = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("it is not readable").trim();
    let short: String = line.chars().take(300).collect();
    short.trim_end_matches('.').to_owned()
}

fn check_schema(schema: &Value, settings: &Settings) -> Result<()> {
    let refuse = |why: String| Err(Error::new(Code::InvalidSchema, why).param("response_format"));
    if !(schema.is_object() || schema.is_boolean()) {
        return refuse("the JSON Schema must be an object".into());
    }
    let bytes = schema.to_string().len();
    if bytes > settings.schema_bytes {
        return refuse(format!("the JSON Schema has {bytes} bytes; at most {} (`schema_bytes`) are allowed", settings.schema_bytes));
    }
    let depth = depth_of(schema);
    if depth > settings.schema_depth {
        return refuse(format!("the JSON Schema is nested {depth} deep; at most {} (`schema_depth`) are allowed", settings.schema_depth));
    }
    Ok(())
}

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or(0),
        _ => 0,
    }
}

/// Free text up to a mark.
#[derive(Clone, Debug)]
struct Gate {
    mark: &'static str,
    /// The answer may end without the mark.
    optional: bool,
    /// Only passed if the answer begins with `<think>`; otherwise there is no free text.
    may_think: bool,
    tail: Vec<u8>,
}

const THINK: &[u8] = b"<think>";

impl Gate {
    fn new(mark: &'static str, optional: bool) -> Self {
        Self { mark, optional, may_think: false, tail: Vec::new() }
    }
    /// Whether `piece` would write the mark with something behind it that the grammar could no longer see.
    fn overshoots(&self, piece: &[u8]) -> bool {
        let text = [self.tail.as_slice(), piece].concat();
        position(&text, self.mark.as_bytes()).is_some_and(|at| at + self.mark.len() < text.len())
    }
    /// Takes `piece`; whether the mark is complete.
    fn passes(&mut self, piece: &[u8]) -> bool {
        self.tail.extend_from_slice(piece);
        let passed = self.tail.ends_with(self.mark.as_bytes());
        let keep = self.mark.len().saturating_sub(1).min(self.tail.len());
        self.tail.drain(..self.tail.len() - keep);
        passed
    }
}

fn position(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|w| w == mark)
}

/// The state of one answer's form. Test the drawn token with [`allows`](Self::allows) and ask for the
/// [`mask`](Self::mask) only when it is refused: that is several times faster than masking each step.
pub struct Constraint {
    vocabulary: Arc<dyn Vocabulary>,
    /// Free text still to pass; the last one is the present one.
    gates: Vec<Gate>,
    matcher: Matcher,
    mask: Vec<u32>,
}

impl Constraint {
    /// A copy in the same state, for another answer to the same prompt.
    pub fn fork(&self) -> Self {
        Self { vocabulary: self.vocabulary.clone(), gates: self.gates.clone(), matcher: self.matcher.deep_clone(), mask: Vec::new() }
    }

    /// Whether `token` may come next; the end of the answer is a token like others.
    pub fn allows(&mut self, token: u32) -> bool {
        let ends = self.vocabulary.ends_answer(token);
        let Some(gate) = self.gates.last() else { return self.form_allows(token, ends) };
        if ends {
            return gate.optional;
        }
        let piece = self.vocabulary.piece(token);
        if gate.may_think {
            let seen = [gate.tail.as_slice(), &piece].concat();
            return (!piece.is_empty() && THINK.starts_with(&seen)) || (gate.tail.is_empty() && self.form_allows(token, false));
        }
        !gate.overshoots(&piece)
    }

    fn form_allows(&mut self, token: u32, ends: bool) -> bool {
        if ends { self.matcher.is_accepting().unwrap_or(false) } else { self.matcher.validate_tokens(&[token]).is_ok_and(|n| n == 1) }
    }

    /// Bit set over all tokens, least significant bit first: which may come next.
    /// Errors: `invalid_grammar` when the grammar needs more work than the settings allow.
    pub fn mask(&mut self) -> Result<&[u32]> {
        let size = self.vocabulary.size();
        if self.gates.is_empty() {
            let set = self.matcher.compute_mask().map_err(|e| too_greedy(&e.to_string()))?;
            self.mask.clear();
            self.mask.extend_from_slice(set.as_slice());
            let accepting = self.matcher.is_accepting().unwrap_or(false);
            for token in (0..size).filter(|t| self.vocabulary.ends_answer(*t)) {
                set_bit(&mut self.mask, token, accepting);
            }
        } else {
            let mut mask = vec![0; size.div_ceil(32) as usize];
            for token in 0..size {
                let allowed = self.allows(token);
                set_bit(&mut mask, token, allowed);
            }
            self.mask = mask;
        }
        Ok(&self.mask)
    }

    /// Takes the token that was drawn. Errors: `invalid_grammar` when it was not allowed.
    pub fn commit(&mut self, token: u32) -> Result<()> {
        if self.vocabulary.ends_answer(token) {
            return Ok(());
        }
        let piece = self.vocabulary.piece(token);
        if let Some(gate) = self.gates.last_mut() {
            if gate.may_think {
                let seen = [gate.tail.as_slice(), &piece].concat();
                if THINK.starts_with(&seen) && !piece.is_empty() {
                    gate.may_think = seen != THINK;
                    gate.tail = if gate.may_think { seen } else { Vec::new() };
                    return Ok(());
                }
                self.gates.pop();
            } else {
                if gate.passes(&piece) {
                    self.gates.pop();
                }
                return Ok(());
            }
        }
        self.matcher.consume_token(token).map_err(|e| too_greedy(&e.to_string()))
    }

    /// Whether nothing more may come.
    pub fn is_finished(&self) -> bool {
        self.gates.is_empty() && self.matcher.is_stopped()
    }
}

fn set_bit(mask: &mut [u32], token: u32, on: bool) {
    if let Some(word) = mask.get_mut((token / 32) as usize) {
        let bit = 1 << (token % 32);
        *word = if on { *word | bit } else { *word & !bit };
    }
}

fn too_greedy(why: &str) -> Error {
    Error::new(Code::InvalidGrammar, format!("the answer's grammar could not be followed: {}; simplify it", first_words(why)))
}

#[cfg(test)]
mod tests;
