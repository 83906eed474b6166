"""Runs that are derived from a composed one are what Hydra composes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import SMALL, last
from omegaconf import open_dict, read_write

from rnn_research.cli.sweep import plan
from rnn_research.cli.sweep_options import SweepOptions
from rnn_research.cli.sweep_start import kept
from rnn_research.config.compose import ComposedRun, Composer
from rnn_research.config.queue import as_composed, queued, written
from rnn_research.config.similar import SimilarRun, as_plain, values_of_run

SWEEPS = {
    "seeds": (("seed=0,1,2",), 2),
    "keys of Hydra's": (("seed=0,1,2", "hydra.sweep.subdir=${seed}"), 2),
    "options and values": (("model=rnn,gru", "seed=0,1", "optimizer.lr=1e-3,0.01"), 6),
    "short keys": (("clipping=global_norm", "clipping.max_norm=1,2.5", "dataset.length=9,10"), 3),
    "a value that others are": (("clipping=h_detach", "seed=0,1"), 1),
    "a value that others refer to": (("dataset.batch_size=4,8", "model.cell.hidden_size=${dataset.batch_size}"), 1),
    "lists and infinities": (("init=[default],[orthogonal]", "trainer.max_steps=3,.inf"), 0),
    "an experiment": (("experiment=digits_vanishing", "seed=0,1"), 6),
}


def runs(*overrides: str) -> list[ComposedRun]:
    arguments = last([*SMALL, *overrides]) if not any("experiment" in text for text in overrides) else list(overrides)
    return plan(Composer(), arguments, multirun=True).runs


@pytest.mark.parametrize("case", SWEEPS)
def test_they_are_what_hydra_composes(case: str, tmp_path: Path) -> None:
    overrides, derived = SWEEPS[case]
    specs = runs(*overrides)
    found = queued(specs, tmp_path)
    assert len(found) == len(specs)
    similar = [(run, spec) for run, spec in zip(found, specs, strict=True) if isinstance(spec, SimilarRun)]
    assert len(similar) == len(specs)
    assert sum(bool(spec.changed) for _, spec in similar) == derived
    for run, spec in similar:
        composed = Composer().run(spec.overrides).numbered(spec.number)
        with read_write(composed.config.hydra), open_dict(composed.config.hydra):
            composed.config.hydra.job.id = run.digest[:10]
        assert spec.values() == values_of_run(composed)
        assert written(spec, run) == as_plain(composed)
        assert run.name == composed.folder(swept=True)
        assert (spec.choices, spec.typed, spec.folders) == (composed.choices, composed.typed, composed.folders)
    names = [run.digest for run in found]
    assert names == [run.digest for run in queued([Composer().run(spec.overrides) for spec in specs], tmp_path)]


def test_what_comes_out_of_a_queue_is_what_went_in(tmp_path: Path) -> None:
    for spec in runs("seed=0,1", "model=gru"):
        (run,) = queued([spec], tmp_path)
        again = as_composed(written(spec, run))
        assert as_plain(again) == written(spec, run)
        assert again.task == spec.task
        assert again.choices == spec.choices


def test_runs_that_differ_in_speed_alone_are_two_where_they_are_swept(tmp_path: Path) -> None:
    assert len(queued(runs("threads=1,2"), tmp_path)) == 2
    assert len(queued(runs("seed=0,0"), tmp_path)) == 1
    (one,), (other,) = (queued(runs(f"threads={count}"), tmp_path) for count in (1, 2))
    assert one.digest == other.digest


def test_a_rule_that_leaves_runs_out_composes_none(tmp_path: Path) -> None:
    """Which takes 10 ms each."""
    specs = runs("seed=range(0,4)")
    rules = ({"clipping": "none", "seed": "2"}, {"hidden_size": "4", "seed": "3"})
    left = kept(queued(specs, tmp_path), specs, SweepOptions(exclude=rules))
    assert [run.number for run in left] == [0, 1]
    assert [number for number, spec in enumerate(specs) if "composed" in vars(spec)] == []
