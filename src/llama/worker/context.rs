//! llama.cpp's context and vocabulary behind our traits.

use domain::{Code, Error, Result};
use llama_cpp_2::{
    context::LlamaContext,
    llama_batch::LlamaBatch,
    model::LlamaModel,
    token::LlamaToken,
    token_type::LlamaTokenAttr,
};

use crate::{
    chat::{TokenKind, Vocabulary},
    engine::{Backend, Item},
};

/// A generation context. Made for the life of the process, like the model.
pub struct Context {
    inner: LlamaContext<'static>,
    batch: LlamaBatch<'static>,
    cells: usize,
    sequences: usize,
    size: usize,
    partly: bool,
}

impl Context {
    /// `size` is the context's batch size, `sequences` its number of sequence ids.
    pub fn new(inner: LlamaContext<'static>, model: &LlamaModel, size: usize, sequences: usize) -> Self {
        let cells = inner.n_ctx() as usize;
        let partly = !(model.is_recurrent() || model.is_hybrid() || has_sliding_window(model));
        Self { inner, batch: LlamaBatch::new(size, 1), cells, sequences, size, partly }
    }
}

/// Whether some layers forget what lies behind a window: a prefix cut in its middle would miss cells.
fn has_sliding_window(model: &LlamaModel) -> bool {
    let architecture = model.meta_val_str("general.architecture").unwrap_or_default();
    model.meta_val_str(&format!("{architecture}.attention.sliding_window")).ok().and_then(|v| v.parse::<u32>().ok()).is_some_and(|n| n > 0)
}

impl Backend for Context {
    fn context(&self) -> usize {
        self.cells
    }
    fn sequences(&self) -> usize {
        self.sequences
    }
    fn batch(&self) -> usize {
        self.size
    }
    fn copies_partly(&self) -> bool {
        self.partly
    }
    fn decode(&mut self, items: &[Item]) -> Result<()> {
        self.batch.clear();
        for item in items {
            self.batch.add(LlamaToken(item.token as i32), item.position as i32, &[item.sequence as i32], item.logits).map_err(Error::internal)?;
        }
        self.inner.decode(&mut self.batch).map_err(Error::internal)
    }
    fn logits(&mut self, place: usize) -> &[f32] {
        self.inner.get_logits_ith(place as i32)
    }
    fn copy(&mut self, from: u32, to: u32, len: u32) {
        if let Err(e) = self.inner.copy_kv_cache_seq(from as i32, to as i32, None, Some(len)) {
            tracing::error!(error = %e, "a prefix could not be shared");
        }
    }
    fn clear(&mut self, sequence: u32) {
        if let Err(e) = self.inner.clear_kv_cache_seq(Some(sequence), None, None) {
            tracing::error!(error = %e, "a sequence could not be emptied");
        }
    }
}

/// The model's vocabulary with its pieces read once: they are asked for with every token.
pub struct ModelVocabulary {
    model: &'static LlamaModel,
    pieces: Vec<Box<[u8]>>,
    kinds: Vec<TokenKind>,
    ends: Vec<bool>,
}

impl ModelVocabulary {
    pub fn new(model: &'static LlamaModel) -> Self {
        let vocabulary = model.vocab();
        let tokens = || (0..vocabulary.n_tokens()).map(LlamaToken);
        let kind = |token| {
            let attributes = vocabulary.attr(token);
            [
                (LlamaTokenAttr::Control, TokenKind::Control),
                (LlamaTokenAttr::UserDefined, TokenKind::UserDefined),
                (LlamaTokenAttr::Byte, TokenKind::Byte),
                (LlamaTokenAttr::Unknown, TokenKind::Unknown),
                (LlamaTokenAttr::Unused, TokenKind::Unused),
            ]
            .into_iter()
            .find(|(attribute, _)| attributes.contains(*attribute))
            .map_or(TokenKind::Normal, |(_, kind)| kind)
        };
        Self {
            pieces: tokens().map(|t| vocabulary.token_to_piece(t, true, None).into()).collect(),
            kinds: tokens().map(kind).collect(),
            ends: tokens().map(|t| vocabulary.is_eog(t)).collect(),
            model,
        }
    }
    /// Tokens that end an answer.
    pub fn end_tokens(&self) -> Vec<u32> {
        (0..self.size()).filter(|t| self.ends[*t as usize]).collect()
    }
    fn known(&self, token: LlamaToken) -> Option<u32> {
        u32::try_from(token.0).ok().filter(|t| *t < self.size())
    }
}

impl Vocabulary for ModelVocabulary {
    fn size(&self) -> u32 {
        self.pieces.len() as u32
    }
    fn kind(&self, token: u32) -> TokenKind {
        self.kinds.get(token as usize).copied().unwrap_or(TokenKind::Unknown)
    }
    fn piece(&self, token: u32) -> Vec<u8> {
        self.pieces.get(token as usize).map(|p| p.to_vec()).unwrap_or_default()
    }
    fn ends_answer(&self, token: u32) -> bool {
        self.ends.get(token as usize).copied().unwrap_or(false)
    }
    fn bos(&self) -> Option<u32> {
        self.known(self.model.vocab().bos())
    }
    fn eos(&self) -> Option<u32> {
        self.known(self.model.vocab().eos())
    }
    fn adds_bos(&self) -> bool {
        self.model.vocab().should_add_bos()
    }
    fn tokenize(&self, text: &str, parse_special: bool) -> Result<Vec<u32>> {
        // llama.cpp counts bytes and tokens in 32 bits.
        if text.len() > i32::MAX as usize / 4 {
            return Err(Error::new(Code::RequestTooLarge, "the text is too long for any model"));
        }
        Ok(self.model.vocab().tokenize(text.as_bytes(), false, parse_special).into_iter().map(|t| t.0 as u32).collect())
    }
}
