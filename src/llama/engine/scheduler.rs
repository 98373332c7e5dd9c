//! The loop's body: admit, fill a batch, decode, draw.

use std::collections::HashMap;
use std::sync::Arc;

use domain::{Code, Error, chat::FinishReason};

use super::{Answer, Backend, Item, Limits, Output, Ticket, answers, cells::Cells, fair::Line};
use crate::chat::Prepared;

/// Tokens worth waiting for while another answer computes them.
const WORTH_WAITING: usize = 32;
/// Cells kept free for the first tokens of an admitted answer.
const HEADROOM: usize = 16;
/// Waiting answers of a tenant that are looked at when the first does not fit.
const LOOK: usize = 64;

/// A sequence id of the backend and what it holds.
#[derive(Default)]
struct Slot {
    tenant: [u8; 16],
    /// Tokens whose cells are computed.
    tokens: Vec<u32>,
    /// One cell a token.
    cells: Vec<u32>,
    active: bool,
    last_used: u64,
}

struct Running {
    answer: Answer,
    slot: usize,
}

/// Counters since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stats {
    pub running: u32,
    pub waiting: u32,
    pub steps: u64,
    /// Prompt tokens computed, also again after an answer was put back.
    pub prompt_tokens: u64,
    /// Prompt tokens that came out of the prefix cache.
    pub cached_tokens: u64,
    pub generated_tokens: u64,
    /// Answers that had to give up their cells and start over.
    pub put_back: u64,
    pub cells_used: u32,
    pub cells_total: u32,
}

/// Runs answers on a [`Backend`].
pub struct Scheduler<B> {
    backend: B,
    limits: Limits,
    ends: Arc<[u32]>,
    cells: Cells,
    slots: Vec<Slot>,
    running: Vec<Running>,
    line: Line,
    clock: u64,
    stats: Stats,
}

impl<B: Backend> Scheduler<B> {
    /// `ends` are the tokens that end an answer.
    pub fn new(backend: B, limits: Limits, ends: Arc<[u32]>) -> Self {
        let slots = (0..backend.sequences()).map(|_| Slot::default()).collect();
        let parallel = limits.parallel.clamp(1, backend.sequences().min(backend.batch()));
        let limits = Limits { parallel, prefill: limits.prefill.max(1) };
        Self { cells: Cells::new(backend.context()), backend, limits, ends, slots, running: Vec::new(), line: Line::default(), clock: 0, stats: Stats::default() }
    }

    /// Puts a prepared request in line. Errors: `context_length_exceeded` with the counts.
    pub fn submit(&mut self, ticket: &Arc<Ticket>, prepared: Prepared) -> domain::Result<()> {
        fits(&prepared, self.backend.context())?;
        for answer in answers(ticket, prepared, self.backend.context(), self.ends.clone()) {
            self.line.push(answer);
        }
        Ok(())
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.line.len() == 0
    }

    pub fn stats(&self) -> Stats {
        let used = self.cells.total() - self.cells.free();
        Stats { running: self.running.len() as u32, waiting: self.line.len() as u32, cells_used: used as u32, cells_total: self.cells.total() as u32, ..self.stats }
    }

    /// One step. Everything that happened goes to `out`.
    pub fn step(&mut self, out: &mut dyn FnMut(Output)) {
        self.drop_stopped(out);
        self.admit(out);
        let (items, places) = self.fill(out);
        if items.is_empty() {
            return;
        }
        self.stats.steps += 1;
        if let Err(error) = self.backend.decode(&items) {
            return self.fail_all(&error, out);
        }
        for item in &items {
            let slot = &mut self.slots[item.sequence as usize];
            slot.tokens.push(item.token);
        }
        let mut computed: HashMap<[u8; 16], u64> = HashMap::new();
        for item in &items {
            *computed.entry(self.slots[item.sequence as usize].tenant).or_default() += 1;
        }
        computed.into_iter().for_each(|(tenant, n)| self.line.charge(tenant, n));
        self.draw(&places, out);
    }

    /// Draws a token for every running answer that has logits; `places` is (answer's slot, place in the batch).
    fn draw(&mut self, places: &[(usize, usize)], out: &mut dyn FnMut(Output)) {
        let mut over: Vec<usize> = Vec::new();
        for (slot, place) in places {
            let Some(at) = self.running.iter().position(|r| r.slot == *slot) else { continue };
            let answer = &mut self.running[at].answer;
            let (job, index) = (answer.ticket.id, answer.index);
            let drawn = match answer.sampler.sample(self.backend.logits(*place), &answer.tokens, answer.constraint.as_mut()) {
                Ok(drawn) => drawn,
                Err(error) => {
                    out(Output::Failed { job, answer: index, error });
                    over.push(*slot);
                    continue;
                }
            };
            let finished = answer.constraint.as_ref().is_some_and(crate::chat::Constraint::is_finished);
            if answer.sampler.ends(drawn.token) {
                out(Output::End { job, answer: index, reason: FinishReason::Stop });
                over.push(*slot);
                continue;
            }
            answer.tokens.push(drawn.token);
            self.stats.generated_tokens += 1;
            out(Output::Token { job, answer: index, drawn });
            let reason = if finished {
                Some(FinishReason::Stop)
            } else {
                (answer.tokens.len() >= answer.until).then_some(FinishReason::Length)
            };
            if let Some(reason) = reason {
                out(Output::End { job, answer: index, reason });
                over.push(*slot);
            }
        }
        self.retire(&over);
    }

    fn drop_stopped(&mut self, out: &mut dyn FnMut(Output)) {
        let is_stopped = |a: &Answer| a.ticket.is_stopped(a.index);
        for answer in self.line.remove(is_stopped) {
            out(Output::Stopped { job: answer.ticket.id, answer: answer.index });
        }
        let stopped: Vec<usize> = self.running.iter().filter(|r| is_stopped(&r.answer)).map(|r| r.slot).collect();
        for running in self.running.iter().filter(|r| stopped.contains(&r.slot)) {
            out(Output::Stopped { job: running.answer.ticket.id, answer: running.answer.index });
        }
        self.retire(&stopped);
    }

    /// Ends running answers; what they computed stays as a cached prefix.
    fn retire(&mut self, slots: &[usize]) {
        for slot in slots {
            let Some(at) = self.running.iter().position(|r| r.slot == *slot) else { continue };
            let running = self.running.remove(at);
            self.line.done(running.answer.ticket.tenant);
            self.keep(*slot);
        }
    }

    /// Turns an active slot into a cached prefix, and drops those that are its beginnings.
    fn keep(&mut self, slot: usize) {
        self.clock += 1;
        self.slots[slot].active = false;
        self.slots[slot].last_used = self.clock;
        if self.slots[slot].tokens.is_empty() {
            return self.empty(slot);
        }
        let covered: Vec<usize> = (0..self.slots.len())
            .filter(|i| {
                let (other, kept) = (&self.slots[*i], &self.slots[slot]);
                *i != slot && !other.active && !other.tokens.is_empty() && other.tenant == kept.tenant && kept.tokens.starts_with(&other.tokens)
            })
            .collect();
        if self.backend.copies_partly() {
            covered.into_iter().for_each(|i| self.empty(i));
        }
    }

    fn empty(&mut self, slot: usize) {
        let old = std::mem::take(&mut self.slots[slot]);
        self.cells.release(&old.cells);
        self.backend.clear(slot as u32);
    }

    /// Empties the cached prefix that was not used for longest; `false` when there is none besides `except`.
    fn evict(&mut self, except: Option<usize>) -> bool {
        let oldest = (0..self.slots.len()).filter(|i| !self.slots[*i].active && !self.slots[*i].tokens.is_empty() && Some(*i) != except).min_by_key(|i| self.slots[*i].last_used);
        if let Some(slot) = oldest {
            self.empty(slot);
        }
        oldest.is_some()
    }

    fn admit(&mut self, out: &mut dyn FnMut(Output)) {
        while self.running.len() < self.limits.parallel && self.line.len() > 0 {
            // Cells that no running answer holds or will need for its prompt.
            let mut held = vec![false; self.cells.total()];
            let mut room = self.cells.total();
            for running in &self.running {
                for cell in &self.slots[running.slot].cells {
                    if !std::mem::replace(&mut held[*cell as usize], true) {
                        room -= 1;
                    }
                }
                room = room.saturating_sub(running.answer.tokens.len() - self.slots[running.slot].tokens.len() + HEADROOM);
            }
            let nobody_runs = self.running.is_empty();
            let (slots, running, partly) = (&self.slots, &self.running, self.backend.copies_partly());
            let mut source = None;
            let taken = self.line.take(LOOK, |answer| {
                let best = best_source(slots, answer, partly);
                let shared = best.map_or(0, |(_, n)| n);
                // Somebody is computing a longer common beginning right now: wait for it if that saves much, or is nearly there.
                let wait = running.iter().filter(|r| partly && slots[r.slot].tenant == answer.ticket.tenant).any(|r| {
                    let prompt = &r.answer.tokens[..r.answer.sampler.prompt()];
                    let coming = common(prompt, &answer.tokens).min(answer.tokens.len() - 1);
                    coming > shared && (coming - shared >= WORTH_WAITING || coming.saturating_sub(slots[r.slot].tokens.len()) < WORTH_WAITING)
                });
                if wait {
                    return false;
                }
                // Cells of a source that only the cache holds stop being room once they are shared.
                let fresh_shared = best.map_or(0, |(slot, n)| slots[slot].cells[..n].iter().filter(|c| !held[**c as usize]).count());
                let fits = nobody_runs || answer.tokens.len() - shared + fresh_shared + HEADROOM <= room;
                if fits {
                    source = best;
                }
                fits
            });
            let Some(answer) = taken else { return };
            self.start(answer, source, out);
        }
    }

    fn start(&mut self, mut answer: Answer, source: Option<(usize, usize)>, out: &mut dyn FnMut(Output)) {
        self.clock += 1;
        let slot = loop {
            if let Some(free) = (0..self.slots.len()).find(|i| !self.slots[*i].active && self.slots[*i].tokens.is_empty()) {
                break free;
            }
            if !self.evict(source.map(|s| s.0)) {
                // Every other sequence is active: the source itself is given up.
                self.evict(None);
            }
        };
        let mut shared = 0;
        if let Some((from, len)) = source.filter(|(from, len)| self.slots[*from].tokens.len() >= *len) {
            let (tokens, cells) = (self.slots[from].tokens[..len].to_vec(), self.slots[from].cells[..len].to_vec());
            self.backend.copy(from as u32, slot as u32, len as u32);
            self.cells.share(&cells);
            self.slots[from].last_used = self.clock;
            self.slots[slot].tokens = tokens;
            self.slots[slot].cells = cells;
            shared = len;
        }
        self.slots[slot].active = true;
        self.slots[slot].tenant = answer.ticket.tenant;
        if !answer.admitted {
            answer.admitted = true;
            self.stats.cached_tokens += shared as u64;
            out(Output::Admitted { job: answer.ticket.id, answer: answer.index, cached: shared as u32 });
        }
        self.running.push(Running { answer, slot });
    }

    /// The next batch, and for each answer that will have logits (slot, place).
    fn fill(&mut self, out: &mut dyn FnMut(Output)) -> (Vec<Item>, Vec<(usize, usize)>) {
        loop {
            let mut items = Vec::with_capacity(self.backend.batch());
            let mut places = Vec::new();
            // One token each for those who generate; the youngest gives way when cells run out.
            let mut at = 0;
            while at < self.running.len() {
                let Running { answer, slot } = &self.running[at];
                let (slot, pending) = (*slot, answer.tokens.len() - self.slots[*slot].tokens.len());
                if pending == 1 {
                    while self.cells.free() == 0 && !self.evict(None) && self.running.len() > at + 1 {
                        self.put_back_youngest();
                    }
                    if self.cells.free() == 0 {
                        break;
                    }
                    self.add(&mut items, &mut places, at, slot, 1);
                }
                at += 1;
            }
            // Then prompts, oldest first, within the budget.
            let generating = !items.is_empty();
            let most = if generating { self.limits.prefill.min(self.backend.batch() - items.len()) } else { self.backend.batch() };
            let mut budget = most;
            for at in 0..self.running.len() {
                let slot = self.running[at].slot;
                let pending = self.running[at].answer.tokens.len() - self.slots[slot].tokens.len();
                if pending <= 1 || budget == 0 {
                    continue;
                }
                while self.cells.free() < pending.min(budget) && self.evict(None) {}
                let take = pending.min(budget).min(self.cells.free());
                if take > 0 {
                    self.add(&mut items, &mut places, at, slot, take);
                    budget -= take;
                }
            }
            if !items.is_empty() || self.running.is_empty() {
                return (items, places);
            }
            // Nobody can go on: the youngest frees its cells, or the last one has met the end of the context.
            if self.running.len() > 1 {
                self.put_back_youngest();
            } else {
                let (slot, answer) = (self.running[0].slot, &self.running[0].answer);
                out(Output::End { job: answer.ticket.id, answer: answer.index, reason: FinishReason::Length });
                self.retire(&[slot]);
            }
        }
    }

    fn add(&mut self, items: &mut Vec<Item>, places: &mut Vec<(usize, usize)>, at: usize, slot: usize, take: usize) {
        let answer = &self.running[at].answer;
        let from = self.slots[slot].tokens.len();
        let whole = from + take == answer.tokens.len();
        for position in from..from + take {
            let Some(cell) = self.cells.take() else { return };
            self.slots[slot].cells.push(cell);
            let logits = whole && position + 1 == answer.tokens.len();
            if logits {
                places.push((slot, items.len()));
            }
            items.push(Item { token: answer.tokens[position], position: position as u32, sequence: slot as u32, logits });
        }
        if from < answer.sampler.prompt() {
            self.stats.prompt_tokens += take as u64;
        }
    }

    fn put_back_youngest(&mut self) {
        if let Some(running) = self.running.pop() {
            self.stats.put_back += 1;
            self.keep(running.slot);
            self.line.put_back(running.answer);
        }
    }

    /// The backend refused a batch: the cells' accounts no longer hold, so everything starts afresh.
    fn fail_all(&mut self, error: &Error, out: &mut dyn FnMut(Output)) {
        for running in std::mem::take(&mut self.running) {
            let answer = running.answer;
            self.line.done(answer.ticket.tenant);
            out(Output::Failed { job: answer.ticket.id, answer: answer.index, error: Error::new(Code::Internal, "the model could not compute this batch; try again").source(error.clone()) });
        }
        for slot in 0..self.slots.len() {
            self.backend.clear(slot as u32);
            self.slots[slot] = Slot::default();
        }
        self.cells = Cells::new(self.backend.context());
    }
}

/// Whether a prepared request has room for its prompt and the tokens it asks for.
/// Errors: `context_length_exceeded` with the counts.
pub fn fits(prepared: &Prepared, context: usize) -> domain::Result<()> {
    let (prompt, asked) = (prepared.prompt.len(), prepared.max_tokens.unwrap_or(1) as usize);
    if prompt + asked <= context {
        return Ok(());
    }
    let why = match prepared.max_tokens {
        Some(max) => format!("the prompt has {prompt} tokens and {max} are asked for, which is more than the model's context of {context}; shorten the prompt or ask for less"),
        None => format!("the prompt has {prompt} tokens, which leaves no room in the model's context of {context}; shorten it"),
    };
    Err(Error::new(Code::ContextLengthExceeded, why).param(if prompt >= context { "messages" } else { "max_tokens" }))
}

/// The slot whose computed tokens share most with the answer's, and how many. The last token is always computed anew,
/// because its logits are wanted.
fn best_source(slots: &[Slot], answer: &Answer, partly: bool) -> Option<(usize, usize)> {
    let most = answer.tokens.len() - 1;
    slots
        .iter()
        .enumerate()
        .filter(|(_, s)| s.tenant == answer.ticket.tenant && !s.tokens.is_empty())
        .map(|(i, s)| (i, common(&s.tokens, &answer.tokens).min(most)))
        .filter(|(i, n)| *n > 0 && (partly || *n == slots[*i].tokens.len()))
        .max_by_key(|(_, n)| *n)
}

fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{Draw, OutputFormat},
        engine::backend::fake::{FakeModel, VOCABULARY, next_token},
    };
    use proptest::prelude::*;

    const A: [u8; 16] = [1; 16];
    const B: [u8; 16] = [2; 16];

    fn prepared(prompt: Vec<u32>, max: u32) -> Prepared {
        let draw = Draw { temperature: 0.0, top_p: 1.0, top_k: 0, min_p: 0.0, presence_penalty: 0.0, frequency_penalty: 0.0, repeat_penalty: 1.0, seed: Some(1), logit_bias: Vec::new() };
        Prepared { prompt, max_tokens: Some(max), n: 1, draw, logprobs: None, ignore_eos: false, constraint: None, output: OutputFormat::default() }
    }
    fn scheduler(context: usize, sequences: usize, parallel: usize) -> Scheduler<FakeModel> {
        // The last token of the vocabulary ends an answer; the fake never draws it.
        Scheduler::new(FakeModel::new(context, sequences), Limits { parallel, prefill: 8 }, Arc::from([VOCABULARY - 1]))
    }
    fn expected(prompt: &[u32], n: usize) -> Vec<u32> {
        let mut tokens = prompt.to_vec();
        for _ in 0..n {
            tokens.push(next_token(&tokens));
        }
        tokens.split_off(prompt.len())
    }

    #[derive(Default)]
    struct Seen {
        tokens: HashMap<(u64, u32), Vec<u32>>,
        ended: HashMap<(u64, u32), FinishReason>,
        stopped: Vec<(u64, u32)>,
        cached: HashMap<(u64, u32), u32>,
        order: Vec<u64>,
    }
    impl Seen {
        fn take(&mut self, output: Output) {
            match output {
                Output::Admitted { job, answer, cached } => {
                    self.order.push(job);
                    self.cached.insert((job, answer), cached);
                }
                Output::Token { job, answer, drawn } => self.tokens.entry((job, answer)).or_default().push(drawn.token),
                Output::End { job, answer, reason } => assert!(self.ended.insert((job, answer), reason).is_none()),
                Output::Stopped { job, answer } => self.stopped.push((job, answer)),
                Output::Failed { error, .. } => panic!("{error}"),
            }
        }
    }
    fn run(s: &mut Scheduler<FakeModel>) -> Seen {
        let mut seen = Seen::default();
        for _ in 0..20_000 {
            if s.is_idle() {
                return seen;
            }
            s.step(&mut |o| seen.take(o));
        }
        panic!("it does not end: {:?}", s.stats());
    }
    fn prompt(head: usize, tail: &[u32]) -> Vec<u32> {
        (0..head as u32).map(|i| i % 50).chain(tail.iter().copied()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_answer_is_what_it_would_be_alone(
            jobs in prop::collection::vec((0u8..3, 0usize..40, prop::collection::vec(0u32..60, 1..20), 1u32..30, 1u32..4, any::<bool>()), 1..12),
            context in 100usize..220, sequences in 2usize..9, parallel in 1usize..6, partly in any::<bool>(),
        ) {
            let mut s = scheduler(context, sequences, parallel);
            s.backend.partly = partly;
            for (id, (tenant, head, tail, max, n, background)) in jobs.iter().enumerate() {
                s.submit(&Ticket::new(id as u64, [*tenant; 16], *background, *n), Prepared { n: *n, ..prepared(prompt(*head, tail), *max) }).unwrap();
            }
            let seen = run(&mut s);
            for (id, (_, head, tail, max, n, _)) in jobs.iter().enumerate() {
                for index in 0..*n {
                    prop_assert_eq!(&seen.tokens[&(id as u64, index)], &expected(&prompt(*head, tail), *max as usize));
                    prop_assert_eq!(seen.ended[&(id as u64, index)], FinishReason::Length);
                }
            }
            prop_assert!(s.backend.used() == s.cells.total() - s.cells.free());
        }
    }

    #[test]
    fn a_shared_beginning_is_computed_once_even_when_all_come_at_once() {
        let mut s = scheduler(2000, 32, 8);
        for id in 0..8 {
            s.submit(&Ticket::new(id, A, false, 1), prepared(prompt(300, &[id as u32, 3]), 2)).unwrap();
        }
        let seen = run(&mut s);
        assert!(s.backend.decoded < 300 + 8 * 8, "{} tokens computed", s.backend.decoded);
        assert_eq!(seen.cached.values().filter(|c| **c >= 299).count(), 7);
        // And the next one finds it as well.
        s.submit(&Ticket::new(9, A, false, 1), prepared(prompt(300, &[33]), 1)).unwrap();
        assert_eq!(run(&mut s).cached[&(9, 0)], 300);
    }

    #[test]
    fn a_beginning_is_never_shared_between_tenants() {
        let mut s = scheduler(2000, 32, 8);
        s.submit(&Ticket::new(1, A, false, 1), prepared(prompt(100, &[1]), 2)).unwrap();
        run(&mut s);
        s.submit(&Ticket::new(2, B, false, 1), prepared(prompt(100, &[1]), 2)).unwrap();
        assert_eq!(run(&mut s).cached[&(2, 0)], 0);
    }

    #[test]
    fn a_long_prompt_does_not_stall_those_who_generate() {
        let mut s = scheduler(2000, 8, 4);
        let mut seen = Seen::default();
        s.submit(&Ticket::new(1, A, false, 1), prepared(vec![5, 6], 60)).unwrap();
        s.step(&mut |o| seen.take(o));
        s.submit(&Ticket::new(2, A, false, 1), prepared(prompt(400, &[9]), 1)).unwrap();
        for step in 0..40 {
            s.step(&mut |o| seen.take(o));
            assert_eq!(seen.tokens[&(1, 0)].len(), step + 2, "a token each step");
        }
        assert!(s.backend.batches[1..].iter().all(|b| b.len() <= 1 + 8));
    }

    #[test]
    fn a_stopped_answer_is_gone_at_the_next_step_and_its_siblings_go_on() {
        let mut s = scheduler(500, 8, 4);
        let ticket = Ticket::new(1, A, false, 2);
        s.submit(&ticket, Prepared { n: 2, ..prepared(vec![5, 6], 20) }).unwrap();
        let mut seen = Seen::default();
        for _ in 0..4 {
            s.step(&mut |o| seen.take(o));
        }
        ticket.stop(0);
        s.step(&mut |o| seen.take(o));
        assert_eq!(seen.stopped, [(1, 0)]);
        let rest = run(&mut s);
        assert_eq!(rest.ended.keys().collect::<Vec<_>>(), [&(1, 1)]);
        let waiting = Ticket::new(2, A, false, 1);
        s.submit(&waiting, prepared(vec![1], 5)).unwrap();
        waiting.cancel();
        assert_eq!(run(&mut s).stopped, [(2, 0)]);
    }

    #[test]
    fn a_flood_of_one_tenant_leaves_the_other_its_share() {
        let mut s = scheduler(4000, 8, 1);
        for id in 0..20 {
            s.submit(&Ticket::new(id, A, false, 1), prepared(vec![id as u32, 1], 10)).unwrap();
        }
        let mut seen = Seen::default();
        for _ in 0..15 {
            s.step(&mut |o| seen.take(o));
        }
        for id in 100..103 {
            s.submit(&Ticket::new(id, B, false, 1), prepared(vec![id as u32 % 60, 1], 10)).unwrap();
        }
        let order = run(&mut s).order;
        let last = order.iter().rposition(|id| *id >= 100).unwrap();
        assert!(last <= 6, "{order:?}");
    }

    #[test]
    fn background_work_waits_for_interactive_work_of_the_same_tenant() {
        let mut s = scheduler(4000, 8, 1);
        for (id, background) in [(0, true), (1, true), (2, false), (3, false)] {
            s.submit(&Ticket::new(id, A, background, 1), prepared(vec![id as u32, 1], 3)).unwrap();
        }
        assert_eq!(run(&mut s).order, [2, 3, 0, 1]);
    }

    #[test]
    fn what_does_not_fit_the_context_is_refused_with_the_counts() {
        let mut s = scheduler(100, 8, 1);
        let error = s.submit(&Ticket::new(1, A, false, 1), prepared(prompt(90, &[]), 20)).unwrap_err();
        assert_eq!(error.code, Code::ContextLengthExceeded);
        for part in ["90", "20", "100"] {
            assert!(error.message.contains(part), "{error}");
        }
        let endless = Prepared { max_tokens: None, ..prepared(prompt(90, &[]), 0) };
        s.submit(&Ticket::new(2, A, false, 1), endless).unwrap();
        let seen = run(&mut s);
        assert_eq!((seen.tokens[&(2, 0)].len(), seen.ended[&(2, 0)]), (10, FinishReason::Length));
    }
}
