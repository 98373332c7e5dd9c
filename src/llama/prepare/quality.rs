//! How well a model file predicts a fixed text, alone and against a reference file of the same model.

use std::num::NonZeroU32;
use std::path::Path;

use domain::{Code, Error, Result};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;

/// Tokens of one window. The first half is context, the second half is judged (llama.cpp's `perplexity` does the same).
const WINDOW: usize = 512;

/// What a model makes of a text.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Quality {
    /// Tokens judged.
    pub tokens: usize,
    /// exp of the mean negative log-likelihood per token, natural logarithm.
    pub perplexity: f64,
    /// Standard error of the perplexity over the judged tokens.
    pub error: f64,
}

/// A candidate beside the reference it should equal.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Comparison {
    pub reference: Quality,
    pub candidate: Quality,
    /// Mean Kullback–Leibler divergence of the candidate's next-token distribution from the reference's, in nats.
    pub divergence: f64,
    /// Share of judged tokens (0–1) for which both files find the same token likeliest.
    pub same_top: f64,
}

/// Perplexity of the model in `file` on `text`.
///
/// # Errors
/// `invalid_model_file` when the file does not load, `invalid_param` when the text is shorter than one window.
pub fn perplexity(backend: &LlamaBackend, file: &Path, text: &str) -> Result<Quality> {
    let model = load(backend, file)?;
    let tokens = tokens(&model, text)?;
    let mut context = context(backend, &model)?;
    let mut sum = Sum::default();
    for window in tokens.chunks_exact(WINDOW) {
        decode(&mut context, window)?;
        for i in WINDOW / 2..WINDOW - 1 {
            sum.add(-log_softmax(context.get_logits_ith(position(i)))[index(window[i + 1])]);
        }
    }
    Ok(sum.quality())
}

/// Judges `candidate` against `reference`, two files of the same model.
///
/// # Errors
/// As [`perplexity`]; `invalid_param` also when the two files do not share a vocabulary.
pub fn compare(backend: &LlamaBackend, reference: &Path, candidate: &Path, text: &str) -> Result<Comparison> {
    let (a, b) = (load(backend, reference)?, load(backend, candidate)?);
    let tokens_a = tokens(&a, text)?;
    if a.n_vocab() != b.n_vocab() || tokens_a != tokens(&b, text)? {
        let why = format!("`{}` and `{}` do not share a vocabulary; compare two files of one model", reference.display(), candidate.display());
        return Err(Error::new(Code::InvalidParam, why));
    }
    let (mut ca, mut cb) = (context(backend, &a)?, context(backend, &b)?);
    let (mut sum_a, mut sum_b, mut divergence, mut same) = (Sum::default(), Sum::default(), 0.0, 0usize);
    for window in tokens_a.chunks_exact(WINDOW) {
        decode(&mut ca, window)?;
        decode(&mut cb, window)?;
        for i in WINDOW / 2..WINDOW - 1 {
            let (p, q) = (log_softmax(ca.get_logits_ith(position(i))), log_softmax(cb.get_logits_ith(position(i))));
            sum_a.add(-p[index(window[i + 1])]);
            sum_b.add(-q[index(window[i + 1])]);
            divergence += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            same += usize::from(likeliest(&p) == likeliest(&q));
        }
    }
    let judged = sum_a.n.max(1) as f64;
    Ok(Comparison { reference: sum_a.quality(), candidate: sum_b.quality(), divergence: divergence / judged, same_top: same as f64 / judged })
}

#[derive(Default)]
struct Sum {
    n: usize,
    total: f64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, nll: f64) {
        self.n += 1;
        self.total += nll;
        self.squares += nll * nll;
    }

    fn quality(&self) -> Quality {
        let n = self.n.max(1) as f64;
        let mean = self.total / n;
        let spread = ((self.squares / n - mean * mean).max(0.0) / n).sqrt();
        Quality { tokens: self.n, perplexity: mean.exp(), error: mean.exp() * spread }
    }
}

fn load(backend: &LlamaBackend, file: &Path) -> Result<LlamaModel> {
    LlamaModel::load_from_file(backend, file, &LlamaModelParams::default())
        .map_err(|e| Error::new(Code::InvalidModelFile, format!("`{}` does not load; check that it is a whole GGUF file", file.display())).source(e))
}

fn context<'m>(backend: &LlamaBackend, model: &'m LlamaModel) -> Result<LlamaContext<'m>> {
    let threads = i32::try_from(std::thread::available_parallelism().map_or(1, |n| n.get())).unwrap_or(1);
    let window = u32::try_from(WINDOW).unwrap_or(u32::MAX);
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(window))
        .with_n_batch(window)
        .with_n_ubatch(window)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    model.new_context(backend, params).map_err(Error::internal)
}

fn tokens(model: &LlamaModel, text: &str) -> Result<Vec<LlamaToken>> {
    let out = model.vocab().tokenize(text.as_bytes(), false, false);
    if out.len() < WINDOW {
        return Err(Error::new(Code::InvalidParam, format!("the text has {} tokens; at least {WINDOW} are needed", out.len())));
    }
    Ok(out)
}

fn decode(context: &mut LlamaContext<'_>, window: &[LlamaToken]) -> Result<()> {
    context.clear_kv_cache();
    let mut batch = LlamaBatch::new(WINDOW, 1);
    for (i, token) in window.iter().enumerate() {
        batch.add(*token, position(i), &[0], i >= WINDOW / 2).map_err(Error::internal)?;
    }
    context.decode(&mut batch).map_err(Error::internal)
}

fn position(i: usize) -> i32 {
    i32::try_from(i).unwrap_or(i32::MAX)
}

fn index(token: LlamaToken) -> usize {
    usize::try_from(token.0).unwrap_or_default()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
    let shift = f64::from(max) + sum.ln();
    logits.iter().map(|l| f64::from(*l) - shift).collect()
}

fn likeliest(log_p: &[f64]) -> usize {
    log_p.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (i, p)| if *p > best.1 { (i, *p) } else { best }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_softmax_sums_to_one() {
        let p: f64 = log_softmax(&[1.0, -3.0, 0.5, 100.0, 99.0]).iter().map(|l| l.exp()).sum();
        assert!((p - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_text_predicted_with_even_odds_has_perplexity_two() {
        let mut sum = Sum::default();
        for _ in 0..100 {
            sum.add(2f64.ln());
        }
        let quality = sum.quality();
        assert!((quality.perplexity - 2.0).abs() < 1e-9 && quality.error < 1e-6 && quality.tokens == 100);
    }
}
