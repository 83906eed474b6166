"""Whether a comparison would come out as the last one did, told from files' sizes and times, and reading none."""

from __future__ import annotations

from rnn_research.compare.cached import ROOMS as READING
from rnn_research.compare.comparison import Comparison
from rnn_research.compare.stamps import digest, run_stamps, sources

ROOMS = (*READING, "report")
ASKED = ("folder", "metric", "state", "step", "fraction", "varying", "where", "baseline", "against")


def fingerprint(comparison: Comparison) -> str:
    """A digest of what was asked, of the package's sources, and of the size and time of every file of the runs, of
    those that are left out too."""
    shown = (*comparison.runs, *comparison.excluded, *comparison.whole)
    folders = dict.fromkeys(item.folder for item in shown)
    asked = {name: getattr(comparison, name) for name in ASKED}
    files = [[comparison.name(folder), run_stamps(folder)] for folder in folders]
    return digest([sources(*ROOMS), asked, files])
