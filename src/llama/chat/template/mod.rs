//! The model's own chat template: Jinja as Hugging Face writes it, rendered under limits.
//!
//! A template is part of a model file and therefore somebody else's program. It runs with bounded fuel, recursion and
//! output, and sees nothing but the conversation: whatever it does wrong is `invalid_template`.

mod json;
mod shield;

use std::sync::Arc;

use chrono::format::{Item, StrftimeItems};
use minijinja::{AutoEscape, Environment, Error as JinjaError, ErrorKind, UndefinedBehavior, Value, syntax::SyntaxConfig};

use domain::{Code, Error, Result};

use super::{Settings, Vocabulary};
pub use json::to_template_value;
pub use shield::{Guard, Shield};

/// The template of a model that brings none: ChatML, the most common format.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

const NAME: &str = "chat_template";

/// A compiled chat template.
pub struct Template {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
    takes_tools: bool,
    output_limit: usize,
}

/// Prefix by which a template's own refusal (`raise_exception`) is told from its faults.
const RAISED: &str = "raised: ";

impl Template {
    /// Compiles `source`. Errors: `invalid_template` with the place of a syntax error.
    pub fn new(source: String, vocabulary: &dyn Vocabulary, settings: &Settings) -> Result<Self> {
        if source.len() > settings.template_bytes {
            return Err(Error::new(
                Code::InvalidTemplate,
                format!("the chat template has {} bytes; at most {} (`template_bytes`) are allowed", source.len(), settings.template_bytes),
            ));
        }
        // Marks for training frameworks that have no meaning when an answer is generated.
        let source = strip_generation_marks(&source);
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().expect("a constant syntax"));
        environment.set_recursion_limit(settings.template_recursion);
        environment.set_fuel(Some(settings.template_fuel));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", json::tojson);
        environment.add_function("raise_exception", |message: String| -> Result<String, JinjaError> {
            Err(JinjaError::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
        });
        environment.add_function("strftime_now", strftime_now);
        environment.add_template_owned(NAME, source.clone()).map_err(|e| unreadable(&e))?;
        let takes_tools = environment.get_template(NAME).map_err(|e| unreadable(&e))?.undeclared_variables(false).contains("tools");
        let text_of = |token: Option<u32>| token.map(|t| String::from_utf8_lossy(&vocabulary.piece(t)).into_owned()).unwrap_or_default();
        Ok(Self { environment, source, bos: text_of(vocabulary.bos()), eos: text_of(vocabulary.eos()), takes_tools, output_limit: settings.prompt_bytes })
    }

    /// Whether the template writes a `tools` variable into the prompt.
    pub fn takes_tools(&self) -> bool {
        self.takes_tools
    }
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders the prompt. `variables` are laid over `bos_token`, `eos_token` and `add_generation_prompt`.
    /// Errors: `invalid_template`, whether the template is faulty, too greedy or refuses the conversation.
    pub fn render(&self, variables: Vec<(String, Value)>) -> Result<String> {
        json::reset_budget(self.output_limit);
        let context = [("bos_token", Value::from(self.bos.as_str())), ("eos_token", Value::from(self.eos.as_str())), ("add_generation_prompt", Value::from(true))]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .chain(variables);
        let context = Value::from_pairs(context);
        let mut output = Bounded { bytes: Vec::new(), limit: self.output_limit };
        let template = self.environment.get_template(NAME).map_err(|e| unreadable(&e))?;
        template.render_captured_to(context, &mut output).map_err(|e| self.failed(&e))?;
        String::from_utf8(output.bytes).map_err(|e| Error::new(Code::InvalidTemplate, "the chat template wrote text that is not UTF-8").source(e))
    }

    fn failed(&self, error: &JinjaError) -> Error {
        let mut detail = error.detail().unwrap_or_default();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            if let Some(inner) = inner.downcast_ref::<JinjaError>().and_then(JinjaError::detail) {
                detail = inner;
            }
            cause = inner.source();
        }
        if let Some(raised) = detail.strip_prefix(RAISED) {
            return Error::new(Code::InvalidTemplate, format!("the model's chat template refuses this conversation: {raised}")).param("messages");
        }
        let reason = match error.kind() {
            ErrorKind::OutOfFuel => "it does more work than `template_fuel` allows".to_owned(),
            ErrorKind::WriteFailure => format!("it writes more than {} bytes (`prompt_bytes`)", self.output_limit),
            kind => format!("{kind}{}{detail}{}", if detail.is_empty() { "" } else { ": " }, error.line().map(|l| format!(" (line {l})")).unwrap_or_default()),
        };
        Error::new(Code::InvalidTemplate, format!("the model's chat template cannot be rendered: {reason}; set another one in the model's settings"))
    }
}

/// Whether `error` is a template's own `raise_exception`.
pub fn is_refusal(error: &Error) -> bool {
    error.code == Code::InvalidTemplate && error.param.is_some()
}

fn unreadable(error: &JinjaError) -> Error {
    let place = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let detail = error.detail().map(|d| format!(": {d}")).unwrap_or_default();
    Error::new(Code::InvalidTemplate, format!("the chat template cannot be read{place}: {}{detail}", error.kind()))
}

/// Removes `{% generation %}` and `{% endgeneration %}`.
fn strip_generation_marks(source: &str) -> String {
    if !source.contains("generation") {
        return source.to_owned();
    }
    let marks = regex::Regex::new(r"\{%-?\s*(?:end)?generation\s*-?%\}").expect("a constant pattern");
    marks.replace_all(source, "").into_owned()
}

/// The local time in the given `strftime` format, as templates write today's date.
fn strftime_now(format: String) -> Result<String, JinjaError> {
    let items: Vec<Item<'_>> = StrftimeItems::new(&format).collect();
    if items.iter().any(|item| matches!(item, Item::Error)) {
        return Err(JinjaError::new(ErrorKind::InvalidOperation, format!("`{format}` is not a time format")));
    }
    Ok(chrono::Local::now().format_with_items(items.iter()).to_string())
}

/// Collects output up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}
impl std::io::Write for &mut Bounded {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + data.len() > self.limit {
            return Err(std::io::Error::other("the output limit is reached"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A shared template-side string.
pub(crate) fn text(value: impl Into<Arc<str>>) -> Value {
    Value::from(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::toy::ToyVocabulary;

    fn template(source: &str) -> Result<Template> {
        Template::new(source.into(), &ToyVocabulary::new(), &Settings::default())
    }
    fn render(source: &str, json: serde_json::Value) -> Result<String> {
        let variables = json.as_object().unwrap().iter().map(|(k, v)| (k.clone(), to_template_value(v, &mut |s| s.to_owned()))).collect();
        template(source)?.render(variables)
    }

    #[test]
    fn a_template_renders_as_hugging_face_would() {
        let source = "{% for m in messages %}\n    {%- if m.role == 'user' %}\n{{ m.content | trim }}|{{ m | tojson }}\n    {%- endif %}\n{% endfor %}\nend";
        let got = render(source, serde_json::json!({"messages": [{"role": "user", "content": " <hé> & 'x' "}]})).unwrap();
        assert_eq!(got, "<hé> & 'x'|{\"role\": \"user\", \"content\": \" <hé> & 'x' \"}end");
    }

    #[test]
    fn tojson_indents_like_python() {
        let got = render("{{ x | tojson(indent=2) }}", serde_json::json!({"x": {"a": [1, 2.0, null], "b": {}, "c": []}})).unwrap();
        assert_eq!(got, "{\n  \"a\": [\n    1,\n    2.0,\n    null\n  ],\n  \"b\": {},\n  \"c\": []\n}");
    }

    #[test]
    fn python_methods_namespaces_and_generation_marks_work() {
        let source = "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{% generation %}{{ ns.n }}{% endgeneration %}{{ 'a,b'.split(',')[-1].upper() }}{{ strftime_now('%Y')[:2] }}";
        assert_eq!(render(source, serde_json::json!({"messages": [1, 2]})).unwrap(), "2B20");
    }

    #[test]
    fn a_template_that_refuses_says_its_own_reason() {
        let error = render("{{ raise_exception('roles must alternate') }}", serde_json::json!({})).unwrap_err();
        assert!(error.message.contains("refuses this conversation: roles must alternate"), "{error}");
        assert!(is_refusal(&error));
    }

    #[test]
    fn hostile_templates_are_errors_and_end_soon() {
        let bombs = [
            "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}",
            "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
            "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
            "{{ 'x' * 90000000 }}",
            "{{ ('x' * 9000000) | tojson }}{{ ('x' * 9000000) | tojson }}",
            "{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a | tojson }}",
            "{% for i in range(9999) %}{{ ('x' * 100000) | tojson | length }}{% endfor %}",
            "{{ strftime_now('%Q%!') }}",
            "{{ x.y.z() }}",
            "{% include 'other' %}",
            "{{ 1 / 0 }}",
        ];
        for bomb in bombs {
            let start = std::time::Instant::now();
            let error = render(bomb, serde_json::json!({})).unwrap_err();
            assert_eq!(error.code, Code::InvalidTemplate, "{bomb}");
            assert!(start.elapsed().as_secs() < 5, "{bomb}: {:?}", start.elapsed());
        }
        for broken in ["{% if %}", "{{ ", "{% for x in %}"] {
            assert_eq!(template(broken).err().expect("broken").code, Code::InvalidTemplate);
        }
        assert_eq!(template(&"x".repeat(300_000)).err().expect("too long").code, Code::InvalidTemplate);
    }

    #[test]
    fn whether_a_template_takes_tools_is_read_from_it() {
        assert!(template("{% if tools %}{{ tools | tojson }}{% endif %}").unwrap().takes_tools());
        assert!(!template(CHATML).unwrap().takes_tools());
    }
}
