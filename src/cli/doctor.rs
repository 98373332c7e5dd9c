//! `filbert doctor`: what is wrong with this machine, the data and the models, and what to do about it.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Result, bail};
use llama::cpu;
use serde::Serialize;
use serde_json::json;

use super::{Server, models::manifest};
use crate::{app, config::Loaded, ui};

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Fail,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    message: String,
    /// What to do; empty where nothing is wrong.
    hint: String,
}

fn check(name: &'static str, status: Status, message: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { name, status, message: message.into(), hint: hint.into() }
}
fn fine(name: &'static str, message: impl Into<String>) -> Check {
    check(name, Status::Ok, message, "")
}

/// Memory that the server and both shipped models use, with room for the system.
const MEMORY_WANTED: u64 = 1500 << 20;
const DISK_WANTED: u64 = 1 << 30;
/// Every open stream is a file; so is every connection to a model.
const FILES_WANTED: u64 = 8192;

/// Prints every check; fails when one failed.
pub async fn run(loaded: &Loaded, json: bool) -> Result<()> {
    let server = Server::find(loaded);
    let mut all = vec![fine("configuration", format!("{} values, {} of them not the default", loaded.entries.len(), loaded.entries.iter().filter(|e| e.source != "default").count()))];
    all.push(port(loaded, server.as_ref()));
    all.push(directory("data directory", &loaded.config.server.data_dir, "server.data_dir"));
    let models = app::models_dir(&loaded.config);
    all.push(directory("models folder", &models, "llama.models_dir"));
    all.push(disk(&loaded.config.server.data_dir));
    all.push(memory());
    all.push(files());
    all.push(processor());
    all.push(console());
    match &server {
        Some(server) => match server.call(reqwest::Method::GET, "system", None).await {
            Ok(system) => {
                for c in system["checks"].as_array().into_iter().flatten() {
                    let status = match c["status"].as_str() {
                        Some("ok") => Status::Ok,
                        Some("warn") => Status::Warn,
                        _ => Status::Fail,
                    };
                    let text = |k: &str| c[k].as_str().unwrap_or_default().to_owned();
                    let name = if c["name"] == "store" { "store" } else { "server" };
                    all.push(check(name, status, text("message"), text("hint")));
                }
            }
            Err(e) => all.push(check("server", Status::Fail, super::explain(&e), "look into its log; stop it and start it again")),
        },
        None => all.push(store(loaded).await),
    }
    all.extend(shipped(&models));
    let failed = all.iter().filter(|c| c.status == Status::Fail).count();
    if json {
        println!("{}", json!({ "checks": all }));
    } else {
        for c in &all {
            let mark = match c.status {
                Status::Ok => "ok  ",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            println!("{mark}  {:<15} {}", c.name, c.message);
            if !c.hint.is_empty() {
                println!("      {:<15} → {}", "", c.hint);
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} checks failed", all.len());
    }
    Ok(())
}

fn port(loaded: &Loaded, server: Option<&Server>) -> Check {
    if let Some(server) = server {
        return fine("port", format!("a server of this data directory runs at {} (process {})", server.local.address, server.local.pid));
    }
    let listen = loaded.config.server.listen;
    match TcpListener::bind(listen) {
        Ok(_) if !listen.ip().is_loopback() && loaded.config.server.tls_certificate.as_os_str().is_empty() => {
            check("port", Status::Warn, format!("`{listen}` is free, and other machines reach it without encryption"), "set `server.tls_certificate` and `server.tls_key`, or keep it behind a proxy that speaks TLS")
        }
        Ok(_) => fine("port", format!("`{listen}` is free")),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => check("port", Status::Fail, format!("`{listen}` is used by another program"), "end that program, or choose another port with `--listen` or `server.listen`"),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => check("port", Status::Fail, format!("`{listen}` may not be used by this user"), "choose a port from 1024 on, or give the executable the capability `cap_net_bind_service`"),
        Err(e) => check("port", Status::Fail, format!("`{listen}` cannot be used: {e}"), "choose an address of this machine with `--listen` or `server.listen`"),
    }
}

/// Whether files can be made there. A directory that is not there yet must have a parent where it can be made.
fn directory(name: &'static str, dir: &Path, key: &str) -> Check {
    let there = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let shown = there.display();
    if there.exists() && !there.is_dir() {
        return check(name, Status::Fail, format!("`{shown}` is a file"), format!("move it away or set `{key}` to a directory"));
    }
    let Some(at) = there.ancestors().find(|a| a.is_dir()) else {
        return check(name, Status::Fail, format!("`{shown}` cannot be made"), format!("set `{key}` to a directory that can"));
    };
    match tempfile::Builder::new().prefix(".doctor-").tempfile_in(at) {
        Ok(_) if at == there => fine(name, format!("`{shown}` can be written")),
        Ok(_) => fine(name, format!("`{shown}` is made at the first start")),
        Err(e) => check(name, Status::Fail, format!("`{}` cannot be written: {e}", at.display()), format!("give this user the right to write there, or set `{key}`")),
    }
}

fn disk(dir: &Path) -> Check {
    let there = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let free = there.ancestors().find_map(|a| nix::sys::statvfs::statvfs(a).ok()).map_or(0, |d| d.blocks_available() as u64 * d.fragment_size() as u64);
    let message = format!("{} MB are free where the data lies", free / 1_000_000);
    match free {
        0..DISK_WANTED => check("disk", Status::Warn, message, "free some space; uploads and backups are refused when it runs out"),
        _ => fine("disk", message),
    }
}

fn memory() -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let figure = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024;
    // A container may have less than its machine.
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|t| t.trim().parse::<u64>().ok()).unwrap_or(u64::MAX);
    let available = figure("MemAvailable:").min(limit);
    let message = format!("{} MB of {} MB are available", available >> 20, figure("MemTotal:").min(limit) >> 20);
    if available < MEMORY_WANTED {
        return check("memory", Status::Warn, message, format!("the shipped models want about {} MB; end other programs, or lower `llama.context_size` and `llama.memory_mb`", MEMORY_WANTED >> 20));
    }
    fine("memory", message)
}

fn files() -> Check {
    use nix::sys::resource::{Resource, getrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    let message = format!("{hard} files may be open at once");
    if hard < FILES_WANTED {
        return check("open files", Status::Warn, message, format!("raise the limit to {FILES_WANTED} (`ulimit -n`, or `LimitNOFILE` of the service); every open answer is a file"));
    }
    fine("open files", message)
}

fn processor() -> Check {
    let (best, missing) = (cpu::best(), cpu::missing_features());
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    if missing.is_empty() {
        return fine("processor", format!("{cores} cores, kernels for {}", best.name()));
    }
    check("processor", Status::Fail, format!("this processor lacks {}", missing.join(", ")), "local models do not run on it; take a machine of the last ten years, or use a remote model")
}

fn console() -> Check {
    if ui::is_there() { fine("console", "the browser console is inside") } else { check("console", Status::Warn, "this build has no browser console", "build with `make run` or `make dist`") }
}

async fn store(loaded: &Loaded) -> Check {
    let (dir, settings) = (loaded.config.server.data_dir.clone(), loaded.config.store.clone());
    if !dir.exists() {
        return fine("store", "no data yet");
    }
    let opened = tokio::task::spawn_blocking(move || store_embedded::Store::open(&dir, &settings)).await;
    match opened {
        Ok(Ok(store)) => {
            store.close().await;
            fine("store", "the data opens")
        }
        Ok(Err(e)) => check("store", Status::Fail, e.message, "end the process that holds it, or restore a backup with `filbert restore` into an empty directory"),
        Err(e) => check("store", Status::Fail, e.to_string(), "restore a backup with `filbert restore` into an empty directory"),
    }
}

/// Looks at sizes only; `filbert models verify` reads the files.
fn shipped(dir: &Path) -> Vec<Check> {
    let Ok(manifest) = manifest() else { return Vec::new() };
    let inside = std::env::current_exe().ok().and_then(|e| llama::bundle::index(&e).ok()).unwrap_or_default();
    let state = |m: llama::BuiltIn| match std::fs::metadata(dir.join(&m.file)) {
        Ok(data) if data.len() == m.bytes => fine("model", format!("`{}` is here", m.file)),
        Ok(_) => check("model", Status::Fail, format!("`{}` has the wrong size", m.file), "delete it and run `make models`"),
        Err(_) if inside.iter().any(|b| b.file == m.file) => fine("model", format!("`{}` is inside this executable", m.file)),
        Err(_) => check("model", Status::Warn, format!("`{}` is not in `{}`", m.file, dir.display()), "run `make models`, or add another model file there"),
    };
    manifest.model.into_iter().map(state).collect()
}
