//! Tool calls: how a model is told of tools, in which words it calls them, and how that is enforced.

pub mod lark;
mod scan;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use domain::{
    Code, Error, Result,
    chat::{Message, Part, ResponseFormat, Role, Tool, ToolChoice},
};

use super::{Settings, grammar::Body};
pub use scan::{CallDelta, CallScanner, Scanned};

/// The words in which a family of models writes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen, and whoever is told so in a system message.
    Hermes,
    /// The whole answer is `{"name": …, "parameters": …}`: Llama 3.
    Llama3,
    /// `[TOOL_CALLS][{"name": …, "arguments": …}]`: Mistral up to the v7 tokenizer.
    Mistral,
    /// `[TOOL_CALLS]name[ARGS]{…}`: Mistral since.
    MistralArgs,
    /// A way of its own that is not spoken here.
    Unknown,
}

impl Dialect {
    /// Reads the dialect off a chat template.
    pub fn detect(template: &str) -> Self {
        if template.contains("[TOOL_CALLS]") {
            if template.contains("[ARGS]") { Dialect::MistralArgs } else { Dialect::Mistral }
        } else if template.contains("<tool_call>") && !template.contains("<function=") && !template.contains("<arg_key>") {
            Dialect::Hermes
        } else if template.contains("<|python_tag|>") || template.contains("\"parameters\": ") && template.contains("<|start_header_id|>") {
            Dialect::Llama3
        } else {
            Dialect::Unknown
        }
    }
    /// Whether the template itself tells the model of the tools in a dialect spoken here.
    pub fn is_native(self, takes_tools: bool) -> bool {
        takes_tools && self != Dialect::Unknown
    }
    /// What begins a call.
    pub fn opening(self) -> &'static str {
        match self {
            Dialect::Hermes | Dialect::Unknown => "<tool_call>",
            Dialect::Llama3 => "<|python_tag|>",
            Dialect::Mistral | Dialect::MistralArgs => "[TOOL_CALLS]",
        }
    }
    /// Marks of the dialect: where they are control tokens, their text must reach the scanner.
    pub fn marks(self) -> &'static [&'static str] {
        match self {
            Dialect::Hermes | Dialect::Unknown => &["<tool_call>", "</tool_call>"],
            Dialect::Llama3 => &["<|python_tag|>"],
            Dialect::Mistral => &["[TOOL_CALLS]"],
            Dialect::MistralArgs => &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"],
        }
    }
    /// The call's id as this dialect's template accepts it (Mistral's insists on nine letters or digits).
    pub fn call_id(self, id: &str) -> String {
        let fits = id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric());
        match self {
            Dialect::Mistral | Dialect::MistralArgs if !fits => hex::encode(Sha256::digest(id.as_bytes()))[..9].to_owned(),
            _ => id.to_owned(),
        }
    }
}

/// Which calls an answer may or must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Calls {
    None,
    Auto { parallel: bool },
    Required { parallel: bool },
    /// Exactly one call of the tool with this place in the list.
    Named { tool: usize },
}

/// The tools of a request and what is wanted of them.
pub struct Offer<'a> {
    pub tools: &'a [Tool],
    pub calls: Calls,
    pub dialect: Dialect,
    /// Most calls in one answer.
    pub limit: usize,
}

/// Checks tools and choice. Errors: `invalid_param` naming `tools` or `tool_choice`, `invalid_schema` for parameters that are no object.
pub fn check(settings: &Settings, tools: &[Tool], choice: &ToolChoice, parallel: Option<bool>) -> Result<Calls> {
    if tools.len() > settings.max_tools {
        return Err(Error::invalid("tools", format!("{} tools are offered; at most {} (`max_tools`) are allowed", tools.len(), settings.max_tools)));
    }
    for (i, tool) in tools.iter().enumerate() {
        let well_formed = (1..=64).contains(&tool.name.len()) && tool.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !well_formed {
            let name = &tool.name.chars().take(64).collect::<String>();
            return Err(Error::invalid(format!("tools[{i}].function.name"), format!("`{name}` is not a tool's name; use 1 to 64 letters, digits, `_`, `-` or `.`")));
        }
        if tools[..i].iter().any(|t| t.name == tool.name) {
            return Err(Error::invalid(format!("tools[{i}].function.name"), format!("two tools are called `{}`; give each its own name", tool.name)));
        }
        if !(tool.parameters.is_object() || tool.parameters.is_null()) {
            return Err(Error::new(Code::InvalidSchema, format!("the parameters of tool `{}` are not a JSON Schema object", tool.name)).param(format!("tools[{i}].function.parameters")));
        }
    }
    let parallel = parallel.unwrap_or(true);
    match choice {
        ToolChoice::None => Ok(Calls::None),
        ToolChoice::Auto if tools.is_empty() => Ok(Calls::None),
        ToolChoice::Auto => Ok(Calls::Auto { parallel }),
        _ if tools.is_empty() => Err(Error::invalid("tool_choice", "`tool_choice` asks for a call, but no `tools` are offered")),
        ToolChoice::Required => Ok(Calls::Required { parallel }),
        ToolChoice::Named { name } => match tools.iter().position(|t| t.name == *name) {
            Some(tool) => Ok(Calls::Named { tool }),
            None => Err(Error::invalid("tool_choice", format!("`tool_choice` names `{name}`, which is not among the `tools`"))),
        },
    }
}

/// The form the answer must have, or `Text` when it is free.
pub fn form(offer: &Offer<'_>, format: &ResponseFormat) -> Body {
    match (&offer.calls, format) {
        (Calls::None | Calls::Auto { .. }, ResponseFormat::JsonObject) => Body::Schema(json!({"type": "object"})),
        (Calls::None | Calls::Auto { .. }, ResponseFormat::JsonSchema { schema, .. }) => Body::Schema(schema.clone()),
        (Calls::None | Calls::Auto { .. }, ResponseFormat::Grammar { gbnf }) => Body::Gbnf(gbnf.clone()),
        (Calls::None, ResponseFormat::Text) => Body::Text,
        _ => lark::body(offer),
    }
}

/// A tool as OpenAI's API and most templates write it.
pub fn openai_shape(tool: &Tool) -> Value {
    json!({"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": lark::parameters(tool)}})
}

/// For templates that know no tools: says in a system message which there are and how to call them, and writes earlier
/// calls and results as plain turns.
pub fn explain(messages: &mut Vec<Message>, tools: &[Tool], choice: &ToolChoice) {
    for message in messages.iter_mut() {
        let calls = std::mem::take(&mut message.tool_calls);
        for call in calls {
            let name = json!(call.name);
            let arguments = if call.arguments.trim().is_empty() { "{}" } else { call.arguments.as_str() };
            message.content.push(Part::Text { text: format!("<tool_call>\n{{\"name\": {name}, \"arguments\": {arguments}}}\n</tool_call>") });
        }
        if message.role == Role::Tool {
            *message = Message::user(format!("<tool_response>\n{}\n</tool_response>", message.plain_text()));
        }
    }
    if tools.is_empty() {
        return;
    }
    let list: Vec<String> = tools.iter().map(|t| openai_shape(t).to_string()).collect();
    let example = format!(
        "You can call these tools. Their signatures:\n<tools>\n{}\n</tools>\n\nTo call one, answer with its name and arguments as JSON between tags, like this:\n<tool_call>\n{{\"name\": \"tool name\", \"arguments\": {{\"parameter\": \"value\"}}}}\n</tool_call>",
        list.join("\n")
    );
    let instruction = match choice {
        ToolChoice::Required => format!("{example}\n\nYou must answer with a tool call."),
        ToolChoice::Named { name } => format!("{example}\n\nYou must answer with a call of `{name}`."),
        _ => format!("{example}\n\nCall a tool only when it helps; otherwise answer in plain text."),
    };
    match messages.first_mut() {
        Some(first) if first.role == Role::System => first.content.push(Part::Text { text: format!("\n{instruction}") }),
        _ => messages.insert(0, Message::system(format!("You are a helpful assistant.\n\n{instruction}"))),
    }
}

/// Whether a prompt ends in a thought the template has begun for the model.
pub fn ends_inside_thought(prompt: &str) -> bool {
    let tail_start = prompt.len().saturating_sub(64);
    let tail = &prompt[(tail_start..prompt.len()).find(|i| prompt.is_char_boundary(*i)).unwrap_or(prompt.len())..];
    tail.trim_end().ends_with("<think>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::prepare::bare_tool;

    #[test]
    fn the_dialect_is_read_off_the_template() {
        assert_eq!(Dialect::detect("{{ '<tool_call>\\n' }}"), Dialect::Hermes);
        assert_eq!(Dialect::detect("[TOOL_CALLS] [ARGS]"), Dialect::MistralArgs);
        assert_eq!(Dialect::detect("[TOOL_CALLS]["), Dialect::Mistral);
        assert_eq!(Dialect::detect("<|start_header_id|> {\"name\": x, \"parameters\": y}"), Dialect::Llama3);
        assert_eq!(Dialect::detect("<tool_call><function=x>"), Dialect::Unknown);
    }

    #[test]
    fn a_wrong_choice_or_name_is_named() {
        let settings = Settings::default();
        let tools = [bare_tool("a", json!({}))];
        let error = check(&settings, &tools, &ToolChoice::Named { name: "b".into() }, None).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("tool_choice"));
        let error = check(&settings, &[bare_tool("a b", json!({}))], &ToolChoice::Auto, None).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("tools[0].function.name"));
        let error = check(&settings, &[bare_tool("a", json!({})), bare_tool("a", json!({}))], &ToolChoice::Auto, None).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("tools[1].function.name"));
        let error = check(&settings, &[bare_tool("a", json!([]))], &ToolChoice::Auto, None).unwrap_err();
        assert_eq!(error.code, Code::InvalidSchema);
    }

    #[test]
    fn mistral_gets_ids_it_accepts_and_the_same_one_each_time() {
        let id = Dialect::Mistral.call_id("call_abcdefghijk");
        assert!(id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(id, Dialect::Mistral.call_id("call_abcdefghijk"));
        assert_eq!(Dialect::Hermes.call_id("call_x"), "call_x");
    }

    #[test]
    fn an_open_thought_at_the_end_is_seen() {
        assert!(ends_inside_thought("…<|assistant|><think>\n"));
        assert!(!ends_inside_thought("…<think>\n\n</think>\n\n"));
        assert!(!ends_inside_thought("日本"));
    }
}
