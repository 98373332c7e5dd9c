//! Vectors of texts: inputs of all waiting requests go through the model together.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use domain::{Code, Error, Result, model::ModelKind};
use llama_cpp_2::{context::LlamaContext, llama_batch::LlamaBatch, model::LlamaModel, token::LlamaToken};

use super::protocol::{FromWorker, Input};

/// Work for the embedding thread.
pub enum Job {
    Embed { id: u64, inputs: Vec<Input>, truncate: bool },
    Rerank { id: u64, query: String, documents: Vec<String> },
    Cancel { id: u64 },
}

/// Texts computed at once.
pub const SEQUENCES: usize = 16;

struct Request {
    id: u64,
    vectors: Vec<Vec<f32>>,
    left: usize,
    tokens: u32,
}

struct Text {
    request: u64,
    index: usize,
    tokens: Vec<LlamaToken>,
}

/// Turns texts into vectors until the channel closes.
pub struct Embedder {
    pub context: LlamaContext<'static>,
    pub model: &'static LlamaModel,
    pub kind: ModelKind,
    /// Most tokens of a text and of a batch.
    pub size: usize,
    pub jobs: Receiver<Job>,
    pub out: Sender<FromWorker>,
}

impl Embedder {
    pub fn run(mut self) {
        let mut requests: Vec<Request> = Vec::new();
        let mut line: VecDeque<Text> = VecDeque::new();
        let mut batch = LlamaBatch::new(self.size, SEQUENCES as i32);
        loop {
            let next = if line.is_empty() { self.jobs.recv().map_err(|_| TryRecvError::Disconnected) } else { self.jobs.try_recv() };
            match next {
                Ok(Job::Cancel { id }) => {
                    requests.retain(|r| r.id != id);
                    line.retain(|t| t.request != id);
                    continue;
                }
                Ok(job) => {
                    self.take(job, &mut requests, &mut line);
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            self.compute(&mut batch, &mut requests, &mut line);
        }
    }

    fn take(&self, job: Job, requests: &mut Vec<Request>, line: &mut VecDeque<Text>) {
        let (id, texts) = match job {
            Job::Embed { id, inputs, truncate } => (id, inputs.iter().enumerate().map(|(i, input)| self.tokens(input, i, truncate)).collect::<Result<Vec<_>>>()),
            Job::Rerank { id, query, documents } => (id, documents.iter().enumerate().map(|(i, d)| self.pair(&query, d, i)).collect()),
            Job::Cancel { .. } => return,
        };
        match texts {
            Err(error) => drop(self.out.send(FromWorker::Failed { id, error: error.into() })),
            Ok(texts) => {
                let tokens = texts.iter().map(|t| t.len() as u32).sum();
                requests.push(Request { id, vectors: vec![Vec::new(); texts.len()], left: texts.len(), tokens });
                if texts.is_empty() {
                    finish(requests, id, &self.out);
                }
                line.extend(texts.into_iter().enumerate().map(|(index, tokens)| Text { request: id, index, tokens }));
                // Texts of like length side by side: attention is computed over the whole batch.
                line.make_contiguous().sort_by_key(|t| t.tokens.len());
            }
        }
    }

    fn tokens(&self, input: &Input, index: usize, truncate: bool) -> Result<Vec<LlamaToken>> {
        let vocabulary = self.model.vocab();
        let mut tokens = match input {
            Input::Text(text) => vocabulary.tokenize(text.as_bytes(), true, false),
            Input::Tokens(tokens) => {
                if let Some(bad) = tokens.iter().find(|t| **t >= vocabulary.n_tokens() as u32) {
                    return Err(Error::invalid("input", format!("token `{bad}` of input {index} is not in the vocabulary, which has {} tokens", vocabulary.n_tokens())));
                }
                tokens.iter().map(|t| LlamaToken(*t as i32)).collect()
            }
        };
        if tokens.is_empty() {
            return Err(Error::invalid("input", format!("input {index} is empty")));
        }
        if tokens.len() > self.size {
            if !truncate {
                let why = format!("input {index} has {} tokens, which is more than the model's {}; split it, or send `truncate: true` to cut it", tokens.len(), self.size);
                return Err(Error::new(Code::ContextLengthExceeded, why).param("input"));
            }
            let last = tokens[tokens.len() - 1];
            tokens.truncate(self.size);
            // The closing token of the model's own format stays.
            if matches!(input, Input::Text(_)) && vocabulary.should_add_eos() {
                tokens[self.size - 1] = last;
            }
        }
        Ok(tokens)
    }

    /// Query and document as cross-encoders read them: `[bos] query [eos] [sep] document [eos]`.
    fn pair(&self, query: &str, document: &str, index: usize) -> Result<Vec<LlamaToken>> {
        let vocabulary = self.model.vocab();
        let text = |t: &str| vocabulary.tokenize(t.as_bytes(), false, false);
        let mark = |token: LlamaToken, wanted: bool| (wanted && token.0 >= 0).then_some(token);
        let end = mark(vocabulary.eos(), vocabulary.should_add_eos()).or_else(|| mark(vocabulary.sep(), true));
        let mut tokens: Vec<LlamaToken> = mark(vocabulary.bos(), vocabulary.should_add_bos()).into_iter().collect();
        tokens.extend(text(query));
        tokens.extend(end);
        tokens.extend(mark(vocabulary.sep(), vocabulary.should_add_sep()));
        tokens.extend(text(document));
        tokens.extend(end);
        if tokens.len() > self.size {
            let why = format!("the query with document {index} has {} tokens, which is more than the model's {}; shorten or split it", tokens.len(), self.size);
            return Err(Error::new(Code::ContextLengthExceeded, why).param("documents"));
        }
        Ok(tokens)
    }

    fn compute(&mut self, batch: &mut LlamaBatch<'static>, requests: &mut Vec<Request>, line: &mut VecDeque<Text>) {
        batch.clear();
        let mut texts: Vec<Text> = Vec::new();
        let mut used = 0;
        while let Some(text) = line.pop_front_if(|t| used + t.tokens.len() <= self.size && texts.len() < SEQUENCES) {
            for (position, token) in text.tokens.iter().enumerate() {
                if let Err(e) = batch.add(*token, position as i32, &[texts.len() as i32], true) {
                    return fail(requests, line, &Error::internal(e), &self.out);
                }
            }
            used += text.tokens.len();
            texts.push(text);
        }
        self.context.clear_kv_cache();
        if let Err(e) = self.context.encode(batch) {
            return fail(requests, line, &Error::internal(e), &self.out);
        }
        self.release_likelihoods(used);
        for (sequence, text) in texts.iter().enumerate() {
            let Some(request) = requests.iter_mut().find(|r| r.id == text.request) else { continue };
            match self.context.embeddings_seq_ith(sequence as i32) {
                Ok(vector) if self.kind == ModelKind::Rerank => request.vectors[text.index] = vector[..1].to_vec(),
                Ok(vector) => request.vectors[text.index] = normalised(vector),
                Err(e) => return fail(requests, line, &Error::internal(e), &self.out),
            }
            request.left -= 1;
            if request.left == 0 {
                finish(requests, text.request, &self.out);
            }
        }
    }
}

impl Embedder {
    /// llama.cpp reserves and clears a likelihood for every token of the vocabulary at every place of the batch (512 MB for
    /// 250,002 tokens at 512 places), although nothing is asked of them here.
    fn release_likelihoods(&self, places: usize) {
        let bytes = places * self.model.vocab().n_tokens().max(0) as usize * size_of::<f32>();
        let start = self.context.get_logits().as_ptr();
        if !start.is_null() {
            // SAFETY: the buffer holds `places` rows of the vocabulary, is this thread's alone, and is never read.
            #[allow(unsafe_code)]
            unsafe {
                super::memory::give_back(start.cast(), bytes)
            };
        }
    }
}

fn finish(requests: &mut Vec<Request>, id: u64, out: &Sender<FromWorker>) {
    if let Some(at) = requests.iter().position(|r| r.id == id) {
        let request = requests.swap_remove(at);
        let _ = out.send(FromWorker::Vectors { id, vectors: request.vectors, tokens: request.tokens });
    }
}

/// The context refused: nothing that waits can go on.
fn fail(requests: &mut Vec<Request>, line: &mut VecDeque<Text>, error: &Error, out: &Sender<FromWorker>) {
    line.clear();
    for request in requests.drain(..) {
        let _ = out.send(FromWorker::Failed { id: request.id, error: error.clone().into() });
    }
}

/// L2-normalised; a zero vector stays zero.
fn normalised(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length == 0.0 { vector.to_vec() } else { vector.iter().map(|x| (f64::from(*x) / length) as f32).collect() }
}
