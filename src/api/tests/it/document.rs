//! The description of the API, read as a contract: operations for tables, schemas for answers.

use domain::{
    id::DownloadId,
    model::{Download, DownloadState, EffectiveSettings, GgufFacts, LoadState, LocalModel, ModelKind, ModelSettings, Pooling, RuntimeStatus},
    time::Millis,
};
use reqwest::Method;
use serde_json::Value;

/// An operation of the description.
pub struct Operation {
    pub method: Method,
    /// With names in braces.
    pub template: String,
    /// `session`, `key`, `local` or nothing.
    pub security: Option<String>,
}

/// An id of nothing.
pub const NOWHERE: &str = "01890000-0000-7000-8000-000000000000";

impl Operation {
    /// The path with ids of nothing.
    pub fn path(&self) -> String {
        self.template.replace("{id}", NOWHERE).replace("{user_id}", NOWHERE)
    }
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

pub fn document() -> Value {
    serde_json::from_str(&api::openapi()).expect("the description is JSON")
}

pub fn operations() -> Vec<Operation> {
    let document = document();
    let mut all = Vec::new();
    for (template, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let security = operation["security"][0].as_object().and_then(|s| s.keys().next().cloned());
            all.push(Operation { method: method.to_uppercase().parse().expect("a method"), template: template.clone(), security });
        }
    }
    all
}

/// Checks an answer against what the description says of this operation and status.
pub fn check(method: &str, template: &str, status: u16, body: &Value) {
    let document = document();
    let said = &document["paths"][template][method]["responses"][status.to_string()]["content"]["application/json"]["schema"];
    assert!(said.is_object(), "{method} {template} is not described as answering {status} with JSON");
    fits(&document, said, body, false, &format!("{method} {template}")).unwrap_or_else(|e| panic!("{e}"));
}

/// Whether a value has the shape of a schema: no field unknown, none that is required missing. With `every`, all fields of
/// the schema must be there. `Err` says where it does not.
fn fits(document: &Value, schema: &Value, value: &Value, every: bool, at: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{at}: {why}: {value} against {schema}"));
    if let Some(name) = schema["$ref"].as_str() {
        return fits(document, document.pointer(&name[1..]).ok_or_else(|| format!("{at}: {name} is not there"))?, value, every, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let tried: Vec<_> = choices.iter().map(|c| fits(document, c, value, every, at)).collect();
        return match tried.iter().filter(|r| r.is_ok()).count() {
            1 => Ok(()),
            n => wrong(&format!("{n} choices fit: {tried:?}")),
        };
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = serde_json::json!({"type": "object", "properties": {}, "required": []});
        for part in parts {
            let part = part["$ref"].as_str().map_or(part, |name| &document["components"]["schemas"][name.rsplit('/').next().unwrap_or_default()]);
            let mut properties = part["properties"].as_object().cloned().unwrap_or_default();
            whole["properties"].as_object_mut().into_iter().for_each(|p| p.append(&mut properties));
            let mut required = part["required"].as_array().cloned().unwrap_or_default();
            whole["required"].as_array_mut().into_iter().for_each(|r| r.append(&mut required));
        }
        return fits(document, &whole, value, every, at);
    }
    let allowed: Vec<&str> = schema["type"].as_str().into_iter().chain(schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str)).collect();
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fitting = allowed.contains(&is) || (is == "integer" && allowed.contains(&"number"));
    if !allowed.is_empty() && !fitting {
        return wrong("the type is another");
    }
    if schema["enum"].as_array().is_some_and(|e| !e.contains(value)) {
        return wrong("this is no choice");
    }
    if schema["minimum"].as_f64().zip(value.as_f64()).is_some_and(|(m, v)| v < m) {
        return wrong("this is too small");
    }
    if let Some(items) = value.as_array() {
        for (i, item) in items.iter().enumerate() {
            fits(document, &schema["items"], item, every, &format!("{at}[{i}]"))?;
        }
    }
    if let (Some(fields), true) = (value.as_object(), schema["properties"].is_object() || schema["additionalProperties"].is_object()) {
        for (name, field) in fields {
            let described = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
            let Some(described) = described else { return wrong(&format!("`{name}` is not described")) };
            fits(document, described, field, every, &format!("{at}.{name}"))?;
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let all = schema["properties"].as_object().into_iter().flat_map(|p| p.keys().map(String::as_str)).filter(|_| every);
        if let Some(missing) = required.chain(all).find(|name| !fields.contains_key(*name)) {
            return wrong(&format!("`{missing}` is missing"));
        }
    }
    Ok(())
}

#[test]
fn the_description_in_the_repository_is_what_the_program_prints() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/generated/openapi.json");
    let kept = std::fs::read_to_string(file).expect("the file is there");
    assert!(kept.trim_end() == api::openapi().trim_end(), "stale: run `target/release/filbert openapi > docs/generated/openapi.json`");
}

#[test]
fn every_operation_has_a_summary_a_tag_and_an_answer_and_every_reference_leads_somewhere() {
    let document = document();
    for o in operations() {
        let said = &document["paths"][&o.template][o.method.as_str().to_lowercase()];
        assert!(said["summary"].as_str().is_some_and(|s| s.len() > 5) && said["tags"][0].is_string(), "{}", o.name());
        assert!(said["responses"].as_object().is_some_and(|r| r.keys().any(|k| k.starts_with('2'))), "{}", o.name());
        assert_eq!(o.template.matches('{').count(), said["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "path").count(), "{}", o.name());
    }
    let text = document.to_string();
    for name in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(name).is_some(), "{name}");
    }
}

/// The schemas of the console's models are written by hand beside the domain's types: this is what keeps them together.
#[test]
fn the_described_models_agree_with_the_domain_s_field_by_field() {
    let document = document();
    let agree = |name: &str, value: Value| {
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{name} is not described");
        fits(&document, schema, &value, true, name).unwrap_or_else(|e| panic!("{e}"));
    };
    for load in loads() {
        agree("LoadState", json(&load));
        agree("LocalModel", json(&LocalModel { load, ..full() }));
    }
    for kind in [ModelKind::Chat, ModelKind::Embedding, ModelKind::Rerank] {
        agree("ModelKind", json(&kind));
    }
    for pooling in [Pooling::None, Pooling::Mean, Pooling::Cls, Pooling::Last, Pooling::Rank] {
        agree("Pooling", json(&pooling));
    }
    for state in [DownloadState::Running, DownloadState::Paused, DownloadState::Verifying, DownloadState::Done, DownloadState::Failed, DownloadState::Cancelled] {
        agree("Download", json(&Download { state, ..download(Some(1)) }));
        agree("Download", json(&Download { state, ..download(None) }));
    }
    agree("LocalModel", json(&LocalModel { facts: None, problem: None, sha256: None, settings: ModelSettings::default(), ..full() }));
    agree("GgufFacts", json(&GgufFacts { name: None, pooling: None, licence: None, ..full().facts.expect("it is full") }));
    agree("RuntimeStatus", json(&RuntimeStatus { cpu_features: vec!["avx2".into()], counters: [("n".to_owned(), 1)].into(), ..RuntimeStatus::default() }));
    // Names are counted, too: a choice the domain does not have is not described.
    let choices = |name: &str| document["components"]["schemas"][name]["enum"].as_array().map_or(0, Vec::len);
    assert_eq!([choices("ModelKind"), choices("Pooling"), choices("DownloadState")], [3, 5, 6]);
    assert_eq!(document["components"]["schemas"]["LoadState"]["oneOf"].as_array().map(Vec::len), Some(loads().len()));
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("plain data")
}

fn loads() -> [LoadState; 4] {
    let at = Millis(1);
    [
        LoadState::Unloaded,
        LoadState::Loading { progress: 0.5 },
        LoadState::Loaded { since: at, last_used: at, memory_bytes: 1, running: 1, queued: 1 },
        LoadState::Failed { code: "c".into(), message: "m".into() },
    ]
}

/// A model with every field filled.
fn full() -> LocalModel {
    let text = || Some("x".to_owned());
    LocalModel {
        id: "x".into(),
        kind: ModelKind::Chat,
        file: "x.gguf".into(),
        bytes: 1,
        modified_at: Millis(1),
        sha256: text(),
        facts: Some(GgufFacts {
            architecture: "llama".into(),
            name: text(),
            quantization: "Q8_0".into(),
            parameters: 1,
            context_length: 1,
            embedding_length: 1,
            layers: 1,
            vocabulary: 1,
            pooling: Some(Pooling::Mean),
            has_chat_template: true,
            template_takes_tools: true,
            licence: text(),
            fast_kernels: true,
        }),
        problem: text(),
        built_in: true,
        settings: ModelSettings {
            model: "x".into(),
            kind: Some(ModelKind::Chat),
            context_size: Some(1),
            parallel: Some(1),
            keep_alive_secs: Some(1),
            threads: Some(1),
            query_prefix: text(),
            passage_prefix: text(),
            pooling: Some(Pooling::Mean),
            chat_template: text(),
            pinned: true,
        },
        effective: EffectiveSettings { context_size: 1, parallel: 1, keep_alive_secs: 1, threads: 1, query_prefix: String::new(), passage_prefix: String::new() },
        load: LoadState::Unloaded,
    }
}

fn download(some: Option<u64>) -> Download {
    let text = some.map(|_| "x".to_owned());
    Download { id: DownloadId::new(), url: "u".into(), file: "f".into(), sha256: text.clone(), state: DownloadState::Running, received_bytes: 1, total_bytes: some, rate: some, error: text, created_at: Millis(1), updated_at: Millis(1) }
}
