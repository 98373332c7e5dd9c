//! Grammars of tool calls, in llguidance's dialect of Lark.

use serde_json::{Value, json};

use domain::chat::Tool;

use super::{Calls, Dialect, Offer};
use crate::chat::grammar::{Body, compact, quoted};

/// JSON Schema of a tool's arguments: an object without members where the tool names none.
pub fn parameters(tool: &Tool) -> Value {
    let mut schema = tool.parameters.clone();
    match schema.as_object_mut() {
        None => schema = json!({"type": "object", "properties": {}}),
        Some(map) => {
            map.entry("type").or_insert_with(|| json!("object"));
            map.entry("properties").or_insert_with(|| json!({}));
        }
    }
    schema
}

/// The form of an answer that may or must call the offered tools.
pub fn body(offer: &Offer<'_>) -> Body {
    let (tools, most, free) = match offer.calls {
        Calls::None => return Body::Text,
        Calls::Auto { parallel } => (offer.tools, if parallel { offer.limit } else { 1 }, true),
        Calls::Required { parallel } => (offer.tools, if parallel { offer.limit } else { 1 }, false),
        Calls::Named { tool } => (&offer.tools[tool..=tool], 1, false),
    };
    // `again` may follow up to as often as more calls are allowed; the notation knows no zero repetitions.
    let repeated = |again: &str| match most.saturating_sub(1) {
        0 => String::new(),
        more => format!("({again}){{0,{more}}}"),
    };
    let dialect = offer.dialect;
    let alternatives = |write: &dyn Fn(&Tool, &str) -> String| tools.iter().map(|t| write(t, &compact(parameters(t)).to_string())).collect::<Vec<_>>().join("\n    | ");
    let object = |arguments: &str| {
        let arguments = arguments.to_owned();
        move |tool: &Tool, schema: &str| format!("{} %json {schema} \"}}\"", quoted(&format!("{{\"name\": {}, \"{arguments}\": ", json!(tool.name))))
    };
    let opening = quoted(dialect.opening());
    // What follows the opening mark; the mark itself is written by the grammar only where a call is forced.
    let (call, rules, between) = match dialect {
        Dialect::Hermes | Dialect::Unknown => {
            ("\"\\n\" call \"\\n</tool_call>\"".to_owned(), format!("call: {}", alternatives(&object("arguments"))), repeated(&format!("\"\\n\" {opening} next")))
        }
        Dialect::Llama3 => ("call".to_owned(), format!("call: {}", alternatives(&object("parameters"))), String::new()),
        Dialect::Mistral => (
            format!("\"[\" call {} \"]\"", repeated("\", \" call")),
            format!("call: {}", alternatives(&object("arguments"))),
            String::new(),
        ),
        Dialect::MistralArgs => {
            let write = |tool: &Tool, schema: &str| format!("{} %json {schema}", quoted(&format!("{}[ARGS]", tool.name)));
            ("call".to_owned(), format!("call: {}", alternatives(&write)), repeated(&format!("{opening} next")))
        }
    };
    let first = if free || dialect == Dialect::Llama3 { String::new() } else { format!("{opening} ") };
    let lark = format!("start: {first}next {between}\nnext: {call}\n{rules}\n");
    Body::Lark { after: free.then(|| dialect.opening()), lark }
}
