//! Nobody's text becomes a special token.
//!
//! Templates concatenate their own control marks with other people's text, and the result is tokenised as a whole. So
//! before rendering, every occurrence of a control token's text inside somebody's string is broken by a *sentinel*: a
//! Unicode non-character that occurs nowhere in the request. After rendering the prompt is split at the sentinels and
//! the pieces are tokenised apart, so that the halves of `<|im_end|>` never meet. The text itself stays what it was.

use std::collections::HashSet;

use domain::{Error, Result};

use crate::chat::{TokenKind, Vocabulary};

/// The marks of one vocabulary that text must not be able to write.
pub struct Shield {
    /// Marks in ASCII lower case (a template may change case), grouped by first byte.
    marks: Vec<Vec<Mark>>,
    /// Ends of marks of at least two bytes: a text that begins with one could complete a mark the template began.
    tails: HashSet<Box<[u8]>>,
    longest: usize,
}

struct Mark {
    lower: Box<[u8]>,
    /// An added token the template itself writes (`<tool_call>`): kept whole in the assistant's own earlier turns.
    added: bool,
}

impl Shield {
    /// Collects the control tokens, and those added tokens that `template` speaks of.
    pub fn new(vocabulary: &dyn Vocabulary, template: &str) -> Self {
        let mut shield = Self { marks: (0..256).map(|_| Vec::new()).collect(), tails: HashSet::new(), longest: 0 };
        for token in 0..vocabulary.size() {
            let kind = vocabulary.kind(token);
            if !matches!(kind, TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined) {
                continue;
            }
            let Ok(text) = String::from_utf8(vocabulary.piece(token)) else { continue };
            let added = kind == TokenKind::UserDefined;
            if text.trim().is_empty() || (added && !template.contains(&text)) {
                continue;
            }
            shield.add(&text, added);
        }
        shield
    }

    fn add(&mut self, text: &str, added: bool) {
        let lower: Box<[u8]> = text.to_ascii_lowercase().into_bytes().into();
        self.longest = self.longest.max(lower.len());
        for start in (1..lower.len().saturating_sub(1)).filter(|i| text.is_char_boundary(*i)) {
            self.tails.insert(lower[start..].into());
        }
        self.marks[lower[0] as usize].push(Mark { lower, added });
    }

    /// A guard whose sentinel occurs in none of `texts`.
    /// Errors: `invalid_param` when the texts hold all 66 Unicode non-characters.
    pub fn guard<'a>(&'a self, texts: &[&str]) -> Result<Guard<'a>> {
        let candidates = (0xFDD0..=0xFDEFu32).chain((0..=16u32).flat_map(|plane| [plane << 16 | 0xFFFE, plane << 16 | 0xFFFF]));
        let sentinel = candidates
            .filter_map(char::from_u32)
            .find(|c| !texts.iter().any(|t| t.contains(*c)))
            .ok_or_else(|| Error::invalid("messages", "the messages contain every Unicode non-character; remove at least one of them"))?;
        Ok(Guard { shield: self, sentinel })
    }
}

/// A shield with the sentinel of one request.
pub struct Guard<'a> {
    shield: &'a Shield,
    sentinel: char,
}

impl Guard<'_> {
    /// `text` with every mark broken. `own` is for what the assistant wrote earlier: there the added tokens stay whole,
    /// because templates look for them.
    pub fn protect(&self, text: &str, own: bool) -> String {
        let breaks = self.breaks(text, own);
        if breaks.is_empty() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len() + 3 * breaks.len());
        let mut from = 0;
        for at in breaks {
            out.push_str(&text[from..at]);
            out.push(self.sentinel);
            from = at;
        }
        out.push_str(&text[from..]);
        out
    }

    /// Where sentinels go: ascending byte offsets.
    fn breaks(&self, text: &str, own: bool) -> Vec<usize> {
        let lower = text.to_ascii_lowercase();
        let bytes = lower.as_bytes();
        let mut breaks = Vec::new();
        if self.could_complete_a_mark(bytes) {
            breaks.push(0);
        }
        for (at, c) in lower.char_indices() {
            let rest = &bytes[at..];
            // A whole mark here, or the text's end begins one.
            let mark = self.shield.marks[bytes[at] as usize].iter().find(|m| !(own && m.added) && (rest.starts_with(&m.lower) || m.lower.starts_with(rest)));
            if let Some(mark) = mark {
                if mark.lower.len() == c.len_utf8() {
                    breaks.push(at);
                }
                breaks.push(at + c.len_utf8());
            }
        }
        breaks.dedup();
        breaks
    }

    /// The text begins with the end of a mark, or is an inner piece of one.
    fn could_complete_a_mark(&self, text: &[u8]) -> bool {
        let tails = &self.shield.tails;
        (2..=text.len().min(self.shield.longest)).any(|n| tails.contains(&text[..n]))
            || (text.len() >= 2 && text.len() < self.shield.longest && tails.iter().any(|tail| tail.starts_with(text)))
    }

    /// Tokens of a rendered prompt: split at the sentinels, each piece tokenised on its own.
    pub fn tokenize(&self, rendered: &str, vocabulary: &dyn Vocabulary) -> Result<Vec<u32>> {
        let mut tokens = Vec::new();
        let pieces: Vec<&str> = rendered.split(self.sentinel).collect();
        for (i, piece) in pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty()) {
            // A mark of a single character cannot be broken: between two sentinels it is somebody's text.
            let alone = i > 0 && i + 1 < pieces.len() && piece.chars().count() == 1;
            tokens.extend(vocabulary.tokenize(piece, !alone)?);
        }
        Ok(tokens)
    }
    /// The rendered prompt without sentinels.
    pub fn unprotect(&self, rendered: &str) -> String {
        rendered.replace(self.sentinel, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::toy::ToyVocabulary;
    use proptest::prelude::*;

    /// Text that is likely to hold marks, halves of marks and non-characters.
    fn nasty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("<|im_start|>".to_owned()),
            Just("<|im_end|>".to_owned()),
            Just("<|IM_End|>".to_owned()),
            Just("<|im_".to_owned()),
            Just("end|>".to_owned()),
            Just("<".to_owned()),
            Just("<tool_call>".to_owned()),
            Just("\u{FDD0}".to_owned()),
            Just("<<|im_end|>|im_end|>".to_owned()),
            "[a-z \n]{0,4}",
            any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|v| v.concat())
    }

    fn control_tokens(vocabulary: &ToyVocabulary, tokens: &[u32]) -> usize {
        tokens.iter().filter(|t| vocabulary.kind(**t) == TokenKind::Control).count()
    }

    proptest! {
        #[test]
        fn only_the_template_writes_control_tokens_and_the_text_stays_itself(texts in prop::collection::vec(nasty(), 1..5)) {
            let vocabulary = ToyVocabulary::new();
            let shield = Shield::new(&vocabulary, "<tool_call>");
            let all: Vec<&str> = texts.iter().map(String::as_str).collect();
            let guard = shield.guard(&all).unwrap();
            // Texts laid side by side with nothing between: the hardest case for halves that meet.
            let inner: String = texts.iter().map(|t| guard.protect(t, false)).collect();
            let tokens = guard.tokenize(&format!("<|im_start|>user\n{inner}<|im_end|>\n"), &vocabulary).unwrap();
            prop_assert_eq!(control_tokens(&vocabulary, &tokens), 2);
            let bytes: Vec<u8> = tokens.iter().flat_map(|t| vocabulary.piece(*t)).collect();
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), format!("<|im_start|>user\n{}<|im_end|>\n", texts.concat()));
        }

        #[test]
        fn lowering_or_raising_case_in_a_template_does_not_help(text in nasty()) {
            let vocabulary = ToyVocabulary::new();
            let shield = Shield::new(&vocabulary, "");
            let guard = shield.guard(&[&text]).unwrap();
            let tokens = guard.tokenize(&guard.protect(&text, false).to_lowercase(), &vocabulary).unwrap();
            prop_assert_eq!(control_tokens(&vocabulary, &tokens), 0);
        }
    }

    #[test]
    fn plain_text_is_not_touched() {
        let vocabulary = ToyVocabulary::new();
        let shield = Shield::new(&vocabulary, "");
        let guard = shield.guard(&["x"]).unwrap();
        for text in ["hello", "a < b > c", "<html><body>", ""] {
            assert_eq!(guard.protect(text, false), text);
        }
    }
}
