"""Start, memory, durable writes, open streams, size: what the server itself costs."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import anchor
import load
from appliance import Appliance, binary

RECORDS = int(os.environ.get("BENCH_RECORDS", "100000"))
STREAMS = int(os.environ.get("BENCH_STREAMS", "5000"))


def size(_context):
    """The executable without models, stripped as `make dist` strips it, and the dist file when it is there."""
    with tempfile.NamedTemporaryFile() as f:
        subprocess.run(["strip", "-o", f.name, binary()], check=True)
        bare = os.path.getsize(f.name) / 1e6
    yield {"what": "binary without models", "budget": "<= 100 MB", "measured": f"{bare:.1f} MB", "value": bare, "ok": bare <= 100}
    files = [p for p in (anchor.ROOT / "dist").glob("filbert-*") if p.is_file() and not p.suffix]
    for p in sorted(files, key=lambda p: p.stat().st_mtime)[-1:]:
        full = p.stat().st_size / 1e6
        yield {"what": "binary with the UI and both models (make dist)", "budget": "<= 300 MB", "measured": f"{full:.1f} MB", "value": full, "ok": full <= 300}


def seeded():
    """A data directory with many records, made once and kept below `target/`."""
    kept = anchor.ROOT / f"target/bench/data-{RECORDS}"
    if not (kept / ".seeded").exists():
        shutil.rmtree(kept, ignore_errors=True)
        a = Appliance(data=kept, models=False, log=kept.parent / "seed.log", env={"FILBERT_LOG__LEVEL": "warn"})
        kept.parent.mkdir(parents=True, exist_ok=True)
        a.start()
        a.set_up()
        begun = time.perf_counter()
        asyncio.run(write_keys(a, RECORDS, 64))
        print(f"  (seeded {RECORDS} records over HTTP in {time.perf_counter() - begun:.0f} s)")
        a.stop()
        (kept / ".seeded").write_text("ok")
    return kept


class Connection:
    """A kept-alive HTTP/1.1 connection for many small requests."""

    async def open(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        return self

    async def call(self, method, path, headers, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n{headers}\r\n"
        self.writer.write(head.encode() + data)
        line = await self.reader.readline()
        length, chunked = 0, False
        while (h := await self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = h.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
            chunked |= name.lower() == "transfer-encoding"
        if chunked:
            raise RuntimeError("a chunked answer where a whole one was expected")
        answer = await self.reader.readexactly(length)
        return int(line.split()[1]), answer


def owner_headers(a):
    cookies = "; ".join(f"{k}={v}" for k, v in a.owner.cookies.items())
    return f"Cookie: {cookies}\r\nX-CSRF-Token: {a.owner.csrf}\r\n"


async def write_keys(a, count, clients, latencies=None):
    headers, left = owner_headers(a), iter(range(count))

    async def one():
        c = await Connection().open(a.port)
        for i in left:
            begun = time.perf_counter()
            status, answer = await c.call("POST", "/console/api/keys", headers, {"name": f"seed {i}", "kind": "model"})
            if status not in (200, 201):
                raise RuntimeError(f"{status} {answer[:300]}")
            if latencies is not None:
                latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(one() for _ in range(clients)))


async def read_session(a, count, clients, latencies):
    headers, left = owner_headers(a), iter(range(count))

    async def one():
        c = await Connection().open(a.port)
        for _ in left:
            begun = time.perf_counter()
            status, answer = await c.call("GET", "/console/api/session", headers)
            if status != 200:
                raise RuntimeError(f"{status} {answer[:300]}")
            latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(one() for _ in range(clients)))


def start(context):
    """From exec to `/readyz` 200 with existing data, page cache warm."""
    times = []
    data = seeded()
    for _ in range(3 + 2 * context["rounds"]):
        a = Appliance(data=data, log=data.parent / "start.log")
        times.append(a.start() * 1e3)
        a.stop()
    mid = load.median(times)
    yield {"what": f"start to /readyz, {RECORDS} records", "budget": "<= 300 ms", "measured": f"{mid:.0f} ms", "value": mid, "ok": mid <= 300, "note": f"{min(times):.0f} to {max(times):.0f} ms", "rounds": times}


def memory(context):
    """PSS of the whole process tree: idle, both default models loaded, after use."""
    data = seeded()
    copy = Path(tempfile.mkdtemp(prefix="filbert-bench-data-"))
    shutil.copytree(data, copy, dirs_exist_ok=True)
    (copy / ".seeded").unlink()
    a = Appliance(data=copy, log=data.parent / "memory.log")
    try:
        a.start()
        time.sleep(3)
        idle = a.pss_mb()
        yield {"what": "idle memory, no model loaded", "budget": "<= 60 MB", "measured": f"{idle:.1f} MB", "value": idle, "ok": idle <= 60, "note": f"{RECORDS} records"}
        a.owner = a.session().login("owner@example.org", "correct horse battery")
        key = a.create_key("model")["secret"]
        chat, embedding = a.model_id("chat"), a.model_id("embedding")
        for m in (chat, embedding):
            a.owner.ok("POST", f"/console/api/models/{m}/load", {}, timeout=120)
        time.sleep(2)
        loaded = a.pss_mb()
        yield {"what": "memory, chat and embedding models loaded", "budget": "<= 420 MB", "measured": f"{loaded:.0f} MB", "value": loaded, "ok": loaded <= 420}
        texts = [load.text(250, i) for i in range(48)]
        asyncio.run(load.closed_loop(a.port, 16, list(texts), 64, model=chat, key=key))
        for _ in range(2):
            status, body = a.post("/v1/embeddings", {"model": embedding, "input": [load.text(200, i) for i in range(64)], "encoding_format": "base64"}, key=key, timeout=300)
            if status != 200:
                raise RuntimeError(f"{status} {body}")
        time.sleep(1)
        used = a.pss_mb()
        yield {"what": "memory after use (16 at once, 128 embeddings)", "budget": "<= 650 MB", "measured": f"{used:.0f} MB", "value": used, "ok": used <= 650}
    finally:
        a.stop()
        shutil.rmtree(copy, ignore_errors=True)


def write(context):
    """An acknowledged write (a key is created and flushed) against a read on the same path of code."""
    with Appliance(models=False, env={"FILBERT_LOG__LEVEL": "warn"}) as a:
        a.set_up()
        asyncio.run(write_keys(a, 200, 8))
        for clients in (1, 16, 64):
            writes, reads = [], []
            begun = time.perf_counter()
            asyncio.run(write_keys(a, 300 if clients == 1 else 3_000, clients, writes))
            rate = len(writes) / (time.perf_counter() - begun)
            asyncio.run(read_session(a, 300 if clients == 1 else 3_000, clients, reads))
            w, r = load.percentile(writes, 99) * 1e3, load.percentile(reads, 99) * 1e3
            added = w - r
            yield {"what": f"acknowledged write, {clients} at once: added at P99", "budget": "<= 10 ms", "measured": f"{added:.1f} ms", "value": added, "ok": added <= 10, "note": f"P50 {load.median(writes) * 1e3:.1f}, P99 {w:.1f} ms (read {r:.1f}), {rate:.0f} writes/s"}


def streams(context):
    """Streams held open at once: requests that wait in the model's queue while others are answered."""
    settings = {"FILBERT_LOG__LEVEL": "warn", "FILBERT_LLAMA__QUEUE": str(STREAMS + 100), "FILBERT_LLAMA__QUEUE_PER_TENANT": str(STREAMS + 100)}
    a = Appliance(env=settings)
    try:
        a.start()
        a.set_up()
        key, model = a.create_key("model")["secret"], a.model_id("chat")
        a.chat(key)
        time.sleep(1)
        before = a.pss_mb()
        opened, failed, after = asyncio.run(hold_open(a, key, model))
        each = (after - before) * 1e3 / max(1, opened)
        yield {"what": f"open streams at once: {opened} of {STREAMS}", "budget": "<= 60 KB each", "measured": f"{each:.1f} KB each", "value": each, "ok": each <= 60 and failed == 0 and opened == STREAMS, "note": f"{failed} failed"}
    finally:
        a.stop()
        shutil.rmtree(a.data, ignore_errors=True)


async def hold_open(a, key, model):
    body = {"model": model, "messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 400, "stream": True, "ignore_eos": True}
    open_writers, failures = [], []
    gate = asyncio.Semaphore(100)

    async def one():
        async with gate:
            try:
                status, _, writer = await asyncio.wait_for(load.request(a.port, "POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"}), 60)
            except (OSError, asyncio.TimeoutError, IndexError) as e:
                failures.append(repr(e))
                return
            if status == 200:
                open_writers.append(writer)
            else:
                failures.append(status)
                writer.close()

    await asyncio.gather(*(one() for _ in range(STREAMS)))
    await asyncio.sleep(3)
    after = a.pss_mb()
    for w in open_writers:
        w.close()
    if failures:
        print(f"  (streams refused: {sorted(set(map(str, failures)))[:5]})")
    return len(open_writers), len(failures), after
