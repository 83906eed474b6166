"""A language model on new text: how likely it finds it, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rnn_research.cells.base import State
from rnn_research.checks import integer, number
from rnn_research.datasets.text.windows import StreamBatches, Windows, evaluation_windows
from rnn_research.models.carried import CarriedStates
from rnn_research.models.counting import StepLosses
from rnn_research.models.unroller import Unroller
from rnn_research.structures import Batch, Chain, ChainLayout

READ_AT_ONCE = 4096
"""Tokens of a prompt that are read in one go."""
TOGETHER = 64
"""Windows that are read at a time, where no state is carried."""


@dataclass(frozen=True)
class TextLikelihood:
    """How likely a text is.

    Attributes:
        nats: -ln p of all tokens that are predicted: all but the first, given those before.
        predicted: how many these are.
        right: how many of them were the likeliest token.
        tokens, characters: of the text.
    """

    nats: float
    predicted: int
    right: int = 0
    tokens: int = 0
    characters: int = 0

    @property
    def loss(self) -> float:
        """Nats a token; NaN where there is none."""
        return self.nats / self.predicted if self.predicted else math.nan

    @property
    def bits(self) -> float:
        """Bits a token; NaN where there is none."""
        return self.loss / math.log(2)

    @property
    def bits_per_character(self) -> float:
        """The bits a token over the characters a token; NaN where there is none."""
        return self.bits * self.tokens / self.characters if self.characters else math.nan

    @property
    def position_accuracy(self) -> float:
        """The share of tokens that were the likeliest; NaN where there is none."""
        return self.right / self.predicted if self.predicted else math.nan

    @property
    def perplexity(self) -> float:
        """exp(nats a token)."""
        return math.inf if self.loss > 700 else math.exp(self.loss)


@torch.no_grad()
def likelihood(model: Any, tokens: np.ndarray, characters: int = 0, window: int | None = None) -> TextLikelihood:
    """How likely a `Model` finds a text, as the evaluation of a run measures it: in streams whose state is carried.

    Args:
        characters: of the text.
        window: steps of windows that are read from a state of zero each; None: the state is carried.
    """
    if len(tokens) < 2:
        return TextLikelihood(0.0, 0, 0, len(tokens), characters)
    windows = evaluation_windows(tokens) if window is None else Windows(tokens, window)
    batches = StreamBatches(windows.windows) if window is None else _some(len(windows))
    total, predicted, right, layout, carried = 0.0, 0, 0, ChainLayout(), CarriedStates()
    for numbers in batches:
        batch, unroller = layout.collate(windows.take(numbers)), Unroller(model.engine)
        unroller.start = carried.before("new", batch)
        unrolled = model.architecture.fold(model, batch, unroller)
        carried.keep("new", batch, unrolled)
        steps = StepLosses(batch, model.objective, *model.architecture.labelled(model, batch, unrolled))
        total += float(steps.losses.double().sum())
        predicted += steps.labels
        right += int((steps.predictions == steps.targets).sum())
    return TextLikelihood(total, predicted, right, len(tokens), characters)


def _some(windows: int) -> Iterator[list[int]]:
    """The numbers of windows, some at a time."""
    for start in range(0, windows, TOGETHER):
        yield list(range(start, min(start + TOGETHER, windows)))


class TextReader:
    """Reads tokens one after another, and keeps the state between.

    Args:
        model: a language model, in evaluation mode.
        readout: its modules that read states out, in float64.
    """

    def __init__(self, model: Any, readout: Any) -> None:
        self.model, self.readout = model, readout
        self._states: list[State] | None = None

    @torch.no_grad()
    def read(self, tokens: np.ndarray) -> torch.Tensor:
        """The logits of what comes after the last of these tokens: (classes,) float64."""
        hidden = None
        for start in range(0, len(tokens), READ_AT_ONCE):
            part = torch.from_numpy(tokens[start : start + READ_AT_ONCE].astype(np.int64))
            batch = Batch(part[None], Chain(torch.tensor([len(part)])), torch.zeros(1, dtype=torch.int64))
            unroller = Unroller(self.model.engine)
            unroller.start = self._states
            unrolled = self.model.architecture.fold(self.model, batch, unroller)
            self._states = [layer.ends() for layer in unrolled.layers]
            hidden = batch.structure.terminal(unrolled.hidden).double()
        assert hidden is not None
        logits: torch.Tensor = self.model.architecture.outputs(self.readout, hidden)[0]
        return logits


def generated(
    reader: TextReader,
    prompt: np.ndarray,
    allowed: np.ndarray,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> Iterator[int]:
    """Yield tokens that a model writes after a prompt, one after another.

    The next token is drawn from softmax(logits / temperature) over the allowed ones, of the `top_k` likeliest where
    that is given; at temperature 0 it is the likeliest. The same seed gives the same tokens.

    Args:
        prompt: tokens to begin with, at least one.
        allowed: whether each class may be written; class k is token k + 1.
        length: how many tokens.

    Raises:
        ValueError: an argument is out of range.
    """
    integer("length", length, least=0)
    number("temperature", temperature, least=0.0)
    top_k = None if top_k is None else integer("top_k", top_k)
    random, read = np.random.default_rng(integer("seed", seed, least=0)), prompt
    for _ in range(length):
        logits = np.where(allowed, reader.read(read).numpy(), -np.inf)
        chosen = _chosen(logits, temperature, top_k, random)
        yield chosen + 1
        read = np.array([chosen + 1])


def _chosen(logits: np.ndarray, temperature: float, top_k: int | None, random: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")[:top_k]
    scaled = (logits[order] - logits[order[0]]) / temperature
    share = np.exp(scaled).cumsum()
    return int(order[min(np.searchsorted(share, random.random() * share[-1], side="right"), len(order) - 1)])
