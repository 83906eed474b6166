"""Greedy and beam search: against enumeration, against themselves in other batches, and their end."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from small import SEQUENCES, Given, model_of, sequences

from rnn_research.cells import GRU, LSTM
from rnn_research.datasets.task import Task
from rnn_research.models import Model
from rnn_research.models.architectures import EncoderDecoder
from rnn_research.models.searching import SequenceWriter, length_penalty_of, search
from rnn_research.structures import ChainLayout, Sample

TASK = Task("sequence", input_size=7, output_size=4, tokens=True)
MOST = 3
ALL = [one for length in range(MOST + 1) for one in itertools.product((1, 2, 3), repeat=length)]
WHOLE = 3**MOST * 4
"""More continuations than there are at any step."""


def sources(count: int = 6) -> list[Sample]:
    random = np.random.default_rng(0)
    none = np.empty(0, np.int64)
    return [Sample(random.integers(1, 7, random.integers(1, 6)), 0, target_sequence=none) for _ in range(count)]


def made(attention: str = "dot", cell: Any = LSTM, both: bool = False, seed: int = 3, longer: float = 1.5) -> Model:
    """A model whose next token hangs on all that was read and written, in which a likely step may lead nowhere."""
    how = {"architecture": partial(EncoderDecoder, attention=attention), "num_layers": 2, "bidirectional": both}
    model = model_of(Given(TASK, sources()), cell, hidden_size=8, seed=seed, **how).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5.0)
        for embedding in (model.embedding, model.target_embedding):
            embedding.weight.mul_(4.0)
        model.readout.bias[0] -= longer
    return model


def nats(model: Model, source: Sample) -> dict[tuple[int, ...], float]:
    """-ln p of each sequence by the unroll that training has."""
    given = [Sample(source.inputs, 0, target_sequence=np.array(one, np.int64)) for one in ALL]
    batch = ChainLayout().collate(given)
    losses = torch.nn.functional.cross_entropy(
        *model.architecture.labelled(model, batch, model.fold(batch)), reduction="none"
    )
    parts = losses.split([len(one) + 1 for one in ALL])
    return {one: float(part.sum()) for one, part in zip(ALL, parts, strict=True)}


def found(model: Model, given: list[Sample], most: int = MOST, **how: Any) -> list[Any]:
    return search(SequenceWriter(model), ChainLayout().collate(given), [most] * len(given), **how)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize(
    ("attention", "cell", "both"),
    [("none", GRU, False), ("dot", LSTM, True), ("additive", LSTM, False), ("location", LSTM, True)],
)
def test_a_wide_beam_is_exhaustive(attention: str, cell: Any, both: bool, alpha: float) -> None:
    """The best of all sequences of at most three tokens, by the unroll of the whole target."""
    model, given = made(attention, cell, both).double(), sources()
    lengths = []
    with torch.no_grad():
        for source, answer in zip(given, found(model, given, width=WHOLE, length_penalty=alpha), strict=True):
            costs = nats(model, source)
            scores = {one: -cost / length_penalty_of(len(one) + 1, alpha) for one, cost in costs.items()}
            best = max(scores, key=scores.__getitem__)
            assert tuple(answer.classes) == best
            assert answer.nats == pytest.approx(costs[best], rel=1e-12)
            assert answer.score == pytest.approx(scores[best], rel=1e-12)
            lengths.append(len(best))
    assert max(lengths) > 0


def greedy(model: Model, source: Sample, most: int) -> list[int]:
    """Token after token, by the unroll of all that was written so far."""
    written: list[int] = []
    while len(written) < most:
        sample = Sample(source.inputs, 0, target_sequence=np.array([*written, 1], np.int64))
        batch = ChainLayout().collate([sample])
        outputs, _ = model.architecture.labelled(model, batch, model.fold(batch))
        chosen = int(outputs[len(written)].argmax())
        if chosen == 0:
            break
        written.append(chosen)
    return written


@pytest.mark.parametrize("attention", ["dot", "location"])
def test_a_width_of_one_is_greedy(attention: str) -> None:
    model, given = made(attention, seed=5, longer=0.0).double(), sources(12)
    with torch.no_grad():
        wanted = [greedy(model, one, 9) for one in given]
    for alpha in (0.0, 0.7):
        answers = found(model, given, 9, width=1, length_penalty=alpha)
        assert [answer.classes.tolist() for answer in answers] == wanted
    assert len({len(one) for one in wanted}) > 2


def test_a_wider_beam_finds_what_is_likelier() -> None:
    model, given = made(), sources(30)
    narrow, wide = (found(model, given, 6, width=width) for width in (1, 8))
    assert all(one.nats <= other.nats + 1e-12 for one, other in zip(wide, narrow, strict=True))
    assert any(one.nats < other.nats - 1e-6 for one, other in zip(wide, narrow, strict=True))


@pytest.mark.parametrize("attention", ["additive", "location"])
@pytest.mark.parametrize("width", [1, 4])
def test_an_answer_is_the_same_in_any_batch(width: int, attention: str) -> None:
    model, given = made(attention, both=True), sources(9)
    whole = found(model, given, 8, width=width, length_penalty=0.6)
    turned = found(model, given[::-1], 8, width=width, length_penalty=0.6)[::-1]
    alone = [found(model, [one], 8, width=width, length_penalty=0.6)[0] for one in given]
    for one, other, last in zip(whole, turned, alone, strict=True):
        assert one.classes.tolist() == other.classes.tolist() == last.classes.tolist()
        assert one.nats == pytest.approx(last.nats, rel=1e-12)


def test_each_sample_has_its_own_limit_and_what_is_forbidden_is_not_written() -> None:
    model, given = made(), sources(5)
    with torch.no_grad():
        model.readout.bias[0] -= 1e3  # the end is never likely
    answers = search(SequenceWriter(model), ChainLayout().collate(given), [0, 1, 2, 3, 4], 1, forbidden=[1, 3])
    assert [answer.classes.tolist() for answer in answers] == [[2] * most for most in range(5)]


def test_what_can_t_be_searched_is_refused() -> None:
    model = made()
    for how, told in (({"width": 0}, "width: given 0"), ({"length_penalty": -1.0}, "length_penalty: given -1")):
        with pytest.raises(ValueError, match=told):
            found(model, sources(), **how)
    with torch.no_grad():
        model.readout.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="not a number; its training has diverged"):
        found(model, sources())
    with pytest.raises(ValueError, match=r"^model: given one of the architecture Label"):
        SequenceWriter(model_of(Given(SEQUENCES, sequences(3))))
