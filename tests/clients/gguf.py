"""A small GGUF (v3) reader and writer, to make model files that are tiny, odd or hostile on purpose."""

import random
import struct
from pathlib import Path

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", I64: "<q", F64: "<d"}
TYPE_F32, TYPE_F16 = 0, 1


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, v):
    """One value; an array is (ARRAY, (element kind, [values]))."""
    if kind == STRING:
        return text(v)
    if kind == ARRAY:
        inner, items = v
        return struct.pack("<IQ", inner, len(items)) + b"".join(value(inner, x) for x in items)
    return struct.pack(PACK[kind], v)


def pair(name, kind, v):
    return text(name) + struct.pack("<I", kind) + value(kind, v)


def tensor_info(name, dims, kind, offset):
    return text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, offset)


def header(tensors, pairs, version=3, magic=b"GGUF"):
    return magic + struct.pack("<IQQ", version, tensors, pairs)


def build(pairs, tensors, alignment=32):
    """`pairs`: name → (kind, value). `tensors`: [(name, dims, kind, data)]. Returns the file's bytes."""
    head, blob = header(len(tensors), len(pairs)), b""
    infos = []
    for name, dims, kind, data in tensors:
        blob += b"\0" * (-len(blob) % alignment)
        infos.append(tensor_info(name, dims, kind, len(blob)))
        blob += data
    head += b"".join(pair(n, k, v) for n, (k, v) in pairs.items()) + b"".join(infos)
    return head + b"\0" * (-len(head) % alignment) + blob


def read_pairs(path):
    """The metadata of a file as name → (kind, value)."""
    data, at = Path(path).open("rb").read(16 << 20), 0

    def take(fmt):
        nonlocal at
        (v,) = struct.unpack_from(fmt, data, at)
        at += struct.calcsize(fmt)
        return v

    def one(kind):
        nonlocal at
        if kind == STRING:
            n = take("<Q")
            at += n
            return data[at - n : at]
        if kind == ARRAY:
            inner, n = take("<I"), take("<Q")
            return inner, [one(inner) for _ in range(n)]
        return take(PACK[kind])

    at = 8
    take("<Q")
    count, pairs = take("<Q"), {}
    for _ in range(count):
        name = one(STRING).decode()
        kind = take("<I")
        pairs[name] = (kind, one(kind))
    return pairs


def halves(count, seed=1, scale=0.05):
    """`count` random half floats (a block of 4,096, repeated)."""
    r = random.Random(seed)
    block = struct.pack("<4096e", *(r.gauss(0, scale) for _ in range(4096)))
    return (block * (count // 4096 + 1))[: count * 2]


def tiny_llama(like, template=None, width=64, change=None, drop=()):
    """A valid one-layer model with random weights and the vocabulary of the file `like`: some 7 MB, loads in a blink.

    `change` replaces metadata (name → (kind, value)), `drop` leaves names out: how files become hostile.
    """
    source = read_pairs(like)
    vocabulary = len(source["tokenizer.ggml.tokens"][1][1])
    pairs = {k: v for k, v in source.items() if k.startswith("tokenizer.")}
    pairs = {
        "general.architecture": (STRING, "llama"),
        "general.name": (STRING, "tiny"),
        "llama.block_count": (U32, 1),
        "llama.context_length": (U32, 2048),
        "llama.embedding_length": (U32, width),
        "llama.feed_forward_length": (U32, width),
        "llama.attention.head_count": (U32, 2),
        "llama.attention.head_count_kv": (U32, 1),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "llama.rope.dimension_count": (U32, width // 2),
        "llama.vocab_size": (U32, vocabulary),
        **pairs,
    }
    if template is not None:
        pairs["tokenizer.chat_template"] = (STRING, template)
    pairs.update(change or {})
    for name in drop:
        pairs.pop(name, None)
    ones = struct.pack(f"<{width}f", *([1.0] * width))
    tensors = [("token_embd.weight", [width, vocabulary], TYPE_F16, halves(width * vocabulary)), ("output_norm.weight", [width], TYPE_F32, ones)]
    for name, rows in (("attn_q", width), ("attn_k", width // 2), ("attn_v", width // 2), ("attn_output", width), ("ffn_gate", width), ("ffn_up", width), ("ffn_down", width)):
        tensors.append((f"blk.0.{name}.weight", [width, rows], TYPE_F16, halves(width * rows, seed=rows + len(name))))
    tensors += [("blk.0.attn_norm.weight", [width], TYPE_F32, ones), ("blk.0.ffn_norm.weight", [width], TYPE_F32, ones)]
    return build(pairs, tensors)
