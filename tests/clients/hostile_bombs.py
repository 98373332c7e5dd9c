"""Grammars, JSON schemas, chat templates and model files that try to hang, exhaust or crash the engine."""

import struct

import gguf

# Every one of these must come back within this many seconds, as a refusal or as an answer.
PATIENCE = 20

GRAMMARS = [
    ("no root", "x ::= \"a\""),
    ("empty", ""),
    ("rubbish", "::= ::= |||"),
    ("an undefined rule", "root ::= missing"),
    ("left recursion", 'root ::= root "a" | "b"'),
    ("mutual left recursion", 'root ::= x\nx ::= y "a"\ny ::= x "b"'),
    ("a rule that is only itself", "root ::= root"),
    ("an unclosed literal", 'root ::= "abc'),
    ("an unclosed class", "root ::= [a-z"),
    ("an unclosed group", 'root ::= ("a"'),
    ("a class turned round", "root ::= [z-a]"),
    ("a repetition of billions", 'root ::= "a"{4000000000}'),
    ("nested repetition", 'root ::= ((("a"{1000}){1000}){1000}){1000}'),
    ("exponential doubling", "root ::= a0\n" + "\n".join(f"a{i} ::= a{i + 1} a{i + 1}" for i in range(40)) + '\na40 ::= "x"'),
    ("an ambiguous star of stars", 'root ::= (("a"*)*)*'),
    ("empty loops", 'root ::= (""*)* "a"'),
    ("parentheses 20,000 deep", "root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000),
    ("50,000 alternatives", "root ::= " + " | ".join(f'"w{i}"' for i in range(50_000))),
    ("50,000 rules", "root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1}" for i in range(50_000)) + '\nr50000 ::= "a"'),
    ("a literal of 1 MB", 'root ::= "' + "a" * 1_000_000 + '"'),
    ("NUL and bad escapes", 'root ::= "\\x" "\\uD800" "\\U99999999" "\0"'),
    ("a name of 100,000 letters", "root ::= " + "n" * 100_000),
]

OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def nested(n):
    schema = {"type": "string"}
    for _ in range(n):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


SCHEMAS = [
    ("a number", 5),
    ("a list", []),
    ("an unknown type", {"type": "spoon"}),
    ("a reference to nowhere", {"$ref": "#/definitions/none"}),
    ("a reference to a URL", {"$ref": "http://169.254.169.254/schema.json"}),
    ("a reference to a file", {"$ref": "file:///etc/passwd"}),
    ("a reference to itself", {"$ref": "#"}),
    ("a cycle of references", {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
    ("200 levels", nested(200)),
    ("an enum of 100,000", {"enum": [f"v{i}" for i in range(100_000)]}),
    ("20,000 properties", {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20_000)}}),
    ("a catastrophic pattern", {"type": "string", "pattern": "^(a+)+$"}),
    ("a pattern that explodes", {"type": "string", "pattern": "(((a{1,100}){1,100}){1,100}){1,100}"}),
    ("a pattern with look-behind", {"type": "string", "pattern": "(?<=x)y(?!z)\\1"}),
    ("a broken pattern", {"type": "string", "pattern": "(((["}),
    ("minItems of billions", {"type": "array", "items": {"type": "integer"}, "minItems": 4_000_000_000}),
    ("minLength of billions", {"type": "string", "minLength": 4_000_000_000}),
    ("a minimum above the maximum", {"type": "integer", "minimum": 10, "maximum": 1}),
    ("multipleOf zero", {"type": "number", "multipleOf": 0}),
    ("nothing is allowed", {"allOf": [{"type": "string"}, {"type": "integer"}]}),
    ("allOf doubled 18 times", {"$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(18)} | {"d18": {"type": "string"}}, "$ref": "#/$defs/d0"}),
    ("oneOf of 2,000 objects", {"oneOf": [{"type": "object", "properties": {f"k{i}": OBJECT}, "required": [f"k{i}"]} for i in range(2_000)]}),
    ("false", False),
]

TEMPLATES = [
    ("a loop without end", "{% for a in range(1000000) %}{% for b in range(1000000) %}x{% endfor %}{% endfor %}"),
    ("a range of billions", "{{ range(4000000000) | list | length }}"),
    ("text doubled 60 times", "{% set ns = namespace(t='x') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}"),
    ("a string times a billion", "{{ 'x' * 1000000000000 }}"),
    ("a macro that calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
    ("an include", "{% include '/etc/passwd' %}"),
    ("a climb through attributes", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    ("an unclosed block", "{% for m in messages %}{{ m.content }}"),
    ("raise_exception", "{{ raise_exception('no') }}"),
    ("an unknown filter", "{{ messages | obliterate }}"),
    ("division by zero", "{{ 1 // 0 }}"),
    ("parentheses 5,000 deep", "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}"),
    ("nested blocks 3,000 deep", "{% if 1 %}" * 3_000 + "x" + "{% endif %}" * 3_000),
    ("nothing at all comes out", "{# empty #}"),
    ("only special tokens", "{% for i in range(500) %}<|im_start|><|im_end|>{% endfor %}"),
    ("a template of 2 MB", "x" * 2_000_000),
    ("padding of billions", "{{ 'x' | indent(4000000000) }}{{ '%4000000000d' % 1 }}{{ 'x'.ljust(4000000000) }}"),
]


def files(like):
    """Damaged and hostile GGUF files as (name, bytes, may the upload be taken?). A taken one must fail or work on load."""
    tiny = gguf.tiny_llama(like)
    u32, text, array = gguf.U32, gguf.STRING, gguf.ARRAY
    huge = struct.pack("<Q", 2**62)

    def bent(**more):
        return gguf.tiny_llama(like, **more)

    def small(pairs=None, tensors=None, version=3, magic=b"GGUF", counts=None):
        pairs = {"general.architecture": (text, "llama")} if pairs is None else pairs
        body = b"".join(gguf.pair(n, k, v) for n, (k, v) in pairs.items())
        return gguf.header(*(counts or (len(tensors or []), len(pairs))), version=version, magic=magic) + body + b"".join(tensors or [])

    rows = [
        ("an empty file", b"", False),
        ("four letters", b"GGUF", False),
        ("another magic", b"GGML" + tiny[4:4096], False),
        ("a big-endian twin", b"FUGG" + tiny[4:4096], False),
        ("text", b"hello, this is no model\n" * 100, False),
        ("a zip", b"PK\x03\x04" + b"\0" * 4096, False),
        ("version 0", small(version=0), False),
        ("version 99", small(version=99), False),
        ("a cut-off header", tiny[:100], False),
        ("a header cut inside the vocabulary", tiny[:200_000], False),
        ("weights cut off in the middle", tiny[: len(tiny) // 2], False),
        ("weights cut off at the last byte", tiny[:-1], False),
        ("2^63 entries", small(counts=(0, 2**63)), False),
        ("2^63 tensors", small(counts=(2**63, 1)), False),
        ("a key of 2^62 bytes", gguf.header(0, 1) + huge + b"x", False),
        ("a text of 2^62 bytes", gguf.header(0, 1) + gguf.text("general.architecture") + struct.pack("<I", text) + huge, False),
        ("an array of 2^62 bytes", gguf.header(0, 1) + gguf.text("a") + struct.pack("<II", array, gguf.U8) + huge, False),
        ("an array of 2^61 texts", gguf.header(0, 1) + gguf.text("a") + struct.pack("<II", array, text) + struct.pack("<Q", 2**61), False),
        ("arrays in arrays, 10,000 deep", gguf.header(0, 1) + gguf.text("a") + struct.pack("<I", array) + struct.pack("<IQ", array, 1) * 10_000, False),
        ("a value of an unknown type", gguf.header(0, 1) + gguf.text("a") + struct.pack("<I", 77) + b"\0" * 64, False),
        ("no architecture", small(pairs={"general.name": (text, "x")}), False),
        ("an architecture that is a number", small(pairs={"general.architecture": (u32, 7)}), False),
        ("an architecture of bad UTF-8", small(pairs={"general.architecture": (text, b"\xff\xfe")}), False),
        ("a tensor of 2^40 by 2^40", small(tensors=[gguf.tensor_info("token_embd.weight", [2**40, 2**40], 0, 0)]), False),
        ("a tensor with a thousand dimensions", small(tensors=[gguf.text("t") + struct.pack("<I", 1000) + b"\1\0\0\0\0\0\0\0" * 1000]), False),
        ("a tensor of no known type", small(tensors=[gguf.tensor_info("t", [32], 999, 0)]) + b"\0" * 4096, False),
        ("a tensor beyond the end", small(tensors=[gguf.tensor_info("t", [32], 0, 2**50)]) + b"\0" * 4096, False),
        ("a tensor whose end overflows", small(tensors=[gguf.tensor_info("t", [32], 0, 2**64 - 32)]) + b"\0" * 4096, False),
        ("a dimension of zero", small(tensors=[gguf.tensor_info("t", [0, 32], 0, 0)]) + b"\0" * 4096, True),
        ("an alignment of zero", bent(change={"general.alignment": (u32, 0)}), False),
        ("an alignment of three", bent(change={"general.alignment": (u32, 3)}), False),
        ("an architecture nobody knows", bent(change={"general.architecture": (text, "perpetuum-mobile")}), True),
        ("four billion layers", bent(change={"llama.block_count": (u32, 2**32 - 1)}), True),
        ("no heads", bent(change={"llama.attention.head_count": (u32, 0)}), True),
        ("an embedding of width zero", bent(change={"llama.embedding_length": (u32, 0)}), True),
        ("a context of zero", bent(change={"llama.context_length": (u32, 0)}), True),
        ("a context of four billion", bent(change={"llama.context_length": (u32, 2**32 - 1)}), True),
        ("another width than the tensors'", bent(change={"llama.embedding_length": (u32, 4096)}), True),
        ("more heads than width", bent(change={"llama.attention.head_count": (u32, 1_000_000)}), True),
        ("no tokenizer", bent(drop=["tokenizer.ggml.model"]), True),
        ("no tokens", bent(drop=["tokenizer.ggml.tokens"]), True),
        ("a vocabulary of one", bent(change={"tokenizer.ggml.tokens": (array, (text, ["a"]))}), True),
        ("an end token beyond the vocabulary", bent(change={"tokenizer.ggml.eos_token_id": (u32, 4_000_000_000)}), True),
        ("layers as text", bent(change={"llama.block_count": (text, "many")}), True),
        ("an epsilon of NaN", bent(change={"llama.attention.layer_norm_rms_epsilon": (gguf.F32, float("nan"))}), True),
    ]
    rows += [(f"a template in the file: {name}", bent(template=template), True) for name, template in TEMPLATES[:3]]
    return rows
