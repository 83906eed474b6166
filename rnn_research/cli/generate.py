"""rnn-generate: what a trained language model writes after a prompt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import rnn_research.cli.one_thread  # noqa: F401  # before numpy
from rnn_research.cli.arguments import PlainParser, leaving
from rnn_research.records.printable import printable


def main(argv: Sequence[str] | None = None) -> int:
    """The command `rnn-generate`. Returns the exit code: 0, 2 after one line on stderr, or 130 after Ctrl-C."""
    return leaving("rnn-generate", lambda: _generate(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = PlainParser(
        prog="rnn-generate",
        description="What a trained language model writes after a prompt, as it writes it. The same seed gives the "
        "same text.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--prompt", default="\n", metavar="TEXT", help="what it goes on from (default: a new line)")
    parser.add_argument("--length", type=int, default=500, metavar="N", help="tokens to write (default: 500)")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0: the likeliest (default: 1)")
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest alone")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of what is drawn (default: 0)")
    parser.add_argument("--weights", default="measured", metavar="WHICH", help="measured (default), best or last")
    parser.add_argument("--trust", nargs="+", default=[], metavar="PACKAGE", help="packages that a class may come from")
    return parser


def _generate(options: argparse.Namespace) -> None:
    from rnn_research.config.trained import load  # here and not above, so that --help stays fast

    run = load(options.run, options.weights, options.trust)
    asked = (options.length, options.temperature, options.top_k, options.seed)
    first = True
    for piece in run.generate(options.prompt, *asked):
        if first:
            print(printable(options.prompt), end="")
            first = False
        print(printable(piece), end="", flush=True)
    print()


if __name__ == "__main__":
    sys.exit(main())
