"""`rnn-compare best`, `diff` and `show`: the best run, what two runs differ in, one run for itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from rnn_research.cli.arguments import PlainParser
from rnn_research.cli.compare_options import folder
from rnn_research.records.printable import printable


def run(arguments: Sequence[str]) -> None:
    """Carry out `best FOLDER ...`, `diff RUN RUN` or `show RUN`, and print what was found.

    Raises:
        UsageError: a mistake in what was asked for.
    """
    command, *rest = arguments
    {"best": _best, "diff": _diff, "show": _show}[command](rest)


def _best(arguments: Sequence[str]) -> None:
    from rnn_research.compare.single import best
    from rnn_research.report.single import best_text

    parser = PlainParser(
        prog="rnn-compare best",
        description="Print the best run by a metric, and the command that repeats it.",
        epilog="What is better is known from the metric's name: more of an accuracy, less of a loss. By default the "
        "metric is of the validation set, where the records have it: a run that was chosen by the test set looks "
        "better there than it is.",
    )
    parser.add_argument("folders", nargs="+", type=folder, metavar="FOLDER")
    parser.add_argument("--metric", metavar="NAME", help="such as val_accuracy, mse, loss")
    better = parser.add_mutually_exclusive_group()
    better.add_argument("--higher", action="store_true", default=None, help="more is better")
    better.add_argument("--lower", dest="higher", action="store_false", default=None, help="less is better")
    _print(best_text(best(**_read(parser, arguments))))


def _diff(arguments: Sequence[str]) -> None:
    from rnn_research.compare.single import single
    from rnn_research.report.single import diff_text

    parser = PlainParser(prog="rnn-compare diff", description="Print what two runs differ in, side by side.")
    parser.add_argument("one", type=folder, metavar="RUN")
    parser.add_argument("other", type=folder, metavar="RUN")
    options = _read(parser, arguments)
    _print(diff_text(single(options["one"]), single(options["other"])))


def _show(arguments: Sequence[str]) -> None:
    from rnn_research.compare.single import single
    from rnn_research.report.single import show_text

    parser = PlainParser(prog="rnn-compare show", description="Print what there is to know of one run.")
    parser.add_argument("run", type=folder, metavar="RUN")
    parser.add_argument("--lines", type=_lines, default=15, metavar="N", help="of the log's end (default: 15)")
    options = _read(parser, arguments)
    _print(show_text(single(options["run"]), options["lines"]))


def _read(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    return vars(parser.parse_args(list(arguments)))


def _lines(text: str) -> int:
    if text.isdecimal():
        return min(int(text), 10_000)
    raise argparse.ArgumentTypeError(f"given {text}, expected a number of lines")


def _print(text: str) -> None:
    print(printable(text), flush=True)
