//! GBNF, llama.cpp's grammar notation, translated to llguidance's Lark.
//!
//! Notation: `name ::= alternatives`, string literals, character classes, `.`, groups, `* + ? {m,n}`, `#` comments
//! (llama.cpp, `grammars/README.md`). The root rule is called `root`.

use std::collections::HashMap;
use std::fmt::Write as _;

use domain::{Code, Error, Result};

use super::quoted;

/// Deepest nesting of groups.
const MAX_DEPTH: usize = 64;
/// Greatest number of repetitions.
const MAX_REPEAT: u32 = 10_000;

/// The same grammar in Lark, starting at `start`.
/// Errors: `invalid_grammar` with the line and what is wrong there.
pub fn to_lark(source: &str) -> Result<String> {
    let mut parser = Parser { rest: source, source, names: HashMap::new(), used: Vec::new(), depth: 0 };
    let mut rules = String::new();
    let mut defined: Vec<String> = Vec::new();
    parser.blank(true);
    while !parser.rest.is_empty() {
        let name = parser.name()?;
        parser.blank(false);
        if !parser.eat("::=") {
            return Err(parser.wrong(&format!("`::=` is missing behind `{name}`")));
        }
        parser.blank(true);
        if defined.contains(&name) {
            return Err(parser.wrong(&format!("rule `{name}` is written twice")));
        }
        let body = parser.alternatives(false)?;
        let id = parser.id(&name);
        let _ = writeln!(rules, "{id}: {body}");
        defined.push(name);
        parser.blank(true);
    }
    if let Some((name, line)) = parser.used.iter().find(|(name, _)| !defined.contains(name)) {
        return Err(at_line(*line, &format!("rule `{name}` is used but not written")));
    }
    if !defined.iter().any(|n| n == "root") {
        return Err(at_line(1, "there is no rule `root`"));
    }
    Ok(format!("start: {}\n{rules}", parser.id("root")))
}

fn at_line(line: usize, what: &str) -> Error {
    Error::new(Code::InvalidGrammar, format!("the grammar is wrong in line {line}: {what}")).param("grammar")
}

struct Parser<'a> {
    source: &'a str,
    rest: &'a str,
    /// Rule names → numbers: GBNF's names are not all names in Lark.
    names: HashMap<String, usize>,
    used: Vec<(String, usize)>,
    depth: usize,
}

impl Parser<'_> {
    fn line(&self) -> usize {
        self.source[..self.source.len() - self.rest.len()].matches('\n').count() + 1
    }
    fn wrong(&self, what: &str) -> Error {
        at_line(self.line(), what)
    }
    fn id(&mut self, name: &str) -> String {
        let next = self.names.len();
        format!("r{}", self.names.entry(name.to_owned()).or_insert(next))
    }
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }
    fn take(&mut self) -> Result<char> {
        let c = self.peek().ok_or_else(|| self.wrong("it ends too early"))?;
        self.rest = &self.rest[c.len_utf8()..];
        Ok(c)
    }
    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
    /// Skips blanks and comments, line ends only where a rule may go on behind them.
    fn blank(&mut self, lines: bool) {
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r')));
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..];
        }
    }
    fn name(&mut self) -> Result<String> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(self.rest.len());
        if end == 0 {
            let found = self.peek().map_or("the end".into(), |c| format!("`{}`", c.escape_debug()));
            return Err(self.wrong(&format!("a rule's name is expected, not {found}")));
        }
        let name = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        Ok(name)
    }

    fn alternatives(&mut self, nested: bool) -> Result<String> {
        let mut out = self.sequence(nested)?;
        while self.eat("|") {
            self.blank(true);
            let next = self.sequence(nested)?;
            let _ = write!(out, " | {next}");
        }
        Ok(out)
    }

    fn sequence(&mut self, nested: bool) -> Result<String> {
        let mut parts: Vec<String> = Vec::new();
        loop {
            let part = match self.peek() {
                Some('"') => self.literal()?,
                Some('[') => self.class()?,
                Some('.') => {
                    self.take()?;
                    "/(.|\\n)/".into()
                }
                Some('(') => {
                    self.take()?;
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(self.wrong(&format!("groups are nested more than {MAX_DEPTH} deep")));
                    }
                    self.blank(true);
                    let inner = self.alternatives(true)?;
                    if !self.eat(")") {
                        return Err(self.wrong("`)` is missing"));
                    }
                    self.depth -= 1;
                    format!("({inner})")
                }
                Some(c) if c.is_ascii_alphanumeric() || c == '_' => {
                    let line = self.line();
                    let name = self.name()?;
                    let id = self.id(&name);
                    self.used.push((name, line));
                    id
                }
                _ => break,
            };
            let repeat = self.repeat()?;
            parts.push(if repeat == "{0,0}" { "\"\"".into() } else { format!("{part}{repeat}") });
            self.blank(nested);
        }
        Ok(if parts.is_empty() { "\"\"".into() } else { parts.join(" ") })
    }

    fn repeat(&mut self) -> Result<String> {
        self.blank(false);
        match self.peek() {
            Some(c @ ('*' | '+' | '?')) => {
                self.take()?;
                Ok(c.to_string())
            }
            Some('{') => {
                self.take()?;
                let end = self.rest.find('}').ok_or_else(|| self.wrong("`}` is missing"))?;
                let inner = self.rest[..end].to_owned();
                self.rest = &self.rest[end + 1..];
                let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| *n <= MAX_REPEAT);
                let bad = || self.wrong(&format!("`{{{inner}}}` is no repetition; write `{{m}}`, `{{m,}}` or `{{m,n}}` with numbers up to {MAX_REPEAT}"));
                let (low, high) = match inner.split_once(',') {
                    None => (number(&inner), number(&inner)),
                    Some((low, high)) if high.trim().is_empty() => return Ok(format!("{{{},}}", number(low).ok_or_else(bad)?)),
                    Some((low, high)) => (if low.trim().is_empty() { Some(0) } else { number(low) }, number(high)),
                };
                match (low, high) {
                    (Some(low), Some(high)) if low <= high => Ok(format!("{{{low},{high}}}")),
                    _ => Err(bad()),
                }
            }
            _ => Ok(String::new()),
        }
    }

    fn escaped(&mut self) -> Result<char> {
        let hex = |parser: &mut Self, n: usize| -> Result<char> {
            let digits = parser.rest.get(..n).ok_or_else(|| parser.wrong("an escape ends too early"))?;
            let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            let c = code.ok_or_else(|| parser.wrong(&format!("`{digits}` is no character's code")))?;
            parser.rest = &parser.rest[n..];
            Ok(c)
        };
        match self.take()? {
            'n' => Ok('\n'),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            'x' => hex(self, 2),
            'u' => hex(self, 4),
            'U' => hex(self, 8),
            c @ ('\\' | '"' | '[' | ']' | '-' | '^' | '/') => Ok(c),
            c => Err(self.wrong(&format!("`\\{}` is no escape", c.escape_debug()))),
        }
    }

    fn literal(&mut self) -> Result<String> {
        self.take()?;
        let mut text = String::new();
        loop {
            match self.take()? {
                '"' => return Ok(quoted(&text)),
                '\\' => text.push(self.escaped()?),
                '\n' => return Err(self.wrong("a string ends with its line; close it with `\"`")),
                c => text.push(c),
            }
        }
    }

    fn class(&mut self) -> Result<String> {
        self.take()?;
        let mut out = String::from(if self.eat("^") { "/[^" } else { "/[" });
        let mut any = false;
        loop {
            let low = match self.take()? {
                ']' if any => break,
                ']' => return Err(self.wrong("a character class is empty")),
                '\\' => self.escaped()?,
                c => c,
            };
            any = true;
            write_class_char(&mut out, low);
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.take()?;
                let high = match self.take()? {
                    '\\' => self.escaped()?,
                    c => c,
                };
                if high < low {
                    return Err(self.wrong(&format!("the range `{}-{}` runs backwards", low.escape_debug(), high.escape_debug())));
                }
                out.push('-');
                write_class_char(&mut out, high);
            }
        }
        out.push_str("]/");
        Ok(out)
    }
}

/// A character as regular expressions in Lark take it in any place of a class.
fn write_class_char(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || (c as u32 > 0x7F && !c.is_control() && !c.is_whitespace()) {
        out.push(c);
    } else {
        let _ = write!(out, "\\x{{{:X}}}", c as u32);
    }
}
