"""Connectionist temporal classification against enumeration of all paths."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.text import CharErrorRate

from rnn_research.models.alignment import BLANK, beam_search, best_path, transcript_losses
from rnn_research.models.metrics import ErrorRate
from rnn_research.models.transcripts import errors
from rnn_research.structures import Chain, Sample
from rnn_research.structures.layouts import ChainLayout, least_steps

CLASSES = 3


def written_by(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(one for one, _ in groupby(path) if one != BLANK)


def by_enumeration(logs: Tensor) -> dict[tuple[int, ...], Tensor]:
    """p of every transcript that (time, classes) log-probabilities give one."""
    found: dict[tuple[int, ...], Tensor] = {}
    for path in product(range(logs.shape[1]), repeat=len(logs)):
        likely = logs[torch.arange(len(logs)), torch.tensor(path)].sum().exp()
        key = written_by(path)
        found[key] = found[key] + likely if key in found else likely
    return found


def outputs_of(time: int, seed: int = 0, scale: float = 2.0, classes: int = CLASSES) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return scale * torch.randn(time, classes, generator=random, dtype=torch.float64)


def chain_and_targets(steps: list[int], written: list[list[int]]) -> tuple[Chain, Tensor]:
    samples = [
        Sample(np.zeros((length, 1), np.float32), 0, target_sequence=np.array(one, dtype=np.int64))
        for length, one in zip(steps, written, strict=True)
    ]
    batch = ChainLayout().collate(samples)
    assert isinstance(batch.structure, Chain)
    assert batch.target_sequence is not None
    return batch.structure, batch.target_sequence


def test_loss_and_gradients_are_those_of_all_paths() -> None:
    """Of unequal lengths in one batch; what stands in the padding is not read."""
    steps, written = [6, 3, 5, 2], [[1, 1, 2], [2], [2, 1, 2], [1, 2]]
    chain, targets = chain_and_targets(steps, written)
    rows = [outputs_of(length, seed).requires_grad_() for seed, length in enumerate(steps)]
    padded = torch.full((len(steps), max(steps), CLASSES), 1e3, dtype=torch.float64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row.detach()
    padded.requires_grad_()
    losses = transcript_losses(padded, chain, targets)
    (losses * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    for number, row in enumerate(rows):
        wanted = -by_enumeration(row.log_softmax(-1))[tuple(written[number])].log()
        wanted.backward()
        assert losses[number].item() == pytest.approx(wanted.item(), rel=1e-12)
        torch.testing.assert_close(padded.grad[number, : len(row)], (number + 1) * row.grad, rtol=1e-10, atol=1e-12)
        assert not padded.grad[number, len(row) :].any()


def test_a_sample_s_loss_is_the_same_bits_in_any_batch() -> None:
    steps, written = [6, 3, 5], [[1, 1, 2], [2], [2, 1]]
    chain, targets = chain_and_targets(steps, written)
    padded = torch.stack([outputs_of(6, seed).float() for seed in range(3)])
    together = transcript_losses(padded, chain, targets)
    for number, length in enumerate(steps):
        alone = transcript_losses(padded[number : number + 1, :length], *chain_and_targets([length], [written[number]]))
        assert torch.equal(alone[0], together[number])


def test_too_few_steps_have_no_path() -> None:
    for symbols in ([1], [1, 2], [1, 1], [2, 2, 2, 1]):
        needed = least_steps(np.array(symbols))
        for steps in (needed - 1, needed):
            if steps:
                loss = transcript_losses(outputs_of(steps)[None], *chain_and_targets([steps], [symbols]))
                assert torch.isinf(loss).item() == (steps < needed)


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_search_finds_the_likeliest_of_all(seed: int) -> None:
    logs = outputs_of(5, seed, scale=0.5 + seed / 4).log_softmax(-1)
    every = by_enumeration(logs)
    best = max(every, key=lambda key: every[key])
    found = beam_search(logs.numpy(), 1000)
    assert tuple(found.symbols) == best
    assert found.nats == pytest.approx(-every[best].log().item(), rel=1e-12)


def test_a_narrow_search_keeps_what_it_says() -> None:
    """Its p is that of some of the paths of a transcript, and a wider search gives none that is less likely."""
    for seed in range(30):
        logs = outputs_of(6, seed, scale=1.0).log_softmax(-1)
        every = by_enumeration(logs)
        nats = [beam_search(logs.numpy(), width).nats for width in (1, 2, 4, 400)]
        for width in (1, 2, 4):
            found = beam_search(logs.numpy(), width)
            assert found.nats >= -every[tuple(found.symbols)].log().item() - 1e-12
        assert min(nats) == nats[-1]


def test_the_likeliest_path_need_not_write_the_likeliest_transcript() -> None:
    """Graves 2012, figure 7.5: blank at both steps has .36, the three paths of one symbol .64 together."""
    logs = torch.tensor([[0.6, 0.4], [0.6, 0.4]], dtype=torch.float64).log()
    chain, _ = chain_and_targets([2], [[1]])
    assert best_path(logs[None], chain)[0].tolist() == []
    found = beam_search(logs.numpy(), 10)
    assert found.symbols.tolist() == [1]
    assert np.exp(-found.nats) == pytest.approx(0.64)


def test_the_best_path_is_read_as_the_rule_says() -> None:
    random = torch.Generator().manual_seed(0)
    steps = [9, 1, 6, 12]
    chain, _ = chain_and_targets(steps, [[1]] * 4)
    outputs = torch.randn(4, 12, CLASSES, generator=random)
    for row, length, found in zip(outputs, steps, best_path(outputs, chain), strict=True):
        assert tuple(found) == written_by(tuple(row[:length].argmax(-1).tolist()))


def test_a_probability_that_is_no_number_is_said() -> None:
    with pytest.raises(ValueError, match="not a number"):
        beam_search(np.full((3, 2), np.nan), 4)
    with pytest.raises(ValueError, match="width"):
        beam_search(np.log(np.full((3, 2), 0.5)), 0)


def test_the_error_rate_is_torchmetrics() -> None:
    random = np.random.default_rng(0)
    metric, pairs = ErrorRate(), []
    for _ in range(5):
        rows = [[random.integers(1, 5, random.integers(least, 9)) for _ in range(6)] for least in (0, 1)]
        metric.update(torch.tensor(errors(*rows)), torch.tensor([len(row) for row in rows[1]]))
        pairs += zip(*rows, strict=True)
    texts = [["".join(map(str, row)) for row in side] for side in zip(*pairs, strict=True)]
    assert float(metric.compute()) == pytest.approx(float(CharErrorRate()(*texts)), rel=1e-6)
