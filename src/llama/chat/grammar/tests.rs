use super::*;
use crate::chat::{
    prepare::bare_tool,
    tools::{Calls, Offer, lark},
    toy::ToyVocabulary,
};
use proptest::prelude::*;

fn grammars() -> (Grammars, Arc<ToyVocabulary>) {
    let vocabulary = Arc::new(ToyVocabulary::new());
    (Grammars::new(vocabulary.clone(), &Settings::default()), vocabulary)
}

fn plain(body: Body) -> Form {
    Form { thinks: false, thinking: false, body }
}

/// How many bytes of `text` are allowed one after another, and whether the answer may end there.
fn follow(constraint: &mut Constraint, text: &str) -> (usize, bool) {
    let end = (0..constraint.vocabulary.size()).find(|t| constraint.vocabulary.ends_answer(*t)).unwrap();
    for (i, byte) in text.bytes().enumerate() {
        let token = u32::from(byte);
        let tested = constraint.allows(token);
        let masked = constraint.mask().unwrap()[(token / 32) as usize] >> (token % 32) & 1 == 1;
        assert_eq!(tested, masked, "test and mask disagree at byte {i} of {text:?}");
        if !tested {
            return (i, false);
        }
        constraint.commit(token).unwrap();
    }
    (text.len(), constraint.allows(end))
}

fn accepts(body: Body, text: &str) -> bool {
    let (grammars, _) = grammars();
    let mut constraint = grammars.constraint(plain(body)).unwrap().unwrap();
    follow(&mut constraint, text) == (text.len(), true)
}

#[test]
fn a_json_schema_is_enforced() {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer"}}, "required": ["name", "n"], "additionalProperties": false});
    assert!(accepts(Body::Schema(schema.clone()), r#"{"name": "é}", "n": 12}"#));
    for bad in [r#"{"name": 1"#, "hello", r#"{"n": 1}"#, r#"{"name": "x"}"#] {
        assert!(!accepts(Body::Schema(schema.clone()), bad), "{bad}");
    }
}

#[test]
fn gbnf_is_enforced_with_all_its_notation() {
    let source = "# a comment\nroot ::= greeting \" \" who{1,2} (\"!\" | \"?\")+ [^a-z\\n]? .\ngreeting ::= \"hi\" |\n  \"h\\x65llo\"\nwho ::= [A-Z] [a-z]*\n";
    for good in ["hi Bob!x", "hello BobEve?!?7.", "hi B!\n"] {
        assert!(accepts(Body::Gbnf(source.into()), good), "{good:?}");
    }
    for bad in ["hey Bob!x", "hi bob!x", "hi Bob", "hi ABC!x"] {
        assert!(!accepts(Body::Gbnf(source.into()), bad), "{bad:?}");
    }
}

#[test]
fn a_wrong_grammar_says_where() {
    let cases = [
        ("root ::= \"a", 1, "ends too early"),
        ("root ::= a\n", 1, "rule `a` is used"),
        ("start ::= \"a\"", 1, "no rule `root`"),
        ("root ::= \"a\"\nroot ::= \"b\"", 2, "twice"),
        ("root = \"a\"", 1, "`::=` is missing"),
        ("root ::= [z-a]", 1, "backwards"),
        ("root ::= (\"a\"", 1, "`)` is missing"),
        ("root ::= \"a\"{9,1}", 1, "no repetition"),
        ("root ::= \"a\"{99999999}", 1, "no repetition"),
        ("root ::= \"\\q\"", 1, "no escape"),
        ("", 1, "no rule `root`"),
    ];
    for (source, line, what) in cases {
        let error = gbnf::to_lark(source).unwrap_err();
        assert_eq!(error.code, Code::InvalidGrammar);
        assert!(error.message.contains(&format!("line {line}")) && error.message.contains(what), "{source:?}: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_grammar_reader_panic(source in "\\PC{0,60}", tail in "(root ::= )?[a-z\"\\[\\](){}|.*+?0-9,\\\\ \n]{0,40}") {
        let _ = gbnf::to_lark(&source);
        let _ = gbnf::to_lark(&tail);
    }
}

#[test]
fn grammar_bombs_and_bad_schemas_are_errors_and_end_soon() {
    let (grammars, _) = grammars();
    let nest = |n: usize| format!("root ::= {}\"a\"{}", "(".repeat(n), ")*".repeat(n));
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = json!({"type": "array", "items": deep});
    }
    let bombs = [
        Body::Gbnf(nest(100)),
        Body::Gbnf("root ::= root".to_owned() + &" | root".repeat(20_000)),
        Body::Gbnf("root ::= ((\"a\"{1,9999}){1,9999}){1,9999}".into()),
        Body::Schema(deep),
        Body::Schema(json!({"type": "object", "nonsense": 1, "properties": {"a": {"$ref": "#/nowhere"}}, "required": ["a"]})),
        Body::Schema(json!({"type": "string", "pattern": "("})),
        Body::Schema(json!({"allOf": [{"type": "string"}, {"type": "integer"}]})),
    ];
    for body in bombs {
        let start = std::time::Instant::now();
        let error = match grammars.constraint(plain(body.clone())) {
            Err(error) => error,
            // What compiles must at least be answerable under the limits.
            Ok(constraint) => match constraint.unwrap().mask() {
                Ok(_) => continue,
                Err(error) => error,
            },
        };
        assert!(matches!(error.code, Code::InvalidGrammar | Code::InvalidSchema), "{error}");
        assert!(error.message.len() < 600 && start.elapsed().as_secs() < 10, "{:?} {error}", start.elapsed());
    }
}

#[test]
fn a_forced_call_can_be_nothing_else() {
    let tools = [bare_tool("get", json!({"type": "object", "properties": {"c": {"$ref": "#/$defs/c"}}, "required": ["c"], "$defs": {"c": {"enum": ["x", "y"]}}})), bare_tool("put", json!(null))];
    let body = |calls, dialect| lark::body(&Offer { tools: &tools, calls, dialect, limit: 4 });
    let named = |dialect| body(Calls::Named { tool: 0 }, dialect);
    assert!(accepts(named(Dialect::Hermes), "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"c\": \"x\"}}\n</tool_call>"));
    assert!(!accepts(named(Dialect::Hermes), "Sure"));
    assert!(!accepts(named(Dialect::Hermes), "<tool_call>\n{\"name\": \"put\""));
    assert!(!accepts(named(Dialect::Hermes), "<tool_call>\n{\"name\": \"get\", \"arguments\": {\"c\": \"z"));
    assert!(accepts(named(Dialect::Llama3), "{\"name\": \"get\", \"parameters\": {\"c\": \"y\"}}"));
    assert!(accepts(body(Calls::Required { parallel: true }, Dialect::Mistral), "[TOOL_CALLS][{\"name\": \"put\", \"arguments\": {}}, {\"name\": \"get\", \"arguments\": {\"c\": \"y\"}}]"));
    assert!(!accepts(body(Calls::Required { parallel: false }, Dialect::Mistral), "[TOOL_CALLS][{\"name\": \"put\", \"arguments\": {}}, "));
    assert!(accepts(body(Calls::Required { parallel: true }, Dialect::MistralArgs), "[TOOL_CALLS]put[ARGS]{}[TOOL_CALLS]get[ARGS]{\"c\": \"x\"}"));
}

#[test]
fn where_calls_are_free_anything_goes_until_one_begins() {
    let tools = [bare_tool("f", json!({"type": "object"}))];
    let (grammars, vocabulary) = grammars();
    let make = || grammars.constraint(plain(lark::body(&Offer { tools: &tools, calls: Calls::Auto { parallel: true }, dialect: Dialect::Hermes, limit: 4 }))).unwrap().unwrap();
    assert_eq!(follow(&mut make(), "no call at all"), (14, true));
    let call = "let me see <tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
    assert_eq!(follow(&mut make(), call), (call.len(), true));
    assert_eq!(follow(&mut make(), "<tool_call>hello"), (11, false));
    // The mark as one token counts as well.
    let mut constraint = make();
    constraint.commit(vocabulary.id("<tool_call>")).unwrap();
    assert_eq!(follow(&mut constraint, "\n{\"name\": \"g").0, 11);
}

#[test]
fn a_thought_may_come_before_the_form() {
    let (grammars, _) = grammars();
    let body = Body::Schema(json!({"type": "boolean"}));
    let make = |thinks, thinking| grammars.constraint(Form { thinks, thinking, body: body.clone() }).unwrap().unwrap();
    assert_eq!(follow(&mut make(true, false), "<think>well {</think>true"), (25, true));
    assert_eq!(follow(&mut make(true, false), "true"), (4, true));
    assert_eq!(follow(&mut make(true, false), "<thin ").0, 5);
    assert_eq!(follow(&mut make(true, true), "well</think>false"), (17, true));
}

#[test]
fn a_fork_goes_its_own_way() {
    let (grammars, _) = grammars();
    let mut one = grammars.constraint(plain(Body::Gbnf("root ::= \"ab\" | \"ac\"".into()))).unwrap().unwrap();
    follow(&mut one, "a");
    let mut two = one.fork();
    assert_eq!(follow(&mut one, "b"), (1, true));
    assert_eq!(follow(&mut two, "c"), (1, true));
    assert!(one.is_finished());
}
