"""What a model's outputs at every step are worth as a transcript."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.text import edit_distance

from rnn_research.models.alignment import best_path, transcript_losses, without_end
from rnn_research.structures import Batch, Chain


class TranscriptLosses:
    """The loss of each sample's transcript.

    Args:
        batch: whose transcripts they are.
        outputs: of the model at every step, before the softmax.
        at_ends: gives the same outputs, of which only those where chains end are part of the graph.
    """

    def __init__(
        self, batch: Batch, outputs: Float[Tensor, "batch time classes"], at_ends: Callable[[], Tensor]
    ) -> None:
        self.batch, self.outputs, self._at_ends = batch, outputs, at_ends
        assert isinstance(batch.structure, Chain)
        assert batch.target_sequence is not None
        self.chain, self.written = batch.structure, batch.target_sequence
        self.losses = transcript_losses(outputs, self.chain, self.written)
        symbols, lengths = without_end(self.written)
        self.labels = len(symbols)
        self.lengths: list[int] = lengths.tolist()
        self._symbols = symbols.cpu().numpy()
        self.mean = self.losses.sum() / max(self.labels, 1)

    @property
    def terminal(self) -> Tensor:
        """The summed loss, differentiable with respect to where the chains end alone."""
        return transcript_losses(self._at_ends(), self.chain, self.written).sum()

    @property
    def truths(self) -> list[np.ndarray]:
        """The symbols of each sample's transcript."""
        return np.split(self._symbols, np.cumsum(self.lengths)[:-1])

    @cached_property
    def found(self) -> list[np.ndarray]:
        """The symbols that the best path of each sample writes."""
        return best_path(self.outputs, self.chain)

    def whole(self) -> tuple[Tensor, Tensor]:
        """Whether the best path writes each transcript without a mistake, beside what it should, as 0 and 1."""
        pairs = zip(self.found, self.truths, strict=True)
        right = torch.tensor([int(np.array_equal(found, truth)) for found, truth in pairs], device=self.losses.device)
        return right, torch.ones_like(right)

    def compared(self, split: str) -> tuple[Tensor, Tensor] | None:
        """The `mistakes`; None in training, where to count them may take longer than to learn."""
        return None if split == "train" else self.mistakes()

    def mistakes(self) -> tuple[Tensor, Tensor]:
        """Of each sample the edits between what the best path writes and the true transcript, and the symbols of that
        one."""
        wrong = errors(self.found, self.truths)
        return torch.tensor(wrong, device=self.losses.device), torch.tensor(self.lengths, device=self.losses.device)

    @torch.no_grad()
    def of_samples(self) -> dict[str, Tensor]:
        """Each transcript's `loss`, a mean over its symbols in float64; whether the best path's is `correct`, and how
        many `errors` it has."""
        wrong, length = self.mistakes()
        mean = transcript_losses(self.outputs.double(), self.chain, self.written) / length
        return {"correct": wrong == 0, "errors": wrong, "loss": mean}


def errors(found: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> list[int]:
    """The edits (symbols to insert, delete or replace) that make each transcript the true one: Levenshtein 1966."""
    written, said = (["".join(chr(int(one)) for one in row) for row in rows] for rows in (found, truths))
    return [int(one) for one in edit_distance(written, said, reduction="none")]
