"""From overrides to configs: short keys, what is swept, and whose options are taken."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from rnn_research.cli.sweep import plan
from rnn_research.config import compose as composing
from rnn_research.config.compose import Composer
from rnn_research.config.composed_options import ComposedOptions
from rnn_research.config.groups import CONF, TABLE
from rnn_research.config.short_keys import written_out
from rnn_research.errors import UsageError
from rnn_research.records.identity import GROUPS


def composed(*overrides: str, folders: tuple[Path, ...] = ()) -> Any:
    return Composer(folders, overrides).run(overrides).config


def test_every_group_is_in_the_table() -> None:
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert folders == set(TABLE)
    assert {*GROUPS, "experiment"} == set(TABLE)


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (["clipping=global_norm", "clipping.max_norm=2"], "clipping.global_norm.max_norm", 2),
        (["clipping=[value,global_norm]", "clipping.max_norm=3"], "clipping.global_norm.max_norm", 3),
        (["clipping=[value,global_norm]", "clipping.max_value=3"], "clipping.value.max_value", 3),
        (["clipping=global_norm", "clipping.global_norm.max_norm=4"], "clipping.global_norm.max_norm", 4),
        (["regularizer=spectral", "++regularizer.spectral.weight=0.5"], "regularizer.spectral.weight", 0.5),
        (["init=[orthogonal]", "init.gain=2"], "init.orthogonal.gain", 2),
        (["probe=adjoint", "probe.every_n_steps=7"], "probe.adjoint.every_n_steps", 7),
        (["hidden_size=5"], "model.cell.hidden_size", 5),
        (["init=none"], "init.default._target_", "rnn_research.cells.initialisation.default"),
        (["clipping=global_norm", "clipping.max_norm=.inf"], "clipping.global_norm.max_norm", math.inf),
        (["model.cell.hidden_size=${dataset.batch_size}", "dataset.batch_size=9"], "model.cell.hidden_size", 9),
    ],
)
def test_a_short_key_stands_for_the_chosen_options_key(overrides: list[str], key: str, value: Any) -> None:
    from omegaconf import OmegaConf

    assert OmegaConf.select(composed(*overrides), key) == value


def test_a_short_key_of_several_names_them_all() -> None:
    with pytest.raises(UsageError, match=r"clipping\.per_parameter\.max_norm or clipping\.global_norm\.max_norm"):
        composed("clipping=[per_parameter,global_norm]", "clipping.max_norm=1")
    with pytest.raises(UsageError, match=r"clipping\.max_norm: given twice, also as clipping\.global_norm\.max_norm"):
        composed("clipping=global_norm", "clipping.global_norm.max_norm=1", "clipping.max_norm=2")
    with pytest.raises(UsageError, match=r"hidden_size: given twice"):
        composed("model.cell.hidden_size=3", "hidden_size=4")


def test_text_in_quotes_stays_text() -> None:
    assert written_out(["a='.inf'", "b=[-.inf,x.inf]", "c=.NaN"]) == ["a='.inf'", "b=[-inf,x.inf]", "c=nan"]


def jobs(*overrides: str, folders: tuple[Path, ...] = (), multirun: bool = True) -> list[tuple[str, ...]]:
    return [run.overrides for run in plan(Composer(folders, overrides), overrides, multirun).runs]


def test_each_run_of_a_sweep_has_its_own_short_keys_and_references() -> None:
    overrides = ("clipping=global_norm,per_parameter", "clipping.max_norm=1,2", "hidden_size=${dataset.batch_size}")
    runs = plan(Composer(), [*overrides, "dataset.batch_size=4,8"], multirun=True).runs
    found = [
        (next(iter(run.task.clipping.values())).max_norm, run.task.model.cell.hidden_size, run.task.dataset.batch_size)
        for run in runs
    ]
    assert found == [(norm, size, size) for _ in range(2) for norm in (1, 2) for size in (4, 8)]


def test_in_a_sweep_hydra_composes_each_choice_of_options_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def counted(name: str, overrides: list[str], **how: Any) -> Any:
        asked.append(overrides)
        return hydra.compose(name, overrides, **how)

    monkeypatch.setattr(composing, "compose", counted)
    monkeypatch.setattr(composing, "_of_the_package", ComposedOptions(CONF))
    overrides = ["model=lstm,gru", "seed=range(5)", "clipping=value", "clipping.max_value=1,2", "hidden_size=3"]
    runs = plan(Composer(), overrides, multirun=True).runs
    assert len({getattr(run, "composed", run).folder(swept=True) for run in runs}) == 20
    assert sorted(map(tuple, asked)) == [
        ("clipping=value",),
        ("model=gru", "clipping=value"),
        ("model=lstm", "clipping=value"),
    ]


def test_a_yamls_list_is_swept_over_and_each_experiment_has_its_own_sweep(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    head = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n"
    (folder / "a.yaml").write_text(head + "      seed: [0, 1]\n      clipping: [none, [value, agc]]\n")
    (folder / "b.yaml").write_text(head + "      seed: 3,4\n")
    found = jobs("experiment=a,b", "model=lstm", folders=(tmp_path,))
    a = [("seed=0", "clipping=none"), ("seed=0", "clipping=[value,agc]")]
    a += [("seed=1", "clipping=none"), ("seed=1", "clipping=[value,agc]")]
    assert found == [(*job, "experiment=a", "model=lstm") for job in a] + [
        (f"seed={seed}", "experiment=b", "model=lstm") for seed in (3, 4)
    ]
    assert len(jobs("experiment=a", "seed=7", folders=(tmp_path,), multirun=False)) == 2


def test_a_users_option_comes_before_one_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "adam.yaml").write_text("_target_: torch.optim.Adam\n_partial_: true\nlr: 0.5\n")
    assert composed("optimizer=adam", folders=(tmp_path,)).optimizer.lr == 0.5
    assert composed("optimizer=adam").optimizer.lr == 0.001


def test_an_experiment_that_is_not_global_is_named(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("seed: 3\n")
    with pytest.raises(UsageError, match=r"experiment=mine: .*# @package _global_"):
        composed("experiment=mine", folders=(tmp_path,))


def test_what_hydra_had_before_it_has_after() -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        mine = GlobalHydra.instance().hydra
        composed("seed=1")
        assert GlobalHydra.instance().hydra is mine
        assert compose("train", ["seed=2"]).seed == 2
