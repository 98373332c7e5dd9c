//! JSON in and out of templates, as Python's `json.dumps(…, ensure_ascii=False)` writes it.

use std::cell::Cell;

use minijinja::{
    Error, ErrorKind, Value,
    value::{Kwargs, ValueKind},
};

/// Deepest value that is written.
const MAX_DEPTH: usize = 100;

thread_local! {
    /// Bytes `tojson` may still write in this rendering: the engine's fuel does not see inside a filter.
    static BUDGET: Cell<usize> = const { Cell::new(0) };
}

/// Starts a rendering that may write `bytes` through `tojson`.
pub fn reset_budget(bytes: usize) {
    BUDGET.set(bytes);
}

/// A JSON value as the template sees it; every string, keys too, goes through `guard` first.
pub fn to_template_value(value: &serde_json::Value, guard: &mut dyn FnMut(&str) -> String) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::from(i),
            (None, Some(u)) => Value::from(u),
            (None, None) => Value::from(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::from(guard(s)),
        Json::Array(items) => Value::from(items.iter().map(|v| to_template_value(v, guard)).collect::<Vec<_>>()),
        Json::Object(map) => {
            let pairs: Vec<(String, Value)> = map.iter().map(|(k, v)| (guard(k), to_template_value(v, guard))).collect();
            Value::from_pairs(pairs)
        }
    }
}

/// The `tojson` filter. `indent` works as in Python; `ensure_ascii`, `separators` and `sort_keys` are taken and not obeyed,
/// because no known template relies on another value than the default.
pub fn tojson(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get::<Option<usize>>("indent").unwrap_or(None);
    let mut writer = Writer { out: String::new(), indent, limit: BUDGET.get() };
    writer.value(value, 0)?;
    BUDGET.set(BUDGET.get() - writer.out.len());
    Ok(writer.out)
}

struct Writer {
    out: String,
    indent: Option<usize>,
    limit: usize,
}

impl Writer {
    fn put(&mut self, text: &str) -> Result<(), Error> {
        if self.out.len() + text.len() > self.limit {
            return Err(Error::new(ErrorKind::OutOfFuel, "`tojson` writes too much"));
        }
        self.out.push_str(text);
        Ok(())
    }
    fn line(&mut self, depth: usize) -> Result<(), Error> {
        match self.indent {
            Some(width) => self.put(&format!("\n{}", " ".repeat((width * depth).min(1024)))),
            None => Ok(()),
        }
    }
    fn separator(&mut self) -> Result<(), Error> {
        self.put(if self.indent.is_some() { "," } else { ", " })
    }
    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.put(&serde_json::to_string(text).expect("a string serialises"))
    }
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("`tojson` got a value nested deeper than {MAX_DEPTH}")));
        }
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => self.put("null"),
            ValueKind::Bool => self.put(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.put(&value.to_string()),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                self.put("[")?;
                let mut any = false;
                for item in value.try_iter()? {
                    if any {
                        self.separator()?;
                    }
                    any = true;
                    self.line(depth + 1)?;
                    self.value(&item, depth + 1)?;
                }
                if any {
                    self.line(depth)?;
                }
                self.put("]")
            }
            ValueKind::Map => {
                self.put("{")?;
                let mut any = false;
                for key in value.try_iter()? {
                    if any {
                        self.separator()?;
                    }
                    any = true;
                    self.line(depth + 1)?;
                    self.string(&key.to_string())?;
                    self.put(": ")?;
                    self.value(&value.get_item(&key)?, depth + 1)?;
                }
                if any {
                    self.line(depth)?;
                }
                self.put("}")
            }
            _ => self.string(&value.to_string()),
        }
    }
}
