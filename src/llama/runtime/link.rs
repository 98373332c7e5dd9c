//! One running worker process, seen from the server.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

use domain::{Code, Error, Result, id::TenantId, time::Millis};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::OwnedReadHalf},
    process::{Child, Command},
    sync::mpsc,
};

use crate::{
    engine::Stats,
    worker::protocol::{self, FromWorker, Load, Ready, ToWorker, WireError},
};

/// A loaded model.
pub struct Link {
    pub model: String,
    pub ready: Ready,
    pub since: Millis,
    pub parallel: u32,
    pid: Option<u32>,
    to: mpsc::UnboundedSender<Vec<u8>>,
    pending: Mutex<HashMap<u64, mpsc::UnboundedSender<FromWorker>>>,
    /// Requests under way, by tenant.
    tenants: Mutex<HashMap<TenantId, u32>>,
    next_id: AtomicU64,
    last_used: AtomicI64,
    alive: AtomicBool,
    stats: Mutex<(Stats, Instant)>,
    child: Mutex<Option<Child>>,
}

fn crashed(model: &str) -> Error {
    Error::new(Code::ModelWorkerCrashed, format!("the process that runs `{model}` ended unexpectedly; it is started again with the next request, so try again")).retry_after(Duration::from_secs(1))
}

async fn read_frame(from: &mut BufReader<OwnedReadHalf>) -> std::io::Result<FromWorker> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let mut body = vec![0; protocol::body_length(head)?];
    from.read_exact(&mut body).await?;
    protocol::decode(&body)
}

impl Link {
    /// Starts a worker and waits until its model is loaded; `progress` hears how much of it is, 0 to 1.
    /// Errors: what the worker says about the file, or `model_worker_crashed`.
    pub async fn start(exe: &Path, model: &str, load: Load, patience: Duration, progress: impl Fn(f32)) -> Result<Arc<Self>> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(Error::internal)?;
        ours.set_nonblocking(true).map_err(Error::internal)?;
        let mut child = Command::new(exe)
            .arg("engine-worker")
            .stdin(OwnedFd::from(theirs))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .env("GGML_NO_BACKTRACE", "1")
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::internal)?;
        if let Some(stderr) = child.stderr.take() {
            let model = model.to_owned();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    tracing::debug!(model, "{line}");
                }
            });
        }
        let (from, mut into) = UnixStream::from_std(ours).map_err(Error::internal)?.into_split();
        let mut from = BufReader::new(from);
        let parallel = load.parallel;
        let first = protocol::encode(&ToWorker::Load(Box::new(load))).map_err(Error::internal)?;
        into.write_all(&first).await.map_err(|_| crashed(model))?;
        let answer = async {
            loop {
                match read_frame(&mut from).await {
                    Ok(FromWorker::Loading { progress: done }) => progress(done),
                    other => return other,
                }
            }
        };
        let ready = match tokio::time::timeout(patience, answer).await {
            Err(_) => return Err(Error::new(Code::Unavailable, format!("`{model}` did not load within {} seconds (`llama.load_timeout_secs`)", patience.as_secs()))),
            Ok(Ok(FromWorker::Ready(ready))) => ready,
            Ok(Ok(FromWorker::Refused(error))) => return Err(error.into()),
            Ok(_) => return Err(Error::new(Code::InvalidModelFile, format!("`{model}` ended its process while it was loaded: the file is damaged, or there is too little memory"))),
        };
        let (to, mut frames) = mpsc::unbounded_channel::<Vec<u8>>();
        tokio::spawn(async move {
            while let Some(frame) = frames.recv().await {
                if into.write_all(&frame).await.is_err() {
                    return;
                }
            }
        });
        let link = Arc::new(Self {
            model: model.to_owned(),
            ready,
            since: Millis::now(),
            parallel,
            pid: child.id(),
            to,
            pending: Mutex::new(HashMap::new()),
            tenants: Mutex::new(HashMap::new()),
            next_id: AtomicU64::new(1),
            last_used: AtomicI64::new(Millis::now().0),
            alive: AtomicBool::new(true),
            stats: Mutex::new((Stats::default(), Instant::now())),
            child: Mutex::new(Some(child)),
        });
        let reader = Arc::downgrade(&link);
        tokio::spawn(async move {
            while let Ok(frame) = read_frame(&mut from).await {
                let Some(link) = reader.upgrade() else { return };
                link.route(frame);
            }
            if let Some(link) = reader.upgrade() {
                link.lost();
            }
        });
        Ok(link)
    }

    fn route(&self, frame: FromWorker) {
        let id = match &frame {
            FromWorker::Stats(stats) => {
                *self.stats.lock() = (*stats, Instant::now());
                return;
            }
            FromWorker::Accepted { id } | FromWorker::Event { id, .. } | FromWorker::Failed { id, .. } | FromWorker::Done { id } | FromWorker::Vectors { id, .. } => *id,
            FromWorker::Ready(_) | FromWorker::Refused(_) | FromWorker::Loading { .. } => return,
        };
        self.stats.lock().1 = Instant::now();
        if let Some(reader) = self.pending.lock().get(&id) {
            let _ = reader.send(frame);
        }
    }

    /// The process is gone: everybody who waits is told.
    fn lost(&self) {
        self.alive.store(false, Ordering::Release);
        for (id, reader) in self.pending.lock().drain() {
            let _ = reader.send(FromWorker::Failed { id, error: WireError::from(crashed(&self.model)) });
        }
    }

    /// Ends the process at once.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().take() {
            let _ = child.start_kill();
        }
        self.lost();
    }

    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }
    /// Requests under way.
    pub fn in_flight(&self) -> u32 {
        self.pending.lock().len() as u32
    }
    pub fn last_used(&self) -> Millis {
        Millis(self.last_used.load(Ordering::Relaxed))
    }
    pub fn stats(&self) -> Stats {
        self.stats.lock().0
    }
    /// How long the worker has been silent although it has work.
    pub fn silent_for(&self) -> Duration {
        if self.in_flight() == 0 { Duration::ZERO } else { self.stats.lock().1.elapsed() }
    }

    /// Proportional set size in bytes; 0 when the system does not tell.
    pub fn memory(&self) -> u64 {
        let Some(pid) = self.pid else { return 0 };
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = text.lines().find_map(|l| l.strip_prefix("Pss:")).and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
        pss.unwrap_or(0) * 1024
    }

    /// Sends a request. Errors: `queue_full` when the model's queue or the tenant's share is.
    pub fn submit(self: &Arc<Self>, tenant: TenantId, queue: u32, share: u32, message: impl FnOnce(u64) -> ToWorker) -> Result<Submitted> {
        let full = |what: String| Err(Error::new(Code::QueueFull, what).retry_after(Duration::from_secs(1)));
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = mpsc::unbounded_channel();
        {
            let mut tenants = self.tenants.lock();
            let total: u32 = tenants.values().sum();
            if total >= self.parallel + queue {
                return full(format!("{total} requests for `{}` are under way, which is its limit (`llama.queue`); try again in a moment", self.model));
            }
            let own = tenants.entry(tenant).or_default();
            if *own >= self.parallel + share {
                return full(format!("this workspace has {own} requests for `{}` under way, which is its share (`llama.queue_per_tenant`); try again in a moment", self.model));
            }
            *own += 1;
            self.pending.lock().insert(id, sender);
        }
        self.last_used.store(Millis::now().0, Ordering::Relaxed);
        if self.in_flight() == 1 {
            self.stats.lock().1 = Instant::now();
        }
        let submitted = Submitted { link: self.clone(), id, tenant, events, done: false };
        let frame = protocol::encode(&message(id)).map_err(Error::internal)?;
        if !self.is_alive() || self.to.send(frame).is_err() {
            return Err(crashed(&self.model));
        }
        Ok(submitted)
    }
}

/// A request under way; dropping it cancels it.
pub struct Submitted {
    link: Arc<Link>,
    id: u64,
    tenant: TenantId,
    events: mpsc::UnboundedReceiver<FromWorker>,
    done: bool,
}

impl Submitted {
    /// The next message about it; `Failed` comes as an error.
    pub async fn next(&mut self) -> Result<FromWorker> {
        match self.events.recv().await {
            Some(FromWorker::Failed { error, .. }) => {
                self.done = true;
                Err(error.into())
            }
            Some(frame) => {
                self.done |= matches!(frame, FromWorker::Done { .. } | FromWorker::Vectors { .. });
                Ok(frame)
            }
            None => {
                self.done = true;
                Err(crashed(&self.link.model))
            }
        }
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        self.link.pending.lock().remove(&self.id);
        self.link.last_used.store(Millis::now().0, Ordering::Relaxed);
        let mut tenants = self.link.tenants.lock();
        if let Some(n) = tenants.get_mut(&self.tenant) {
            *n -= 1;
            if *n == 0 {
                tenants.remove(&self.tenant);
            }
        }
        if !self.done {
            if let Ok(frame) = protocol::encode(&ToWorker::Cancel { id: self.id }) {
                let _ = self.link.to.send(frame);
            }
        }
    }
}
