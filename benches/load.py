"""A small asyncio load generator: streamed completions over raw sockets, timed token by token.

Standard library only. Times are seconds of `time.perf_counter`; rates are tokens per second over the wall time
of a whole round, so that queueing, prefill and the server's HTTP all count.
"""

import asyncio
import json
import random
import statistics
import time
from dataclasses import dataclass, field

WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand part place case week "
    "company system program question work government number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line end member law car city community name "
    "president team minute idea kid body information back parent face others level office door health person art war history party result "
    "change morning reason research girl guy moment air teacher force education foot boy age policy process music market sense nation plan college"
).split()


def text(words, seed):
    """Plain words in an order that no other seed gives."""
    r = random.Random(seed)
    return " ".join(r.choice(WORDS) for _ in range(words))


@dataclass
class Answer:
    sent: float
    status: int = 0
    first: float | None = None
    times: list = field(default_factory=list)
    tokens: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    error: str = ""

    @property
    def ttft(self):
        return None if self.first is None else self.first - self.sent


async def request(port, method, path, body, headers=None):
    """Sends one request; returns (status, reader, writer) with the head consumed."""
    data = b"" if body is None else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
    writer.write(head.encode() + b"\r\n" + data)
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    while (await reader.readline()) not in (b"\r\n", b""):
        pass
    return status, reader, writer


async def complete(port, prompt, new, model="m", key=None, on_token=None, **more):
    """One streamed completion of exactly `new` tokens; `prompt` is text or token ids."""
    body = {"model": model, "prompt": prompt, "max_tokens": new, "n_predict": new, "stream": True, "ignore_eos": True, "temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "stream_options": {"include_usage": True}, **more}
    a = Answer(time.perf_counter())
    status, reader, writer = await request(port, "POST", "/v1/completions", body, {"Authorization": f"Bearer {key}"} if key else None)
    a.status = status
    try:
        if status != 200:
            a.error = (await reader.read(2000)).decode("utf-8", "replace")
            return a
        async for line in reader:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                a.error = str(chunk["error"])
                return a
            if chunk.get("usage"):
                a.tokens = chunk["usage"]["completion_tokens"]
                a.prompt_tokens = chunk["usage"]["prompt_tokens"]
                a.cached = (chunk["usage"].get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            if any(c.get("text") for c in chunk.get("choices", [])):
                now = time.perf_counter()
                a.first = a.first or now
                a.times.append(now)
                if on_token:
                    on_token(now)
        return a
    finally:
        writer.close()


async def closed_loop(port, clients, prompts, new, **more):
    """`clients` at once, each taking the next prompt when its answer is done. Returns (answers, wall seconds)."""
    todo, answers = list(reversed(prompts)), []

    async def one():
        while todo:
            answers.append(await complete(port, todo.pop(), new, **more))

    begun = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    return answers, time.perf_counter() - begun


def rate(answers, wall, new):
    """Generated tokens per second; every request must have been answered in full."""
    bad = [a for a in answers if a.status != 200 or a.error]
    if bad:
        raise RuntimeError(f"{len(bad)} of {len(answers)} requests failed: {bad[0].status} {bad[0].error[:300]}")
    return sum(a.tokens or new for a in answers) / wall


def percentile(values, p):
    """Nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * p // 100) - 1))]


def median(values):
    return statistics.median(values)
