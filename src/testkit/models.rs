//! Models that answer what a test tells them to, a library without files, a backup without data.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{
    Code, Error, Result,
    chat::{ChatEvent, ChatRequest, CompletionRequest, EmbedRequest, Embeddings, FinishReason, Prompt, RerankHit, RerankRequest, Reranked, Timings, Usage},
    id::DownloadId,
    model::{Download, DownloadState, EffectiveSettings, GgufFacts, LoadState, LocalModel, ModelKind, ModelSettings, RuntimeStatus},
    time::Millis,
};
use futures::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use ports::{
    backup::{Backup, BackupReport},
    llm::{Caller, ChatStream, ModelSource},
    models::ModelLibrary,
};

/// The model that chats and the one that embeds; `RERANK` sorts.
pub const CHAT: &str = "chatty";
pub const EMBEDDING: &str = "vectorial";
pub const RERANK: &str = "sorter";

/// What the next request meets. When nothing was said, the model repeats the last message word by word.
#[derive(Clone, Debug)]
pub enum Script {
    /// These events, then the end.
    Says(Vec<ChatEvent>),
    /// The same with a pause before each.
    SaysSlowly(Vec<ChatEvent>, Duration),
    /// An error instead of a stream.
    Refuses(Error),
    /// These events, then an error.
    Breaks(Vec<ChatEvent>, Error),
    /// A word every few milliseconds, for ever.
    Rambles,
    /// A stream on which nothing ever comes.
    Silent,
    /// The call panics.
    Panics,
    /// The call itself takes this long, then goes on with the other.
    After(Duration, Box<Script>),
}

/// A text event of the first answer.
pub fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { index: 0, text: text.into(), logprobs: Vec::new() }
}
pub fn finish(reason: FinishReason) -> ChatEvent {
    ChatEvent::Finish { index: 0, reason }
}
pub fn usage(prompt: u32, completion: u32, cached: u32) -> ChatEvent {
    ChatEvent::Usage { usage: Usage { prompt_tokens: prompt, completion_tokens: completion, cached_tokens: cached, reasoning_tokens: 0 }, timings: Timings::default() }
}

#[derive(Default)]
struct Seen {
    chats: Vec<(Caller, ChatRequest)>,
    completions: Vec<CompletionRequest>,
    embeds: Vec<EmbedRequest>,
    reranks: Vec<RerankRequest>,
    uploads: Vec<(String, usize)>,
}

#[derive(Default)]
struct Counts {
    running: AtomicUsize,
    cancelled: AtomicUsize,
}

/// Counts a request while it runs; one that is dropped before its end was cancelled.
struct Running {
    counts: Arc<Counts>,
    ended: bool,
}
impl Drop for Running {
    fn drop(&mut self) {
        self.counts.running.fetch_sub(1, Ordering::SeqCst);
        if !self.ended {
            self.counts.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

pub struct ScriptedModels {
    models: Mutex<Vec<LocalModel>>,
    downloads: Mutex<Vec<Download>>,
    scripts: Mutex<VecDeque<Script>>,
    seen: Mutex<Seen>,
    counts: Arc<Counts>,
}

impl Default for ScriptedModels {
    fn default() -> Self {
        Self::new()
    }
}

fn model(id: &str, kind: ModelKind) -> LocalModel {
    LocalModel {
        id: id.into(),
        kind,
        file: format!("{id}.gguf"),
        bytes: 1000,
        modified_at: Millis(1_700_000_000_000),
        sha256: None,
        facts: Some(GgufFacts {
            architecture: "llama".into(),
            name: None,
            quantization: "Q8_0".into(),
            parameters: 1000,
            context_length: 2048,
            embedding_length: 4,
            layers: 1,
            vocabulary: 100,
            pooling: None,
            has_chat_template: true,
            template_takes_tools: false,
            licence: None,
            fast_kernels: true,
        }),
        problem: None,
        built_in: false,
        settings: ModelSettings { model: id.into(), ..ModelSettings::default() },
        effective: EffectiveSettings { context_size: 2048, parallel: 4, keep_alive_secs: 300, threads: 2, query_prefix: String::new(), passage_prefix: String::new() },
        load: LoadState::Unloaded,
    }
}

fn unknown(id: &str) -> Error {
    Error::new(Code::ModelNotFound, format!("there is no model `{}` here", id.chars().take(100).collect::<String>())).param("model")
}

impl ScriptedModels {
    pub fn new() -> Self {
        let models = vec![model(CHAT, ModelKind::Chat), model(EMBEDDING, ModelKind::Embedding), model(RERANK, ModelKind::Rerank)];
        Self { models: Mutex::new(models), downloads: Mutex::default(), scripts: Mutex::default(), seen: Mutex::default(), counts: Arc::default() }
    }

    /// Says what one more request will meet; each is met once, in order.
    pub fn next(&self, script: Script) {
        self.scripts.lock().push_back(script);
    }
    /// Requests under way.
    pub fn running(&self) -> usize {
        self.counts.running.load(Ordering::SeqCst)
    }
    /// Requests that were dropped before their end.
    pub fn cancelled(&self) -> usize {
        self.counts.cancelled.load(Ordering::SeqCst)
    }
    /// The last chat request and on whose behalf.
    pub fn last_chat(&self) -> (Caller, ChatRequest) {
        self.seen.lock().chats.last().cloned().expect("a chat request came")
    }
    pub fn chats(&self) -> usize {
        self.seen.lock().chats.len()
    }
    pub fn last_completion(&self) -> CompletionRequest {
        self.seen.lock().completions.last().cloned().expect("a completion request came")
    }
    pub fn last_embed(&self) -> EmbedRequest {
        self.seen.lock().embeds.last().cloned().expect("an embedding request came")
    }
    /// Names and sizes of the uploads that came whole.
    pub fn uploads(&self) -> Vec<(String, usize)> {
        self.seen.lock().uploads.clone()
    }
    /// A model file appears in the folder.
    pub fn drop_in(&self, id: &str, kind: ModelKind) {
        self.models.lock().push(model(id, kind));
    }

    async fn answer(&self, model: &str, wanted: ModelKind, n: u32, echo: String) -> Result<ChatStream> {
        self.kind(model, wanted)?;
        self.counts.running.fetch_add(1, Ordering::SeqCst);
        let mut running = Running { counts: self.counts.clone(), ended: false };
        let mut script = self.scripts.lock().pop_front();
        while let Some(Script::After(wait, then)) = script {
            tokio::time::sleep(wait).await;
            script = Some(*then);
        }
        let pace = if let Some(Script::SaysSlowly(_, pause)) = &script { *pause } else { Duration::ZERO };
        let (events, error, then) = match script {
            None => {
                let mut events: Vec<ChatEvent> = Vec::new();
                for index in 0..n {
                    events.extend(echo.split_inclusive(' ').map(|t| ChatEvent::Text { index, text: t.into(), logprobs: Vec::new() }));
                    events.push(ChatEvent::Finish { index, reason: FinishReason::Stop });
                }
                events.push(usage(echo.split(' ').count() as u32, n * echo.split(' ').count() as u32, 0));
                (events, None, None)
            }
            Some(Script::Says(events) | Script::SaysSlowly(events, _)) => (events, None, None),
            Some(Script::Breaks(events, error)) => (events, Some(error), None),
            Some(Script::Refuses(error)) => {
                running.ended = true;
                return Err(error);
            }
            Some(Script::Panics) => panic!("this was asked for by a test"),
            Some(Script::Rambles) => (Vec::new(), None, Some(Duration::from_millis(5))),
            Some(Script::Silent | Script::After(..)) => (Vec::new(), None, Some(Duration::from_secs(3600))),
        };
        Ok(futures::stream::unfold((VecDeque::from(events), error, running), move |(mut events, mut error, mut running)| async move {
            if let Some(event) = events.pop_front() {
                if !pace.is_zero() {
                    tokio::time::sleep(pace).await;
                }
                return Some((Ok(event), (events, error, running)));
            }
            if let Some(pause) = then {
                tokio::time::sleep(pause).await;
                return Some((Ok(text("word ")), (events, error, running)));
            }
            running.ended = true;
            error.take().map(|e| (Err(e), (events, None, running)))
        })
        .boxed())
    }

    fn kind(&self, id: &str, wanted: ModelKind) -> Result<()> {
        let found = self.models.lock().iter().find(|m| m.id == id).map(|m| m.kind).ok_or_else(|| unknown(id))?;
        if found == wanted { Ok(()) } else { Err(Error::new(Code::ModelUnsupported, format!("`{id}` is a model for {}", found.as_str())).param("model")) }
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut LocalModel)) -> Result<LocalModel> {
        let mut models = self.models.lock();
        let found = models.iter_mut().find(|m| m.id == id).ok_or_else(|| unknown(id))?;
        change(found);
        Ok(found.clone())
    }

    fn change_download(&self, id: DownloadId, state: DownloadState) -> Result<Download> {
        let mut downloads = self.downloads.lock();
        let found = downloads.iter_mut().find(|d| d.id == id).ok_or_else(|| Error::not_found("download", id))?;
        found.state = state;
        Ok(found.clone())
    }
}

#[async_trait]
impl ModelSource for ScriptedModels {
    async fn chat(&self, caller: &Caller, request: ChatRequest) -> Result<ChatStream> {
        self.seen.lock().chats.push((caller.clone(), request.clone()));
        let echo = request.messages.last().map(|m| m.plain_text()).unwrap_or_default();
        self.answer(&request.model, ModelKind::Chat, request.n.unwrap_or(1), echo).await
    }
    async fn complete(&self, _: &Caller, request: CompletionRequest) -> Result<ChatStream> {
        self.seen.lock().completions.push(request.clone());
        let echo = match request.prompt {
            Prompt::Text(text) => text,
            Prompt::Tokens(tokens) => format!("{tokens:?}"),
        };
        self.answer(&request.model, ModelKind::Chat, request.n.unwrap_or(1), echo).await
    }
    async fn embed(&self, _: &Caller, request: EmbedRequest) -> Result<Embeddings> {
        self.seen.lock().embeds.push(request.clone());
        self.kind(&request.model, ModelKind::Embedding)?;
        let vectors = (0..request.inputs.len()).map(|i| vec![1.0, 0.5, -0.25, i as f32]).collect();
        Ok(Embeddings { vectors, usage: Usage { prompt_tokens: 3 * request.inputs.len() as u32, ..Usage::default() } })
    }
    async fn rerank(&self, _: &Caller, request: RerankRequest) -> Result<Reranked> {
        self.seen.lock().reranks.push(request.clone());
        self.kind(&request.model, ModelKind::Rerank)?;
        // The last document is the best.
        let mut results: Vec<RerankHit> = (0..request.documents.len() as u32).rev().map(|index| RerankHit { index, score: index as f32 / 10.0 }).collect();
        results.truncate(request.top_n.map_or(usize::MAX, |n| n as usize));
        Ok(Reranked { results, usage: Usage { prompt_tokens: 7, ..Usage::default() } })
    }
}

#[async_trait]
impl ModelLibrary for ScriptedModels {
    async fn list(&self) -> Result<Vec<LocalModel>> {
        Ok(self.models.lock().clone())
    }
    async fn get(&self, id: &str) -> Result<LocalModel> {
        self.change(id, |_| {})
    }
    async fn add_file(&self, from: &Path) -> Result<LocalModel> {
        let name = from.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        self.drop_in(&name, ModelKind::Chat);
        self.get(&name).await
    }
    async fn add_upload(&self, file_name: &str, mut data: BoxStream<'_, std::io::Result<Bytes>>) -> Result<LocalModel> {
        let id = file_name.strip_suffix(".gguf").ok_or_else(|| Error::invalid("file_name", "a model's file name ends in `.gguf`"))?;
        let mut all = Vec::new();
        while let Some(piece) = data.next().await {
            all.extend_from_slice(&piece.map_err(|e| Error::new(Code::BadRequest, "the upload ended too early; send it again").source(e))?);
        }
        if !all.starts_with(b"GGUF") {
            return Err(Error::new(Code::InvalidModelFile, "this is not a readable GGUF file"));
        }
        self.seen.lock().uploads.push((file_name.into(), all.len()));
        self.drop_in(id, ModelKind::Chat);
        self.get(id).await
    }
    async fn download(&self, url: &str, file_name: Option<&str>, sha256: Option<&str>) -> Result<Download> {
        if !url.starts_with("http") {
            return Err(Error::invalid("url", "`url` must begin with `http://` or `https://`"));
        }
        let now = Millis::now();
        let file = file_name.or_else(|| url.rsplit('/').next()).unwrap_or_default().into();
        let made = Download { id: DownloadId::new(), url: url.into(), file, sha256: sha256.map(Into::into), state: DownloadState::Running, received_bytes: 0, total_bytes: None, rate: None, error: None, created_at: now, updated_at: now };
        self.downloads.lock().push(made.clone());
        Ok(made)
    }
    async fn downloads(&self) -> Result<Vec<Download>> {
        Ok(self.downloads.lock().clone())
    }
    async fn pause_download(&self, id: DownloadId) -> Result<Download> {
        self.change_download(id, DownloadState::Paused)
    }
    async fn resume_download(&self, id: DownloadId) -> Result<Download> {
        self.change_download(id, DownloadState::Running)
    }
    async fn cancel_download(&self, id: DownloadId) -> Result<()> {
        self.change_download(id, DownloadState::Cancelled).map(|_| ())
    }
    async fn remove(&self, id: &str) -> Result<()> {
        self.get(id).await?;
        self.models.lock().retain(|m| m.id != id);
        Ok(())
    }
    async fn configure(&self, settings: ModelSettings) -> Result<LocalModel> {
        let id = settings.model.clone();
        self.change(&id, |m| m.settings = settings)
    }
    async fn load(&self, id: &str) -> Result<LocalModel> {
        let now = Millis::now();
        self.change(id, |m| m.load = LoadState::Loaded { since: now, last_used: now, memory_bytes: 1000, running: 0, queued: 0 })
    }
    async fn unload(&self, id: &str) -> Result<LocalModel> {
        self.change(id, |m| m.load = LoadState::Unloaded)
    }
    async fn status(&self) -> Result<RuntimeStatus> {
        let loaded = self.models.lock().iter().filter(|m| matches!(m.load, LoadState::Loaded { .. })).count() as u32;
        Ok(RuntimeStatus { memory_budget_bytes: 1 << 30, memory_used_bytes: 1000, loaded, running: self.running() as u32, queued: 0, cpu_features: vec!["avx2".into()], counters: [("prompt_tokens".to_owned(), 5)].into() })
    }
}

/// Writes a short file and says that it is a backup.
#[derive(Default)]
pub struct MemoryBackup {
    /// The error the next one ends with.
    pub refuses: Mutex<Option<Error>>,
}

pub const BACKUP: &[u8] = b"a whole backup";

#[async_trait]
impl Backup for MemoryBackup {
    async fn backup(&self, to: &Path) -> Result<BackupReport> {
        if let Some(error) = self.refuses.lock().take() {
            return Err(error);
        }
        std::fs::write(to, BACKUP).map_err(Error::internal)?;
        Ok(BackupReport { records: 3, blobs: 1, bytes: BACKUP.len() as u64, sha256: "ab".repeat(32) })
    }
}
