"""Several strategies in order, their names on the command line, and what others would have done: counterfactuals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command import Ended, rnn_train
from small import SEQUENCES, Given, for_training, model_of, run, sequences

from rnn_research.cells import LSTM
from rnn_research.clipping import Clipping, Composed, clip
from rnn_research.clipping.global_norm import GlobalNorm
from rnn_research.clipping.none import NoClipping
from rnn_research.clipping.per_parameter import PerParameter
from rnn_research.clipping.value import Value
from rnn_research.probes.counterfactual import Counterfactual
from rnn_research.records import runs

FAST = ("dataset=adding", "dataset.length=5", "dataset.train_size=64", "dataset.val_size=8", "dataset.test_size=8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which runs write to."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gradients(seed: int = 0) -> list[torch.nn.Parameter]:
    random = torch.Generator().manual_seed(seed)
    made = []
    for shape in ((4, 3), (7,), (1,)):
        made.append(torch.nn.Parameter(torch.ones(shape, dtype=torch.float64)))
        made[-1].grad = torch.randn(shape, generator=random, dtype=torch.float64)
    return made


def test_composed_is_one_after_the_other() -> None:
    ours, by_hand = gradients(), gradients()
    strategies = {"value": Value(0.7), "per_parameter": PerParameter(1.1), "global_norm": GlobalNorm(1.5)}
    together = Composed(dict(strategies))
    overall = clip(together, ours)
    each = {name: clip(strategy, by_hand) for name, strategy in strategies.items()}
    for one, other in zip(ours, by_hand, strict=True):
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]
    assert list(together.did) == list(each)
    for name, did in each.items():
        assert together.did[name] == did
    assert overall.norm_before == each["value"].norm_before
    assert overall.norm_after.item() == pytest.approx(each["global_norm"].norm_after.item(), rel=1e-15)
    flat = [torch.cat([parameter.grad.flatten() for parameter in some]) for some in (gradients(), by_hand)]  # type: ignore[union-attr]
    cosine = torch.nn.functional.cosine_similarity(*flat, dim=0)
    assert overall.cosine.item() == pytest.approx(cosine.item(), rel=1e-12)
    assert overall.coefficient.item() == pytest.approx((flat[1].norm() / flat[0].norm()).item(), rel=1e-12)


def test_the_order_counts() -> None:
    one, other = gradients(), gradients()
    clip(Composed({"value": Value(0.7), "global_norm": GlobalNorm(1.0)}), one)
    clip(Composed({"global_norm": GlobalNorm(1.0), "value": Value(0.7)}), other)
    assert not torch.equal(one[0].grad, other[0].grad)  # type: ignore[arg-type]


def test_none_beside_another_is_refused() -> None:
    with pytest.raises(ValueError, match="given none beside value, which contradict"):
        Composed({"none": NoClipping(), "value": Value(1.0)})


@pytest.mark.parametrize("typed", ["clipping=[global_norm,value]", "clipping=[value,global_norm]"])
def test_a_list_on_the_command_line(typed: str, here: Path) -> None:
    own = ("clipping.value.max_value=0.01", "clipping.global_norm.max_norm=0.05")
    ended: Ended = rnn_train(*FAST, typed, *own, "trainer.max_steps=3", "hydra.run.dir=out")
    assert ended.code == 0, ended
    names = typed.partition("[")[2].rstrip("]").split(",")
    assert runs.read(here / "out").choices["clipping"] == "+".join(names)
    table = runs.read_table(here / "out", "clipping")
    assert table is not None
    first, last = names
    np.testing.assert_array_equal(table["norm_before"], table[f"{first}.norm_before"])
    np.testing.assert_allclose(table[f"{last}.norm_before"], table[f"{first}.norm_after"], rtol=1e-12)
    np.testing.assert_allclose(table["norm_after"], table[f"{last}.norm_after"], rtol=1e-12)
    assert table["fired"].all()


@pytest.mark.parametrize("key", ["clipping.max_norm", "clipping.global_norm.max_norm"])
def test_the_one_option_taken_needs_no_name(key: str, here: Path) -> None:
    ended: Ended = rnn_train("--cfg", "job", "clipping=global_norm", f"{key}=0.125")
    assert ended.code == 0, ended
    assert "max_norm: 0.125" in ended.out


def test_the_name_is_also_spared_where_an_experiment_chose_the_option(here: Path) -> None:
    sweep = ("-m", "experiment=temporal_order_clipping", "clipping=global_norm", "clipping.max_norm=0.125")
    tiny = ("dataset.length=10", "dataset.train_size=40", "dataset.val_size=8", "dataset.test_size=8", "seed=0")
    ended: Ended = rnn_train(*sweep, *tiny, "trainer.max_steps=2", "hydra.sweep.dir=out")
    assert ended.code == 0, ended
    (record,) = [runs.read(path.parent) for path in (here / "out").glob("*/run.json")]
    assert record.config["clipping"]["global_norm"]["max_norm"] == 0.125


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("clipping=[value,value]", ("clipping: given value twice",)),
        ("init=[orthogonal,orthogonal]", ("init: given orthogonal twice",)),
        ("clipping=[none,value]", ("clipping: given none beside value",)),
        ("regularizer=[none,omega]", ("regularizer: given none beside omega",)),
        ("clipping=omega", ("did you mean regularizer=omega?",)),
        (
            "clipping=[per_parameter,global_norm] clipping.max_norm=1",
            ("clipping.max_norm: a key of", "clipping.per_parameter.max_norm or clipping.global_norm.max_norm"),
        ),
        ("clipping=[value,globalnorm]", ("clipping: given 'globalnorm'", "did you mean global_norm?")),
        ("clipping=[value,global_norm] clipping.value.max_value=-1", ("clipping.value.max_value: given -1",)),
        ("clipping=[]", ("clipping: given no strategy", "use clipping=none")),
        (
            "clipping=value +clipping.global_norm.max_norm=3",
            ("global_norm is not taken", "[value,global_norm]"),
        ),
        (
            "probe=counterfactual clipping@probe.counterfactual.strategies=[value,agc] "
            "probe.counterfactual.strategies.value.max_value=-1",
            ("probe.counterfactual.strategies.value.max_value: given -1",),
        ),
        (
            "regularizer=omega trainer.precision=16 trainer.accelerator=cpu",
            ("regularizer=omega: reads adjoints in one precision, but trainer.precision=16, here bf16-mixed; use",),
        ),
        ("regularizer=omega trainer.precision=bf16-mixed", ("regularizer=omega: reads adjoints in one precision",)),
        ("clipping=graves engine=torch", ("engine: given torch, but nothing can act inside", "use engine=auto")),
        ("regularizer=flossing regularizer.exponents=500", ("regularizer=flossing: exponents: given 500",)),
        (
            "regularizer=omega structure=balanced model=child_sum_tree_lstm",
            ("regularizer=omega: structure: given trees",),
        ),
        ("probe=counterfactual clipping@probe.counterfactual.strategies=[graves]", ("given graves", "leave it out")),
        ("probe=counterfactual clipping@probe.counterfactual.strategies=[]", ("strategies: given none",)),
    ],
)
def test_mistakes_in_lists(typed: str, parts: tuple[str, ...], here: Path) -> None:
    ended: Ended = rnn_train(*FAST, *typed.split())
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert all(part in ended.err for part in parts), ended.err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("clipping=tbptt clipping.k1=1000", "clipping=tbptt: a batch has no sequence longer than its window, 20 <= k1"),
        ("regularizer=flossing regularizer.warm_up=1000", "regularizer=flossing: no sequence of a batch is longer"),
    ],
)
def test_what_is_asked_for_and_does_nothing_is_said_once(typed: str, said: str, here: Path) -> None:
    ended: Ended = rnn_train(*FAST, *typed.split(), "dataset.length=20")
    assert ended.err.count(said) == 1, ended.err


# Counterfactuals.


def _steps(folder: Path, clipping: Clipping, steps: int = 20, **probes: Any) -> tuple[dict[str, torch.Tensor], Path]:
    """Of at most two epochs of 10 batches."""
    data = Given(SEQUENCES, for_training(sequences(40)))
    model = model_of(data, LSTM, clipping=clipping)
    run(data, model, folder, probes, max_epochs=2, max_steps=steps)
    return model.state_dict(), folder


def test_counterfactuals_change_nothing_and_say_what_would_have_been(tmp_path: Path) -> None:
    strategies = {"value": Value(0.02), "global_norm": GlobalNorm(0.1), "per_parameter": PerParameter(0.05)}
    plain, _ = _steps(tmp_path / "plain", GlobalNorm(0.3))
    watched, folder = _steps(tmp_path / "watched", GlobalNorm(0.3), counterfactual=Counterfactual(dict(strategies)))
    assert all(torch.equal(value, watched[name]) for name, value in plain.items())
    table, did = runs.read_table(folder, "counterfactual"), runs.read_table(folder, "clipping")
    assert table is not None
    assert did is not None
    np.testing.assert_array_equal(table["step"], did["step"])
    np.testing.assert_allclose(table["norm_before"], did["norm_before"], rtol=1e-12)
    assert (table["global_norm.norm_after"] <= 0.1).all()
    assert (table["value.cosine"] < 0.999).all()
    for name, strategy in strategies.items():  # at step 0 both runs have the same gradient
        _, folder = _steps(tmp_path / name, strategy, 1)
        own = runs.read_table(folder, "clipping")
        assert own is not None
        for column in ("norm_after", "coefficient", "cosine", "skipped"):
            np.testing.assert_allclose(table[f"{name}.{column}"][0], own[column][0], rtol=1e-7)  # of float32
