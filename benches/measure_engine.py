"""Generation, prefix reuse, stalls and embeddings, side by side with llama.cpp's own programs."""

import asyncio
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import anchor
import load
from appliance import Appliance, models_dir

NEW, PROMPT = 64, 199
WIDTHS = {1: 6, 4: 12, 8: 24, 16: 32}
PREFIX, OWN = 1_413, 19


def shipped_chat():
    """The chat file as it is shipped: a SmolLM2 that is not the Q4_1 original, or that when there is no other."""
    files = sorted(models_dir().glob("SmolLM2*.gguf"))
    laid_out = [f for f in files if "Q4_1" not in f.name]
    return (laid_out or files)[0]


@contextmanager
def filbert(files, parallel=16, threads=anchor.THREADS, context=None):
    """A server that holds exactly these model files; the first is loaded with `parallel` sequences."""
    folder = Path(tempfile.mkdtemp(prefix="filbert-bench-models-"))
    for f in files:
        shutil.copyfile(f, folder / f.name)
    a = Appliance(env={"FILBERT_LLAMA__MODELS_DIR": str(folder), "FILBERT_LOG__LEVEL": "warn"})
    try:
        a.start()
        a.set_up()
        a.key = a.create_key("model")["secret"]
        a.model = files[0].stem
        fields = {"threads": threads, "parallel": parallel, "pinned": True}
        if context:
            fields["context_size"] = context
        a.owner.ok("PATCH", f"/console/api/models/{a.model}", fields)
        a.owner.ok("POST", f"/console/api/models/{a.model}/load", {}, timeout=120)
        yield a
    finally:
        a.stop()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(a.data, ignore_errors=True)


class Tokenizer:
    """Cuts texts to an exact number of tokens through llama-server; without one, words stand in for tokens."""

    def __init__(self, server):
        self.server = server

    def prompt(self, count, seed):
        text = load.text(int(count * 1.35), seed)
        if self.server is None:
            return " ".join(text.split()[: int(count * 0.97)])
        return self.server.tokens(text)[:count]


def prompts(tokenizer, count, seed):
    return [tokenizer.prompt(PROMPT, seed * 10_000 + i) for i in range(count)]


def one_round(port, clients, texts, **more):
    answers, wall = asyncio.run(load.closed_loop(port, clients, texts, NEW, **more))
    return load.rate(answers, wall, NEW), load.median([a.ttft for a in answers])


def speed(context):
    """Aggregate tok/s at 1, 4, 8, 16 sequences: the same Q4_1 file on both sides, then the file we ship."""
    plain, shipped, bin_dir = anchor.plain_file(), shipped_chat(), context["anchor"]
    got = {}
    with filbert([plain]) as same, filbert([shipped]) as ours:
        for width, requests in WIDTHS.items():
            for r in range(context["rounds"]):
                sides = [("same", same.port, {"model": same.model, "key": same.key}), ("ours", ours.port, {"model": ours.model, "key": ours.key})]
                server = None
                try:
                    if bin_dir:
                        server = anchor.LlamaServer(bin_dir, plain, width, 512 * width).__enter__()
                        sides.insert(0, ("anchor", server.port, {"cache_prompt": False}))
                    tokenizer = Tokenizer(server)
                    for name, port, more in sides[r % len(sides) :] + sides[: r % len(sides)]:
                        seed = hash((width, r, name)) % 1_000_000
                        one_round(port, 1, prompts(tokenizer, 1, seed + 1), **more)  # warms threads and pages
                        got.setdefault((width, name), []).append(one_round(port, width, prompts(tokenizer, requests, seed), **more))
                finally:
                    if server:
                        server.__exit__()
            mid = {n: (load.median([x[0] for x in got[width, n]]), load.median([x[1] for x in got[width, n]])) for n in ("anchor", "same", "ours") if (width, n) in got}
            base = mid.get("anchor")
            for name, what, factor in (("same", "Q4_1", 1.0), ("ours", quant(shipped), 1.5)):
                rate, ttft = mid[name]
                row = {"what": f"generation, {width} sequences, {what}{' (shipped)' if name == 'ours' else ''}", "measured": f"{rate:.1f} tok/s", "value": rate, "ttft_ms": ttft * 1e3, "rounds": [x[0] for x in got[width, name]], "note": f"first token {ttft * 1e3:.0f} ms"}
                if base:
                    row |= {"budget": f">= {factor} x {base[0]:.1f}", "ok": rate >= factor * base[0], "ratio": rate / base[0], "anchor": base[0], "anchor_ttft_ms": base[1] * 1e3, "anchor_rounds": [x[0] for x in got[width, "anchor"]]}
                    row["measured"] += f" = {rate / base[0]:.2f} x"
                    row["note"] += f" (llama-server {base[1] * 1e3:.0f} ms)"
                yield row


def quant(path):
    m = re.search(r"(IQ\d\w*|Q\d\w*|F16|BF16|F32)", path.stem.split("Instruct")[-1])
    return m.group(1) if m else path.stem


async def at_once(port, texts, **more):
    return await asyncio.gather(*(load.complete(port, t, 8, **more) for t in texts))


def prefix_figures(port, tokenizer, seed, **more):
    """The three shared-prefix figures in seconds: (cold single, median of later ones, 8 cached: all, 8 cold: last)."""

    def ask(prefix, own_seed):
        own = tokenizer.prompt(OWN, own_seed)
        return prefix + own if isinstance(prefix, list) else f"{prefix} {own}"

    def first(answers):
        bad = [a for a in answers if a.status != 200 or a.error or a.first is None]
        if bad:
            raise RuntimeError(f"{len(bad)} of {len(answers)} failed: {bad[0].status} {bad[0].error[:200]}")
        return [a.ttft for a in answers]

    one, two, three = (tokenizer.prompt(PREFIX, seed + i) for i in range(3))
    cold = first(asyncio.run(at_once(port, [ask(one, seed + 10)], **more)))[0]
    later = [first(asyncio.run(at_once(port, [ask(one, seed + 20 + i)], **more)))[0] for i in range(11)]
    cached = first(asyncio.run(at_once(port, [ask(one, seed + 40 + i) for i in range(8)], **more)))
    cold_two = first(asyncio.run(at_once(port, [ask(two, seed + 60)], **more)))[0]
    together = first(asyncio.run(at_once(port, [ask(three, seed + 80 + i) for i in range(8)], **more)))
    return {"single": load.median([cold, cold_two]), "later": load.median(later), "cached": cached, "together": together}


def prefix(context):
    """First token on a shared 1,413-token prefix: one after another, 8 at once cached, 8 at once cold."""
    plain, shipped, bin_dir = anchor.plain_file(), shipped_chat(), context["anchor"]
    theirs, server = None, None
    if bin_dir:
        server = anchor.LlamaServer(bin_dir, plain, 8, 32_768).__enter__()
    try:
        tokenizer = Tokenizer(server)
        if server:
            theirs = prefix_figures(server.port, tokenizer, 5_000)
        for name, file in (("Q4_1", plain), (f"{quant(shipped)} (shipped)", shipped)):
            with filbert([file]) as a:
                rounds = [prefix_figures(a.port, tokenizer, 100_000 * (r + 1), model=a.model, key=a.key) for r in range(context["rounds"])]
            single, later = load.median([r["single"] for r in rounds]), load.median([r["later"] for r in rounds])
            cached = load.median([load.percentile(r["cached"], 95) for r in rounds])
            together = load.median([max(r["together"]) for r in rounds])
            ratio = load.median([max(r["together"]) / r["single"] for r in rounds])
            is_budget = name.endswith("(shipped)") or file == shipped

            def row(what, value, budget, ok, other):
                note = f"llama-server Q4_1 {other * 1e3:.0f} ms" if theirs else ""
                return {"what": f"{what}, {name}", "measured": f"{value * 1e3:.0f} ms", "value": value * 1e3, "budget": budget if is_budget else "", "ok": ok if is_budget else None, "note": note}

            yield row("shared prefix: the next request", later, "<= 94 ms", later <= 0.094, theirs and theirs["later"])
            yield row("shared prefix: 8 at once, cached, P95", cached, "<= 500 ms", cached <= 0.5, theirs and load.percentile(theirs["cached"], 95))
            yield {**row("shared prefix: 8 at once, nothing cached, last", together, f"<= 1.2 x {single * 1e3:.0f} ms", ratio <= 1.2, theirs and max(theirs["together"])), "ratio": ratio}
    finally:
        if server:
            server.__exit__()


def gaps(port, tokenizer, seed, **more):
    """Gaps between tokens of a running stream, (median before, longest during) a 4,000-token prompt's entry; and that prompt's first token."""

    async def go():
        stream = asyncio.create_task(load.complete(port, tokenizer.prompt(50, seed), 400, **more))
        await asyncio.sleep(1.0)
        entered = time.perf_counter()
        big = await load.complete(port, tokenizer.prompt(4_000, seed + 1), 4, **more)
        small = await stream
        if big.status != 200 or small.status != 200:
            raise RuntimeError(f"{big.status} {big.error[:200]} / {small.status} {small.error[:200]}")
        times = small.times
        before = [b - a for a, b in zip(times, times[1:]) if b < entered]
        during = [b - a for a, b in zip(times, times[1:]) if b >= entered and a <= (big.first or entered)]
        return load.median(before), max(during), big.ttft

    return asyncio.run(go())


def stall(context):
    """How long a running stream waits while a 4,000-token prompt enters."""
    plain, bin_dir = anchor.plain_file(), context["anchor"]
    server = anchor.LlamaServer(bin_dir, plain, 4, 32_768).__enter__() if bin_dir else None
    try:
        tokenizer = Tokenizer(server)
        theirs = gaps(server.port, tokenizer, 77, cache_prompt=False) if server else None
        with filbert([plain], parallel=4, context=8_192) as a:
            ours = [gaps(a.port, tokenizer, 99 + 10 * r, model=a.model, key=a.key) for r in range(context["rounds"])]
        usual, longest, first = (load.median([o[i] for o in ours]) for i in range(3))
        row = {"what": "longest gap of a running stream, 4k prompt enters, Q4_1", "measured": f"{longest * 1e3:.0f} ms", "value": longest * 1e3, "note": f"usual gap {usual * 1e3:.0f} ms, the prompt's first token {first:.1f} s"}
        if theirs:
            row["note"] += f"; llama-server {theirs[1] * 1e3:.0f} ms, {theirs[2]:.1f} s"
        yield row
    finally:
        if server:
            server.__exit__()


def embed(context):
    """Embedding throughput over HTTP against llama-embedding on the same file and texts."""
    file = sorted(models_dir().glob("multilingual-e5-small*.gguf"))[0]
    theirs, ours = [], []
    with filbert([file], parallel=4) as a:
        for r in range(context["rounds"]):
            texts = [load.text(180, 900 + 1_000 * r + i) for i in range(96)]
            if context["anchor"]:
                theirs.append(anchor.embedding_rate(context["anchor"], file, texts))
            ours.append(embed_round(a, texts))
    mine = load.median(ours)
    row = {"what": "embeddings while indexing, 96 texts of ~190 tokens", "measured": f"{mine:.0f} tok/s", "value": mine, "rounds": ours}
    if theirs:
        mark = load.median(theirs)
        row |= {"budget": f">= 0.9 x {mark:.0f}", "ok": mine >= 0.9 * mark, "ratio": mine / mark, "anchor": mark, "anchor_rounds": theirs}
        row["measured"] += f" = {mine / mark:.2f} x"
    yield row


def embed_round(a, texts, batch=32):
    """Four requests in flight at most, as an indexer sends them; tokens per second."""

    async def one(part):
        status, reader, writer = await load.request(a.port, "POST", "/v1/embeddings", {"model": a.model, "input": part, "encoding_format": "base64", "input_type": "raw"}, {"Authorization": f"Bearer {a.key}"})
        body = await reader.read()
        writer.close()
        m = re.search(rb'"prompt_tokens":\s*(\d+)', body)
        if status != 200 or not m:
            raise RuntimeError(f"{status} {body[:300]}")
        return int(m.group(1))

    async def go():
        await one(texts[:4])
        begun = time.perf_counter()
        tokens = await asyncio.gather(*(one(texts[i : i + batch]) for i in range(0, len(texts), batch)))
        return sum(tokens) / (time.perf_counter() - begun)

    return asyncio.run(go())
