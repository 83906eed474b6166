"""`make bench`: what exact adjoints cost, beside the peers. Prints a table, writes outputs/bench.json.

Each case runs in a process of its own, since the speed of torch's modules depends on what a process has allocated
before; in it, ours and the peer alternate, with the order reversed each round, so that a machine that slows down slows
both. One thread, CPU time, medians of the ratios within rounds; two threads on the wall (benchmarks/threads.py). The
machine, the versions and the time are in outputs/bench_machine.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks import chains, inside, runs, strategies, threads, translation, trees
from benchmarks.timing import NotThere, Registry
from rnn_research.training import provenance
from rnn_research.unroll.compiled import library

ROUNDS = 21
OUTPUTS = Path("outputs")


def registry() -> Registry:
    """Everything that can be measured."""
    found: Registry = {}
    for part in (
        chains.REGISTRY,
        trees.REGISTRY,
        runs.REGISTRY,
        inside.REGISTRY,
        strategies.REGISTRY,
        threads.REGISTRY,
        translation.REGISTRY,
    ):
        for name, cases in part.items():
            found.setdefault(name, {}).update(cases)
    return found


def one(name: str, case: str, rounds: int) -> None:
    """Measure one case in this process and print it as a line of JSON."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    try:
        print(json.dumps(asdict(registry()[name][case].measure(rounds))))
    except NotThere as error:
        print(json.dumps({"skipped": str(error)}))


def in_own_process(name: str, case: str, rounds: int) -> dict[str, Any]:
    """The same in a new one."""
    command = [sys.executable, "-m", "benchmarks", "--one", name, case, "--rounds", str(rounds)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print and write. Exits with 1 where a case failed."""
    cases = registry()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What exact adjoints cost.")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(cases), help=f"of {', '.join(cases)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="the most rounds of a case")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "CASE"), help="one case in this process, as JSON")
    given = parser.parse_args()
    if given.one:
        one(given.one[0], given.one[1], given.rounds)
        return
    chosen = {name: cases[name] for name in given.only or cases}
    sys.exit(table(chosen, given.rounds))


def table(chosen: Registry, rounds: int) -> int:
    """Measure the cases one after the other; a row is printed and written as soon as it is there."""
    start, rows, failed = time.monotonic(), [], 0
    OUTPUTS.mkdir(exist_ok=True)
    here = machine()
    _write("bench_machine.json", here)
    print(f"{here['machine']['cpu']}; native code has vectors of {here['machine']['vectors']}", flush=True)
    print(f"{'name':26} {'case':12} {'ratio':>7} {'':2} {'target':8} {'to':38} quartiles; medians", flush=True)
    for name, cases in chosen.items():
        for case, what in cases.items():
            row = in_own_process(name, case, rounds)
            if "ratio" not in row:
                failed += "failed" in row
                reason = "; ".join(f"{key}: {value}" for key, value in row.items())
                print(f"{name:26} {case:12} {reason}", flush=True)
                continue
            value, unit, baseline = row["ratio"], row["unit"], row["baseline"]
            rows.append({"name": name, "case": case, "ratio": round(value, 4), "unit": unit, "baseline": baseline})
            shown = f"{value:7.3f} {unit:2} {what.target:8} {baseline:38}"
            print(f"{name:26} {case:12} {shown} {row['detail']}", flush=True)
            _write("bench.json", rows)
    print(f"{len(rows)} results in {time.monotonic() - start:.0f} s, written to {OUTPUTS / 'bench.json'}")
    return 1 if failed else 0


def machine() -> dict[str, Any]:
    """Where and when, and with which versions."""
    versions = provenance.versions()
    with suppress(metadata.PackageNotFoundError):
        versions["pytorch-tree-lstm"] = metadata.version("pytorch-tree-lstm")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": provenance.commit(),
        "machine": provenance.machine() | {"cpu": _cpu(), "vectors": _vectors(), "threads": 1, "load": os.getloadavg()},
        "versions": versions | {"compiler": _compiler()},
    }


def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _vectors() -> str:
    try:
        return library.width()
    except library.Unavailable as error:
        return f"none: {error}"


def _compiler() -> str | None:
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        return None
    done = subprocess.run([found, "--version"], capture_output=True, text=True)
    return done.stdout.partition("\n")[0]


def _write(name: str, value: Any) -> None:
    (OUTPUTS / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
