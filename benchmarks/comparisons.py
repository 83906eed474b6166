"""What `rnn-compare` takes: many runs with long tables, the first time and again. `python -m benchmarks.comparisons`.

Prints seconds by the clock and of the processor, and how they grow with the number of runs. Where others work on the
machine the processor's tell more; as a measure of the machine itself they are also given for importing Lightning.
Nothing here is a test.
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


def seconds(*command: str) -> tuple[float, float]:
    """How long a command takes, with its imports: by the clock, and of the processor with all that it starts."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return end - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def comparing(folder: Path, *options: str) -> tuple[float, float]:
    """The seconds of a comparison."""
    command = [
        "-m",
        "rnn_research.cli.compare",
        str(folder),
        "--out",
        str(folder / "comparison"),
        *options,
    ]
    return seconds(*command)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[20, 200, 2000])
    parser.add_argument("--figures", action="store_true", help="also draw")
    given = parser.parse_args()
    options = () if given.figures else ("--no-figures",)
    titles = ("first, s", "again, s", "first, CPU s", "again, CPU s", "CPU ms / run", "page, MB")
    print(f"import lightning.pytorch: {seconds('-c', 'import lightning.pytorch')[1]:.1f} CPU s")
    print("  runs " + " ".join(f"{title:>12}" for title in titles))
    with tempfile.TemporaryDirectory() as place:
        adjoint = tables(Path(place) / "tables")
        for count in given.runs:
            folder = Path(place) / str(count)
            study(folder, count, adjoint)
            first, again = comparing(folder, *options), comparing(folder, *options)
            page = (folder / "comparison" / "comparison.html").stat().st_size / 1e6
            values = (first[0], again[0], first[1], again[1], 1000 * first[1] / count, page)
            print(f"{count:>6} " + " ".join(f"{value:>12.1f}" for value in values), flush=True)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(f"most memory of one process: {most:.2f} GB")


if __name__ == "__main__":
    main()
