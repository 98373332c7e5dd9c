//! The configuration: defaults < `config.toml` < `FILBERT_SECTION__KEY` < flags. Read here and nowhere else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use service::settings::ConfigEntry;
use toml::{Table, Value};

/// Section `[server]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: SocketAddr,
    /// Directory of everything that is kept.
    pub data_dir: PathBuf,
    /// Threads that serve HTTP; 0 = one a core, at most four.
    pub workers: usize,
    /// Seconds that running answers get to finish when the server stops.
    pub stop_timeout_secs: u64,
    /// PEM file of a certificate chain, for TLS; empty = plain HTTP.
    pub tls_certificate: PathBuf,
    /// PEM file of the certificate's private key.
    pub tls_key: PathBuf,
}
impl Default for Server {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], 8787).into(), data_dir: "data".into(), workers: 0, stop_timeout_secs: 30, tls_certificate: PathBuf::new(), tls_key: PathBuf::new() }
    }
}

/// Section `[log]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,llama=debug`.
    pub level: String,
    /// One JSON object a line instead of text for people.
    pub json: bool,
}
impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), json: false }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub http: api::Settings,
    pub store: store_embedded::Settings,
    pub accounts: service::accounts::Settings,
    pub limits: service::limits::Settings,
    pub llama: llama::Settings,
    pub log: Log,
}

/// Values that were given, and where.
pub struct Loaded {
    pub config: Config,
    pub entries: Vec<ConfigEntry>,
}

/// Joins all sources. `file` must exist when it is named; `config.toml` in the present directory is optional.
pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>, flags: &[(&str, String)]) -> Result<Loaded> {
    let defaults = Table::try_from(Config::default()).context("the defaults")?;
    let path = file.map_or_else(|| PathBuf::from("config.toml"), Path::to_owned);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && file.is_none() => String::new(),
        Err(e) => bail!("the configuration file `{}` cannot be read: {e}", path.display()),
    };
    // toml names the line, the column and what is allowed there.
    toml::from_str::<Config>(&text).map_err(|e| anyhow::anyhow!("the configuration file `{}` is wrong:\n{e}", path.display()))?;
    let mut merged = defaults.clone();
    let mut sources = Vec::new();
    merge(&mut merged, toml::from_str::<Table>(&text)?, "", &mut sources);
    for (name, value) in environment {
        let Some(key) = name.strip_prefix("FILBERT_").filter(|k| k.contains("__")) else { continue };
        let key = key.to_lowercase().replace("__", ".");
        let named = || format!("the environment variable `{name}`");
        set(&mut merged, &key, &value).with_context(named)?;
        let _: Config = Value::Table(merged.clone()).try_into().with_context(named)?;
        sources.push((key, "environment"));
    }
    for (key, value) in flags {
        set(&mut merged, key, value)?;
        sources.push(((*key).to_owned(), "flag"));
    }
    let config: Config = Value::Table(merged.clone()).try_into().context("the configuration")?;
    let (mut entries, described) = (Vec::new(), descriptions());
    flatten(&merged, "", &mut |key, value| {
        let source = sources.iter().rev().find(|(k, _)| k == key).map_or("default", |(_, s)| s);
        entries.push(ConfigEntry { key: key.into(), value: value.to_string(), source: source.into(), description: described.get(key).cloned().unwrap_or_default() });
    });
    Ok(Loaded { config, entries })
}

/// The file that comes with the product: every key with its default and one sentence.
pub const DEFAULTS: &str = include_str!("../config.toml");

/// The comment above each key of [`DEFAULTS`], by `section.key`.
pub fn descriptions() -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    if let Ok(file) = DEFAULTS.parse::<toml_edit::DocumentMut>() {
        describe(file.as_table(), "", &mut out);
    }
    out
}

fn describe(table: &toml_edit::Table, prefix: &str, out: &mut BTreeMap<String, String>) {
    for (name, item) in table {
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        if let Some(inner) = item.as_table() {
            describe(inner, &path, out);
        } else if let Some(comment) = table.key(name).and_then(|k| k.leaf_decor().prefix()).and_then(|p| p.as_str()) {
            let lines: Vec<&str> = comment.lines().filter_map(|l| l.trim().strip_prefix('#')).map(str::trim).collect();
            out.insert(path, lines.join(" "));
        }
    }
}

fn merge(into: &mut Table, from: Table, prefix: &str, sources: &mut Vec<(String, &'static str)>) {
    for (key, value) in from {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (into.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(from)) => merge(inner, from, &path, sources),
            (_, value) => {
                sources.push((path, "file"));
                into.insert(key, value);
            }
        }
    }
}

/// Sets `section.key` from text: as the type it has, or as TOML where it has none yet.
fn set(table: &mut Table, path: &str, text: &str) -> Result<()> {
    let (sections, key) = path.rsplit_once('.').context("a key has the form `section.key`")?;
    let mut at = table;
    for section in sections.split('.') {
        at = at.get_mut(section).and_then(Value::as_table_mut).with_context(|| format!("there is no section `{section}` for `{path}`"))?;
    }
    let parsed = toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut t| t.remove("v"));
    let value = match (at.get(key), parsed) {
        (Some(Value::String(_)), _) | (_, None) => Value::String(text.into()),
        (_, Some(value)) => value,
    };
    at.insert(key.into(), value);
    Ok(())
}

fn flatten(table: &Table, prefix: &str, out: &mut impl FnMut(&str, &Value)) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(inner, &path, out),
            value => out(&path, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_sources_win_and_each_value_says_where_it_is_from() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "[llama]\nparallel = 3\nqueue = 7\n").unwrap();
        let environment = [("FILBERT_LLAMA__QUEUE".to_owned(), "9".to_owned()), ("FILBERT_LOG__LEVEL".into(), "warn".into()), ("FILBERT_ADMIN_EMAIL".into(), "x".into())];
        let loaded = load(Some(&file), environment.into_iter(), &[("server.listen", "127.0.0.1:1".into())]).unwrap();
        assert_eq!((loaded.config.llama.parallel, loaded.config.llama.queue, loaded.config.log.level.as_str()), (3, 9, "warn"));
        let source = |key: &str| loaded.entries.iter().find(|e| e.key == key).unwrap().source.clone();
        assert_eq!([source("llama.parallel"), source("llama.queue"), source("server.listen"), source("llama.nice")], ["file", "environment", "flag", "default"]);
    }

    #[test]
    fn the_shipped_file_has_every_key_with_its_default_and_one_sentence() {
        let shipped: Table = toml::from_str(DEFAULTS).unwrap();
        let read: Config = toml::from_str(DEFAULTS).unwrap();
        assert_eq!(toml::to_string(&read).unwrap(), toml::to_string(&Config::default()).unwrap());
        let keys = |table: &Table| {
            let mut all = Vec::new();
            flatten(table, "", &mut |key, _| all.push(key.to_owned()));
            all
        };
        assert_eq!(keys(&shipped), keys(&Table::try_from(Config::default()).unwrap()));
        let described = descriptions();
        flatten(&shipped, "", &mut |key, _| assert!(described.get(key).is_some_and(|d| d.len() > 10 && d.ends_with('.')), "`{key}` is not described"));
    }

    #[test]
    fn a_wrong_key_or_value_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        for (text, what) in [("[llama]\n\nparalel = 3\n", "paralel"), ("[llama]\n\nparallel = \"x\"\n", "parallel"), ("\n\n[llama", "line 3")] {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", load(Some(&file), std::iter::empty(), &[]).err().unwrap());
            assert!(error.contains(what) && error.contains("line 3"), "{error}");
        }
        assert!(load(None, [("FILBERT_NOPE__X".to_owned(), "1".to_owned())].into_iter(), &[]).is_err());
        assert!(load(None, [("FILBERT_LLAMA__NOPE".to_owned(), "1".to_owned())].into_iter(), &[]).is_err());
    }
}
