"""What a trained model writes of recordings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.text import edit_distance

from rnn_research.models.alignment import beam_search, best_path
from rnn_research.structures import Batch, Chain

GREEDY = 0
"""The width of a search that reads the likeliest path alone."""


@dataclass(frozen=True)
class Transcription:
    """What is written of one recording.

    Attributes:
        where: its file.
        text: what is written.
        label: what is said of it; None: nothing.
        edits: characters to insert, delete or replace until it is what is said; None: nothing is said.
    """

    where: str
    text: str
    label: str | None
    edits: int | None

    @classmethod
    def of(cls, where: str, text: str, label: str | None) -> Transcription:
        """The transcription, compared with what is said."""
        edits = None if label is None else int(edit_distance([text], [label], reduction="none")[0])
        return cls(where, text, label, edits)


def written(outputs: Float[Tensor, "batch time classes"], batch: Batch, beam: int) -> list[np.ndarray]:
    """The symbols that are written of each sample.

    Args:
        outputs: before the softmax.
        beam: see `alignment.beam_search`; 0: the likeliest path.

    Raises:
        ValueError: a probability is not a number.
    """
    chain = batch.structure
    assert isinstance(chain, Chain)
    if beam == GREEDY:
        return best_path(outputs, chain)
    logs = outputs.log_softmax(-1).double().cpu().numpy()
    rows = zip(logs, chain.lengths.tolist(), strict=True)
    return [beam_search(row[:length], beam).symbols for row, length in rows]
