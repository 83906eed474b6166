"""rnn-compare: does the gradient vanish in these runs, and what does clipping do about it?

Reads run records and probe tables; imports neither torch nor what trains. Prints a table, and writes it
with figures on one page.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rnn_research.cli.console import forgiving
from rnn_research.compare import Comparison, NothingToCompare, compare
from rnn_research.records.printable import printable


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage."""
        raise NothingToCompare(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """The command `rnn-compare`. Returns the exit code: 0, or 2 after one line on stderr."""
    with forgiving():
        try:
            options = vars(_parser().parse_args(argv))
            compare_and_report(options.pop("folders"), options.pop("out"), **options)
        except NothingToCompare as error:
            print(printable(f"rnn-compare: error: {' '.join(str(error).split())}"), file=sys.stderr)
            return 2
    return 0


def compare_and_report(
    folders: Sequence[Path], out: Path | None = None, *, figures: bool = True, **options: Any
) -> Path:
    """Compare the runs at or below `folders`, write table, figures and page to `out`, and print the table and
    where the page is.

    Args:
        out: default `comparison` in the folder, or in what the folders have in common.
        figures: without them it is faster and needs no matplotlib.
        options: of `compare`.

    Returns:
        The page.

    Raises:
        NothingToCompare: as `compare`, or `out` can't be written.
    """
    # Here and not above, so that --help stays fast.
    from rnn_research import report

    comparison = compare(folders, **options)
    out = comparison.folder / "comparison" if out is None else out
    try:
        page = report.write(comparison, out, figures)
    except OSError as error:
        reason = error.strerror or str(error)
        raise NothingToCompare(f"out: given {out}, which can't be written ({reason}); give another --out") from None
    for line in _complaints(comparison):
        print(printable(f"rnn-compare: {' '.join(line.split())}"), file=sys.stderr)
    print(printable(f"{report.text(comparison)}\n{page}"), flush=True)
    return page


def _complaints(comparison: Comparison) -> list[str]:
    """Who is left out and who is incomplete, and why; what many runs lack in one line."""
    lines = [f"left out {comparison.name(item.folder)}: {item.reason}" for item in comparison.excluded]
    lacking: dict[str, list[str]] = defaultdict(list)
    for run in comparison.runs:
        for lack in run.missing:
            lacking[lack].append(comparison.name(run.folder))
    for lack, names in lacking.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"{names[0]}{more}: {lack}")
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rnn-compare",
        description="Compare runs: does the gradient vanish, and what does clipping do about it?",
        epilog="Conditions are the options that vary between the runs; runs that differ in the seed "
        "alone are averaged. Writes comparison.html, conditions.csv, runs.csv and the figures.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a run, a sweep, or what holds them")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: FOLDER/comparison)")
    parser.add_argument(
        "--state",
        metavar="NAME",
        help="whose gradient: joint (default: all states of the cell together), hidden, or cell in an LSTM",
    )
    parser.add_argument(
        "--step",
        type=_step,
        default="last",
        metavar="first|last|N",
        help="the recorded optimiser step (default: last)",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="such as accuracy, mse, val_loss (default: test accuracy, or what has a baseline)",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        default=[],
        metavar="FACTOR",
        help="conditions by these factors alone (default: all that vary)",
    )
    parser.add_argument(
        "--fraction",
        type=_fraction,
        default=0.01,
        metavar="F",
        help="the horizon is where the norm has fallen below this fraction of that at distance 1 (default: 0.01)",
    )
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        metavar="FEATURE",
        help="print the accuracy by a feature of the samples, such as length, depth, or set (the page has all)",
    )
    parser.add_argument(
        "--no-figures", dest="figures", action="store_false", help="the table alone, without matplotlib"
    )
    return parser


def _step(text: str) -> int | str:
    if text in ("first", "last"):
        return text
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"given {text}, expected first, last, or the number of a recorded step")


def _fraction(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"given {text}, expected a number > 0 and <= 1") from None


if __name__ == "__main__":
    sys.exit(main())
