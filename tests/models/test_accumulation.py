"""A step that accumulates batches is the step of all of them as one batch: gradients, thresholds and records alike.

Batches differ in size and in labels, and the last window of an epoch is incomplete: 9 samples in batches of 2, three of
which make a step, are steps of 6 and of 3. And batches without any label change nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import SEQUENCES, STEPS, TREES, Given, model_of, run, sentences, sequences
from torch import Tensor

from rnn_research.cells import GRU, LSTM, RNN, ChildSumTreeLSTM
from rnn_research.clipping import Clipping, Composed
from rnn_research.clipping.adjoint_norm import AdjointNorm
from rnn_research.clipping.adjoint_normalize import AdjointNormalize
from rnn_research.clipping.agc import AGC
from rnn_research.clipping.autoclip import AutoClip
from rnn_research.clipping.depth_detach import DepthDetach
from rnn_research.clipping.global_norm import GlobalNorm
from rnn_research.clipping.graves import Graves
from rnn_research.clipping.h_detach import HDetach
from rnn_research.clipping.none import NoClipping
from rnn_research.clipping.tbptt import TBPTT
from rnn_research.clipping.value import Value
from rnn_research.datasets.task import Task
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.gradient_norm import GradientNorm
from rnn_research.records import runs
from rnn_research.regularizers.base import Regularizer, Step
from rnn_research.regularizers.omega import Omega
from rnn_research.regularizers.orthogonality import Orthogonality
from rnn_research.structures import Sample
from rnn_research.structures.layouts import ParseTreeLayout

Maker = Callable[[], Any]


class Small(Regularizer):
    """The square of a weight: a penalty that depends on no batch."""

    def penalty(self, step: Step) -> Tensor:
        return step.cells[0].weight_hh.square().sum()  # type: ignore[union-attr,operator]


def split(samples: list[Any]) -> dict[str, list[Any]]:
    return {"train": samples[:9], "val": samples[9:12], "test": samples[12:]}


WRITTEN = Task("sequence", input_size=2, output_size=4)
TRANSCRIPTS = Task("transcript", input_size=2, output_size=4)


def written(most: int) -> list[Sample]:
    """Sequences with up to `most` tokens to be written; with fewer than two, one at least."""
    random, made = np.random.default_rng(1), sequences(15, (1, 7))
    counts = [random.integers(0, most + 1) if most > 1 else 1 for _ in made]
    return [replace(one, target_sequence=random.integers(1, 4, count)) for one, count in zip(made, counts, strict=True)]


DATA: dict[str, tuple[Callable[[int], Given], Any]] = {
    "whole": (lambda size: Given(SEQUENCES, split(sequences(15, (2, 7))), batch_size=size), RNN),
    "steps": (lambda size: Given(STEPS, split(sequences(15, (2, 7), steps=True)), batch_size=size), LSTM),
    "written": (lambda size: Given(WRITTEN, split(written(6)), batch_size=size), LSTM),
    "transcripts": (lambda size: Given(TRANSCRIPTS, split(written(1)), batch_size=size), GRU),
    "nodes": (lambda size: Given(TREES, split(sentences(15)), ParseTreeLayout(), batch_size=size), ChildSumTreeLSTM),
}
STRATEGIES: dict[str, tuple[Callable[[], Clipping], str]] = {
    "none": (NoClipping, "steps"),
    "global_norm": (lambda: GlobalNorm(0.1), "whole nodes written"),
    "value": (lambda: Value(0.02), "nodes"),
    "agc": (lambda: AGC(0.01), "steps"),
    "autoclip": (lambda: AutoClip(20.0), "nodes"),
    "adjoint_norm": (lambda: AdjointNorm(0.1), "nodes"),
    "adjoint_normalize": (lambda: AdjointNormalize(0.7), "whole"),
    "graves": (lambda: Graves(0.02), "steps transcripts"),
    "depth_detach": (lambda: DepthDetach(1), "nodes"),
    "tbptt": (lambda: TBPTT(2), "steps written transcripts"),
    "h_detach": (lambda: HDetach(0.5), "steps"),
    "composed": (lambda: Composed({"graves": Graves(0.02), "global_norm": GlobalNorm(0.05)}), "nodes"),
}
REGULARIZERS: dict[str, tuple[Callable[[], Regularizer], str]] = {
    "omega": (lambda: Omega(4.0, "code"), "steps written"),
    "omega_paper": (lambda: Omega(4.0, "paper"), "steps"),
    "orthogonality": (Orthogonality, "nodes"),
    "small": (Small, "whole"),
}


def trained(folder: Path, data: Given, cell: Any, batches: int = 1, **arguments: Any) -> dict[str, Any]:
    """The weights after two epochs, in float64, and what was recorded."""
    adam = partial(torch.optim.Adam, lr=0.01)
    model = model_of(data, cell, num_layers=2, optimizer=adam, **arguments).double()
    probes = {"gradient_norm": GradientNorm(1), "adjoint": Adjoint(1)}
    limits = {"max_epochs": 2, "accumulate_grad_batches": batches, "precision": "64-true", "log_every_n_steps": 2}
    run(data, model, folder, probes, **limits)
    tables = {name: runs.read_table(folder, name) for name in ("clipping", "gradient_norm", "regularizer", "adjoint")}
    with (folder / "metrics.csv").open() as file:
        rows = [[float(value) if value[-1:].isdigit() else value for value in row] for row in csv.reader(file)]
    return {"weights": model.state_dict(), **tables, "metrics": rows}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name, value in one["weights"].items():
        torch.testing.assert_close(other["weights"][name], value, rtol=1e-12, atol=1e-13, msg=name)
    for table in ("clipping", "gradient_norm", "regularizer"):
        if one[table] is not None:
            assert len(one[table]) == len(other[table]) == 4
            for column in one[table].dtype.names:
                np.testing.assert_allclose(
                    other[table][column], one[table][column], rtol=1e-12, atol=1e-13, err_msg=f"{table}: {column}"
                )
    assert len(one["metrics"]) == len(other["metrics"])
    for expected, found in zip(one["metrics"][1:], other["metrics"][1:], strict=True):
        assert found[:3] == expected[:3]
        assert found[3:] == pytest.approx(expected[3:], rel=1e-6)


@pytest.mark.parametrize("form", ["code", "paper"])
def test_omega_counts_the_same_steps_of_batches_and_of_all_as_one(form: str, tmp_path: Path) -> None:
    """Where the gradient vanishes on the way, so that far steps do not count: other steps in each layer."""
    found, counted = [], []
    for size, batches in ((6, 1), (2, 3)):
        data = Given(SEQUENCES, sequences(9, (30, 60)), batch_size=size)
        slow, mine = partial(torch.optim.SGD, lr=0.01), {"mine": Omega(4.0, form)}
        model = model_of(data, RNN, num_layers=2, optimizer=slow, regularizers=mine).double()
        with torch.no_grad():
            for factor, cell in zip((0.9, 0.3), model.cells, strict=True):
                cell.weight_hh.mul_(factor)  # type: ignore[operator,union-attr]
        run(data, model, tmp_path / str(size), max_epochs=2, accumulate_grad_batches=batches, precision="64-true")
        counted.append([float(count) for count in model.regularizers["mine"]._counted])
        found.append(
            {"weights": model.state_dict(), "regularizer": runs.read_table(tmp_path / str(size), "regularizer")}
        )
    for name, value in found[0]["weights"].items():
        torch.testing.assert_close(found[1]["weights"][name], value, rtol=1e-11, atol=1e-12, msg=name)
    np.testing.assert_allclose(found[1]["regularizer"]["mine"], found[0]["regularizer"]["mine"], rtol=1e-11)
    lower, upper = counted[1]
    assert 0 < lower < 2 * 30
    assert upper != lower


def cases(made: dict[str, tuple[Any, str]]) -> list[tuple[str, str]]:
    return [(name, data) for name, (_, on) in made.items() for data in on.split()]


SLOW = ("none", "value")
"""Whose step is scaled as by `global_norm`, or not at all."""


@pytest.mark.parametrize(
    ("strategy", "on"),
    [pytest.param(*case, marks=[pytest.mark.slow] if case[0] in SLOW else []) for case in cases(STRATEGIES)],
)
def test_an_accumulated_step_is_that_of_the_large_batch(strategy: str, on: str, tmp_path: Path) -> None:
    make, cell = DATA[on]
    found = [
        trained(tmp_path / str(size), make(size), cell, batches, clipping=STRATEGIES[strategy][0]())
        for size, batches in ((6, 1), (2, 3))
    ]
    assert_same(*found)
    assert strategy == "none" or found[0]["clipping"]["fired"].any() or strategy in ("depth_detach", "tbptt")


@pytest.mark.parametrize(("regularizer", "on"), cases(REGULARIZERS))
def test_what_a_regularizer_adds_is_that_of_the_large_batch(regularizer: str, on: str, tmp_path: Path) -> None:
    make, cell = DATA[on]
    found = [
        trained(
            tmp_path / str(size),
            make(size),
            cell,
            batches,
            regularizers={"mine": REGULARIZERS[regularizer][0]()},
            clipping=GlobalNorm(0.5),
        )
        for size, batches in ((6, 1), (2, 3))
    ]
    assert_same(*found)
    assert (found[0]["regularizer"]["mine"] > 0).all()


def unlabelled(samples: list[Any]) -> list[Any]:
    return [replace(sample, step_targets=np.full(len(sample.inputs), -1)) for sample in samples]


ACTING: dict[str, Maker] = {
    "none": NoClipping,
    "global_norm": lambda: GlobalNorm(0.1),
    "autoclip": AutoClip,
    "graves": lambda: Graves(0.02),
    "adjoint_norm": lambda: AdjointNorm(0.1),
    "tbptt": lambda: TBPTT(2),
    "composed": lambda: Composed({"graves": Graves(0.02), "autoclip": AutoClip(20.0)}),
}


@pytest.mark.parametrize(
    ("strategy", "regularizer", "batches"),
    [
        *((name, None, 1) for name in ("autoclip", "adjoint_norm", "tbptt", "composed")),
        *(pytest.param(name, None, 1, marks=pytest.mark.slow) for name in ("none", "global_norm", "graves")),
        ("graves", "omega", 1),
        ("global_norm", "small", 2),
        ("none", "omega", 2),
    ],
)
def test_batches_without_a_label_change_nothing(
    strategy: str, regularizer: str | None, batches: int, tmp_path: Path
) -> None:
    """Neither weights nor what the optimiser and the strategy remember; and the record says that no step was taken."""
    sets = {"train": unlabelled(sequences(8)), "val": sequences(4, steps=True), "test": unlabelled(sequences(4))}
    data = Given(STEPS, sets)
    arguments = {"clipping": ACTING[strategy](), "regularizers": {}}
    if regularizer is not None:
        arguments["regularizers"] = {"mine": REGULARIZERS[regularizer][0]()}
    found = trained(tmp_path, data, LSTM, batches, **arguments)
    before = model_of(data, LSTM, num_layers=2, clipping=ACTING[strategy]()).double().state_dict()
    for name, value in before.items():
        assert torch.equal(found["weights"][name], value)
    assert (found["clipping"]["skipped"] == 1).all()
    assert not found["clipping"]["fired"].any()
    assert (found["adjoint"]["hidden"] == 0).all()
    assert np.isfinite(found["adjoint"]["hidden_terminal"]).all()
    assert (found["gradient_norm"]["total"] == 0).all()
    assert regularizer is None or np.isnan(found["regularizer"]["mine"]).all()


@pytest.mark.parametrize(
    ("strategy", "regularizer"),
    [
        ("composed", None),
        ("global_norm", "omega"),
        pytest.param("none", "omega_paper", marks=pytest.mark.slow),
        ("none", "small"),
    ],
)
def test_a_batch_without_a_label_counts_as_it_does_in_the_large_one(
    strategy: str, regularizer: str | None, tmp_path: Path
) -> None:
    """Wherever in the window it comes."""
    samples = sequences(9, steps=True)
    order = next(iter(Given(STEPS, samples, batch_size=9).train_dataloader().batch_sampler))  # type: ignore[arg-type]
    for index in (*order[:2], *order[4:6]):
        samples[index] = unlabelled([samples[index]])[0]
    found = []
    for size, batches in ((6, 1), (2, 3)):
        regularizers = {} if regularizer is None else {"mine": REGULARIZERS[regularizer][0]()}
        data = Given(STEPS, samples, batch_size=size)
        arguments = {"clipping": ACTING[strategy](), "regularizers": regularizers}
        found.append(trained(tmp_path / str(size), data, LSTM, batches, **arguments))
    assert_same(*found)
