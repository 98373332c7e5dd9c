//! Continuous batching: many answers generated at once on one model context.
//!
//! One thread owns the context and calls [`Scheduler::step`] over and over. A step admits waiting answers by fair share,
//! fills one batch (the next token of everybody who generates, then prompt chunks up to a budget), decodes it, draws
//! tokens and hands them out. Prompts that share a beginning share its cells; while one answer computes a beginning that
//! others wait for, the others wait instead of computing it again.
//!
//! *Invariants:* the batch never holds more tokens than the backend takes; cells are counted here, so the backend never
//! runs out of them; nobody sees another tenant's prefix; an answer that loses its cells goes back to the queue with all
//! it has drawn and goes on later as if nothing had happened.

pub mod backend;
mod cells;
mod fair;
pub mod sample;
mod scheduler;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Instant;

use domain::{Error, chat::FinishReason};

use crate::chat::{Draw, Drawn, Prepared};
pub use backend::{Backend, Item};
pub use scheduler::{Scheduler, Stats, fits};

/// What shapes the batches of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Answers generated at once.
    pub parallel: usize,
    /// Prompt tokens computed in a step while others generate: bounds how long a step, and so a pause in their text, may last.
    pub prefill: usize,
}

/// A request's identity and its wish to be left alone.
#[derive(Debug)]
pub struct Ticket {
    pub id: u64,
    /// Whose work it is: prefixes and queue shares are kept apart by this.
    pub tenant: [u8; 16],
    /// Goes behind interactive work of the same tenant.
    pub background: bool,
    pub submitted: Instant,
    stopped: Vec<AtomicBool>,
}

impl Ticket {
    /// A ticket for a request with `answers` answers.
    pub fn new(id: u64, tenant: [u8; 16], background: bool, answers: u32) -> Arc<Self> {
        let stopped = (0..answers).map(|_| AtomicBool::new(false)).collect();
        Arc::new(Self { id, tenant, background, submitted: Instant::now(), stopped })
    }
    /// No more tokens are wanted for one answer; obeyed at the next step.
    pub fn stop(&self, answer: u32) {
        if let Some(flag) = self.stopped.get(answer as usize) {
            flag.store(true, Ordering::Release);
        }
    }
    /// The whole request is given up.
    pub fn cancel(&self) {
        self.stopped.iter().for_each(|flag| flag.store(true, Ordering::Release));
    }
    pub fn is_stopped(&self, answer: u32) -> bool {
        self.stopped.get(answer as usize).is_none_or(|flag| flag.load(Ordering::Acquire))
    }
}

/// What comes out of the scheduler.
#[derive(Debug)]
pub enum Output {
    /// The answer left the queue for the first time; `cached` prompt tokens came out of the prefix cache.
    Admitted { job: u64, answer: u32, cached: u32 },
    Token { job: u64, answer: u32, drawn: Drawn },
    /// No more tokens come, for this reason.
    End { job: u64, answer: u32, reason: FinishReason },
    /// The answer was stopped through its ticket.
    Stopped { job: u64, answer: u32 },
    Failed { job: u64, answer: u32, error: Error },
}

/// One answer on its way: waiting, being computed, or put back.
pub(crate) struct Answer {
    pub ticket: Arc<Ticket>,
    pub index: u32,
    /// The prompt and what was drawn so far.
    pub tokens: Vec<u32>,
    /// Length of `tokens` at which generation ends.
    pub until: usize,
    pub sampler: sample::Sampler,
    pub constraint: Option<crate::chat::Constraint>,
    pub admitted: bool,
}

/// The answers of a prepared request on a model with a context of `context` tokens. The caller has checked that the
/// prompt fits with room for a token.
pub(crate) fn answers(ticket: &Arc<Ticket>, prepared: Prepared, context: usize, ends: Arc<[u32]>) -> Vec<Answer> {
    let Prepared { prompt, max_tokens, n, draw, logprobs, ignore_eos, constraint, .. } = prepared;
    let until = max_tokens.map_or(context, |m| prompt.len().saturating_add(m as usize)).min(context);
    (0..n)
        .map(|index| Answer {
            ticket: ticket.clone(),
            index,
            tokens: prompt.clone(),
            until,
            sampler: sample::Sampler::new(Draw { seed: draw.seed.map(|s| s.wrapping_add(u64::from(index))), ..draw.clone() }, logprobs, ignore_eos, prompt.len(), ends.clone()),
            constraint: constraint.as_ref().map(crate::chat::Constraint::fork),
            admitted: false,
        })
        .collect()
}
