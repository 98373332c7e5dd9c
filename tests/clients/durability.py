"""Kills the server with SIGKILL under concurrent writes, again and again, and looks for what was acknowledged.

    python3 tests/clients/durability.py --kills 100

Every write that got a 2xx is written into a ledger on this side. After each restart the ledger is compared with
what the server says: every acknowledged key works, every acknowledged rename, member, setting and revocation is
there, no list shows a thing twice, unique names are still unique. At the end a backup is taken under write load,
restored elsewhere and compared.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from appliance import OWNER, Appliance

WRITERS = 6


class Ledger:
    """What was acknowledged. A write whose answer never came may or may not be there; both are right."""

    def __init__(self):
        self.lock = threading.Lock()
        self.keys = {}  # id -> {"secret", "name", "revoked"}; fields under an unanswered change become None = unknown
        self.members = {}  # email -> {"id", "role"}
        self.instance_name = None
        self.unknown_keys = set()  # names whose creation was never answered
        self.unknown_members = set()
        self.writes = 0

    def done(self):
        with self.lock:
            self.writes += 1


class Writer(threading.Thread):
    """One client that writes until the connection breaks."""

    def __init__(self, appliance, ledger, number, round_number):
        super().__init__(daemon=True)
        self.a, self.ledger, self.number, self.round = appliance, ledger, number, round_number
        self.rng = random.Random(number * 7919 + round_number)
        self.mine = []
        self.refused = None
        self.count = 0
        self.go_on = True

    def run(self):
        try:
            while self.go_on:
                self.step()
        except (OSError, http.client.HTTPException):
            pass  # the server was killed: what was under way stays unknown

    def step(self):
        s, r = self.a.owner, self.rng.random()
        self.count += 1
        name = f"k-{self.round}-{self.number}-{self.count}"
        if r < 0.55 or not self.mine:
            with self.ledger.lock:
                self.ledger.unknown_keys.add(name)
            status, made = s.call("POST", "/console/api/keys", {"name": name, "kind": "model"})
            if not self.good(status, made):
                return
            with self.ledger.lock:
                self.ledger.keys[made["id"]] = {"secret": made["secret"], "name": name, "revoked": False}
                self.ledger.unknown_keys.discard(name)
            self.mine.append(made["id"])
        elif r < 0.75:
            ident = self.rng.choice(self.mine)
            with self.ledger.lock:
                self.ledger.keys[ident]["name"] = None
            status, made = s.call("PATCH", f"/console/api/keys/{ident}", {"name": name})
            if not self.good(status, made):
                return
            with self.ledger.lock:
                self.ledger.keys[ident]["name"] = name
        elif r < 0.9:
            ident = self.mine.pop(self.rng.randrange(len(self.mine)))
            with self.ledger.lock:
                self.ledger.keys[ident]["revoked"] = None
            status, made = s.call("DELETE", f"/console/api/keys/{ident}")
            if not self.good(status, made):
                return
            with self.ledger.lock:
                self.ledger.keys[ident]["revoked"] = True
        elif self.number == 0:
            with self.ledger.lock:
                self.ledger.instance_name = None
            status, made = s.call("PATCH", "/console/api/settings", {"name": name})
            if not self.good(status, made):
                return
            with self.ledger.lock:
                self.ledger.instance_name = name
        elif self.number == 1 and self.rng.random() < 0.3:
            email = f"{name}@example.org"
            with self.ledger.lock:
                self.ledger.unknown_members.add(email)
            status, made = s.call("POST", "/console/api/members", {"email": email, "name": name, "password": "a long enough one", "role": "editor"})
            if not self.good(status, made):
                return
            with self.ledger.lock:
                self.ledger.members[email] = "editor"
                self.ledger.unknown_members.discard(email)
        else:
            return
        self.ledger.done()

    def good(self, status, body):
        if 200 <= status < 300:
            return True
        if status == 429:
            time.sleep(0.2)
        else:
            self.refused = (status, body)
            self.go_on = False
        return False


def check(appliance, ledger, sample=40):
    """Compares the server with the ledger; returns the list of faults."""
    faults, s = [], appliance.owner
    status, listed = s.call("GET", "/console/api/keys?kind=model")
    if status != 200:
        return [f"the session is gone or keys cannot be listed: {status} {listed}"]
    there = {}
    for k in listed["keys"]:
        if k["id"] in there:
            faults.append(f"key {k['id']} is listed twice")
        there[k["id"]] = k
    names = [k["name"] for k in listed["keys"]]
    for ident, want in ledger.keys.items():
        got = there.get(ident)
        if got is None:
            if want["revoked"] is not False:
                continue  # a list may leave revoked keys out
            faults.append(f"acknowledged key {want['name']} ({ident}) is lost")
            continue
        if want["name"] is not None and got["name"] != want["name"]:
            faults.append(f"key {ident}: acknowledged name {want['name']}, found {got['name']}")
        if want["revoked"] is True and not got["revoked_at"]:
            faults.append(f"key {ident}: acknowledged revocation is lost")
        if want["revoked"] is False and got["revoked_at"]:
            faults.append(f"key {ident} is revoked though nobody revoked it")
    known = {k["name"] for k in ledger.keys.values()}
    for name in names:
        if names.count(name) > 1 and name in known and name.startswith("k-"):
            faults.append(f"two keys are called {name}")
            break
    # Keys are found by the hash of their secret: the unique index must agree with the records.
    settled = [k for k in ledger.keys.values() if k["revoked"] is not None]
    for k in random.Random(len(settled)).sample(settled, min(sample, len(settled))):
        status, _ = appliance.get("/v1/models", key=k["secret"])
        if status != (401 if k["revoked"] else 200):
            faults.append(f"key {k['name']} (revoked: {k['revoked']}) answers {status}")
    members = [m["email"] for m in s.ok("GET", "/console/api/members")["members"]]
    if len(members) != len(set(members)):
        faults.append("a member is listed twice")
    faults += [f"acknowledged member {email} is lost" for email in ledger.members if email not in members]
    for email in list(ledger.unknown_members):
        # Half-written: the user's record without the membership would make the address unusable for ever.
        status, body = s.call("POST", "/console/api/members", {"email": email, "name": "again", "password": "a long enough one", "role": "editor"})
        if (email in members) != (status == 409) or status not in (200, 201, 409):
            faults.append(f"member {email}: listed {email in members}, created anew: {status} {body}")
        ledger.unknown_members.discard(email)
        ledger.members[email] = "editor"
    if ledger.instance_name is not None:
        got = s.ok("GET", "/console/api/settings")["name"]
        if got != ledger.instance_name:
            faults.append(f"acknowledged instance name {ledger.instance_name}, found {got}")
    return faults


def run_kills(kills, seed=1, say=print):
    """`kills` rounds of write, kill -9, start, compare. Returns (ledger, worst start seconds) or raises on a fault."""
    rng = random.Random(seed)
    a = Appliance(models=False, env={"FILBERT_LOG__LEVEL": "warn"})
    ledger, starts = Ledger(), []
    try:
        starts.append(a.start())
        a.set_up()
        for i in range(kills):
            writers = [Writer(a, ledger, n, i) for n in range(WRITERS)]
            for w in writers:
                w.start()
            time.sleep(rng.uniform(0.02, 0.6))
            a.kill()
            for w in writers:
                w.join(20)
                if w.refused:
                    raise AssertionError(f"round {i}: a proper write was refused: {w.refused}")
            starts.append(a.start())
            faults = check(a, ledger)
            if faults:
                raise AssertionError(f"round {i} ({ledger.writes} acknowledged writes so far): " + "; ".join(faults[:5]))
            if i % 10 == 9:
                say(f"  {i + 1} kills, {ledger.writes} acknowledged writes, 0 lost, slowest start {max(starts):.2f} s")
        check_all = check(a, ledger, sample=10**9)
        if check_all:
            raise AssertionError("at the end: " + "; ".join(check_all[:5]))
        return ledger, max(starts), len(ledger.keys)
    finally:
        if a.alive():
            a.stop()
        shutil.rmtree(a.data, ignore_errors=True)


def snapshot(appliance):
    """What a person can see, in a form that two servers can be compared by."""
    s = appliance.owner
    keys = sorted((k["id"], k["name"], k["hint"], bool(k["revoked_at"])) for k in s.ok("GET", "/console/api/keys?kind=model")["keys"])
    members = sorted((m["email"], m["role"]) for m in s.ok("GET", "/console/api/members")["members"])
    settings = {k: v for k, v in s.ok("GET", "/console/api/settings").items() if k != "config"}
    return {"keys": keys, "members": members, "settings": settings}


def filbert(a, *args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("FILBERT_")}
    return subprocess.run([str(a.exe), *map(str, args)], env=env, capture_output=True, text=True, timeout=120)


def run_backup(keys=300, say=print):
    """Backup while writing, restore elsewhere, compare; then damaged backups must be refused with nothing changed."""
    work = Path(tempfile.mkdtemp(prefix="filbert-backup-"))
    a = Appliance(data=work / "data", models=False, log=work / "a.log")
    try:
        a.start()
        a.set_up()
        ledger = Ledger()
        quiet = [a.create_key("model", name=f"quiet-{i}")["secret"] for i in range(keys)]
        writers = [Writer(a, ledger, n, 0) for n in range(4)]
        for w in writers:
            w.start()
        time.sleep(0.3)
        with ledger.lock:
            acknowledged = json.loads(json.dumps(ledger.keys))
        file = work / "one.backup"
        begun = time.perf_counter()
        done = filbert(a, "backup", file, "--data", a.data)
        took = time.perf_counter() - begun
        assert done.returncode == 0, f"backup failed: {done.stdout}{done.stderr}"
        for w in writers:
            w.go_on = False
        for w in writers:
            w.join(20)
            assert not w.refused, w.refused
        written = ledger.writes
        say(f"  backup under load: {file.stat().st_size / 1e6:.2f} MB in {took:.2f} s, {written} writes meanwhile")

        # Restored elsewhere: everything acknowledged before the call is there and usable.
        b = Appliance(data=work / "restored", models=False, log=work / "b.log")
        done = filbert(b, "restore", file, "--data", b.data)
        assert done.returncode == 0, f"restore failed: {done.stdout}{done.stderr}"
        b.start()
        b.owner = b.session().login(OWNER["email"], OWNER["password"])
        there = {k["id"]: k for k in b.owner.ok("GET", "/console/api/keys?kind=model")["keys"]}
        lost = [k["name"] for i, k in acknowledged.items() if i not in there and ledger.keys[i]["revoked"] is False]
        assert not lost, f"acknowledged before the backup, not in it: {lost[:5]}"
        for secret in random.Random(3).sample(quiet, 20):
            assert b.get("/v1/models", key=secret)[0] == 200
        b.stop()

        # Still: both sides equal, byte for byte of what can be seen.
        still = work / "two.backup"
        assert filbert(a, "backup", still, "--data", a.data).returncode == 0
        before = snapshot(a)
        c = Appliance(data=work / "equal", models=False, log=work / "c.log")
        assert filbert(c, "restore", still, "--data", c.data).returncode == 0
        c.start()
        c.owner = c.session().login(OWNER["email"], OWNER["password"])
        assert snapshot(c) == before, "the restored server shows something else"
        c.stop()

        # A backup of stopped data, taken by the command alone.
        a.stop()
        offline = work / "three.backup"
        done = filbert(a, "backup", offline, "--data", a.data)
        assert done.returncode == 0, done.stderr

        refused = run_damaged(a, still, work, say)
        # An occupied directory is never overwritten.
        done = filbert(a, "restore", still, "--data", a.data)
        assert done.returncode != 0 and "Traceback" not in done.stderr, "restore into a full directory must be refused"
        return refused
    finally:
        if a.alive():
            a.stop()
        shutil.rmtree(work, ignore_errors=True)


def run_damaged(a, file, work, say):
    """Cut off and bit-flipped copies: each refused, nothing left behind."""
    whole = file.read_bytes()
    rng, refused = random.Random(5), 0
    cases = [("cut", whole[:n]) for n in (0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 64, len(whole) - 1)]
    for _ in range(20):
        spot = rng.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[spot] ^= 1 << rng.randrange(8)
        cases.append((f"bit at {spot}", bytes(flipped)))
    cases += [("more at the end", whole + b"more"), ("foreign", b"PK\x03\x04 not ours" * 100), ("random", os.urandom(5000))]
    for what, content in cases:
        bad, target = work / "bad.backup", work / "never"
        bad.write_bytes(content)
        done = filbert(a, "restore", bad, "--data", target)
        assert done.returncode not in (0, 101, -6, -11), f"{what}: exit {done.returncode} {done.stderr[-300:]}"
        assert "panicked" not in done.stderr, f"{what}: {done.stderr[-300:]}"
        assert not target.exists() or not any(target.iterdir()), f"{what}: left something in the data directory"
        left = [p.name for p in work.iterdir() if "never" in p.name and p != target]
        assert not left, f"{what}: left {left} beside it"
        refused += 1
    say(f"  {refused} damaged backups refused, nothing left behind")
    return refused


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    begun = time.monotonic()
    ledger, slowest, keys = run_kills(chosen.kills, chosen.seed)
    print(f"{chosen.kills} x kill -9: {ledger.writes} acknowledged writes ({keys} keys, {len(ledger.members)} members), 0 lost; slowest start {slowest:.2f} s; {time.monotonic() - begun:.0f} s in all")
    run_backup()
    print("backup under load, restored elsewhere, equal; damaged backups refused")
    sys.exit(0)
