//! Finds tool calls in an answer while it is being written.

use std::sync::LazyLock;

use rand::Rng;
use regex::Regex;

use super::Dialect;
use crate::chat::assemble::holdback::{find, hold_from};

/// A piece of a call. The first of a call carries its id and name, later ones add to the arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallDelta {
    /// The call's place in the answer.
    pub call: u32,
    pub id: Option<String>,
    pub name: Option<String>,
    /// JSON text to append.
    pub arguments: String,
}

/// What a piece of the answer turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Scanned {
    Text(String),
    Call(CallDelta),
}

#[derive(Debug, PartialEq)]
enum State {
    /// Nothing has come yet: Llama 3 may begin a call without a mark.
    Start,
    Text,
    /// Between a mark and the arguments.
    Header,
    Arguments(Depth),
    /// Behind the arguments: closing braces, commas and marks.
    Between,
}

/// Where a reader stands inside a JSON value.
#[derive(Debug, Default, PartialEq)]
struct Depth {
    open: u32,
    in_string: bool,
    escaped: bool,
}

impl Depth {
    /// Takes one character; whether the value ends with it.
    fn ends_with(&mut self, c: char) -> bool {
        if self.in_string {
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match c {
            '"' => self.in_string = true,
            '{' | '[' => self.open += 1,
            '}' | ']' => {
                self.open = self.open.saturating_sub(1);
                return self.open == 0;
            }
            _ => {}
        }
        false
    }
}

static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^[\s\[,]*\{\s*"name"\s*:\s*"((?:[^"\\]|\\.)*)"\s*,\s*"(?:arguments|parameters)"\s*:\s*\{"#).expect("a constant pattern")
});
static NAMED_HEADER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\s*([\w.-]+)(?:\[CALL_ID\]\w*)?\[ARGS\]\s*\{").expect("a constant pattern"));

/// A header longer than this is no header: the text goes out as it is.
const LONGEST_HEADER: usize = 512;

/// Splits an answer into text and calls, piece by piece.
pub struct CallScanner {
    dialect: Dialect,
    state: State,
    held: String,
    /// The mark that began the present header, given back when it leads to no call.
    mark: &'static str,
    calls: u32,
}

impl CallScanner {
    pub fn new(dialect: Dialect) -> Self {
        let state = if dialect == Dialect::Llama3 { State::Start } else { State::Text };
        Self { dialect, state, held: String::new(), mark: "", calls: 0 }
    }
    /// Calls begun so far.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    pub fn push(&mut self, text: &str) -> Vec<Scanned> {
        self.held.push_str(text);
        let mut out = Vec::new();
        while self.step(&mut out) {}
        out
    }

    /// Ends the answer: what was held back is text, unless it lies behind a call.
    pub fn finish(&mut self) -> Vec<Scanned> {
        let rest = std::mem::take(&mut self.held);
        match self.state {
            State::Start | State::Text if !rest.is_empty() => vec![Scanned::Text(rest)],
            State::Header => vec![Scanned::Text(format!("{}{rest}", self.mark))],
            _ => Vec::new(),
        }
    }

    /// One move; `false` when more text is needed.
    fn step(&mut self, out: &mut Vec<Scanned>) -> bool {
        let opening = self.dialect.opening();
        match &mut self.state {
            State::Start => {
                let seen = self.held.trim_start();
                if seen.is_empty() {
                    return false;
                }
                self.state = if seen.starts_with('{') { State::Header } else { State::Text };
                self.mark = "";
                true
            }
            State::Text => {
                if let Some((at, mark)) = find(&self.held, &[opening]) {
                    self.say(at, out);
                    self.held.drain(..mark.len());
                    self.mark = opening;
                    self.state = State::Header;
                    return true;
                }
                let ready = hold_from(&self.held, &[opening]);
                self.say(ready, out);
                false
            }
            State::Header => {
                let pattern = if self.dialect == Dialect::MistralArgs { &NAMED_HEADER } else { &HEADER };
                let Some(found) = pattern.captures(&self.held) else {
                    if self.held.len() > LONGEST_HEADER {
                        let text = format!("{}{}", self.mark, std::mem::take(&mut self.held));
                        out.push(Scanned::Text(text));
                        self.state = State::Text;
                    }
                    return false;
                };
                let name: String = serde_json::from_str(&format!("\"{}\"", &found[1])).unwrap_or_else(|_| found[1].to_owned());
                let arguments_at = found.get(0).map_or(0, |m| m.end()) - 1;
                self.held.drain(..arguments_at);
                out.push(Scanned::Call(CallDelta { call: self.calls, id: Some(fresh_id()), name: Some(name), arguments: String::new() }));
                self.calls += 1;
                self.state = State::Arguments(Depth::default());
                true
            }
            State::Arguments(depth) => {
                let end = self.held.char_indices().find(|(_, c)| depth.ends_with(*c)).map(|(i, c)| i + c.len_utf8());
                let arguments: String = self.held.drain(..end.unwrap_or(self.held.len())).collect();
                if !arguments.is_empty() {
                    out.push(Scanned::Call(CallDelta { call: self.calls - 1, arguments, ..CallDelta::default() }));
                }
                if end.is_some() {
                    self.state = State::Between;
                }
                end.is_some()
            }
            State::Between => {
                if let Some((at, mark)) = find(&self.held, &[opening]) {
                    self.held.drain(..at + mark.len());
                    self.mark = opening;
                    self.state = State::Header;
                    return true;
                }
                // Mistral's list goes on with a comma inside the same brackets.
                if self.dialect == Dialect::Mistral && self.held.contains('{') {
                    self.mark = "";
                    self.state = State::Header;
                    let from = self.held.find('{').unwrap_or(0);
                    self.held.drain(..from);
                    return true;
                }
                let ready = hold_from(&self.held, &[opening]);
                self.held.drain(..ready);
                false
            }
        }
    }

    fn say(&mut self, until: usize, out: &mut Vec<Scanned>) {
        if until > 0 {
            out.push(Scanned::Text(self.held.drain(..until).collect()));
        }
    }
}

/// A call id as OpenAI writes them: `call_` and 24 letters or digits.
fn fresh_id() -> String {
    let mut rng = rand::rng();
    let body: String = (0..24).map(|_| rng.sample(rand::distr::Alphanumeric) as char).collect();
    format!("call_{body}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text, then (name, arguments) of each call.
    fn scan(dialect: Dialect, pieces: &[&str]) -> (String, Vec<(String, String)>) {
        let mut scanner = CallScanner::new(dialect);
        let mut all: Vec<Scanned> = pieces.iter().flat_map(|p| scanner.push(p)).collect();
        all.extend(scanner.finish());
        let (mut text, mut calls) = (String::new(), Vec::<(String, String)>::new());
        for piece in all {
            match piece {
                Scanned::Text(t) => text.push_str(&t),
                Scanned::Call(CallDelta { name: Some(name), arguments, .. }) => calls.push((name, arguments)),
                Scanned::Call(delta) => calls[delta.call as usize].1.push_str(&delta.arguments),
            }
        }
        (text, calls)
    }

    const ANSWERS: &[(Dialect, &str)] = &[
        (Dialect::Hermes, "Hi.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, \"}\\\"\"]}}\n</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>"),
        (Dialect::Mistral, "Hi.\n[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"x\": [1, \"}\\\"\"]}}, {\"name\": \"g\", \"arguments\": {}}]"),
        (Dialect::MistralArgs, "Hi.\n[TOOL_CALLS]f[ARGS]{\"x\": [1, \"}\\\"\"]}[TOOL_CALLS]g[ARGS]{}"),
    ];

    #[test]
    fn each_dialect_is_read() {
        for (dialect, answer) in ANSWERS {
            let (text, calls) = scan(*dialect, &[answer]);
            assert_eq!(text, "Hi.\n", "{dialect:?}");
            assert_eq!(calls, [("f".into(), "{\"x\": [1, \"}\\\"\"]}".into()), ("g".to_owned(), "{}".to_owned())], "{dialect:?}");
        }
        let (text, calls) = scan(Dialect::Llama3, &["{\"name\": \"f\", ", "\"parameters\": {\"a\": 1}}"]);
        assert_eq!((text.as_str(), calls), ("", vec![("f".to_owned(), "{\"a\": 1}".to_owned())]));
    }

    #[test]
    fn what_is_no_call_stays_text() {
        assert_eq!(scan(Dialect::Hermes, &["a <tool", "_caller> b"]).0, "a <tool_caller> b");
        assert_eq!(scan(Dialect::Hermes, &["<tool_call>{\"nam"]).0, "<tool_call>{\"nam");
        assert_eq!(scan(Dialect::Llama3, &["{\"a\": 1}"]).0, "{\"a\": 1}");
    }

    proptest! {
        #[test]
        fn how_the_answer_is_cut_into_pieces_makes_no_difference(which in 0..ANSWERS.len(), cuts in prop::collection::vec(0usize..120, 0..12)) {
            let (dialect, answer) = ANSWERS[which];
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % answer.len()).chain([0, answer.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|w| &answer[w[0]..w[1]]).collect();
            prop_assert_eq!(scan(dialect, &pieces), scan(dialect, &[answer]));
        }
    }
}
