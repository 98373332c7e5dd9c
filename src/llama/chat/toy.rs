//! A vocabulary small enough to reason about: 256 bytes, some words, four control tokens and two added ones.

use domain::Result;

use super::{TokenKind, Vocabulary};

pub struct ToyVocabulary {
    pieces: Vec<(Vec<u8>, TokenKind)>,
    adds_bos: bool,
}

impl ToyVocabulary {
    pub fn new() -> Self {
        let mut pieces: Vec<(Vec<u8>, TokenKind)> = (0..=255u8).map(|b| (vec![b], TokenKind::Normal)).collect();
        for word in ["the", " the", "{\"", "\":", "\": ", "name", "\"}", "true", "<tool", "_call>", ", \"", "\n\n", "é", "日本", "<|", "im_end", "|>"] {
            pieces.push((word.as_bytes().to_vec(), TokenKind::Normal));
        }
        for mark in ["<|im_start|>", "<|im_end|>", "<s>", "[TOOL_CALLS]"] {
            pieces.push((mark.as_bytes().to_vec(), TokenKind::Control));
        }
        for mark in ["<tool_call>", "<think>"] {
            pieces.push((mark.as_bytes().to_vec(), TokenKind::UserDefined));
        }
        Self { pieces, adds_bos: false }
    }
    pub fn with_bos() -> Self {
        Self { adds_bos: true, ..Self::new() }
    }
    pub fn id(&self, text: &str) -> u32 {
        self.pieces.iter().rposition(|(p, _)| p == text.as_bytes()).expect("a token of the toy vocabulary") as u32
    }
}

impl Vocabulary for ToyVocabulary {
    fn size(&self) -> u32 {
        self.pieces.len() as u32
    }
    fn kind(&self, token: u32) -> TokenKind {
        self.pieces[token as usize].1
    }
    fn piece(&self, token: u32) -> Vec<u8> {
        self.pieces[token as usize].0.clone()
    }
    fn ends_answer(&self, token: u32) -> bool {
        token == self.id("<|im_end|>")
    }
    fn bos(&self) -> Option<u32> {
        Some(self.id("<s>"))
    }
    fn eos(&self) -> Option<u32> {
        Some(self.id("<|im_end|>"))
    }
    fn adds_bos(&self) -> bool {
        self.adds_bos
    }
    /// Longest match; control tokens only where they are parsed.
    fn tokenize(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        let mut rest = text.as_bytes();
        let mut tokens = Vec::new();
        while !rest.is_empty() {
            let fits = |(_, (piece, kind)): &(usize, &(Vec<u8>, TokenKind))| (parse_special || *kind != TokenKind::Control) && rest.starts_with(piece);
            let (id, (piece, _)) = self.pieces.iter().enumerate().filter(fits).max_by_key(|(_, (piece, _))| piece.len()).expect("every byte is a token");
            tokens.push(id as u32);
            rest = &rest[piece.len()..];
        }
        Ok(tokens)
    }
}
