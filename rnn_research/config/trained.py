"""A trained model in any process, from a run's folder alone: what it says of new data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnn_research.checks import choice, integer
from rnn_research.config.instantiate import usage_error_at
from rnn_research.config.restored import WEIGHTS, fill, layout_of, model_of, task_of, weights_of
from rnn_research.datasets.audio.transcript_encoder import TranscriptEncoder
from rnn_research.datasets.encoder import Encoder, Item, encoder_of
from rnn_research.datasets.text.parallel_encoder import ParallelEncoder
from rnn_research.datasets.text.stream import StreamEncoder
from rnn_research.errors import UsageError
from rnn_research.models.architectures import CTC
from rnn_research.models.exact import StatesInFloat64, readout_in_float64
from rnn_research.models.model import Model
from rnn_research.models.scoring import ScoredItem, scored_items
from rnn_research.models.streaming import TextLikelihood, TextReader, generated, likelihood
from rnn_research.models.transcribing import GREEDY, Transcription, written
from rnn_research.models.translation import BEAM, PENALTY, Translator
from rnn_research.records import encoding, runs
from rnn_research.structures import Sample
from rnn_research.structures.layouts import Layout

TOGETHER = 64
"""Samples that are read at a time."""
WIDEST = 1000
"""The most hypotheses, or prefixes, that a search keeps: with many more it ends neither in memory nor in time."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one item.

    Attributes:
        where: the item's file and line.
        label: what its file says of it; None: nothing.
        answer: the likeliest class by its name (its number where classes have none); of a regression the numbers.
        probabilities: of the classes, in order, float64; None: of a regression.
        scored: what it counts in the metrics of a `Score`; None where there is no label that is known.
    """

    where: str
    label: str | None
    answer: str | tuple[float, ...]
    probabilities: np.ndarray | None = None
    scored: ScoredItem | None = None

    @property
    def loss(self) -> float | None:
        """The mean over the item's labels, in nats; None where there is no label that is known."""
        return None if self.scored is None else self.scored.loss


class TrainedRun:
    """The model of a run, with what turns raw data into what it reads.

    Attributes:
        record: the run's.
        model: with the weights that were asked for, in evaluation mode.
        task: the sizes it was made for.
        encoder: of the run's data; None: they were generated, and there are no raw ones.
        layout: what samples are laid out as.
    """

    def __init__(self, record: runs.RunRecord, model: Model, encoder: Encoder | None, layout: Layout) -> None:
        self.record, self.model, self.encoder, self.layout = record, model, encoder, layout
        self.task = model.task
        self._exact = readout_in_float64(model)
        self._translator: Translator | None = None

    def needed_encoder(self) -> Encoder:
        """The encoder.

        Raises:
            UsageError: the run has none.
        """
        if self.encoder is None:
            name, data = self.record.name, self.record.data.get("name")
            raise UsageError(
                f"{name}: its data ({data}) were generated, and nothing reads files for it; give a run of data that "
                "were read"
            )
        return self.encoder

    def predict(self, raws: Iterable[Any], batch_size: int = TOGETHER) -> Iterator[Prediction]:
        """What the model says of raw samples (texts, trees, series, ... as the encoder takes them), or of `Item`s, one
        after another as they come. The same for any batch size.

        Raises:
            UsageError: the run has no encoder, or a sample can't be read: names it.
        """
        for group in self._groups(raws, batch_size):
            yield from self._predictions(group)

    def text_likelihood(self, raw: str | bytes) -> TextLikelihood:
        """How likely a language model finds a text, read as one stream from a state of zero; of a run without carried
        states in windows from a state of zero each, as its test part was.

        Raises:
            UsageError: the run is of no language model.
        """
        encoder, data = self._stream(), self.record.config.get("dataset", {})
        window = None if data.get("stateful", True) else int(data["window"])
        return likelihood(self.model, encoder.tokens_of(raw), encoder.characters_of(raw), window)

    def generate(
        self, prompt: str = "\n", length: int = 200, temperature: float = 1.0, top_k: int | None = None, seed: int = 0
    ) -> Iterator[str]:
        """Yield what a language model writes after a prompt, piece by piece; see `streaming.generated`.

        Args:
            length: of what is written, in tokens.

        Raises:
            UsageError: the run is of no language model, the prompt is empty, or an argument is out of range.
        """
        encoder = self._stream()
        read = encoder.tokens_of(prompt)
        if not len(read):
            raise UsageError("prompt: given no text, expected some to begin with")
        reader = TextReader(self.model, self._exact)
        with usage_error_at(""):
            tokens = generated(reader, read, encoder.with_text, length, temperature, top_k, seed)
            yield from encoder.decoded(tokens)

    def translate(
        self, texts: Iterable[str], beam: int = BEAM, length_penalty: float = PENALTY, batch_size: int = TOGETHER
    ) -> Iterator[str]:
        """Yield what the model writes of each text, "" of one without a word; see `searching.search`. The same for any
        batch size and order.

        Args:
            beam: hypotheses that are kept; 1 is greedy search.
            length_penalty: the exponent by which longer translations are favoured.

        Raises:
            UsageError: the run translates nothing, or an argument is out of range.
        """
        encoder = self.needed_encoder()
        if not isinstance(encoder, ParallelEncoder):
            raise UsageError(
                f"{self.record.name}: translates nothing; give a run of dataset=parallel_text or =multi30k"
            )
        self._translator = self._translator or Translator(self.model, encoder, self.layout)
        with usage_error_at(""):
            integer("beam", beam, most=WIDEST)
            yield from self._translator.translate(texts, beam, length_penalty, batch_size)

    def transcribe(
        self, raws: Iterable[Any], beam: int = GREEDY, batch_size: int = TOGETHER
    ) -> Iterator[Transcription]:
        """What is said in recordings (spectrograms, as the encoder takes them) or in `Item`s of them, one after another
        as they come. The same for any batch size.

        Args:
            beam: prefixes that are kept, see `alignment.beam_search`; 0: what the likeliest path writes, as the run's
                metrics were measured.

        Raises:
            UsageError: the run writes no transcripts, a recording can't be read, or an argument is out of range.
        """
        encoder, architecture = self.needed_encoder(), self.model.architecture
        if not isinstance(encoder, TranscriptEncoder) or not isinstance(architecture, CTC):
            raise UsageError(
                f"{self.record.name}: writes no transcripts; give a run of dataset=audio_transcripts or =spoken_numbers"
            )
        with usage_error_at(""):
            integer("beam", beam, least=0, most=WIDEST)
        for group in self._groups(raws, batch_size):
            batch = self.layout.collate([self._sample(item, "") for item in group])
            with torch.no_grad():
                unrolled = self.model.fold(batch)
                outputs = architecture.emitted(self._exact, StatesInFloat64(unrolled.layers, unrolled))
            for item, symbols in zip(group, written(outputs, batch, beam), strict=True):
                yield Transcription.of(item.where, encoder.decode(symbols), item.label and encoder.normal(item.label))

    def _groups(self, raws: Iterable[Any], batch_size: int) -> Iterator[list[Item]]:
        """Raw samples as items, so many at a time."""
        with usage_error_at(""):
            integer("batch_size", batch_size)
        items = (raw if isinstance(raw, Item) else Item(f"sample {n}", raw) for n, raw in enumerate(raws))
        while group := list(islice(items, batch_size)):
            yield group

    def _stream(self) -> StreamEncoder:
        encoder = self.needed_encoder()
        if not isinstance(encoder, StreamEncoder):
            raise UsageError(f"{self.record.name}: is of no language model; give a run of dataset=text or =shakespeare")
        return encoder

    def _predictions(self, items: Sequence[Item]) -> Iterator[Prediction]:
        classes = self.task.classes
        named = classes if classes is not None else tuple(map(str, range(self.task.output_size)))
        known = [named.index(item.label) if item.label in named else None for item in items]
        samples = [self._sample(item, number or 0) for item, number in zip(items, known, strict=True)]
        outputs, scored = self._answered(samples)
        for item, number, output, score in zip(items, known, outputs, scored, strict=True):
            if self.task.kind == "regression":
                yield Prediction(item.where, item.label, tuple(output.tolist()))
                continue
            answer, shares = named[int(output.argmax())], output.softmax(-1).numpy()
            yield Prediction(item.where, item.label, answer, shares, None if number is None else score)

    def _sample(self, item: Item, target: Any) -> Sample:
        try:
            return self.needed_encoder().encode(item.raw, target)
        except ValueError as error:
            raise UsageError(f"{item.where}: {error}") from None

    def outputs(self, samples: Sequence[Sample]) -> torch.Tensor:
        """What the model gives for samples, (samples, output_size) float64.

        States are in the precision of the training, where a sample's are the same bits in any batch. They are read out
        in float64, where the rest of a batch changes less than what is shown.
        """
        return self._answered(samples)[0]

    @torch.no_grad()
    def _answered(self, samples: Sequence[Sample]) -> tuple[torch.Tensor, list[ScoredItem]]:
        """The `outputs` of samples, and how each was answered, by the targets that it has."""
        batch, architecture = self.layout.collate(samples), self.model.architecture
        unrolled = self.model.fold(batch)
        exact = StatesInFloat64(unrolled.layers, unrolled)
        answers: torch.Tensor = architecture.answers(self._exact, batch, exact)
        return answers, scored_items(self.model, batch, answers, architecture.labelled(self._exact, batch, exact))


def load(folder: str | Path, weights: str = "measured", trust: Sequence[str] = ()) -> TrainedRun:
    """The trained model of a run, with its encoder; nothing of its data is needed.

    Nothing in the folder is executed: weights are read as tensors, the rest as plain data, and classes are those of
    this project, or of what the caller trusts.

    Args:
        folder: the run's.
        weights: `measured`: those that the test set was measured with; `best` or `last`.
        trust: packages, beside this one, that a class of the run may come from.

    Raises:
        UsageError: there is no run, it has no such weights, one of its files is damaged, or it names what is not
            trusted.
    """
    folder = Path(folder)
    with usage_error_at(""):
        choice("weights", weights, WEIGHTS)
    if not (folder / runs.RECORD).exists():
        raise UsageError(_missing(folder))
    try:
        record, kept = runs.read(folder), encoding.read(folder)
    except runs.DamagedRecord as error:
        raise UsageError(str(error)) from None
    with usage_error_at(str(folder)):
        task, layout = task_of(kept["task"]), layout_of(kept.get("structure"))
        encoder = None if kept.get("encoder") is None else encoder_of(kept["encoder"])
    held = weights_of(folder, record, weights)
    model = model_of(record, task, layout, trust, held)
    fill(model, held, folder)
    model.eval()
    return TrainedRun(record, model, encoder, layout)


def _missing(folder: Path) -> str:
    """What to say of a folder that holds no record."""
    if not folder.is_dir():
        return f"{folder}: no such folder, expected a run's; check the path"
    below = sorted(one.parent.name for one in folder.glob(f"*/{runs.RECORD}"))
    hint = f"give one of the {len(below)} runs in it, such as {folder / below[0]}" if below else "check the path"
    return f"{folder}: has no {runs.RECORD}, expected a run's folder; {hint}"
