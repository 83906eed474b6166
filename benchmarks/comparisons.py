"""What `rnn-compare` takes: many runs with long tables, the first time and again. `python -m benchmarks.comparisons`.

Prints seconds, and how they grow with the number of runs; nothing here is a test.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rnn_research.records import runs
from rnn_research.records.runs import RunRecord

SAMPLES, DISTANCES, ROWS, TABLES = 200, 784, 2000, 20


def tables(folder: Path) -> list[Path]:
    """So many adjoint tables of 200 samples x 784 distances; runs share them by hard links."""
    names = [("step", "i8"), ("layer", "i2"), ("sample", "i4"), ("distance", "i4")]
    names += [(f"hidden{part}", "f8") for part in ("", "_direct", "_recurrent")]
    for number in range(TABLES):
        table = np.zeros((SAMPLES, DISTANCES), dtype=names)
        loud = np.exp(np.random.default_rng(number).normal(size=(SAMPLES, 1)))
        table["sample"], table["distance"] = np.arange(SAMPLES)[:, None], np.arange(DISTANCES)
        table["hidden"] = loud * np.exp(-0.02 * (1 + number % 5)) ** np.arange(DISTANCES)
        runs.write_table(folder / str(number), "adjoint", table.ravel())
    return [folder / str(number) / "probes" / "adjoint.npy" for number in range(TABLES)]


def study(folder: Path, count: int, adjoint: list[Path]) -> None:
    """So many runs of five seeds a condition."""
    rows = [
        f"{step},0,{split},{1 / (step + 1)},{1 - 1 / (step + 1)}"
        for step in range(ROWS // 2)
        for split in ("train", "val")
    ]
    metrics = "\n".join(["step,epoch,split,loss,accuracy", *rows]) + "\n"
    for number in range(count):
        condition, seed = divmod(number, 5)
        model, rate, size = (
            ("rnn", "lstm", "gru", "irnn")[condition % 4],
            10.0 ** -(condition // 4 % 5),
            16 + condition // 20,
        )
        config = {"seed": seed, "model": {"cell": {"hidden_size": size}}, "optimizer": {"lr": rate}, "dataset": {}}
        record = RunRecord(
            name=str(number), status="done", seed=seed,
            choices={"model": model, "dataset": "digits", "clipping": "none"},
            config=config, parameters=4810, data={"name": "digits", "fingerprint": "1"}, versions={}, commit=None,
            machine={}, start=f"2026-01-01T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}+00:00",
            steps=1000, final={"test_accuracy": 0.9 + 0.01 * seed}, baselines={"test_accuracy": 0.1},
            overrides=[f"model={model}", f"optimizer.lr={rate}", f"model.cell.hidden_size={size}"],
        )  # fmt: skip
        run = folder / f"{number:05d}"
        (run / "probes").mkdir(parents=True)
        runs.write(record, run)
        (run / "metrics.csv").write_text(metrics)
        os.link(adjoint[number % TABLES], run / "probes" / "adjoint.npy")


def seconds(folder: Path, *options: str) -> float:
    """How long the command takes, with its imports."""
    start = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "rnn_research.cli.compare",
        str(folder),
        "--out",
        str(folder / "comparison"),
        *options,
    ]
    subprocess.run([*command, *options], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[20, 200, 2000])
    parser.add_argument("--figures", action="store_true", help="also draw")
    given = parser.parse_args()
    options = () if given.figures else ("--no-figures",)
    print(f"{'runs':>6} {'first, s':>9} {'again, s':>9} {'first / run, ms':>16} {'page, MB':>9}")
    with tempfile.TemporaryDirectory() as place:
        adjoint = tables(Path(place) / "tables")
        for count in given.runs:
            folder = Path(place) / str(count)
            study(folder, count, adjoint)
            first, again = seconds(folder, *options), seconds(folder, *options)
            page = (folder / "comparison" / "comparison.html").stat().st_size / 1e6
            print(f"{count:>6} {first:>9.1f} {again:>9.1f} {1000 * first / count:>16.1f} {page:>9.1f}", flush=True)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"most memory of one process: {most:.2f} GB")


if __name__ == "__main__":
    main()
