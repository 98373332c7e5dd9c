//! A whole server in this process.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn};
use domain::{account::{Membership, Role, User}, id::TenantId, key::{ApiKey, KeyScope}, time::Millis};
use ports::{memory::MemoryRecords, records::Records};
use serde_json::json;
use service::{Deps, Services, keys::NewKey, settings::ConfigEntry};

use crate::{client::Client, models::{MemoryBackup, ScriptedModels}};

/// The password of everybody here.
pub const PASSWORD: &str = "correct horse battery";
/// What `/internal` wants to be shown.
pub const LOCAL_TOKEN: &str = "token-of-the-data-directory";

/// What a server of the tests can be told; the defaults make password hashes cheap and switch throttling off.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub http: api::Settings,
    pub service: service::Settings,
}

impl Settings {
    pub fn quick() -> Self {
        let mut s = Self::default();
        (s.service.accounts.hash_memory_kib, s.service.accounts.hash_passes, s.service.accounts.login_free_attempts) = (8, 1, 1_000_000);
        s.service.limits.logins_per_minute_per_ip = 0;
        s
    }
}

/// A server on a free loopback port; it ends when this is dropped.
pub struct TestApp {
    pub address: SocketAddr,
    pub services: Arc<Services>,
    pub records: Records,
    pub models: Arc<ScriptedModels>,
    pub backup: Arc<MemoryBackup>,
    pub state: api::State,
    data: tempfile::TempDir,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::with(Settings::quick()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let records = Records::new(Arc::new(MemoryRecords::new()));
        let (models, backup, data) = (Arc::new(ScriptedModels::new()), Arc::new(MemoryBackup::default()), tempfile::tempdir().expect("a temporary folder"));
        let services = Services::new(Deps {
            records: records.clone(),
            backup: backup.clone(),
            models: models.clone(),
            library: models.clone(),
            settings: settings.service,
            data_dir: data.path().to_owned(),
            version: "1.2.3".into(),
            config: vec![ConfigEntry { key: "server.listen".into(), value: "127.0.0.1:0".into(), source: "flag".into(), description: "Address and port.".into() }],
        });
        let state = api::State::new(services.clone(), settings.http, Some(LOCAL_TOKEN.into()));
        let served = state.clone();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let factory = move || {
                    let state = served.clone();
                    App::new().wrap(from_fn(api::observe)).configure(move |c| api::routes(c, state))
                };
                let server = HttpServer::new(factory).workers(1).h1_allow_half_closed(false).disable_signals().bind_auto_h2c(("127.0.0.1", 0)).expect("a free port");
                let address = server.addrs()[0];
                let server = server.run();
                tell.send((address, server.handle())).expect("the test waits for this");
                server.await.expect("the server ends in peace");
            });
        });
        let (address, handle) = told.recv().expect("the server starts");
        Self { address, services, records, models, backup, state, data, handle, thread: Some(thread) }
    }

    /// The folder that would hold the data.
    pub fn data_dir(&self) -> &std::path::Path {
        self.data.path()
    }

    /// A program with this key that speaks HTTP/2.
    pub fn with_key_over_http2(&self, secret: &str) -> Client {
        Client::over_http2(self.address, secret)
    }

    /// Nobody in particular.
    pub fn nobody(&self) -> Client {
        Client::new(self.address, None, None, None)
    }

    /// A program with this key.
    pub fn with_key(&self, secret: &str) -> Client {
        Client::new(self.address, None, None, Some(secret.into()))
    }

    /// Makes the first owner, over HTTP, and signs them in.
    pub async fn set_up(&self) -> Client {
        let owner = self.nobody();
        owner.post("/console/api/setup", json!({"email": "owner@example.org", "name": "Olive", "password": PASSWORD, "workspace_name": "Home"})).await.ok(200);
        owner
    }

    /// The workspace made first.
    pub async fn home(&self) -> TenantId {
        self.services.workspaces.first().await.expect("records in memory answer").expect("somebody called set_up").id
    }

    /// Somebody new with this role in this workspace, signed in; whether they may be there is not asked.
    pub async fn person(&self, workspace: TenantId, role: Role) -> Client {
        let user = User {
            id: domain::id::UserId::new(),
            email: domain::account::Email::parse(&format!("{}@example.org", uuid())).expect("an address"),
            name: "Somebody".into(),
            password_hash: String::new(),
            language: "en-US".into(),
            theme: "system".into(),
            active: true,
            created_at: Millis::now(),
            last_login_at: None,
        };
        self.records.insert(&user).await.expect("a new user");
        self.records.insert(&Membership { tenant: workspace, user: user.id, role, created_at: Millis::now() }).await.expect("a new membership");
        self.signed_in(&user).await
    }

    /// The owner of a workspace that nobody else here has to do with.
    pub async fn neighbour(&self) -> (TenantId, Client) {
        let maker = domain::id::UserId::new();
        let workspace = self.services.workspaces.create(maker, "Next door").await.expect("a new workspace").id;
        (workspace, self.person(workspace, Role::Owner).await)
    }

    /// A session for a user, without a password.
    pub async fn signed_in(&self, user: &User) -> Client {
        let issued = self.services.sessions.open(user, "127.0.0.1", "test").await.expect("a session");
        Client::new(self.address, Some(issued.cookie), Some(issued.principal.csrf_token), None)
    }

    /// A key of a workspace with its text.
    pub async fn key(&self, workspace: TenantId, scope: KeyScope) -> (ApiKey, String) {
        let (key, secret) = self.services.keys.create(workspace, None, NewKey { name: "test".into(), scope, expires_at: None }).await.expect("a new key");
        (key, secret.expose().to_owned())
    }

    /// A program with a new key for all models, in a workspace of its own.
    pub async fn program(&self) -> Client {
        let (_, secret) = self.key(TenantId::new(), KeyScope::Model { models: Vec::new() }).await;
        self.with_key(&secret)
    }
}

fn uuid() -> String {
    domain::id::UserId::new().to_string()
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // The command is sent when `stop` is called; the future only waits for its end.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the server's thread did not panic");
            }
        }
    }
}
