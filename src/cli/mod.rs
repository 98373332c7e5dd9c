//! The command line. Commands talk to the running server of a data directory when there is one, else open it themselves.

mod doctor;
mod manual;
mod models;

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use domain::{id::UserId, key::KeyScope};
use serde_json::{Value, json};
use service::Services;

use crate::{
    app::{self, App, plain},
    config::{self, Loaded},
    serve::{self, LOCAL_FILE, Local},
};

/// A whole LLM-application platform in one executable.
#[derive(Parser)]
#[command(name = "filbert", version, about, max_term_width = 100)]
struct Cli {
    /// Configuration file; without it `config.toml` in this directory, if there is one.
    #[arg(long, global = true, env = "FILBERT_CONFIG")]
    config: Option<PathBuf>,
    /// Directory of everything that is kept.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// Print JSON for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve {
        /// Address and port, e.g. `127.0.0.1:8787`.
        #[arg(long)]
        listen: Option<String>,
    },
    /// The first owner, without a browser.
    #[command(subcommand)]
    Admin(Admin),
    /// Keys for programs.
    #[command(subcommand)]
    Key(Key),
    /// Model files.
    #[command(subcommand)]
    Models(Models),
    /// Write a backup file, also while the server runs.
    Backup { file: PathBuf },
    /// Restore a backup into an empty data directory.
    Restore { file: PathBuf },
    /// Say what is wrong with this machine, its data and its models, and what to do.
    Doctor,
    /// Print the description of the HTTP API.
    Openapi,
    /// Print the configuration: every key with its default and what it does.
    Config {
        /// Print the values in use and where each is from instead.
        #[arg(long)]
        effective: bool,
    },
    /// Print the manual of every command, as Markdown.
    #[command(hide = true)]
    Manual,
}

#[derive(Subcommand)]
enum Admin {
    /// Make the first owner.
    Create {
        #[arg(long, env = "FILBERT_ADMIN_EMAIL")]
        email: String,
        #[arg(long, env = "FILBERT_ADMIN_PASSWORD", hide_env_values = true)]
        password: String,
    },
}

#[derive(Subcommand)]
enum Key {
    /// Make a key; it is printed once.
    Create {
        /// A key for models over the OpenAI-compatible API.
        #[arg(long, conflicts_with = "dataset", required_unless_present = "dataset")]
        model: bool,
        /// A key for the workspace's knowledge.
        #[arg(long)]
        dataset: bool,
        /// Name to recognise it by.
        #[arg(long, default_value = "command line")]
        name: String,
    },
}

#[derive(Subcommand)]
enum Models {
    /// List the models of this installation.
    List,
    /// Add a file of this machine, or one from a URL.
    Add {
        /// Path of a `.gguf` file, or `https://…`.
        source: String,
        /// What the file of a URL must hash to.
        #[arg(long)]
        sha256: Option<String>,
    },
    /// Check the models that come with this version against the manifest.
    Verify,
    /// Write a model file in another weight layout, for example `Q8_0`.
    Prepare {
        source: PathBuf,
        target: PathBuf,
        #[arg(long, default_value = "Q8_0")]
        layout: String,
    },
    /// Write this executable and the models that come with it as one file.
    Bundle { target: PathBuf },
}

/// Parses the arguments and does what they say.
pub fn main() -> Result<()> {
    let cli = Cli::parse();
    let mut flags = Vec::new();
    if let Some(data) = &cli.data {
        flags.push(("server.data_dir", data.display().to_string()));
    }
    if let Command::Serve { listen: Some(listen) } = &cli.command {
        flags.push(("server.listen", listen.clone()));
    }
    let loaded = config::load(cli.config.as_deref(), std::env::vars(), &flags)?;
    start_log(&loaded, matches!(cli.command, Command::Serve { .. }))?;
    // One provider of cryptography for the whole process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(cli, loaded))
}

fn start_log(loaded: &Loaded, serves: bool) -> Result<()> {
    use tracing_subscriber::{EnvFilter, fmt};
    let log = &loaded.config.log;
    let level = if serves { log.level.as_str() } else { "warn" };
    let filter = EnvFilter::try_new(level).with_context(|| format!("`log.level` is `{level}`, which is no level"))?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    if log.json { builder.json().init() } else { builder.with_target(false).init() }
    Ok(())
}

/// An error in one line, innermost cause last.
pub fn explain(e: &anyhow::Error) -> String {
    let mut parts: Vec<String> = e.chain().map(ToString::to_string).collect();
    parts.dedup();
    parts.join(": ")
}

/// A running server of the data directory, if one answers.
struct Server {
    client: reqwest::Client,
    local: Local,
}

impl Server {
    fn find(loaded: &Loaded) -> Option<Self> {
        let text = std::fs::read(loaded.config.server.data_dir.join(LOCAL_FILE)).ok()?;
        let local: Local = serde_json::from_slice(&text).ok()?;
        // Left behind by a server that was killed.
        let alive = nix::sys::signal::kill(nix::unistd::Pid::from_raw(local.pid as i32), None).is_ok();
        let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().ok()?;
        alive.then_some(Self { client, local })
    }
    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.client.request(method, format!("{}/internal/{path}", self.local.address)).header("X-Filbert-Local", &self.local.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.context("the running server does not answer")?;
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap_or(Value::Null));
        if !status.is_success() {
            bail!("{}", body["message"].as_str().unwrap_or("the running server refused"));
        }
        Ok(body)
    }
}

/// Makes the first owner; the name is what stands before the `@`.
pub async fn make_owner(services: &Services, email: &str, password: &str) -> Result<()> {
    let name = email.split('@').next().unwrap_or("owner").to_owned();
    let owner = service::accounts::SetUp { email: email.into(), name, password: password.into(), workspace_name: None, language: None };
    services.accounts.set_up(owner).await.map(|_| ()).map_err(plain)
}

async fn run(cli: Cli, loaded: Loaded) -> Result<()> {
    let print = |value: Value, text: String| println!("{}", if cli.json { value.to_string() } else { text });
    match cli.command {
        Command::Serve { .. } => {
            let owner = std::env::var("FILBERT_ADMIN_EMAIL").ok().zip(std::env::var("FILBERT_ADMIN_PASSWORD").ok());
            serve::run(loaded, owner).await
        }
        Command::Openapi => {
            println!("{}", api::openapi());
            Ok(())
        }
        Command::Config { effective: false } => {
            print(serde_json::to_value(config::descriptions())?, config::DEFAULTS.trim_end().into());
            Ok(())
        }
        Command::Config { effective: true } => {
            let lines: Vec<String> = loaded.entries.iter().map(|e| format!("{} = {}  # {}", e.key, e.value, e.source)).collect();
            print(loaded.entries.iter().map(|e| json!({ "key": e.key, "value": e.value, "source": e.source })).collect(), lines.join("\n"));
            Ok(())
        }
        Command::Manual => {
            println!("{}", manual::text());
            Ok(())
        }
        Command::Restore { file } => {
            let dir = &loaded.config.server.data_dir;
            let report = app::restore(&file, dir)?;
            print(serde_json::to_value(&report)?, format!("restored {} rows and {} blobs into `{}`", report.records, report.blobs, dir.display()));
            Ok(())
        }
        Command::Backup { file } => {
            let to = std::path::absolute(&file)?;
            let report = match Server::find(&loaded) {
                Some(server) => server.call(reqwest::Method::POST, "backup", Some(json!({ "to": to }))).await?,
                None => with_app(&loaded, async |app| Ok(serde_json::to_value(ports::backup::Backup::backup(&*app.store, &to).await.map_err(plain)?)?)).await?,
            };
            let text = format!("`{}` holds {} rows and {} blobs, {} bytes", to.display(), report["records"], report["blobs"], report["bytes"]);
            print(report, text);
            Ok(())
        }
        Command::Admin(Admin::Create { email, password }) => {
            match Server::find(&loaded) {
                Some(server) => drop(server.call(reqwest::Method::POST, "admin", Some(json!({ "email": email, "password": password }))).await?),
                None => with_app(&loaded, async |app| make_owner(&app.services, &email, &password).await).await?,
            }
            print(json!({ "email": email }), format!("`{email}` is the owner now; sign in at the console"));
            Ok(())
        }
        Command::Key(Key::Create { model, name, .. }) => {
            let kind = if model { "model" } else { "dataset" };
            let made = match Server::find(&loaded) {
                Some(server) => server.call(reqwest::Method::POST, "keys", Some(json!({ "kind": kind, "name": name }))).await?,
                None => with_app(&loaded, async |app| make_key(&app.services, model, name.clone()).await).await?,
            };
            let secret = made["key"].as_str().unwrap_or_default().to_owned();
            print(made, secret);
            Ok(())
        }
        Command::Models(what) => models::run(what, &loaded, &print).await,
        Command::Doctor => doctor::run(&loaded, cli.json).await,
    }
}

async fn with_app<T>(loaded: &Loaded, work: impl AsyncFnOnce(&App) -> Result<T>) -> Result<T> {
    let app = App::start(loaded).await?;
    let outcome = work(&app).await;
    app.stop().await;
    outcome
}

async fn make_key(services: &Services, model: bool, name: String) -> Result<Value> {
    let workspace = services.workspaces.first().await.map_err(plain)?.context("there is no workspace yet; make the first owner with `filbert admin create`")?;
    let scope = if model { KeyScope::Model { models: Vec::new() } } else { KeyScope::Dataset };
    let new = service::keys::NewKey { name, scope, expires_at: None };
    let (key, secret) = services.keys.create(workspace.id, None::<UserId>, new).await.map_err(plain)?;
    Ok(json!({ "id": key.id, "key": secret.expose() }))
}
