//! What surrounds token generation: request → tokens, tokens → events.
//!
//! *Going in* ([`ChatModel::prepare_chat`]): parameters are checked, the model's own Jinja template is rendered, the
//! prompt is tokenised so that nobody's text can become a special token, and a grammar is compiled where the answer
//! must have a form. *Coming out* ([`Assembler`]): token bytes become whole characters, stop strings are cut away,
//! thoughts and tool calls are told apart from the answer.
//!
//! Pure CPU work over a small [`Vocabulary`] trait: nothing here knows llama.cpp, threads or sockets.

pub mod assemble;
pub mod grammar;
pub mod prepare;
pub mod settings;
pub mod template;
pub mod tools;

#[cfg(test)]
pub mod toy;

use std::sync::Arc;

use domain::Result;

pub use assemble::{Assembler, Drawn, Pushed};
pub use grammar::Constraint;
pub use prepare::{Draw, OutputFormat, Prepared};
pub use settings::Settings;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Normal,
    /// Steers the model (`<|im_start|>`); never part of anybody's text.
    Control,
    /// Added to the vocabulary as a whole (`<tool_call>`), yet plain text.
    UserDefined,
    Unknown,
    Unused,
    /// One raw byte (`<0x0A>`).
    Byte,
}

/// A model's vocabulary. Token ids run from 0 to `size() - 1`.
pub trait Vocabulary: Send + Sync + 'static {
    fn size(&self) -> u32;
    fn kind(&self, token: u32) -> TokenKind;
    /// The token's bytes; control tokens as the text they are written with.
    fn piece(&self, token: u32) -> Vec<u8>;
    /// Whether drawing this token ends the answer.
    fn ends_answer(&self, token: u32) -> bool;
    fn bos(&self) -> Option<u32>;
    fn eos(&self) -> Option<u32>;
    /// Whether a prompt begins with the beginning-of-sequence token.
    fn adds_bos(&self) -> bool;
    /// Tokens of `text`, nothing added before or behind. Only with `parse_special` does the text of a control token
    /// become that token.
    fn tokenize(&self, text: &str, parse_special: bool) -> Result<Vec<u32>>;
}

/// Everything one loaded model needs to turn requests into prompts. Made once a model, shared by all its requests.
pub struct ChatModel {
    vocabulary: Arc<dyn Vocabulary>,
    template: template::Template,
    shield: template::Shield,
    dialect: tools::Dialect,
    /// The model writes its thoughts between `<think>` and `</think>`.
    thinks: bool,
    grammars: grammar::Grammars,
    settings: Settings,
}

impl ChatModel {
    /// `template` is the model's Jinja chat template; a model without one gets ChatML.
    /// Errors: `invalid_template` when it cannot be read or is longer than the settings allow.
    pub fn new(vocabulary: Arc<dyn Vocabulary>, template: Option<String>, settings: Settings) -> Result<Self> {
        let source = template.unwrap_or_else(|| template::CHATML.to_owned());
        let shield = template::Shield::new(&*vocabulary, &source);
        let dialect = tools::Dialect::detect(&source);
        let thinks = source.contains("</think>") || source.contains("<think>");
        let template = template::Template::new(source, &*vocabulary, &settings)?;
        let grammars = grammar::Grammars::new(vocabulary.clone(), &settings);
        Ok(Self { vocabulary, template, shield, dialect, thinks, grammars, settings })
    }
    pub fn vocabulary(&self) -> &Arc<dyn Vocabulary> {
        &self.vocabulary
    }
}
