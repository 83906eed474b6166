"""The options of `rnn-compare`, and what is said of wrong ones: one line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnn_research.checks import nearest
from rnn_research.cli.arguments import PlainParser

COMMANDS = ("best", "diff", "show")
FORMATS = ("table", "csv", "json", "latex", "markdown")
"""As `report.formats.FORMATS`, which would take longer to import than the help."""
EVERY = 10.0
"""Seconds between two looks of --watch."""
OF_COMPARE = {
    "where": ("CONDITION", "compare only runs that fulfil these, such as model=lstm"),
    "pair": ("FACTOR", "pair runs by these beside the seed"),
    "baseline": ("CONDITION", "the condition that others are compared with, such as clipping=none"),
}
"""Options that are those of `compare`: lists of text."""


def options_of(arguments: Sequence[str]) -> dict[str, Any]:
    """The options of a comparison by name.

    Raises:
        UsageError: a mistake in them.
    """
    found = vars(_parser().parse_args(prepared(arguments)))
    return {name: value for name, value in found.items() if value is not None or name not in OF_COMPARE}


def prepared(arguments: Sequence[str]) -> list[str]:
    """The arguments as argparse reads them rightly: `--sort -rate` is a value and no option, and the folder after
    `--watch` is no number of seconds."""
    done: list[str] = []
    rest = list(arguments)
    while rest:
        argument, *rest = rest
        if argument == "--sort" and rest and rest[0].startswith("-") and not rest[0].startswith("--"):
            done.append(f"--sort={rest.pop(0)}")
        elif argument == "--watch" and not (rest and _is_number(rest[0])):
            done.append(f"--watch={EVERY:g}")
        else:
            done.append(argument)
    return done


def _parser() -> argparse.ArgumentParser:
    parser = PlainParser(
        prog="rnn-compare",
        usage="rnn-compare FOLDER [FOLDER ...] [options]\n       rnn-compare best FOLDER [FOLDER ...] [--metric NAME]\n"
        "       rnn-compare diff RUN RUN\n       rnn-compare show RUN",
        description="Compare runs: does the gradient vanish, and what does clipping do about it?",
        epilog="Conditions are the options that vary between the runs; runs that differ in the seed "
        "alone are averaged. Writes comparison.html, conditions.csv, runs.csv and the figures. "
        "best prints the best run and the command that repeats it, diff what two runs differ in, show one run with "
        "its gradient by layer and the end of its log; a folder of such a name is given as ./best.",
    )
    parser.add_argument("folders", nargs="+", type=folder, metavar="FOLDER", help="a run, a sweep, or what holds them")
    parser.add_argument("--out", type=folder, metavar="DIR", help="where to write (default: FOLDER/comparison)")
    _add_views(parser)
    for name, (metavar, said) in OF_COMPARE.items():
        parser.add_argument(f"--{name}", nargs="+", metavar=metavar, help=said)
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help="sort the conditions that are printed by a column or factor; -COLUMN descending",
    )
    parser.add_argument(
        "--format",
        dest="form",
        type=_form,
        default="table",
        metavar="|".join(FORMATS),
        help="of what is printed (default: table); any other is alone on stdout, and no page is written without --out",
    )
    parser.add_argument(
        "--watch",
        type=_seconds,
        metavar="SECONDS",
        help=f"look again after so many seconds ({EVERY:g} where none are given), and renew table and page, while runs "
        "there are running",
    )
    parser.add_argument(
        "--look",
        type=_look,
        default="screen",
        metavar="screen|paper",
        help="of the figures' files: for a screen (default), or for print, with letters as the text around",
    )
    parser.add_argument(
        "--no-figures", dest="figures", action="store_false", help="the table alone, without matplotlib"
    )
    return parser


def _add_views(parser: argparse.ArgumentParser) -> None:
    """What is looked at."""
    parser.add_argument(
        "--state",
        metavar="NAME",
        help="whose gradient: joint (default: all states of the cell together), hidden, or cell in an LSTM",
    )
    parser.add_argument(
        "--part",
        metavar="NAME",
        help="of an encoder and a decoder one alone, by the distance to its own end: encoder or decoder",
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


def folder(text: str) -> Path:
    """A folder that was typed: an empty text, as of an empty variable of the shell, would be the current one."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"given {text!r}, expected a folder")
    return Path(text)


def _look(text: str) -> str:
    if text not in ("screen", "paper"):
        raise argparse.ArgumentTypeError(f"given {text}, expected screen or paper")
    return text


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


def _form(text: str) -> str:
    if text not in FORMATS:
        raise argparse.ArgumentTypeError(f"given {text}, expected one of {', '.join(FORMATS)}{nearest(text, FORMATS)}")
    return text


def _seconds(text: str) -> float:
    if _is_number(text) and 0 < float(text) <= 86400:
        return float(text)
    raise argparse.ArgumentTypeError(f"given {text}, expected seconds, a number > 0 and <= 86400")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
