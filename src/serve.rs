//! `filbert serve`: sockets, signals, and the order in which things end.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use actix_web::{App as HttpApp, HttpServer, middleware::from_fn, web};
use anyhow::{Context, Result};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::signal::unix::{SignalKind, signal};

use crate::{app::App, config::Loaded, ui};

/// What the command line needs to talk to a running server: written 0600, removed at the end.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Local {
    pub address: String,
    pub token: String,
    pub pid: u32,
}

pub const LOCAL_FILE: &str = "run/server.json";

/// Runs until a signal asks it to stop. A second signal ends it at once.
pub async fn run(loaded: Loaded, first_owner: Option<(String, String)>) -> Result<()> {
    let config = loaded.config.clone();
    raise_open_files();
    let app = App::start(&loaded).await?;
    if let Some((email, password)) = first_owner {
        if app.services.accounts.set_up_needed().await.map_err(crate::app::plain)? {
            crate::cli::make_owner(&app.services, &email, &password).await?;
        }
    }
    let token = hex::encode(rand::random::<[u8; 32]>());
    let encrypted = !config.server.tls_certificate.as_os_str().is_empty();
    let http = api::Settings { secure_cookie: config.http.secure_cookie || encrypted, ..config.http.clone() };
    let state = api::State::new(app.services.clone(), http, Some(token.clone()));
    let factory = move || {
        let state = state.clone();
        HttpApp::new().wrap(from_fn(api::observe)).configure(move |c| api::routes(c, state)).default_service(web::to(ui::serve))
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let workers = if config.server.workers > 0 { config.server.workers } else { cores.min(4) };
    let server = HttpServer::new(factory)
        .workers(workers)
        .client_request_timeout(Duration::from_secs(10))
        .keep_alive(Duration::from_secs(75))
        // A client that closes has given up: what it asked for is dropped, and with that cancelled.
        .h1_allow_half_closed(false)
        .shutdown_timeout(config.server.stop_timeout_secs)
        .disable_signals();
    let listen = config.server.listen;
    let busy = || format!("`{listen}` cannot be listened on; choose another address with `--listen`, or see `filbert doctor`");
    let (certificate, key) = (&config.server.tls_certificate, &config.server.tls_key);
    let (server, scheme) = match (!certificate.as_os_str().is_empty(), !key.as_os_str().is_empty()) {
        (true, true) => (server.bind_rustls_0_23(listen, tls(certificate, key)?).with_context(busy)?, "https"),
        (false, false) => (server.bind(listen).with_context(busy)?, "http"),
        _ => anyhow::bail!("`server.tls_certificate` and `server.tls_key` belong together; set both or neither"),
    };
    let address = server.addrs().first().copied().unwrap_or(listen);
    let local = Local { address: format!("{scheme}://{address}"), token, pid: std::process::id() };
    let file = config.server.data_dir.join(LOCAL_FILE);
    write_local(&file, &local).with_context(|| format!("`{}` cannot be written", file.display()))?;
    let server = server.run();
    let handle = server.handle();
    println!("Filbert is ready: {}", local.address);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let running = tokio::spawn(server);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!(limit_secs = config.server.stop_timeout_secs, "stopping; a second signal stops at once");
    let graceful = async {
        handle.stop(true).await;
        let _ = running.await;
    };
    tokio::select! {
        () = graceful => {}
        // Who is still being answered is cut off when the process ends.
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    app.stop().await;
    let _ = std::fs::remove_file(&file);
    Ok(())
}

/// Every open answer is a file: as many as the system lets us have.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Err(error) = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard)) {
        tracing::warn!(%error, "the number of open files stays as it was");
    }
}

fn write_local(file: &Path, local: &Local) -> Result<()> {
    let _ = std::fs::remove_file(file);
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    out.write_all(&serde_json::to_vec(local)?)?;
    Ok(())
}

fn tls(certificate: &Path, key: &Path) -> Result<rustls::ServerConfig> {
    let name = |p: &Path| format!("`{}` is no readable PEM file", p.display());
    let chain = CertificateDer::pem_file_iter(certificate).with_context(|| name(certificate))?.collect::<Result<Vec<_>, _>>().with_context(|| name(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| name(key))?;
    rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).context("the certificate and its key do not fit each other")
}
