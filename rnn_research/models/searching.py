"""What a trained encoder and decoder writes: the likeliest sequences that greedy or beam search finds."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rnn_research.cells.base import State
from rnn_research.checks import integer, number
from rnn_research.models.architectures.attention import by_sample
from rnn_research.models.architectures.encoder_decoder import EncoderDecoder
from rnn_research.models.unroller import Unroller
from rnn_research.structures import Batch
from rnn_research.structures.layouts import END


@dataclass(frozen=True, eq=False)
class WrittenSequence:
    """What was written of one sample.

    Attributes:
        classes: without the end.
        nats: -ln p of all of it, the end included.
        score: ln p over the length penalty: what was searched by.
    """

    classes: np.ndarray
    nats: float
    score: float


@dataclass(frozen=True, eq=False)
class DecoderRows:
    """Where a decoder stands: each layer's state, and what attention reads, as `SourceAttention.attend` has it, a row a
    hypothesis."""

    states: tuple[State, ...]
    attended: tuple[Tensor, ...]

    def take(self, rows: Int[Tensor, " rows"]) -> DecoderRows:
        """Some of the rows, in the order given."""
        states = tuple(type(state)(*(part[rows] for part in state)) for state in self.states)
        return replace(self, states=states, attended=tuple(one[rows] for one in self.attended))


class SequenceWriter:
    """A decoder, step by step.

    All of it is computed in float64: the rest of a batch and its padding change a sample's logits by rounding alone,
    far less than two sequences differ by.

    Args:
        model: a `Model` of an encoder and a decoder; its weights are copied.

    Raises:
        ValueError: the model is another one.
    """

    def __init__(self, model: Any) -> None:
        if not isinstance(model.architecture, EncoderDecoder):
            kind = type(model.architecture).__name__
            raise ValueError(f"model: given one of the architecture {kind}, which writes no sequence")
        self.architecture, self.engine = model.architecture, model.engine
        modules = {name: getattr(model, name) for name in self.architecture.modules()}
        exact = {name: one if one is None else copy.deepcopy(one).double().eval() for name, one in modules.items()}
        self.net = SimpleNamespace(**exact, dtype=torch.float64, training=False)

    def start(self, batch: Batch) -> DecoderRows:
        """Read the samples. A row a sample."""
        inputs = batch.inputs if self.net.embedding is not None else batch.inputs.double()
        batch = replace(batch, inputs=inputs)
        none = torch.zeros(len(batch), dtype=torch.int64, device=inputs.device)
        encoder = self.architecture.encode(self.net, batch, Unroller(self.engine), none)
        first = tuple(self.architecture.first_states(self.net, batch.structure, encoder))
        if self.net.attention is None:
            return DecoderRows(first, ())
        memory, mask = by_sample(batch.structure, encoder.hidden)
        return DecoderRows(first, (memory, mask, self.net.attention.keys(memory), torch.zeros_like(memory[..., 0])))

    def step(
        self, rows: DecoderRows, tokens: Int[Tensor, " rows"]
    ) -> tuple[Float[Tensor, "rows classes"], DecoderRows]:
        """ln p of every class that may come after these tokens, and where the decoder stands then."""
        cells = list(self.net.cells)[self.architecture.encoder_cells :]
        read, states = self.architecture.decoder_inputs(self.net, tokens), []
        for number_of, (cell, state) in enumerate(zip(cells, rows.states, strict=True)):
            read = self.net.between(read) if number_of else read
            states.append(cell(read, state))
            read = states[-1].hidden
        attended = rows.attended
        if self.net.attention is not None:
            found, weights = self.net.attention.attend(read[:, None], *attended)
            read, attended = found[:, 0], (*attended[:-1], weights)
        logits = self.architecture.outputs(self.net, read)
        return logits.log_softmax(-1), DecoderRows(tuple(states), attended)


LARGEST_PENALTY = 50.0
"""Of alpha: the score of a sequence of 10^5 tokens is a float64 still."""


def length_penalty_of(length: int | Tensor, alpha: float) -> Any:
    """((5 + n) / 6)^alpha: Wu et al. 2016 (arXiv:1609.08144, equation 14), with n the tokens, the end among them."""
    return ((5 + length) / 6) ** alpha


@torch.no_grad()
def search(
    writer: SequenceWriter,
    batch: Batch,
    most: Sequence[int],
    width: int = 1,
    length_penalty: float = 0.0,
    forbidden: Sequence[int] = (),
) -> list[WrittenSequence]:
    """What is written of each sample: of all sequences that the search completes the one with the best score.

    At each step the `width` likeliest of all continuations are kept. A sequence that ends leaves them, and is the
    answer if none has a better score and none that is kept could have one. With a width of 1 it is greedy search, with
    one as large as the number of continuations it is exhaustive. What a sample gives does not depend on the others.

    Args:
        most: of each sample how many tokens are written before its end at the most.
        width: hypotheses that are kept.
        length_penalty: alpha, by which ln p is divided as `length_penalty_of` says; 0: it is not.
        forbidden: classes that are never written.

    Raises:
        ValueError: an argument is out of range, or a probability is not a number.
    """
    integer("width", width)
    number("length_penalty", length_penalty, least=0.0, most=LARGEST_PENALTY)
    device, count = batch.inputs.device, len(batch)
    limits = torch.as_tensor(list(most), device=device)
    found: list[WrittenSequence | None] = [None] * count
    best = torch.full((count,), -torch.inf, dtype=torch.float64, device=device)
    offset = torch.arange(count, device=device)[:, None] * width
    rows = writer.start(batch).take(torch.arange(count, device=device).repeat_interleave(width))
    total = torch.full((count, width), -torch.inf, dtype=torch.float64, device=device)
    total[:, 0] = 0.0
    written = torch.empty((count, width, 0), dtype=torch.int64, device=device)
    tokens = torch.full((count * width,), END + 1, device=device)
    for length in range(1, int(limits.max()) + 2):
        logs, rows = writer.step(rows, tokens)
        logs = _allowed(logs.view(count, width, -1), limits < length, forbidden)
        total, index = logs.add_(total[..., None]).flatten(1).topk(width)
        parent, chosen = index // logs.shape[-1], index % logs.shape[-1]
        written = written.gather(1, parent[..., None].expand(-1, -1, length - 1))
        ended = (chosen == END) & (total > -torch.inf)
        scores = torch.where(ended, total / length_penalty_of(length, length_penalty), -torch.inf)
        top, place = scores.max(1)
        for sample in (top > best).nonzero().flatten().tolist():
            at = int(place[sample])
            classes = written[sample, at].cpu().numpy()
            found[sample] = WrittenSequence(classes, -float(total[sample, at]), float(top[sample]))
        best, total = torch.maximum(best, top), total.masked_fill(ended, -torch.inf)
        reachable = total.amax(1) / length_penalty_of(limits + 1, length_penalty)
        total = total.masked_fill((reachable <= best)[:, None], -torch.inf)
        if bool((total == -torch.inf).all()):
            break
        rows = rows.take((parent + offset).flatten())
        written = torch.cat([written, chosen[..., None]], -1)
        tokens = chosen.flatten() + 1
    return [one for one in found if one is not None]


def _allowed(logs: Tensor, full: Tensor, forbidden: Sequence[int]) -> Tensor:
    """The ln p of what may be written, changed in place: the end alone in samples that are `full`.

    Raises:
        ValueError: one is not a number.
    """
    if bool(logs[..., END].isnan().any()):  # then all of a row are
        raise ValueError("the model gives a probability that is not a number; its training has diverged")
    if len(forbidden):
        logs.index_fill_(-1, torch.tensor(list(forbidden), device=logs.device), -torch.inf)
    if bool(full.any()):
        other = torch.arange(logs.shape[-1], device=logs.device) != END
        logs.masked_fill_(full[:, None, None] & other, -torch.inf)
    return logs
