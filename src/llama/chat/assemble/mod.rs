//! Drawn tokens → events: whole characters, stop strings cut away, thoughts and tool calls told apart.

pub(crate) mod holdback;

use std::sync::Arc;

use domain::chat::{ChatEvent, FinishReason, TokenLogprob};

use super::{
    OutputFormat, TokenKind, Vocabulary,
    tools::{CallScanner, Scanned},
};
use holdback::{find, hold_from};

const THINK: &str = "<think>";
const THOUGHT: &str = "</think>";

/// A token as the engine drew it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    pub token: u32,
    /// Natural logarithm of its probability, when asked for.
    pub logprob: Option<f32>,
    /// The likeliest tokens at this place with theirs.
    pub top: Vec<(u32, f32)>,
}

/// What a drawn token led to.
#[derive(Debug, Default, PartialEq)]
pub struct Pushed {
    pub events: Vec<ChatEvent>,
    /// A stop string was met: no more tokens are wanted.
    pub stopped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Nothing but white space came: a thought may begin.
    Start,
    Thinking,
    /// A thought has just ended: the white space behind it belongs to nobody.
    Thought,
    Answer,
}

/// Reads one answer. Make one for each of a request's `n` answers.
pub struct Assembler {
    vocabulary: Arc<dyn Vocabulary>,
    index: u32,
    stops: Vec<String>,
    /// Control tokens whose text must be read, because a dialect writes calls with them.
    marks: &'static [&'static str],
    echo: Option<String>,
    /// Bytes that are not yet whole characters.
    bytes: Vec<u8>,
    /// Text in which a stop string may have begun.
    unstopped: String,
    /// Text in which a thought's mark may have begun.
    unsplit: String,
    stage: Stage,
    scanner: Option<CallScanner>,
    logprobs: Vec<TokenLogprob>,
    reasoning_tokens: u32,
    stopped: bool,
}

impl Assembler {
    /// `index` is the answer's place among the request's `n`.
    pub fn new(format: &OutputFormat, vocabulary: Arc<dyn Vocabulary>, index: u32) -> Self {
        let stage = match (format.thinks, format.thinking) {
            (_, true) => Stage::Thinking,
            (true, false) => Stage::Start,
            _ => Stage::Answer,
        };
        Self {
            vocabulary,
            index,
            stops: format.stops.clone(),
            marks: format.calls.map_or(&[], |d| d.marks()),
            echo: format.echo.clone(),
            bytes: Vec::new(),
            unstopped: String::new(),
            unsplit: String::new(),
            stage,
            scanner: format.calls.map(CallScanner::new),
            logprobs: Vec::new(),
            reasoning_tokens: 0,
            stopped: false,
        }
    }

    /// Tokens that went into thoughts so far.
    pub fn reasoning_tokens(&self) -> u32 {
        self.reasoning_tokens
    }

    /// Takes one token; the end-of-answer token is not pushed.
    pub fn push(&mut self, drawn: Drawn) -> Pushed {
        let mut pushed = Pushed::default();
        if self.stopped {
            pushed.stopped = true;
            return pushed;
        }
        self.repeat_prompt(&mut pushed.events);
        if matches!(self.stage, Stage::Start | Stage::Thinking) {
            self.reasoning_tokens += u32::from(self.stage == Stage::Thinking);
        }
        if let Some(logprob) = drawn.logprob {
            let top = drawn.top.iter().map(|(t, p)| (self.text_of(*t), self.vocabulary.piece(*t), *p)).collect();
            self.logprobs.push(TokenLogprob { token: self.text_of(drawn.token), bytes: self.vocabulary.piece(drawn.token), logprob, top });
        }
        let piece = self.vocabulary.piece(drawn.token);
        let silent = matches!(self.vocabulary.kind(drawn.token), TokenKind::Control | TokenKind::Unused) && !self.marks.iter().any(|m| m.as_bytes() == piece);
        if !silent {
            self.bytes.extend_from_slice(&piece);
        }
        let text = whole_characters(&mut self.bytes, false);
        self.stop_at(&text, &mut pushed.events);
        pushed.stopped = self.stopped;
        pushed
    }

    /// Ends the answer: what was held back comes out, then `Finish`.
    pub fn finish(&mut self, reason: FinishReason) -> Vec<ChatEvent> {
        let mut events = Vec::new();
        self.repeat_prompt(&mut events);
        if !self.stopped {
            let rest = whole_characters(&mut self.bytes, true);
            self.stop_at(&rest, &mut events);
        }
        if !self.stopped {
            let rest = std::mem::take(&mut self.unstopped);
            self.split(&rest, &mut events);
        }
        let rest = std::mem::take(&mut self.unsplit);
        match self.stage {
            Stage::Thinking => self.reason(rest, &mut events),
            _ => self.answer(rest, &mut events),
        }
        let mut called = false;
        if let Some(mut scanner) = self.scanner.take() {
            let scanned = scanner.finish();
            self.emit(scanned, &mut events);
            called = scanner.calls() > 0;
        }
        if !self.logprobs.is_empty() {
            events.push(ChatEvent::Text { index: self.index, text: String::new(), logprobs: std::mem::take(&mut self.logprobs) });
        }
        let reason = if called && reason == FinishReason::Stop { FinishReason::ToolCalls } else { reason };
        events.push(ChatEvent::Finish { index: self.index, reason });
        events
    }

    fn repeat_prompt(&mut self, events: &mut Vec<ChatEvent>) {
        if let Some(text) = self.echo.take() {
            events.push(ChatEvent::Text { index: self.index, text, logprobs: Vec::new() });
        }
    }

    fn text_of(&self, token: u32) -> String {
        String::from_utf8_lossy(&self.vocabulary.piece(token)).into_owned()
    }

    fn stop_at(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        if self.stops.is_empty() {
            return self.split(text, events);
        }
        self.unstopped.push_str(text);
        let stops: Vec<&str> = self.stops.iter().map(String::as_str).collect();
        let until = match find(&self.unstopped, &stops) {
            Some((at, _)) => {
                self.stopped = true;
                at
            }
            None => hold_from(&self.unstopped, &stops),
        };
        let ready: String = self.unstopped.drain(..until).collect();
        if self.stopped {
            self.unstopped.clear();
        }
        self.split(&ready, events);
    }

    fn split(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        self.unsplit.push_str(text);
        loop {
            match self.stage {
                Stage::Start => {
                    let seen = self.unsplit.trim_start();
                    if seen.starts_with(THINK) {
                        let after = self.unsplit.len() - seen.len() + THINK.len();
                        self.unsplit.drain(..after);
                        self.stage = Stage::Thinking;
                    } else if THINK.starts_with(seen) {
                        return;
                    } else {
                        self.stage = Stage::Answer;
                    }
                }
                Stage::Thinking => {
                    let Some((at, mark)) = find(&self.unsplit, &[THOUGHT]) else {
                        let ready: String = self.unsplit.drain(..hold_from(&self.unsplit, &[THOUGHT])).collect();
                        return self.reason(ready, events);
                    };
                    let ready: String = self.unsplit.drain(..at).collect();
                    self.unsplit.drain(..mark.len());
                    self.reason(ready, events);
                    self.stage = Stage::Thought;
                }
                Stage::Thought => {
                    let blank = self.unsplit.len() - self.unsplit.trim_start().len();
                    self.unsplit.drain(..blank);
                    if self.unsplit.is_empty() {
                        return;
                    }
                    self.stage = Stage::Answer;
                }
                Stage::Answer => {
                    let ready = std::mem::take(&mut self.unsplit);
                    return self.answer(ready, events);
                }
            }
        }
    }

    fn reason(&mut self, text: String, events: &mut Vec<ChatEvent>) {
        if !text.is_empty() {
            events.push(ChatEvent::Reasoning { index: self.index, text });
        }
    }

    fn answer(&mut self, text: String, events: &mut Vec<ChatEvent>) {
        if text.is_empty() {
            return;
        }
        let scanned = match &mut self.scanner {
            Some(scanner) => scanner.push(&text),
            None => vec![Scanned::Text(text)],
        };
        self.emit(scanned, events);
    }

    fn emit(&mut self, scanned: Vec<Scanned>, events: &mut Vec<ChatEvent>) {
        for piece in scanned {
            events.push(match piece {
                Scanned::Text(text) => ChatEvent::Text { index: self.index, text, logprobs: std::mem::take(&mut self.logprobs) },
                Scanned::Call(d) => ChatEvent::ToolCall { index: self.index, call: d.call, id: d.id, name: d.name, arguments: d.arguments },
            });
        }
    }
}

/// Takes the whole characters off the front of `bytes`; what can never become one is U+FFFD. With `last`, nothing is kept.
fn whole_characters(bytes: &mut Vec<u8>, last: bool) -> String {
    let mut text = String::new();
    let mut from = 0;
    while from < bytes.len() {
        match std::str::from_utf8(&bytes[from..]) {
            Ok(good) => {
                text.push_str(good);
                from = bytes.len();
            }
            Err(e) => {
                text.push_str(&String::from_utf8_lossy(&bytes[from..from + e.valid_up_to()]));
                from += e.valid_up_to();
                match e.error_len() {
                    Some(n) => from += n,
                    None if last => from = bytes.len(),
                    None => break,
                }
                text.push('\u{FFFD}');
            }
        }
    }
    bytes.drain(..from);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{tools::Dialect, toy::ToyVocabulary};
    use proptest::prelude::*;

    fn assembler(format: OutputFormat) -> (Assembler, Arc<ToyVocabulary>) {
        let vocabulary = Arc::new(ToyVocabulary::new());
        (Assembler::new(&format, vocabulary.clone(), 0), vocabulary)
    }
    /// (text, reasoning, reason)
    fn read(events: &[ChatEvent]) -> (String, String, Option<FinishReason>) {
        let mut all = (String::new(), String::new(), None);
        for event in events {
            match event {
                ChatEvent::Text { text, .. } => all.0.push_str(text),
                ChatEvent::Reasoning { text, .. } => all.1.push_str(text),
                ChatEvent::Finish { reason, .. } => all.2 = Some(*reason),
                _ => {}
            }
        }
        all
    }
    fn run(format: OutputFormat, answer: &[u8]) -> Vec<ChatEvent> {
        let (mut assembler, _) = assembler(format);
        let mut events = Vec::new();
        for byte in answer {
            let pushed = assembler.push(Drawn { token: u32::from(*byte), ..Drawn::default() });
            events.extend(pushed.events);
            if pushed.stopped {
                break;
            }
        }
        events.extend(assembler.finish(FinishReason::Stop));
        events
    }

    proptest! {
        #[test]
        fn text_drawn_byte_by_byte_is_the_text(text in "\\PC{0,40}") {
            prop_assert_eq!(read(&run(OutputFormat::default(), text.as_bytes())).0, text);
        }

        #[test]
        fn a_stop_string_never_leaks_and_nothing_before_it_is_lost(before in "[abs日]{0,12}", stop in "[ab日]{1,4}", after in "[abs]{0,6}") {
            let format = OutputFormat { stops: vec![stop.clone()], ..OutputFormat::default() };
            let whole = format!("{before}{stop}{after}");
            let expected = &whole[..whole.find(&stop).unwrap()];
            prop_assert_eq!(read(&run(format, whole.as_bytes())).0, expected);
        }

        #[test]
        fn any_bytes_give_what_a_lossy_reader_sees(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            prop_assert_eq!(read(&run(OutputFormat::default(), &bytes)).0, String::from_utf8_lossy(&bytes).into_owned());
        }
    }

    #[test]
    fn thoughts_are_told_from_the_answer() {
        let format = OutputFormat { thinks: true, ..OutputFormat::default() };
        assert_eq!(read(&run(format.clone(), b"\n<think>\nhm < hm</think>\n\nYes")), ("Yes".into(), "\nhm < hm".into(), Some(FinishReason::Stop)));
        assert_eq!(read(&run(format, b"<thin ice")), ("<thin ice".into(), String::new(), Some(FinishReason::Stop)));
        let begun = OutputFormat { thinks: true, thinking: true, ..OutputFormat::default() };
        assert_eq!(read(&run(begun, b"hm</think>Yes")).1, "hm");
    }

    #[test]
    fn a_call_is_told_from_the_text_before_it() {
        let format = OutputFormat { calls: Some(Dialect::Hermes), ..OutputFormat::default() };
        let events = run(format, b"Let me see.<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\"}}\n</tool_call>");
        assert_eq!(read(&events), ("Let me see.".into(), String::new(), Some(FinishReason::ToolCalls)));
        let arguments: String = events.iter().filter_map(|e| if let ChatEvent::ToolCall { arguments, .. } = e { Some(arguments.as_str()) } else { None }).collect();
        assert_eq!(arguments, "{\"a\": \"}\"}");
    }

    #[test]
    fn control_tokens_are_silent_and_log_probabilities_stay_with_their_text() {
        let (mut assembler, vocabulary) = assembler(OutputFormat::default());
        assert!(assembler.push(Drawn { token: vocabulary.id("<|im_start|>"), ..Drawn::default() }).events.is_empty());
        let pushed = assembler.push(Drawn { token: vocabulary.id("the"), logprob: Some(-0.5), top: vec![(vocabulary.id(" the"), -1.0)] });
        let [ChatEvent::Text { text, logprobs, .. }] = &pushed.events[..] else { panic!("{pushed:?}") };
        assert_eq!((text.as_str(), logprobs.len(), logprobs[0].top[0].0.as_str()), ("the", 1, " the"));
    }
}
