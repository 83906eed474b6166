"""Connectionist temporal classification: how likely a transcript is, and which transcripts are likely.

Graves et al. 2006, "Connectionist temporal classification: labelling unsegmented sequence data with recurrent neural
networks" (ICML). At each step a model gives a probability to every symbol and to `BLANK`. A path is one of these a
step; it writes the transcript that is left when repeats are taken as one, and then blanks are taken out. A transcript's
probability is the sum over all paths that write it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rnn_research.checks import integer
from rnn_research.structures import Chain
from rnn_research.structures.layouts import END, NO_TARGET

BLANK = 0
"""The class that writes nothing. Of a target sequence it is `END`, which no path has to write."""


def without_end(written: Int[Tensor, "batch most"]) -> tuple[Int[Tensor, " symbols"], Int[Tensor, " batch"]]:
    """The symbols of target sequences, one after another, and how many each has."""
    of_symbols = (written != NO_TARGET) & (written != END)
    return written[of_symbols], of_symbols.sum(1)


def transcript_losses(
    outputs: Float[Tensor, "batch time classes"], chain: Chain, written: Int[Tensor, "batch most"]
) -> Float[Tensor, " batch"]:
    """-ln p of each sample's transcript, in nats, in float32 at least; infinite where no path is long
    enough.

    Args:
        outputs: before the softmax.
        chain: the samples' steps.
        written: the transcripts, as `Batch.target_sequence` has them.
    """
    symbols, lengths = without_end(written)
    precision = torch.promote_types(outputs.dtype, torch.float32)  # torch has no sum over paths in 16 bits
    logs = outputs.log_softmax(-1, dtype=precision).transpose(0, 1)
    return nn.functional.ctc_loss(logs, symbols, chain.lengths, lengths, BLANK, "none")


@torch.no_grad()
def best_path(outputs: Float[Tensor, "batch time classes"], chain: Chain) -> list[np.ndarray]:
    """The transcript that the likeliest path of each sample writes: greedy decoding. It need not be the likeliest."""
    path = outputs.argmax(-1)
    before = nn.functional.pad(path[:, :-1], (1, 0), value=-1)
    kept = ((path != BLANK) & (path != before) & chain.mask).cpu().numpy()
    return [row[keep] for row, keep in zip(path.cpu().numpy(), kept, strict=True)]


@dataclass(frozen=True, eq=False)
class Transcript:
    """What was found of one sample.

    Attributes:
        symbols: the classes.
        nats: -ln p, of the paths that the search kept: an upper bound of the transcript's own, and the same where it
            kept all.
    """

    symbols: np.ndarray
    nats: float


class _Prefixes:
    """Transcripts that have begun, as a tree: each but the empty one, number 0, is another with one more symbol."""

    def __init__(self) -> None:
        self.parent, self.last = [0], [BLANK]
        self._longer: dict[tuple[int, int], int] = {}

    def longer(self, prefix: int, symbol: int) -> int:
        """The number of a prefix with one more symbol."""
        found = self._longer.setdefault((prefix, symbol), len(self.parent))
        if found == len(self.parent):
            self.parent.append(prefix)
            self.last.append(symbol)
        return found

    def symbols(self, prefix: int) -> np.ndarray:
        found = []
        while prefix:
            found.append(self.last[prefix])
            prefix = self.parent[prefix]
        return np.array(found[::-1], dtype=np.int64)


def beam_search(logs: Float[np.ndarray, "time classes"], width: int) -> Transcript:
    """The likeliest transcript that a search finds which keeps the `width` likeliest prefixes at each step: Graves
    2012, "Supervised sequence labelling with recurrent neural networks", section 7.5.3, without a language model. Exact
    where `width` is no less than the number of prefixes.

    Args:
        logs: ln p of each class at each step, float64.

    Raises:
        ValueError: width < 1, or a probability is not a number.
    """
    integer("width", width)
    if np.isnan(logs).any():
        raise ValueError("the model gives a probability that is not a number; its training has diverged")
    prefixes, held = _Prefixes(), np.zeros(1, dtype=np.int64)
    blank, symbol = np.zeros(1), np.full(1, -np.inf)  # ln p of the paths that end in a blank, and of those that don't
    for now in logs:
        total = np.logaddexp(blank, symbol)
        last = np.array([prefixes.last[one] for one in held])
        stays_blank = total + now[BLANK]
        stays_symbol = np.where(last == BLANK, -np.inf, symbol + now[last])
        grows = total[:, None] + now
        rows = np.flatnonzero(last != BLANK)
        grows[rows, last[rows]] = blank[rows] + now[last[rows]]  # a repeat is taken as one, but for a blank between
        grows[:, BLANK] = -np.inf
        place = {one: row for row, one in enumerate(held.tolist())}
        for row, one in enumerate(held.tolist()):  # what grows into a prefix that is held joins it
            before = place.get(prefixes.parent[one]) if one else None
            if before is not None:
                stays_symbol[row] = np.logaddexp(stays_symbol[row], grows[before, last[row]])
                grows[before, last[row]] = -np.inf
        held, blank, symbol = _kept(prefixes, held, (stays_blank, stays_symbol), grows, width)
    total = np.logaddexp(blank, symbol)
    best = int(total.argmax())
    return Transcript(prefixes.symbols(int(held[best])), -float(total[best]))


def _kept(
    prefixes: _Prefixes, held: np.ndarray, stays: tuple[np.ndarray, np.ndarray], grows: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest prefixes: their numbers, and ln p of their paths that end in a blank, and in a symbol."""
    totals = np.concatenate([np.logaddexp(*stays), grows.ravel()])
    order = np.argsort(-totals, kind="stable")[:width]
    order = order[totals[order] > -np.inf]
    old, new = order[order < len(held)], order[order >= len(held)] - len(held)
    rows, symbols = np.divmod(new, grows.shape[1])
    longer = [prefixes.longer(int(held[row]), int(one)) for row, one in zip(rows, symbols, strict=True)]
    numbers = np.concatenate([held[old], np.array(longer, dtype=np.int64)])
    return (
        numbers,
        np.concatenate([stays[0][old], np.full(len(new), -np.inf)]),
        np.concatenate([stays[1][old], grows[rows, symbols]]),
    )
