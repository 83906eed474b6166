"""rnn-predict: what a trained run says of new files, and of texts how likely a language model finds them.

Reads the run's folder alone: neither its data nor the machine it was trained on is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import rnn_research.cli.one_thread  # noqa: F401  # before numpy
from rnn_research.cli.arguments import PlainParser, leaving
from rnn_research.errors import UsageError
from rnn_research.records.printable import csv_cell, printable

if TYPE_CHECKING:
    from rnn_research.config.trained import Prediction, TrainedRun
    from rnn_research.datasets.encoder import Item

FORMATS = ("csv", "jsonl")
STDIN = "-"


def main(argv: Sequence[str] | None = None) -> int:
    """The command `rnn-predict`. Returns the exit code: 0, 2 after one line on stderr, or 130 after Ctrl-C."""
    return leaving("rnn-predict", lambda: _predict(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    parser = PlainParser(
        prog="rnn-predict",
        description="What a trained run says of new files, one line an item. With labels in the files, how much of it "
        "is right is said at the end, on stderr.",
        epilog="Files are of the format that the run was trained on; - reads a text a line from the standard input.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file or a folder, or -")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="of what is printed (default: csv)")
    parser.add_argument("--probabilities", action="store_true", help="print the probability of every class too")
    parser.add_argument("--weights", default="measured", metavar="WHICH", help="measured (default), best or last")
    parser.add_argument(
        "--batch-size", type=int, default=64, metavar="N", help="items read at a time; changes no answer"
    )
    parser.add_argument(
        "--beam", type=int, default=0, metavar="N", help="of transcripts: prefixes that are kept (default: best path)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of on stdout")
    parser.add_argument("--trust", nargs="+", default=[], metavar="PACKAGE", help="packages that a class may come from")
    return parser


def _predict(options: argparse.Namespace) -> None:
    from rnn_research.config.trained import load  # here and not above, so that --help stays fast

    run = load(options.run, options.weights, options.trust)
    if options.batch_size < 1:
        raise UsageError(f"--batch-size: given {options.batch_size}, expected 1 or more")
    if run.task.kind == "next_token":
        with opened(options.out) as out:
            _write_likelihoods(out, run, _items(run, options.files), options.format)
        return
    if run.task.kind == "sequence":
        raise UsageError(f"{options.run}: writes sequences, which have no class; use rnn-translate")
    if run.task.kind == "transcript":
        if options.probabilities:
            raise UsageError(
                f"--probabilities: given, but {options.run} writes transcripts, which have none; leave it out"
            )
        with opened(options.out) as out:
            _write_transcripts(out, run, _items(run, options.files), options)
        return
    if options.beam:
        raise UsageError(f"--beam: given {options.beam}, but {options.run} writes no transcripts; leave it out")
    tally = Tally(run)
    items = tally.readable(_items(run, options.files))
    with opened(options.out) as out:
        rows = tally.counted(run.predict(items, options.batch_size))
        if options.format == "csv":
            _write_csv(out, rows, run.task.classes, options.probabilities)
        else:
            _write_json(out, rows, run.task.classes, options.probabilities)
    if said := tally.said():
        print(f"rnn-predict: {said}", file=sys.stderr)


def _items(run: TrainedRun, files: Sequence[str]) -> Iterator[Item]:
    """The items of all files, in order, as they are read."""
    encoder = run.needed_encoder()
    for file in files:
        if file == STDIN:
            yield from _lines(encoder.kind)
            continue
        try:
            yield from encoder.items(Path(file).expanduser())
        except ValueError as error:
            raise UsageError(str(error).removeprefix("dataset.path: ")) from None


def _lines(kind: str) -> Iterator[Item]:
    from rnn_research.datasets.encoder import Item

    if kind != "text":
        raise UsageError(f"-: this run reads {kind}, expected files; only texts are read from the standard input")
    for number, text in enumerate(typed_lines(), start=1):
        if text:
            yield Item(f"line {number}", text)


def typed_lines() -> Iterator[str]:
    """The lines of the standard input as they come, without their ends.

    Raises:
        UsageError: they are no text in its encoding.
    """
    try:
        for line in sys.stdin:
            yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise UsageError(f"-: found bytes that are not {error.encoding}; convert what is read to UTF-8") from None


class Tally:
    """Counts what was right among the items that have a label that the run knows, and the others."""

    def __init__(self, run: TrainedRun) -> None:
        from rnn_research.models.scoring import Score

        self.run, self.score = run, Score(run.model)
        self.unknown = self.empty = 0

    def readable(self, items: Iterator[Item]) -> Iterator[Item]:
        """The same items but texts without a word, which the training left out too; they are counted."""
        encoder = self.run.needed_encoder()
        for item in items:
            if encoder.kind == "text" and not encoder.split(item.raw):  # type: ignore[attr-defined]
                self.empty += 1
            else:
                yield item

    def counted(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """The same predictions, counted as they pass."""
        for one in predictions:
            if one.scored is not None:
                self.score.add(one.scored)
            else:
                self.unknown += one.label is not None
            yield one

    def said(self) -> str:
        """The metrics that the run's record has of its test set, of these items; empty where there was no label."""
        left_out = f"{self.empty} without text left out" if self.empty else ""
        known = self.score.items
        if not known + self.unknown:
            return left_out
        found = "".join(f"{name} {value:.6g}, " for name, value in self.score.measured().items())
        other = f"; {self.unknown} have a label that the run does not know" if self.unknown else ""
        return f"{found}{known} items with a known label{other}" + (f"; {left_out}" if left_out else "")


def _probabilities(one: Prediction, classes: Sequence[str] | None) -> dict[str, float]:
    if one.probabilities is None:
        return {}
    names = classes if classes is not None else [str(number) for number in range(len(one.probabilities))]
    return {name: float(f"{value:.6g}") for name, value in zip(names, one.probabilities, strict=True)}


def _write_csv(out: IO[str], rows: Iterator[Prediction], classes: Sequence[str] | None, every: bool) -> None:
    """A header and a row an item."""
    writer, header = csv.writer(out, lineterminator="\n"), False
    for one in rows:
        found = _probabilities(one, classes) if every else {}
        answer = [one.answer] if isinstance(one.answer, str) else [f"{value:.9g}" for value in one.answer]
        if not header:
            names = ["prediction"] if len(answer) == 1 else [f"prediction_{n}" for n in range(len(answer))]
            writer.writerow(csv_cell(name) for name in ("where", *names, "label", *(f"p_{name}" for name in found)))
            header = True
        label = "" if one.label is None else one.label
        writer.writerow(csv_cell(cell) for cell in (one.where, *answer, label, *found.values()))
        out.flush()


def _write_json(out: IO[str], rows: Iterator[Prediction], classes: Sequence[str] | None, every: bool) -> None:
    """An object an item, a line each."""
    for one in rows:
        answer: Any = one.answer if isinstance(one.answer, str) else [float(f"{value:.9g}") for value in one.answer]
        row = {"where": one.where, "prediction": answer}
        row |= {} if one.label is None else {"label": one.label}
        row |= {"probabilities": _probabilities(one, classes)} if every else {}
        out.write(printable(json.dumps(row, ensure_ascii=False)) + "\n")
        out.flush()


def _write_transcripts(out: IO[str], run: TrainedRun, items: Iterator[Item], options: argparse.Namespace) -> None:
    """A row a recording; says at the end how many characters are wrong."""
    writer = csv.writer(out, lineterminator="\n")
    if options.format == "csv":
        writer.writerow(("where", "prediction", "label", "edits"))
    edits = characters = whole = known = 0
    for one in run.transcribe(items, options.beam, options.batch_size):
        if options.format == "csv":
            row = (one.where, one.text, *(("", "") if one.label is None else (one.label, one.edits)))
            writer.writerow(csv_cell(cell) for cell in row)
        else:
            told = {"where": one.where, "prediction": one.text, "label": one.label, "edits": one.edits}
            kept = {key: value for key, value in told.items() if value is not None}
            out.write(printable(json.dumps(kept, ensure_ascii=False)) + "\n")
        out.flush()
        if one.label:
            assert one.edits is not None
            edits, characters, known = edits + one.edits, characters + len(one.label), known + 1
            whole += one.edits == 0
    if known:
        rate = f"character_error_rate {edits / characters:.6g}, accuracy {whole / known:.6g}"
        print(f"rnn-predict: {rate}, {known} recordings with a transcript", file=sys.stderr)


def _write_likelihoods(out: IO[str], run: TrainedRun, items: Iterator[Item], form: str) -> None:
    """Of a language model: how likely each file is, a row a file, by the metrics of the run's record."""
    names = ["bits", "perplexity", "position_accuracy", "loss"]
    names += [] if run.task.characters is None else ["bits_per_character"]
    writer, header, empty = csv.writer(out, lineterminator="\n"), form == "csv", 0
    for item in items:
        found = run.text_likelihood(item.raw)
        if not found.predicted:
            empty += 1
            continue
        values = {"predicted": found.predicted, **{name: getattr(found, name) for name in names}}
        shown = {name: value if isinstance(value, int) else f"{value:.7g}" for name, value in values.items()}
        if header:
            writer.writerow(("where", *values))
            header = False
        if form == "csv":
            writer.writerow(csv_cell(cell) for cell in (item.where, *shown.values()))
        else:
            numbers = {name: float(value) for name, value in shown.items()}
            out.write(printable(json.dumps({"where": item.where, **numbers}, ensure_ascii=False)) + "\n")
        out.flush()
    if empty:
        print(f"rnn-predict: {empty} without a token to predict left out (a text needs two)", file=sys.stderr)


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[IO[str]]:
    """Where rows are written: nothing that is there is written over, and where there is no row no file is left."""
    if path is None:
        yield sys.stdout
        return
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except OSError as error:
        reason = "it is there already" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"--out: given {path}, which can't be written ({reason}); give another file") from None
    try:
        with file:
            yield file
    except BaseException:
        if not path.stat().st_size:
            path.unlink()
        raise


if __name__ == "__main__":
    sys.exit(main())
