//! Tokens out of the engine become events on the socket, off the engine's thread.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, mpsc::Receiver};
use std::time::Instant;

use domain::chat::{ChatEvent, FinishReason, Timings, Usage};

use super::protocol::{self, FromWorker};
use crate::{
    chat::{Assembler, OutputFormat, Vocabulary},
    engine::{Output, Ticket},
};

/// What reaches the output thread.
pub enum Out {
    /// A request was prepared and is put in line now.
    Begin { ticket: Arc<Ticket>, format: OutputFormat, prompt: u32, answers: u32 },
    Engine(Output),
    Frame(FromWorker),
}

struct Request {
    ticket: Arc<Ticket>,
    assemblers: Vec<Option<Assembler>>,
    open: usize,
    usage: Usage,
    admitted: Option<Instant>,
    first_token: Option<Instant>,
    failed: bool,
}

/// Writes frames until the channel closes or the socket breaks.
pub fn run(inbox: &Receiver<Out>, to: impl Write, vocabulary: Option<&Arc<dyn Vocabulary>>) {
    let mut writer = Writer { to: std::io::BufWriter::new(to), requests: HashMap::new() };
    while let Ok(first) = inbox.recv() {
        let mut next = Some(first);
        while let Some(out) = next {
            if writer.take(out, vocabulary).is_err() {
                return;
            }
            next = inbox.try_recv().ok();
        }
        if writer.to.flush().is_err() {
            return;
        }
    }
}

struct Writer<W: Write> {
    to: std::io::BufWriter<W>,
    requests: HashMap<u64, Request>,
}

impl<W: Write> Writer<W> {
    fn take(&mut self, out: Out, vocabulary: Option<&Arc<dyn Vocabulary>>) -> std::io::Result<()> {
        match out {
            Out::Frame(frame) => protocol::write(&mut self.to, &frame),
            Out::Begin { ticket, format, prompt, answers } => {
                let Some(vocabulary) = vocabulary else { return Ok(()) };
                let id = ticket.id;
                let assemblers = (0..answers).map(|i| Some(Assembler::new(&format, vocabulary.clone(), i))).collect();
                let usage = Usage { prompt_tokens: prompt, ..Usage::default() };
                self.requests.insert(id, Request { ticket, assemblers, open: answers as usize, usage, admitted: None, first_token: None, failed: false });
                protocol::write(&mut self.to, &FromWorker::Accepted { id })
            }
            Out::Engine(output) => self.engine(output),
        }
    }

    fn engine(&mut self, output: Output) -> std::io::Result<()> {
        match output {
            Output::Admitted { job, answer, cached } => {
                if let Some(request) = self.requests.get_mut(&job) {
                    request.admitted.get_or_insert_with(Instant::now);
                    // Siblings share the first one's prompt by design; what the cache saved is what the first one found.
                    if answer == 0 {
                        request.usage.cached_tokens = cached;
                    }
                }
                Ok(())
            }
            Output::Token { job, answer, drawn } => {
                let Some(request) = self.requests.get_mut(&job) else { return Ok(()) };
                let Some(Some(assembler)) = request.assemblers.get_mut(answer as usize) else { return Ok(()) };
                request.first_token.get_or_insert_with(Instant::now);
                request.usage.completion_tokens += 1;
                let pushed = assembler.push(drawn);
                if pushed.stopped {
                    request.ticket.stop(answer);
                }
                for event in pushed.events {
                    self.event(job, &event)?;
                }
                if pushed.stopped { self.end(job, answer, FinishReason::Stop) } else { Ok(()) }
            }
            Output::End { job, answer, reason } => self.end(job, answer, reason),
            // Either a stop string ended it, and it is ended already, or its reader is gone.
            Output::Stopped { job, answer } => self.end(job, answer, FinishReason::Stop),
            Output::Failed { job, answer, error } => {
                let Some(request) = self.requests.get_mut(&job) else { return Ok(()) };
                request.ticket.cancel();
                if !std::mem::replace(&mut request.failed, true) {
                    protocol::write(&mut self.to, &FromWorker::Failed { id: job, error: error.into() })?;
                }
                self.end(job, answer, FinishReason::Stop)
            }
        }
    }

    fn end(&mut self, job: u64, answer: u32, reason: FinishReason) -> std::io::Result<()> {
        let Some(request) = self.requests.get_mut(&job) else { return Ok(()) };
        let Some(mut assembler) = request.assemblers.get_mut(answer as usize).and_then(Option::take) else { return Ok(()) };
        request.open -= 1;
        request.usage.reasoning_tokens += assembler.reasoning_tokens();
        let failed = request.failed;
        if !failed {
            for event in assembler.finish(reason) {
                self.event(job, &event)?;
            }
        }
        if self.requests.get(&job).is_some_and(|r| r.open == 0) {
            if let Some(request) = self.requests.remove(&job).filter(|_| !failed) {
                let since = |t: Option<Instant>| t.map_or(0.0, |t| t.duration_since(request.ticket.submitted).as_secs_f64() * 1000.0);
                let timings = Timings { queued_ms: since(request.admitted), first_token_ms: since(request.first_token), total_ms: since(Some(Instant::now())) };
                self.event(job, &ChatEvent::Usage { usage: request.usage, timings })?;
                protocol::write(&mut self.to, &FromWorker::Done { id: job })?;
            }
        }
        Ok(())
    }

    fn event(&mut self, id: u64, event: &ChatEvent) -> std::io::Result<()> {
        let event = serde_json::to_vec(event).map_err(std::io::Error::other)?;
        protocol::write(&mut self.to, &FromWorker::Event { id, event })
    }
}
