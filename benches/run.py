"""`make bench`: every budget that exists by now, beside what this machine measures in this run.

    python3 benches/run.py                 everything there is something to measure with
    python3 benches/run.py --only speed    one part: start memory write streams speed prefix stall embed size
    python3 benches/run.py --quick         one round instead of three
    python3 benches/run.py --anchor        builds llama-server first when it is missing (some minutes)

Figures that another program sets the mark for (llama-server, llama-embedding) are taken in the same run, the two
sides in turn, on the same two threads. Also written to `target/bench.json`. Exit code 1 when a budget is missed
and `--strict` is given.
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/clients"))

import anchor
import appliance
import measure_engine
import measure_server

PARTS = {
    "size": measure_server.size,
    "start": measure_server.start,
    "memory": measure_server.memory,
    "write": measure_server.write,
    "streams": measure_server.streams,
    "speed": measure_engine.speed,
    "prefix": measure_engine.prefix,
    "stall": measure_engine.stall,
    "embed": measure_engine.embed,
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", choices=PARTS, help="measure this part (may be repeated)")
    options.add_argument("--quick", action="store_true")
    options.add_argument("--anchor", action="store_true", help="build llama-server when it is missing")
    options.add_argument("--strict", action="store_true")
    options.add_argument("--json", default=str(anchor.ROOT / "target/bench.json"))
    chosen = options.parse_args()

    context = {"anchor": anchor.programs(build=chosen.anchor or os.environ.get("ANCHOR") == "1"), "rounds": 1 if chosen.quick else 3, "rows": []}
    print(f"filbert bench, {time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, {appliance.binary()}")
    if not context["anchor"]:
        print("llama-server is not there: figures are measured without their yardstick (`make bench ANCHOR=1` builds it)")
    print(f"\n{'what':58} {'budget':>22} {'measured':>22}  ")
    failures = []
    for name in chosen.only or PARTS:
        begun = time.monotonic()
        try:
            for row in PARTS[name](context):
                show(row)
                context["rows"].append({**row, "part": name})
        except Exception as e:
            failures.append(name)
            print(f"{name}: could not be measured: {e}")
            if os.environ.get("BENCH_TRACE"):
                traceback.print_exc()
        print(f"  ({name}: {time.monotonic() - begun:.0f} s, load {os.getloadavg()[0]:.2f})", flush=True)
    missed = [r["what"] for r in context["rows"] if r.get("ok") is False]
    report = {"at": time.strftime("%Y-%m-%dT%H:%M:%S"), "cores": os.cpu_count(), "cpu": cpu_name(), "kernel": platform.release(), "rows": context["rows"], "not_measured": failures}
    Path(chosen.json).parent.mkdir(parents=True, exist_ok=True)
    Path(chosen.json).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    kept = sum(r.get("ok") is True for r in context["rows"])
    print(f"\n{kept} budgets kept, {len(missed)} missed" + (f": {'; '.join(missed)}" if missed else "") + (f"; not measured: {', '.join(failures)}" if failures else ""))
    return 1 if failures or (missed and chosen.strict) else 0


def show(row):
    verdict = {True: "ok", False: "MISSED", None: ""}[row.get("ok")]
    print(f"{row['what']:58} {row.get('budget', ''):>22} {row['measured']:>22}  {verdict} {row.get('note', '')}".rstrip(), flush=True)


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
