//! Drawing the next token from logits.
//!
//! Order as in llama.cpp: penalties and bias, top-k, top-p, min-p, temperature. Log-probabilities are those of the
//! model's own distribution, before any of it.

use std::collections::HashMap;
use std::sync::Arc;

use domain::Result;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::chat::{Constraint, Draw, Drawn};

/// Tokens that `repeat_penalty` looks back at (llama.cpp's `repeat_last_n`).
const REPEAT_WINDOW: usize = 64;

/// The state of drawing one answer.
pub struct Sampler {
    draw: Draw,
    logprobs: Option<u8>,
    ignore_eos: bool,
    prompt: usize,
    ends: Arc<[u32]>,
    rng: StdRng,
    drawn: HashMap<u32, u32>,
    scratch: Vec<f32>,
}

impl Sampler {
    /// `prompt` is the number of tokens that were not drawn; `ends` are the tokens that end an answer.
    pub fn new(draw: Draw, logprobs: Option<u8>, ignore_eos: bool, prompt: usize, ends: Arc<[u32]>) -> Self {
        let rng = StdRng::seed_from_u64(draw.seed.unwrap_or_else(rand::random));
        Self { draw, logprobs, ignore_eos, prompt, ends, rng, drawn: HashMap::new(), scratch: Vec::new() }
    }
    /// Tokens of the sequence that are not drawn but given.
    pub fn prompt(&self) -> usize {
        self.prompt
    }
    /// Whether drawing `token` ends the answer.
    pub fn ends(&self, token: u32) -> bool {
        !self.ignore_eos && self.ends.contains(&token)
    }

    /// Draws from `logits` (shape `[vocabulary]`) behind `tokens`, keeping to `constraint`.
    /// Errors: those of the constraint.
    pub fn sample(&mut self, logits: &[f32], tokens: &[u32], constraint: Option<&mut Constraint>) -> Result<Drawn> {
        let mut changed = std::mem::take(&mut self.scratch);
        let is_changed = self.adjust(logits, tokens, &mut changed);
        let mut token = self.pick(if is_changed { &changed } else { logits });
        if let Some(constraint) = constraint {
            if !constraint.allows(token) {
                if !is_changed {
                    changed.clear();
                    changed.extend_from_slice(logits);
                }
                let mask = constraint.mask()?;
                for (id, logit) in changed.iter_mut().enumerate() {
                    if mask.get(id / 32).is_none_or(|word| word >> (id % 32) & 1 == 0) {
                        *logit = f32::NEG_INFINITY;
                    }
                }
                token = self.pick(&changed);
            }
            constraint.commit(token)?;
        }
        self.scratch = changed;
        *self.drawn.entry(token).or_default() += 1;
        let mut drawn = Drawn { token, ..Drawn::default() };
        if let Some(k) = self.logprobs {
            let total = log_sum_exp(logits);
            drawn.logprob = Some(logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY) - total);
            drawn.top = likeliest(logits, usize::from(k)).into_iter().map(|(t, l)| (t, l - total)).collect();
        }
        Ok(drawn)
    }

    /// Writes adjusted logits into `out`; `false` when nothing had to be adjusted.
    fn adjust(&self, logits: &[f32], tokens: &[u32], out: &mut Vec<f32>) -> bool {
        let d = &self.draw;
        let repeats = d.repeat_penalty != 1.0;
        let counts = (d.presence_penalty != 0.0 || d.frequency_penalty != 0.0) && !self.drawn.is_empty();
        if !(repeats || counts || self.ignore_eos || !d.logit_bias.is_empty()) {
            return false;
        }
        out.clear();
        out.extend_from_slice(logits);
        if repeats {
            let mut recent = tokens[tokens.len().saturating_sub(REPEAT_WINDOW)..].to_vec();
            recent.sort_unstable();
            recent.dedup();
            for token in recent {
                if let Some(l) = out.get_mut(token as usize) {
                    *l = if *l > 0.0 { *l / d.repeat_penalty } else { *l * d.repeat_penalty };
                }
            }
        }
        if counts {
            for (token, n) in &self.drawn {
                if let Some(l) = out.get_mut(*token as usize) {
                    *l -= d.presence_penalty + d.frequency_penalty * *n as f32;
                }
            }
        }
        for (token, bias) in &d.logit_bias {
            if let Some(l) = out.get_mut(*token as usize) {
                *l = if *bias <= -100.0 { f32::NEG_INFINITY } else { *l + bias };
            }
        }
        if self.ignore_eos {
            for token in self.ends.iter() {
                if let Some(l) = out.get_mut(*token as usize) {
                    *l = f32::NEG_INFINITY;
                }
            }
        }
        true
    }

    fn pick(&mut self, logits: &[f32]) -> u32 {
        let d = &self.draw;
        if d.temperature <= 0.0 || d.top_k == 1 {
            return likeliest(logits, 1).first().map_or(0, |(t, _)| *t);
        }
        // Falling order; everything from here on looks at the front only.
        let k = if d.top_k <= 0 { logits.len() } else { d.top_k as usize };
        let mut candidates = likeliest(logits, k);
        let Some((first, max)) = candidates.first().copied() else { return 0 };
        if max == f32::NEG_INFINITY {
            return first;
        }
        if d.top_p < 1.0 {
            let total: f32 = candidates.iter().map(|(_, l)| (l - max).exp()).sum();
            let mut sum = 0.0;
            let keep = candidates.iter().position(|(_, l)| {
                sum += (l - max).exp() / total;
                sum >= d.top_p
            });
            candidates.truncate(keep.map_or(candidates.len(), |i| i + 1));
        }
        if d.min_p > 0.0 {
            let least = max + d.min_p.ln();
            candidates.truncate(candidates.iter().position(|(_, l)| *l < least).unwrap_or(candidates.len()).max(1));
        }
        let weights: Vec<f32> = candidates.iter().map(|(_, l)| ((l - max) / d.temperature).exp()).collect();
        let mut at = self.rng.random::<f32>() * weights.iter().sum::<f32>();
        for ((token, _), weight) in candidates.iter().zip(&weights) {
            at -= weight;
            if at < 0.0 {
                return *token;
            }
        }
        candidates.iter().zip(&weights).rev().find(|(_, w)| **w > 0.0).map_or(first, |((t, _), _)| *t)
    }
}

/// The `k` greatest logits, falling; equal ones by token. NaN counts as the least.
fn likeliest(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
    let clean = |l: f32| if l.is_nan() { f32::NEG_INFINITY } else { l };
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let k = k.min(logits.len());
    if k == 0 {
        return Vec::new();
    }
    if k <= 256 {
        // Most tokens fail against the least one kept: one comparison each. The buffer is cut back when it is full.
        let mut kept: Vec<(u32, f32)> = Vec::with_capacity(4 * k + 64);
        let mut least = f32::NEG_INFINITY;
        for (id, logit) in logits.iter().enumerate() {
            if *logit > least || kept.len() < k {
                kept.push((id as u32, clean(*logit)));
                if kept.len() == kept.capacity() {
                    kept.select_nth_unstable_by(k - 1, order);
                    kept.truncate(k);
                    least = kept[k - 1].1;
                }
            }
        }
        kept.sort_unstable_by(order);
        kept.truncate(k);
        return kept;
    }
    let mut all: Vec<(u32, f32)> = logits.iter().enumerate().map(|(i, l)| (i as u32, clean(*l))).collect();
    if k < all.len() {
        all.select_nth_unstable_by(k - 1, order);
        all.truncate(k);
    }
    all.sort_unstable_by(order);
    all
}

fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return 0.0;
    }
    max + logits.iter().map(|l| (l - max).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draw() -> Draw {
        Draw { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, presence_penalty: 0.0, frequency_penalty: 0.0, repeat_penalty: 1.0, seed: Some(1), logit_bias: Vec::new() }
    }
    fn sampler(draw: Draw) -> Sampler {
        Sampler::new(draw, Some(3), false, 0, Arc::from([0u32]))
    }
    /// How often each token is drawn in 4000 draws that know nothing of each other.
    fn shares(draw: &Draw, logits: &[f32]) -> Vec<f32> {
        let mut counts = vec![0.0; logits.len()];
        let mut sampler = sampler(draw.clone());
        for _ in 0..4000 {
            sampler.drawn.clear();
            counts[sampler.sample(logits, &[], None).unwrap().token as usize] += 1.0 / 4000.0;
        }
        counts
    }

    proptest! {
        #[test]
        fn the_likeliest_are_those_a_full_sort_finds(logits in prop::collection::vec(prop_oneof![-9.0f32..9.0, Just(f32::NAN), Just(f32::NEG_INFINITY)], 1..900), k in 0usize..400) {
            let mut all: Vec<(u32, f32)> = logits.iter().enumerate().map(|(i, l)| (i as u32, if l.is_nan() { f32::NEG_INFINITY } else { *l })).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(k);
            let got = likeliest(&logits, k);
            prop_assert_eq!(got.iter().map(|g| g.1).collect::<Vec<_>>(), all.iter().map(|g| g.1).collect::<Vec<_>>());
        }
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        let logits = [0.1f32.ln(), 0.6f32.ln(), 0.3f32.ln()];
        let got = shares(&draw(), &logits);
        for (got, want) in got.iter().zip([0.1, 0.6, 0.3]) {
            assert!((got - want).abs() < 0.03, "{got} {want}");
        }
        let sharp = shares(&Draw { temperature: 0.5, ..draw() }, &logits);
        assert!((sharp[1] - 0.36 / 0.46).abs() < 0.03, "{sharp:?}");
    }

    #[test]
    fn top_k_top_p_and_min_p_cut_the_tail() {
        let logits = [0.1f32.ln(), 0.6f32.ln(), 0.3f32.ln()];
        assert_eq!(shares(&Draw { top_k: 2, ..draw() }, &logits)[0], 0.0);
        assert_eq!(shares(&Draw { top_p: 0.85, ..draw() }, &logits)[0], 0.0);
        assert_eq!(shares(&Draw { min_p: 0.4, ..draw() }, &logits)[0], 0.0);
        assert_eq!(shares(&Draw { temperature: 0.0, ..draw() }, &logits)[0], 0.0);
    }

    #[test]
    fn penalties_and_bias_move_the_choice() {
        let greedy = Draw { temperature: 0.0, ..draw() };
        let logits = [1.0, 2.0, 1.9];
        let mut s = sampler(Draw { frequency_penalty: 0.5, ..greedy.clone() });
        let got: Vec<u32> = (0..3).map(|_| s.sample(&logits, &[], None).unwrap().token).collect();
        assert_eq!(got, [1, 2, 1]);
        let mut s = sampler(Draw { repeat_penalty: 1.5, ..greedy.clone() });
        assert_eq!(s.sample(&logits, &[1], None).unwrap().token, 2);
        let mut s = sampler(Draw { logit_bias: vec![(1, -100.0), (0, 5.0)], ..greedy.clone() });
        assert_eq!(s.sample(&logits, &[], None).unwrap().token, 0);
        let mut s = Sampler::new(greedy, None, true, 0, Arc::from([1u32]));
        assert_eq!(s.sample(&logits, &[], None).unwrap().token, 2);
    }

    #[test]
    fn log_probabilities_are_those_of_the_model_and_sum_to_one() {
        let mut s = sampler(Draw { temperature: 0.2, logit_bias: vec![(0, 3.0)], ..draw() });
        let drawn = s.sample(&[0.25f32.ln(), 0.5f32.ln(), 0.25f32.ln()], &[], None).unwrap();
        let sum: f32 = drawn.top.iter().map(|(_, p)| p.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5 && (drawn.top[0].1 - 0.5f32.ln()).abs() < 1e-5, "{drawn:?}");
    }

    #[test]
    fn the_same_seed_draws_the_same_tokens() {
        let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.7).sin()).collect();
        let run = || {
            let mut s = sampler(draw());
            (0..20).map(|_| s.sample(&logits, &[], None).unwrap().token).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }
}
