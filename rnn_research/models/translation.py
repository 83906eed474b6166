"""Text in, text out: what a trained encoder and decoder makes of texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from rnn_research.checks import integer
from rnn_research.datasets.text.parallel_encoder import ParallelEncoder
from rnn_research.models.searching import SequenceWriter, search
from rnn_research.structures import Layout

TOGETHER = 64
"""Texts that are read at a time."""
BEAM, PENALTY = 5, 1.0
"""Hypotheses that are kept, and the exponent of the length penalty."""
ROOM = 10
"""Tokens that a translation may have beyond twice those of its text."""


class Translator:
    """A model with what splits texts into its tokens and puts them together again.

    Args:
        model: a `Model` of an encoder and a decoder; its weights are copied.
        encoder: of the data that it was trained on.
        layout: what samples are laid out as.

    Raises:
        ValueError: the model is another one.
    """

    def __init__(self, model: Any, encoder: ParallelEncoder, layout: Layout) -> None:
        self.encoder, self.layout, self.writer = encoder, layout, SequenceWriter(model)

    def translate(
        self, texts: Iterable[str], beam: int = BEAM, length_penalty: float = PENALTY, batch_size: int = TOGETHER
    ) -> Iterator[str]:
        """Yield what the model writes of each text, "" of one without a word: see `searching.search`. The same for any
        batch size.

        Raises:
            ValueError: an argument is out of range.
        """
        integer("batch_size", batch_size)
        rest = iter(texts)
        while group := list(islice(rest, batch_size)):
            yield from self._together(group, beam, length_penalty)

    def _together(self, texts: Sequence[str], beam: int, length_penalty: float) -> list[str]:
        encoder, found = self.encoder, [""] * len(texts)
        read = [number for number, text in enumerate(texts) if encoder.segmenter.split(text)]
        samples = [encoder.encode(texts[number]) for number in read]
        if samples:
            batch, most = self.layout.collate(samples), [2 * len(sample.inputs) + ROOM for sample in samples]
            written = search(self.writer, batch, most, beam, length_penalty, encoder.forbidden)
            for number, one in zip(read, written, strict=True):
                found[number] = encoder.decode(one.classes)
        return found
