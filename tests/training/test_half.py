"""Half and mixed precision: whatever probes and regularizers are there, a run trains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forms import FORMS, Given
from small import SEQUENCES, TREES, model_of, run, sentences, sequences
from small import Given as Data
from torch import nn

from rnn_research.cells import GRU, LSTM, RNN, ChildSumTreeLSTM, NaryTreeLSTM, TreeRNN
from rnn_research.datasets.task import Task
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.saturation import Saturation
from rnn_research.regularizers.flossing import Flossing
from rnn_research.regularizers.omega import Omega
from rnn_research.structures import ParseTreeLayout, Sample

CELLS = (RNN, LSTM, GRU, TreeRNN, ChildSumTreeLSTM, NaryTreeLSTM)
EACH = [
    pytest.param(cell, kind, precision, marks=[pytest.mark.slow] if (place + tree + true) % 2 else [])
    for place, cell in enumerate(CELLS)
    for tree, kind in enumerate(("chain", "tree"))
    for true, precision in enumerate(("bf16-mixed", "bf16-true"))
]
"""All of them, half of them slow: without those too, each two of a cell, a kind and a precision meet."""


@pytest.mark.parametrize(("cell", "kind", "precision"), EACH)
def test_probes_measure_in_any_precision(cell: Any, kind: str, precision: str, tmp_path: Path) -> None:
    data = Data(SEQUENCES, sequences(4)) if kind == "chain" else Data(TREES, sentences(4), ParseTreeLayout())
    model = model_of(data, cell, num_layers=2)
    probes = {"adjoint": Adjoint(), "saturation": Saturation()}
    assert run(data, model, tmp_path / "run", probes, max_steps=2, precision=precision).status == "done"
    for probe in probes.values():
        assert all(np.isfinite(probe.table()[name]).any() for name in probe.table().dtype.names or ())


def of_frames() -> Data:
    random = np.random.default_rng(0)
    clips = [Sample(random.integers(0, 256, (steps, 16), dtype=np.uint8), steps % 3) for steps in (4, 1, 6, 2)]
    return Data(Task("classification", input_size=16, output_size=3, frame=(1, 4, 4)), clips)


def of_transcripts() -> Data:
    given = [replace(one, target_sequence=np.array([1, 2])) for one in sequences(4, (3, 6))]
    return Data(Task("transcript", input_size=2, output_size=3), given)


STILL = partial(torch.optim.SGD, lr=0.0)


@pytest.fixture(scope="module")
def in_full(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[], Data]], float]:
    """The loss of the first weights in float32."""

    @functools.cache
    def loss(data: Callable[[], Data]) -> float:
        given = data()
        model = model_of(given, GRU, frame_features=5, optimizer=STILL)
        return run(given, model, tmp_path_factory.mktemp("full") / "run", max_steps=1).final["test_loss"]

    return loss


@pytest.mark.parametrize(
    "precision",
    ["bf16-mixed", "bf16-true", "16-true", pytest.param("16-mixed", marks=pytest.mark.slow)],  # on a CPU bf16-mixed
)
@pytest.mark.parametrize("data", [of_frames, of_transcripts])
def test_what_reads_images_and_what_writes_transcripts_trains_in_any_precision(
    data: Callable[[], Data], precision: str, in_full: Callable[[Callable[[], Data]], float], tmp_path: Path
) -> None:
    given = data()
    model = model_of(given, GRU, frame_features=5, optimizer=STILL)
    probes = {"adjoint": Adjoint(), "saturation": Saturation()}
    record = run(given, model, tmp_path / "half", probes, max_steps=2, precision=precision)
    assert record.status == "done"
    assert record.final["test_loss"] == pytest.approx(in_full(data), rel=0.02)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "16-true"])
def test_flossing_takes_its_decompositions_in_a_precision_that_has_them(precision: str, tmp_path: Path) -> None:
    data = Data(SEQUENCES, sequences(4, (4, 6)))
    model = model_of(data, LSTM, regularizers={"flossing": Flossing(warm_up=1, exponents=3, samples=4)})
    assert run(data, model, tmp_path / "run", max_steps=2, precision=precision).status == "done"
    assert torch.isfinite(torch.from_numpy(model.regularized.table()["flossing"])).all()


class Dropping(Given):
    """Dropout on a gate."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__(FORMS["a peephole"])

    def step(self, projected: torch.Tensor, *previous: Any) -> Any:
        return super().step(nn.functional.dropout(projected, 0.5), *previous)


def test_what_runs_updates_again_refuses_a_cell_that_draws_random_numbers() -> None:
    cell = Dropping()
    drawn = torch.get_rng_state()
    for one in (Saturation(), Omega(), Flossing(exponents=1)):
        with pytest.raises(ValueError, match=r"runs updates again, but Dropping\.step draws random numbers"):
            one.attach([cell])
    assert torch.equal(torch.get_rng_state(), drawn)
    for one in (Saturation(), Flossing(exponents=1)):
        one.attach([Given(FORMS["a peephole"])])
