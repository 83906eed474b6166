"""rnn-translate: what a trained run makes of texts, a line a line.

Reads the run's folder alone: neither its data nor the machine it was trained on is needed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import rnn_research.cli.one_thread  # noqa: F401  # before numpy
from rnn_research.cli.arguments import PlainParser, leaving
from rnn_research.cli.predict import opened, typed_lines
from rnn_research.errors import UsageError
from rnn_research.records.printable import printable

STDIN = "-"


def main(argv: Sequence[str] | None = None) -> int:
    """The command `rnn-translate`. Returns the exit code: 0, 2 after one line on stderr, or 130 after Ctrl-C."""
    return leaving("rnn-translate", lambda: _translate(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = PlainParser(
        prog="rnn-translate",
        description="What a trained run of an encoder and a decoder writes of texts, a line a line; an empty line "
        "gives an empty one. Its score against a reference is said at the end, on stderr.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument(
        "files", nargs="*", default=[STDIN], metavar="FILE", help="a text a line, .gz too (default: standard input)"
    )
    parser.add_argument("--beam", type=int, default=5, metavar="N", help="hypotheses that are kept (default: 5)")
    parser.add_argument(
        "--length-penalty", type=float, default=1.0, metavar="A", help="favours longer ones; 0: not (default: 1)"
    )
    parser.add_argument(
        "--reference", type=Path, metavar="FILE", help="the right translations, for BLEU and chrF (needs sacrebleu)"
    )
    parser.add_argument("--weights", default="measured", metavar="WHICH", help="measured (default), best or last")
    parser.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="lines read at a time; changes no translation"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of on stdout")
    parser.add_argument("--trust", nargs="+", default=[], metavar="PACKAGE", help="packages that a class may come from")
    return parser


def _translate(options: argparse.Namespace) -> None:
    from rnn_research.config.trained import load  # here and not above, so that --help stays fast

    reference = None if options.reference is None else _reference(options.reference)
    run = load(options.run, options.weights, options.trust)
    texts = chain.from_iterable(map(_lines, options.files))
    written = []
    with opened(options.out) as out:
        for line in run.translate(texts, options.beam, options.length_penalty, options.batch_size):
            out.write(printable(line) + "\n")
            out.flush()
            if reference is not None:
                written.append(line)
    if reference is not None:
        print(f"rnn-translate: {_scored(written, reference)}", file=sys.stderr)


def _lines(file: str) -> Iterator[str]:
    """The lines of a file, or of the standard input as they come."""
    if file == STDIN:
        yield from typed_lines()
    else:
        yield from _read(Path(file).expanduser())


def _read(path: Path) -> list[str]:
    from rnn_research.datasets.text.pairs import lines_of

    try:
        return lines_of(path)
    except ValueError as error:
        raise UsageError(str(error).removeprefix("dataset.path: ")) from None


def _reference(path: Path) -> list[str]:
    """Its lines, once it is known that they can be compared."""
    from rnn_research.training.translated import sacrebleu_metrics

    try:
        sacrebleu_metrics()
    except ImportError as error:
        raise UsageError(str(error)) from None
    return _read(path)


def _scored(written: Sequence[str], reference: Sequence[str]) -> str:
    """BLEU and chrF of what was written, each with its signature."""
    from rnn_research.training.translated import scores

    try:
        found = scores(written, reference)
    except ValueError as error:
        raise UsageError(f"--{error}") from None
    named = {"bleu": "BLEU", "chrf": "chrF"}
    return ", ".join(f"{named[key]} {value:.2f} ({found.signatures[key]})" for key, value in found.values.items())


if __name__ == "__main__":
    sys.exit(main())
