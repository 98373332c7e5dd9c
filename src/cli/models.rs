//! `filbert models …`

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use llama::{Manifest, bundle};
use ports::models::ModelLibrary;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Models, Server, with_app};
use crate::{app, app::plain, config::Loaded};

pub async fn run(what: Models, loaded: &Loaded, print: &impl Fn(Value, String)) -> Result<()> {
    match what {
        Models::List => list(loaded, print).await,
        Models::Add { source, sha256 } if source.starts_with("https://") || source.starts_with("http://") => download(loaded, &source, sha256.as_deref(), print).await,
        Models::Add { source, sha256 } => add(loaded, Path::new(&source), sha256.as_deref(), print).await,
        Models::Verify => verify(loaded, print),
        Models::Prepare { source, target, layout } => {
            let layout = layout.parse().map_err(plain)?;
            let report = json!({ "file": target, "layout": format!("{layout}") });
            let text = format!("`{}` holds the model as {layout}", target.display());
            tokio::task::spawn_blocking(move || llama::prepare::requantize(&source, &target, &layout)).await?.map_err(plain)?;
            print(report, text);
            Ok(())
        }
        Models::Bundle { target } => {
            let dir = app::models_dir(&loaded.config);
            let files: Vec<PathBuf> = manifest()?.model.iter().map(|m| dir.join(&m.file)).collect();
            let exe = std::env::current_exe()?;
            let all = bundle::write(&exe, &files, &target).map_err(plain).context("`make models` brings the models")?;
            let bytes = std::fs::metadata(&target)?.len();
            print(json!({ "file": target, "bytes": bytes, "models": all }), format!("`{}` holds everything, {} MB", target.display(), bytes / 1_000_000));
            Ok(())
        }
    }
}

pub fn manifest() -> Result<Manifest> {
    Manifest::parse(app::MANIFEST).map_err(plain)
}

async fn list(loaded: &Loaded, print: &impl Fn(Value, String)) -> Result<()> {
    let all = match Server::find(loaded) {
        Some(server) => server.call(Method::GET, "models", None).await?["models"].clone(),
        None => with_app(loaded, async |app| Ok(serde_json::to_value(app.runtime.list().await.map_err(plain)?)?)).await?,
    };
    let line = |m: &Value| {
        let [id, kind, quantization, state] = ["/id", "/kind", "/facts/quantization", "/load/state"].map(|p| m.pointer(p).and_then(Value::as_str).unwrap_or("?"));
        format!("{id:<44} {kind:<10} {quantization:>8} {:>6} MB  {}", m["bytes"].as_u64().unwrap_or(0) / 1_000_000, m["problem"].as_str().unwrap_or(state))
    };
    let text = all.as_array().map(|l| l.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap_or_default();
    print(all, if text.is_empty() { "no models here; `filbert models add FILE.gguf` adds one".into() } else { text });
    Ok(())
}

async fn add(loaded: &Loaded, file: &Path, sha256: Option<&str>, print: &impl Fn(Value, String)) -> Result<()> {
    let path = std::path::absolute(file)?;
    if let Some(wanted) = sha256 {
        let found = bundle::sha256(&path).map_err(plain).with_context(|| format!("`{}` cannot be read", path.display()))?;
        if !found.eq_ignore_ascii_case(wanted) {
            bail!("`{}` has the SHA-256 {found}, not {wanted}; nothing was added", path.display());
        }
    }
    let added = match Server::find(loaded) {
        Some(server) => server.call(Method::POST, "models/add", Some(json!({ "path": path }))).await?,
        None => with_app(loaded, async |app| Ok(serde_json::to_value(app.runtime.add_file(&path).await.map_err(plain)?)?)).await?,
    };
    let text = format!("`{}` is there now", added["id"].as_str().unwrap_or_default());
    print(added, text);
    Ok(())
}

/// With a server the download goes on in it; without one this waits until it is done, and a second call resumes it.
async fn download(loaded: &Loaded, url: &str, sha256: Option<&str>, print: &impl Fn(Value, String)) -> Result<()> {
    if let Some(server) = Server::find(loaded) {
        let started = server.call(Method::POST, "models/add", Some(json!({ "url": url, "sha256": sha256 }))).await?;
        let text = format!("`{}` is being downloaded; the models page shows how far it is", started["file"].as_str().unwrap_or(url));
        print(started, text);
        return Ok(());
    }
    let done = with_app(loaded, async |app| {
        let started = app.runtime.download(url, None, sha256).await.map_err(plain)?;
        let started = serde_json::to_value(&started)?;
        let mut shown = u64::MAX;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let all = serde_json::to_value(app.runtime.downloads().await.map_err(plain)?)?;
            let now = all.as_array().and_then(|l| l.iter().find(|d| d["id"] == started["id"])).cloned().unwrap_or(Value::Null);
            match now["state"].as_str() {
                Some("done") => return Ok(now),
                Some("failed" | "paused" | "cancelled") | None => bail!("{}", now["error"].as_str().unwrap_or("the download stopped; run the command again to go on")),
                _ => {}
            }
            let (have, total) = (now["received_bytes"].as_u64().unwrap_or(0), now["total_bytes"].as_u64().unwrap_or(0));
            let percent = if total > 0 { have * 100 / total } else { 0 };
            if percent != shown {
                shown = percent;
                eprint!("\r{} MB of {} MB ({percent} %) ", have / 1_000_000, total / 1_000_000);
            }
        }
    })
    .await?;
    eprintln!();
    let text = format!("`{}` is there now", done["file"].as_str().unwrap_or_default());
    print(done, text);
    Ok(())
}

fn verify(loaded: &Loaded, print: &impl Fn(Value, String)) -> Result<()> {
    let dir = app::models_dir(&loaded.config);
    let (mut rows, mut text, mut wrong) = (Vec::new(), Vec::new(), 0);
    for model in manifest()?.model {
        let path = dir.join(&model.file);
        let state = match bundle::sha256(&path) {
            _ if !path.exists() => "missing",
            Ok(found) if found == model.sha256 => "right",
            Ok(_) => "changed",
            Err(_) => "unreadable",
        };
        wrong += usize::from(state != "right");
        text.push(format!("{:<44} {state}", model.file));
        rows.push(json!({ "file": model.file, "state": state, "sha256": model.sha256 }));
    }
    print(json!(rows), text.join("\n"));
    if wrong > 0 {
        bail!("{wrong} of the models in `{}` are not as shipped; `make models` brings them again", dir.display());
    }
    Ok(())
}
