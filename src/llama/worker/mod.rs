//! The worker process: one model, loaded and run apart from the server.
//!
//! A model file is somebody else's data going through C++ that aborts on ordinary mistakes; here that ends one model's
//! requests and not the server. The process is this same executable, started with its socket as standard input, and
//! ends when that closes.
//!
//! Threads: the main one reads requests; one prepares them (templates, tokens, grammars); the engine computes; one turns
//! tokens into events and writes them.

mod context;
mod embed;
mod memory;
mod output;
pub mod protocol;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::{
    Arc,
    mpsc::{self, Sender, TryRecvError},
};
use std::time::{Duration, Instant};

use domain::{
    Code, Error, Result,
    model::{ModelKind, Pooling},
};
use llama_cpp_2::{
    context::{LlamaContext, params::{LlamaContextParams, LlamaPoolingType}},
    llama_backend::LlamaBackend,
    model::{LlamaModel, params::LlamaModelParams},
};

use crate::{
    chat::{ChatModel, Prepared, Vocabulary},
    engine::{Limits, Scheduler, Ticket},
};
use output::Out;
use protocol::{FromWorker, Load, Ready, ToWorker};

/// Tokens of one batch.
const BATCH: u32 = 512;
/// How often the engine says how it fares while it works.
const BEAT: Duration = Duration::from_millis(500);

/// Runs the worker on standard input until the other side is gone.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("the model worker ends: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> std::io::Result<()> {
    // Never outlives the server, leaves no core file of somebody's conversation behind.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)?;
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut from = std::io::BufReader::new(socket.try_clone()?);
    let Some(ToWorker::Load(load)) = protocol::read(&mut from)? else { return Ok(()) };
    let (out, outbox) = mpsc::channel();
    match load_model(&load, &out, socket.try_clone()?) {
        Err(error) => {
            let mut socket = socket;
            protocol::write(&mut socket, &FromWorker::Refused(error.into()))
        }
        Ok((inlet, vocabulary)) => {
            let writer = socket.try_clone()?;
            std::thread::Builder::new().name("output".into()).spawn(move || output::run(&outbox, writer, vocabulary.as_ref()))?;
            while let Some(message) = protocol::read::<ToWorker>(&mut from)? {
                inlet.take(message);
            }
            // The server is gone; nothing that runs is of use to anybody.
            std::process::exit(0);
        }
    }
}

/// Where requests go.
enum Inlet {
    Generate { prepare: Sender<Request>, tickets: std::cell::RefCell<HashMap<u64, std::sync::Weak<Ticket>>>, answers: u32 },
    Embed(Sender<embed::Job>),
}

struct Request {
    ticket: Arc<Ticket>,
    body: Vec<u8>,
    chat: bool,
}

impl Inlet {
    fn take(&self, message: ToWorker) {
        match (self, message) {
            (Inlet::Generate { prepare, tickets, answers }, message @ (ToWorker::Chat { .. } | ToWorker::Complete { .. })) => {
                let chat = matches!(message, ToWorker::Chat { .. });
                let (ToWorker::Chat { id, tenant, background, request } | ToWorker::Complete { id, tenant, background, request }) = message else { return };
                let ticket = Ticket::new(id, tenant, background, *answers);
                let mut tickets = tickets.borrow_mut();
                if tickets.len() >= 1024 {
                    tickets.retain(|_, t| t.strong_count() > 0);
                }
                tickets.insert(id, Arc::downgrade(&ticket));
                let _ = prepare.send(Request { ticket, body: request, chat });
            }
            (Inlet::Generate { tickets, .. }, ToWorker::Cancel { id }) => {
                if let Some(ticket) = tickets.borrow_mut().remove(&id).and_then(|t| t.upgrade()) {
                    ticket.cancel();
                }
            }
            (Inlet::Embed(jobs), ToWorker::Embed { id, inputs, truncate }) => drop(jobs.send(embed::Job::Embed { id, inputs, truncate })),
            (Inlet::Embed(jobs), ToWorker::Rerank { id, query, documents }) => drop(jobs.send(embed::Job::Rerank { id, query, documents })),
            (Inlet::Embed(jobs), ToWorker::Cancel { id }) => drop(jobs.send(embed::Job::Cancel { id })),
            // The server asks a model only for what its kind can do.
            (_, other) => eprintln!("the model worker was asked for what its model cannot do: {other:?}"),
        }
    }
}

type Loaded = (Inlet, Option<Arc<dyn Vocabulary>>);

fn load_model(load: &Load, out: &Sender<Out>, report: UnixStream) -> Result<Loaded> {
    if load.nice > 0 {
        lower_priority(load.nice);
    }
    let kernels = crate::cpu::install_best_backend();
    llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default().with_logs_enabled(false));
    let unreadable = || {
        let name = load.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Error::new(Code::InvalidModelFile, format!("`{name}` cannot be loaded: it is damaged, or of an architecture that this version does not know"))
    };
    // Both live as long as the process does.
    let backend: &'static LlamaBackend = Box::leak(Box::new(LlamaBackend::init().map_err(Error::internal)?));
    // The output thread does not run yet; nothing else writes to the socket.
    let (mut report, mut told) = (report, 0.0);
    let params = LlamaModelParams::default().with_progress_callback(move |progress| {
        if progress - told >= 0.01 {
            told = progress;
            let _ = protocol::write(&mut report, &FromWorker::Loading { progress });
        }
        true
    });
    let model = LlamaModel::load_from_file(backend, &load.path, &params).map_err(|e| unreadable().source(e))?;
    let model: &'static LlamaModel = Box::leak(Box::new(model));
    let ready = |context: u32, width: u32| Out::Frame(FromWorker::Ready(Ready { kernels: kernels.name().into(), context, width }));
    if load.kind == ModelKind::Chat {
        let context = generation_context(backend, model, load)?;
        let template = load.chat_template.clone().or_else(|| model.meta_val_str("tokenizer.chat_template").ok());
        let vocabulary = Arc::new(context::ModelVocabulary::new(model));
        let ends: Arc<[u32]> = vocabulary.end_tokens().into();
        let vocabulary: Arc<dyn Vocabulary> = vocabulary;
        let chat = ChatModel::new(vocabulary.clone(), template, load.chat.clone())?;
        let cells = context.n_ctx();
        memory::give_back_zeros();
        let backend = context::Context::new(context, model, BATCH as usize, sequences(load) as usize);
        let scheduler = Scheduler::new(backend, Limits { parallel: load.parallel as usize, prefill: load.prefill as usize }, ends);
        let _ = out.send(ready(cells, 0));
        let prepare = generate(chat, scheduler, cells as usize, out.clone())?;
        return Ok((Inlet::Generate { prepare, tickets: HashMap::new().into(), answers: load.chat.max_answers }, Some(vocabulary)));
    }
    let size = BATCH.min(model.n_ctx_train().max(1));
    let context = embedding_context(backend, model, load, size)?;
    memory::give_back_zeros();
    let (jobs, inbox) = mpsc::channel();
    let (frames, frames_out) = mpsc::channel();
    let _ = out.send(ready(size, model.n_embd_out().max(0) as u32));
    let embedder = embed::Embedder { context, model, kind: load.kind, size: size as usize, jobs: inbox, out: frames };
    spawn("engine", move || embedder.run())?;
    let out = out.clone();
    spawn("frames", move || frames_out.into_iter().for_each(|frame| drop(out.send(Out::Frame(frame)))))?;
    Ok((Inlet::Embed(jobs), None))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(work).map(|_| ()).map_err(Error::internal)
}

/// Sequence ids: one for each answer, and some for cached prefixes. llama.cpp allows 256.
fn sequences(load: &Load) -> u32 {
    (load.parallel + load.prefixes).clamp(2, 256)
}

fn generation_context(backend: &LlamaBackend, model: &'static LlamaModel, load: &Load) -> Result<LlamaContext<'static>> {
    let threads = load.threads.max(1) as i32;
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(load.context))
        .with_n_batch(BATCH)
        .with_n_ubatch(BATCH)
        .with_n_seq_max(sequences(load))
        .with_kv_unified(true)
        .with_swa_full(true)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    model.new_context(backend, params).map_err(|e| {
        Error::new(Code::OutOfMemory, format!("there is no memory for a context of {} tokens; set a smaller `context_size` for this model", load.context)).source(e)
    })
}

fn embedding_context(backend: &LlamaBackend, model: &'static LlamaModel, load: &Load, size: u32) -> Result<LlamaContext<'static>> {
    let threads = load.threads.max(1) as i32;
    let pooling = match (load.kind, load.pooling) {
        (ModelKind::Rerank, _) | (_, Some(Pooling::Rank)) => LlamaPoolingType::Rank,
        (_, None) => LlamaPoolingType::Unspecified,
        (_, Some(Pooling::None | Pooling::Mean)) => LlamaPoolingType::Mean,
        (_, Some(Pooling::Cls)) => LlamaPoolingType::Cls,
        (_, Some(Pooling::Last)) => LlamaPoolingType::Last,
    };
    let params = LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(size))
        .with_n_batch(size)
        .with_n_ubatch(size)
        .with_n_seq_max(embed::SEQUENCES as u32)
        .with_kv_unified(true)
        .with_embeddings(true)
        .with_pooling_type(pooling)
        .with_n_threads(threads)
        .with_n_threads_batch(threads);
    model.new_context(backend, params).map_err(|e| Error::new(Code::OutOfMemory, "there is no memory to run this embedding model").source(e))
}

/// Starts the threads that prepare and compute; requests go into the returned channel.
fn generate(chat: ChatModel, mut scheduler: Scheduler<context::Context>, cells: usize, out: Sender<Out>) -> Result<Sender<Request>> {
    let (prepare, requests) = mpsc::channel::<Request>();
    let (line, arrivals) = mpsc::channel::<(Arc<Ticket>, Prepared)>();
    let prepared_out = out.clone();
    spawn("prepare", move || {
        for request in requests {
            let id = request.ticket.id;
            // A panic in a template or grammar library is that request's error.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| prepare_one(&chat, &request, cells)));
            match outcome.unwrap_or_else(|_| Err(Error::new(Code::Internal, "this request could not be prepared"))) {
                Err(error) => drop(prepared_out.send(Out::Frame(FromWorker::Failed { id, error: error.into() }))),
                Ok(prepared) => {
                    let begin = Out::Begin { ticket: request.ticket.clone(), format: prepared.output.clone(), prompt: prepared.prompt.len() as u32, answers: prepared.n };
                    let _ = prepared_out.send(begin);
                    if line.send((request.ticket, prepared)).is_err() {
                        return;
                    }
                }
            }
        }
    })?;
    spawn("engine", move || {
        let mut last_beat = Instant::now();
        loop {
            loop {
                let arrival = if scheduler.is_idle() {
                    let _ = out.send(Out::Frame(FromWorker::Stats(scheduler.stats())));
                    arrivals.recv().map_err(|_| TryRecvError::Disconnected)
                } else {
                    arrivals.try_recv()
                };
                match arrival {
                    Ok((ticket, prepared)) => {
                        let id = ticket.id;
                        if let Err(error) = scheduler.submit(&ticket, prepared) {
                            let _ = out.send(Out::Frame(FromWorker::Failed { id, error: error.into() }));
                        }
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            scheduler.step(&mut |output| drop(out.send(Out::Engine(output))));
            if last_beat.elapsed() >= BEAT {
                last_beat = Instant::now();
                let _ = out.send(Out::Frame(FromWorker::Stats(scheduler.stats())));
            }
        }
    })?;
    Ok(prepare)
}

fn prepare_one(chat: &ChatModel, request: &Request, cells: usize) -> Result<Prepared> {
    let unreadable = |e: serde_json::Error| Error::internal(e);
    let prepared = if request.chat {
        chat.prepare_chat(&serde_json::from_slice(&request.body).map_err(unreadable)?)?
    } else {
        chat.prepare_completion(&serde_json::from_slice(&request.body).map_err(unreadable)?)?
    };
    crate::engine::fits(&prepared, cells)?;
    Ok(prepared)
}

/// The server answers before the model computes when both want the processor.
#[allow(unsafe_code)] // no safe binding of setpriority for a niceness
fn lower_priority(nice: i32) {
    // SAFETY: a plain call on this process; a refusal is no harm.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, nice.min(19));
    }
}
