"""Whether a comparison would come out as the last one did, told from files' sizes and times, and reading none."""

from __future__ import annotations

from pathlib import Path

from rnn_research.compare.cached import ROOMS as READING
from rnn_research.compare.comparison import Comparison
from rnn_research.compare.stamps import digest, sources, stamp
from rnn_research.records import runs

ROOMS = (*READING, "report")
FILES = (runs.RECORD, runs.METRICS, "run.log")
ASKED = ("folder", "metric", "state", "step", "fraction", "varying", "where", "baseline", "against")


def fingerprint(comparison: Comparison) -> str:
    """A digest of what was asked, of the package's sources, and of the size and time of every file of the runs, of
    those that are left out too."""
    folders = [item.folder for item in (*comparison.runs, *comparison.excluded, *comparison.whole)]
    asked = {name: getattr(comparison, name) for name in ASKED}
    files = [[comparison.name(folder), [(path.name, stamp(path)) for path in _files(folder)]] for folder in folders]
    return digest([sources(*ROOMS), asked, files])


def _files(folder: Path) -> list[Path]:
    return [*(folder / name for name in FILES), *sorted((folder / runs.PROBES).glob("*.npy"))]
