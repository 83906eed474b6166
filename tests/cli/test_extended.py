"""Runs that a sweep's folder has already: shorter ones are gone on with, those that other code made are said."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest
from command import SMALL, last, lines, rnn_train, until
from forked import Forked
from kept import kept_of_all

from rnn_research.cli.train import main
from rnn_research.records import runs

HARD = (
    *("model=gru", "model.dropout=0.3", "model.num_layers=2", "clipping=autoclip", "dataset.train_size=40"),
    *("trainer.log_every_n_steps=3", "trainer.val_check_interval=4", "probe.gradient_norm.every_n_steps=2"),
)
"""Much to go on with; the limits lie within an epoch of 10 steps, and the rows between them."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(*arguments: str, code: int = 0) -> tuple[list[str], list[str]]:
    ended = rnn_train("-m", *SMALL, "workers=1", *arguments)
    assert ended.code == code, ended.err
    return ended.out.splitlines(), ended.err.splitlines()


def by_seed(folder: Path, steps: int) -> dict[int, Path]:
    found = {path: runs.read(path) for path in runs.find([folder])}
    return {record.seed: path for path, record in found.items() if record.steps == steps}


@pytest.mark.parametrize(
    ("short", "long", "seeds"),
    [
        (["trainer.max_steps=7"], ["trainer.max_steps=26"], "0,1"),
        pytest.param(["trainer.max_steps=10"], ["trainer.max_steps=11"], "0", marks=pytest.mark.slow),
        (["trainer.max_steps=-1", "trainer.max_epochs=1"], ["trainer.max_steps=23", "trainer.max_epochs=3"], "0"),
        (["scheduler=step", "scheduler.every_n_steps=5", "keep_best=loss"], ["trainer.max_steps=12"], "0"),
    ],
)
def test_an_extended_run_is_the_one_made_long_at_once(
    short: list[str], long: list[str], seeds: str, here: Path
) -> None:
    common = [text for text in short if not text.startswith("trainer.")]
    sweep(*HARD, *short, "hydra.sweep.dir=s")
    before = kept_of_all(here / "s")
    _, err = sweep(*HARD, *common, *long, f"seed={seeds}", "hydra.sweep.dir=s")
    count = len(seeds.split(","))
    assert err == [f"rnn-train: 1 of {count} runs go on from shorter ones that are done, and stay as they are"]
    sweep(*HARD, *common, *long, f"seed={seeds}", "hydra.sweep.dir=whole")
    extended, whole = kept_of_all(here / "s"), kept_of_all(here / "whole")
    resumed = {name: found["run.json"].pop("resumed") for name, found in extended.items() if name in whole}
    assert {name: extended[name] for name in before} == before | {name: extended[name] for name in before}
    for name, found in whole.items():
        del found["run.json"]["resumed"]
        assert extended[name] == found
    (shorter,) = before
    assert sorted(map(bool, resumed.values())) == [False, True][-count:]
    assert {"folder": f"../{shorter}", "step": before[shorter]["run.json"]["steps"]} in resumed.values()


def test_an_extended_run_that_is_killed_goes_on_as_any_other(here: Path) -> None:
    typed = [*HARD, "dataset.train_size=200", "checkpoint.every_seconds=0.05"]
    sweep(*typed, "trainer.max_steps=20", "hydra.sweep.dir=s")
    (short,) = runs.find([here / "s"])
    long = last(["-m", *SMALL, "workers=1", *typed, "trainer.max_steps=120", "hydra.sweep.dir=s"])
    process = Forked(main, long, folder=here, out=here / "log")
    try:
        until(lambda: len(lines(here / "s")) == 2 and sum(lines(here / "s")) > 35)
    finally:
        process.kill()
        process.wait()
    sweep(*typed, "trainer.max_steps=120", "hydra.sweep.dir=s")
    sweep(*typed, "trainer.max_steps=120", "hydra.sweep.dir=whole")
    extended, whole = kept_of_all(here / "s"), kept_of_all(here / "whole")
    ((name, found),) = whole.items()
    assert extended[name]["run.json"].pop("resumed") == {"folder": f"../{short.name}", "step": 20}
    del found["run.json"]["resumed"]
    assert extended[name] == found


@pytest.mark.parametrize(
    "other",
    [["optimizer.lr=0.1"], ["extend=false"], ["trainer.max_steps=2"], ["scheduler=cosine"], ["seed=1"]],
)
def test_a_run_of_another_training_starts_anew(other: list[str], here: Path) -> None:
    first = [text for text in other if text.startswith("scheduler")]
    sweep(*first, "hydra.sweep.dir=s")
    _, err = sweep("trainer.max_steps=5", *other, "hydra.sweep.dir=s")
    assert err == []
    assert [runs.read(path).resumed for path in runs.find([here / "s"])] == [{}, {}]


def test_a_run_that_ended_by_its_own_rule_is_not_trained_past_it(here: Path) -> None:
    rule = ["stop_when=loss", "stop_when_patience=1", "stop_when_min_delta=100", "trainer.check_val_every_n_epoch=1"]
    sweep(*rule, "trainer.max_steps=50", "hydra.sweep.dir=s")
    out, err = sweep(*rule, "trainer.max_steps=90", "hydra.sweep.dir=s")
    assert err == []
    short, long = (runs.read(path) for path in runs.find([here / "s"]))
    assert short.steps == long.steps < 50
    assert "done after" in out[0]


def test_a_shorter_run_whose_checkpoint_has_gone_since_is_begun_anew(here: Path) -> None:
    sweep("hydra.sweep.dir=s")
    sweep("trainer.max_steps=5", "workers=0", "hydra.sweep.dir=s")
    (short,) = by_seed(here / "s", 3).values()
    (short / runs.CHECKPOINT).write_bytes(b"damaged")
    sweep("trainer.max_steps=5", "hydra.sweep.dir=s")
    (long,) = by_seed(here / "s", 5).values()
    assert runs.read(long).resumed == {}
    assert "training from the start" in (long / "run.log").read_text()


def other_code(folder: Path) -> None:
    """As if the runs there had been made before the package was changed."""
    for run in runs.find([folder]):
        record = json.loads((run / runs.RECORD).read_text())
        assert set(record["sources"]) == {"rnn_research"}
        record["sources"]["rnn_research"] = "0" * 12
        (run / runs.RECORD).write_text(json.dumps(record))


def test_a_run_that_goes_on_from_one_of_other_code_says_so(here: Path) -> None:
    ended = rnn_train(*SMALL, "engine=reference", "hydra.run.dir=r")
    assert ended.code == 0, ended.err
    other_code(here / "r")
    ended = rnn_train(*SMALL, "engine=reference", "hydra.run.dir=b", "resume=r", "trainer.max_steps=5")
    assert (ended.code, "rnn-train: rnn_research's code is another than at the steps before 3" in ended.err) == (
        0,
        True,
    )


def test_runs_of_other_code_are_said_and_trained_anew_if_asked(here: Path) -> None:
    sweep("seed=0,1", "hydra.sweep.dir=s")
    before = kept_of_all(here / "s")
    other_code(here / "s")
    said = "rnn-train: 2 of 2 runs were made by other code (rnn_research's has changed): they "
    out, err = sweep("seed=0,1", "hydra.sweep.dir=s")
    assert err == [f"{said}count as they are; stale=rerun trains them anew, stale=skip says nothing"]
    assert out == [f"2 runs in {here / 's'}: 2 skipped"]
    assert sweep("seed=0,1", "hydra.sweep.dir=s", "stale=skip") == (out, [])
    out, err = sweep("seed=0,1", "hydra.sweep.dir=s", "stale=rerun", "dry_run=true")
    assert all(": trained anew, it was made by other code, in " in line for line in out[:2])
    out, err = sweep("seed=0,1", "hydra.sweep.dir=s", "stale=rerun")
    (archive,) = (here / "s").glob("replaced-*.zip")
    assert err[:2] == [
        f"{said}are trained anew",
        f"rnn-train: the records and tables of 2 runs that are trained anew were put into {archive}",
    ]
    assert kept_of_all(here / "s") == before
    with ZipFile(archive) as file:
        assert sum(name.endswith("/run.json") for name in file.namelist()) == 2
    assert sweep("seed=0,1", "hydra.sweep.dir=s")[1] == []


def test_a_longer_run_that_is_trained_anew_takes_no_steps_of_other_code(here: Path) -> None:
    sweep("hydra.sweep.dir=s")
    sweep("trainer.max_steps=5", "hydra.sweep.dir=s")
    other_code(here / "s")
    sweep("trainer.max_steps=5", "hydra.sweep.dir=s", "stale=rerun")
    (long,) = by_seed(here / "s", 5).values()
    assert runs.read(long).resumed == {}
    assert sweep("trainer.max_steps=5", "hydra.sweep.dir=s")[1] == []
    sweep("trainer.max_steps=9", "hydra.sweep.dir=s", "stale=rerun")
    (longer,) = by_seed(here / "s", 9).values()
    assert runs.read(longer).resumed["step"] == 5


def test_a_users_own_code_counts_and_a_yaml_does_not(here: Path) -> None:
    own = here / "own"
    (own / "clipping").mkdir(parents=True)
    (own / "clipping" / "mine.yaml").write_text("# mine\n_target_: own_of_stale.Mine\n")
    code = "from rnn_research.clipping.none import NoClipping\nclass Mine(NoClipping):\n    pass\n"
    (own / "own_of_stale.py").write_text(code)
    typed = ["--config-dir", str(own), "clipping=mine", "hydra.sweep.dir=s"]
    sweep(*typed)
    (own / "clipping" / "mine.yaml").write_text("# mine, a word more\n_target_: own_of_stale.Mine\n")
    assert sweep(*typed)[1] == []
    (own / "own_of_stale.py").write_text(f"{code}\n")
    assert "(the config folder's has changed)" in sweep(*typed)[1][0]
