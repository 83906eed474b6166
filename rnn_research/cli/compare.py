"""rnn-compare: does the gradient vanish in these runs, and what does clipping do about it?

Reads run records and probe tables; imports neither torch nor what trains. Prints a table, and writes it
with figures on one page.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rnn_research.cli.one_thread  # noqa: F401  # before numpy
from rnn_research.cli.arguments import leaving
from rnn_research.cli.compare_options import COMMANDS, options_of
from rnn_research.compare import Comparison, NothingToCompare, caveats, compare
from rnn_research.records.printable import printable

MOST_LINES = 20
"""Of what is said of runs one by one; what is said of all of them stands under the table."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command `rnn-compare`. Returns the exit code: 0, 2 after one line on stderr, or 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if argv is None else argv)

    def work() -> None:
        if arguments and arguments[0] in COMMANDS:
            # Here and not above, so that --help stays fast.
            from rnn_research.cli import compare_runs

            compare_runs.run(arguments)
        else:
            _compare(options_of(arguments))

    return leaving("rnn-compare", work)


def _compare(options: dict[str, Any]) -> None:
    seconds = options.pop("watch")
    if seconds is None:
        compare_and_report(**options)
        return
    from rnn_research.cli.compare_watch import watch

    watch(options["folders"], seconds, lambda: compare_and_report(**options))


def compare_and_report(
    folders: Sequence[Path],
    out: Path | None = None,
    *,
    figures: bool = True,
    look: str = "screen",
    sort: str | None = None,
    form: str = "table",
    **options: Any,
) -> Path | None:
    """Compare the runs at or below `folders`, write table, figures and page to `out`, and print the table and
    where the page is.

    Args:
        out: default `comparison` in the folder, or in what the folders have in common.
        figures: without them it is faster and needs no matplotlib.
        look: of the figures' files: `screen` or `paper`.
        sort: the column by which what is printed is sorted; -COLUMN descending. What is written keeps its order.
        form: of what is printed, one of `report.formats.FORMATS`. Other than a table it is alone on stdout, and the
            rest is written only where `out` is given.
        options: of `compare`.

    Returns:
        The page; None where none was written.

    Raises:
        NothingToCompare: as `compare`, there is no column to sort by, or `out` can't be written.
    """
    # Here and not above, so that --help stays fast.
    from rnn_research import report
    from rnn_research.report import formats

    comparison = compare(folders, processes=_cores(), **options)
    shown = comparison if sort is None else formats.ordered(comparison, sort)
    page = None
    if form == "table" or out is not None:
        out = comparison.folder / "comparison" if out is None else out
        try:
            page = report.write(comparison, out, figures, look)
        except OSError as error:
            reason = error.strerror or str(error)
            raise NothingToCompare(f"out: given {out}, which can't be written ({reason}); give another --out") from None
    for line in (*_complaints(comparison), *_stale(comparison)):
        _aside(line)
    if form == "table":
        print(printable(f"{report.text(shown)}\n{page}"), flush=True)
        return page
    for caveat in caveats(comparison):
        _aside(f"{caveat.text}.")
    if page is not None:
        _aside(str(page))
    print(formats.formatted(shown, form), end="", flush=True)
    return page


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _aside(line: str) -> None:
    print(printable(f"rnn-compare: {' '.join(line.split())}"), file=sys.stderr)


def _complaints(comparison: Comparison) -> list[str]:
    """Who is left out and who is incomplete, and why; what many runs have in common in one line."""
    reasons: dict[str, list[str]] = defaultdict(list)
    lacking: dict[str, list[str]] = defaultdict(list)
    for item in comparison.excluded:
        reasons[item.reason].append(comparison.name(item.folder))
    for run in comparison.runs:
        for lack in run.missing:
            lacking[lack].append(comparison.name(run.folder))
    lines = [f"left out {_and_more(names)}: {reason}" for reason, names in reasons.items()]
    lines += [f"{_and_more(names)}: {lack}" for lack, names in lacking.items()]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} more reasons; the page and runs.csv list all"]
    return lines


def _stale(comparison: Comparison) -> list[str]:
    """Who says that it is running and seems to have been killed."""
    running = [item.folder for item in comparison.excluded if item.reason.startswith("unfinished: still running")]
    if not running:
        return []
    from rnn_research.cli.compare_watch import stale

    names = [comparison.name(folder) for folder in stale(running)]
    said = "still said to be running, but held by no process and unchanged for 10 minutes: probably killed"
    return [f"{_and_more(names)}: {said}"] if names else []


def _and_more(names: Sequence[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]


if __name__ == "__main__":
    sys.exit(main())
