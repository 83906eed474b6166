"""Half and mixed precision: whatever probes and regularizers are there, a run trains."""

from __future__ import annotations

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
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.saturation import Saturation
from rnn_research.regularizers.flossing import Flossing
from rnn_research.regularizers.omega import Omega
from rnn_research.structures import ParseTreeLayout

CELLS = (RNN, LSTM, GRU, TreeRNN, ChildSumTreeLSTM, NaryTreeLSTM)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("kind", ["chain", "tree"])
@pytest.mark.parametrize("cell", CELLS)
def test_probes_measure_in_any_precision(cell: Any, kind: str, precision: str, tmp_path: Path) -> None:
    data = Data(SEQUENCES, sequences(4)) if kind == "chain" else Data(TREES, sentences(4), ParseTreeLayout())
    model = model_of(data, cell, num_layers=2)
    probes = {"adjoint": Adjoint(), "saturation": Saturation()}
    assert run(data, model, tmp_path / "run", probes, max_steps=2, precision=precision).status == "done"
    for probe in probes.values():
        assert all(np.isfinite(probe.table()[name]).any() for name in probe.table().dtype.names or ())


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
