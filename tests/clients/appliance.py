"""Starts the true binary in a fresh data directory and talks to it: the ground of every test and bench beside Rust.

Standard library only, so that `benches/` can use it without a virtual environment.

    with Appliance() as it:
        it.set_up()
        key = it.create_key("model")["secret"]
        status, body = it.post("/v1/chat/completions", {...}, key=key)

Environment: FILBERT_BIN names the executable (default `target/release/filbert`), FILBERT_MODELS the folder with
the model files (default `models`).
"""

import glob
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OWNER = {"email": "owner@example.org", "name": "Olive Owner", "password": "correct horse battery"}
CHAT = "SmolLM2-135M-Instruct"
EMBEDDING = "multilingual-e5-small"


def binary():
    return Path(os.environ.get("FILBERT_BIN", ROOT / "target/release/filbert"))


def models_dir():
    return Path(os.environ.get("FILBERT_MODELS", ROOT / "models")).resolve()


class Refused(Exception):
    """The server answered with an error where the caller expected success."""

    def __init__(self, what, status, body):
        super().__init__(f"{what}: {status} {str(body)[:400]}")
        self.status, self.body = status, body


class Session:
    """A signed-in browser: cookie and CSRF token."""

    def __init__(self, appliance):
        self.appliance, self.cookies, self.csrf, self.data = appliance, {}, None, None

    def call(self, method, path, body=None, raw=None, headers=None, csrf=True, timeout=60):
        """Returns (status, parsed body). `raw` sends bytes as they are."""
        h = dict(headers or {})
        if self.cookies:
            h["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        if csrf and self.csrf and method != "GET":
            h.setdefault("X-CSRF-Token", self.csrf)
        status, answer, got = self.appliance.request(method, path, body=body, raw=raw, headers=h, timeout=timeout)
        for line in got.get_all("Set-Cookie") or []:
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
        if isinstance(answer, dict) and "csrf_token" in answer:
            self.csrf, self.data = answer["csrf_token"], answer
        return status, answer

    def ok(self, method, path, body=None, **more):
        status, answer = self.call(method, path, body, **more)
        if not 200 <= status < 300:
            raise Refused(f"{method} {path}", status, answer)
        return answer

    def login(self, email, password):
        self.ok("POST", "/console/api/login", {"email": email, "password": password})
        return self


class Appliance:
    def __init__(self, data=None, env=None, args=(), exe=None, cwd=None, models=True, port=0, log=None):
        self.own_data = data is None
        self.data = Path(data or tempfile.mkdtemp(prefix="filbert-test-"))
        self.env, self.args, self.exe, self.cwd = env or {}, list(args), Path(exe or binary()), cwd
        self.models, self.port, self.process = models, port, None
        self.log_path = Path(log) if log else self.data.parent / (self.data.name + ".log")
        self.owner = None

    # life -----------------------------------------------------------------------------------------
    def start(self, wait=True, timeout=60):
        """Starts the server; returns the seconds from start to `/readyz` 200."""
        if not self.exe.exists():
            raise FileNotFoundError(f"{self.exe} is not there: run `cargo build --release` first")
        if not self.port:
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                self.port = s.getsockname()[1]
        env = {k: v for k, v in os.environ.items() if not k.startswith("FILBERT_")}
        if self.models:
            env["FILBERT_LLAMA__MODELS_DIR"] = str(models_dir())
        env.update(self.env)
        command = [str(self.exe), "serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", *self.args]
        self.log = open(self.log_path, "ab")
        begun = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=env, cwd=self.cwd or ROOT)
        if wait:
            self.wait_ready(begun, timeout)
        self.start_seconds = time.perf_counter() - begun
        return self.start_seconds

    def wait_ready(self, begun, timeout):
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
            try:
                c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                c.request("GET", "/readyz")
                if c.getresponse().status == 200:
                    return
            except OSError:
                pass
            if time.perf_counter() - begun > timeout:
                raise TimeoutError(f"not ready after {timeout} s:\n{self.tail()}")
            time.sleep(0.003)

    def tail(self, count=30):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-count:])

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9: no flush, no farewell."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def stop(self, timeout=30):
        """Asks it to end and waits; returns its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        return self.process.returncode

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        if self.own_data:
            shutil.rmtree(self.data, ignore_errors=True)
            self.log_path.unlink(missing_ok=True)

    # HTTP -----------------------------------------------------------------------------------------
    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def request(self, method, path, body=None, raw=None, headers=None, key=None, timeout=60):
        """One request on a fresh connection: (status, JSON or text, headers)."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        h = dict(headers or {})
        if key:
            h["Authorization"] = f"Bearer {key}"
        data = raw
        if raw is None and body is not None:
            data = json.dumps(body).encode()
            h.setdefault("Content-Type", "application/json")
        try:
            c.request(method, path, body=data, headers=h)
            r = c.getresponse()
            text = r.read()
            try:
                answer = json.loads(text) if text else None
            except ValueError:
                answer = text.decode("utf-8", "replace")
            return r.status, answer, r.headers
        finally:
            c.close()

    def get(self, path, key=None, **more):
        return self.request("GET", path, key=key, **more)[:2]

    def post(self, path, body=None, key=None, **more):
        return self.request("POST", path, body=body, key=key, **more)[:2]

    def session(self):
        return Session(self)

    def set_up(self, owner=OWNER, language="en-US"):
        """Creates the owner; the session is kept as `self.owner`."""
        s = self.session()
        s.ok("POST", "/console/api/setup", {**owner, "workspace_name": "Proof", "language": language})
        self.owner = s
        return s

    def create_key(self, kind="model", session=None, **fields):
        return (session or self.owner).ok("POST", "/console/api/keys", {"name": fields.pop("name", "proof"), "kind": kind, **fields})

    def model_id(self, kind="chat"):
        """The id of the built-in model of a kind (its weight layout is part of the file name)."""
        stem = {"chat": CHAT, "embedding": EMBEDDING}[kind]
        models = self.owner.ok("GET", "/console/api/models")["models"]
        ids = [m["id"] for m in models if m["id"].startswith(stem)]
        built_in = [m["id"] for m in models if m["id"].startswith(stem) and m.get("built_in")]
        if not ids:
            raise LookupError(f"no model file begins with {stem} in {models_dir()}: run `make models` first")
        return (built_in or ids)[0]

    def metrics(self):
        """Prometheus text as {name{labels}: value}."""
        status, text = self.get("/metrics")
        if status != 200:
            raise Refused("GET /metrics", status, text)
        values = {}
        for line in text.splitlines():
            m = re.match(r"^([A-Za-z_:][\w:]*(?:\{.*\})?)\s+(\S+)$", line)
            if m:
                values[m.group(1)] = float(m.group(2))
        return values

    def chat(self, key, text="Say hello.", model=None, timeout=120, **more):
        """A sane chat request; returns the answer's text."""
        body = {"model": model or self.model_id(), "messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0, **more}
        status, answer = self.post("/v1/chat/completions", body, key=key, timeout=timeout)
        if status != 200:
            raise Refused("chat", status, answer)
        return answer["choices"][0]["message"]["content"]

    # measuring ------------------------------------------------------------------------------------
    def tree(self):
        """Pids of the server and everything it started."""
        children = {}
        for stat in glob.glob("/proc/[0-9]*/stat"):
            try:
                text = Path(stat).read_text()
            except OSError:
                continue
            pid, rest = int(text.split(" ", 1)[0]), text.rsplit(")", 1)[1].split()
            children.setdefault(int(rest[1]), []).append(pid)
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def pss_mb(self):
        """Proportional set size of the whole process tree in MB (10^6 bytes)."""
        return sum(pss_bytes(pid) for pid in self.tree()) / 1e6

    def worker_pids(self):
        return [p for p in self.tree() if p != self.process.pid]


def pss_bytes(pid):
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    m = re.search(r"^Pss:\s+(\d+) kB", text, re.M)
    return int(m.group(1)) * 1024 if m else 0


def cpu_seconds(pids):
    """User and system seconds used so far by these processes."""
    ticks, hz = 0, os.sysconf("SC_CLK_TCK")
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / hz
