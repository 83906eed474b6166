"""Sweeps as they are typed: gone on with, shaped, refused, looked at."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import SMALL, rnn_train
from kept import kept_of_all

from rnn_research.cli import sweep_folder
from rnn_research.records import runs
from rnn_research.sweeps import store
from rnn_research.sweeps.worker import Event, Rules, work

RAISES = """
from rnn_research.clipping.none import NoClipping
class Mine(NoClipping):
    def forward(self, parameters):
        raise KeyError("boom")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Writes files below a folder for --config-dir."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            group, _, stem = name.partition("__")
            path = tmp_path / "own" / (f"{group}/{stem}.yaml" if stem else f"{group}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / "own"

    return write


@pytest.fixture
def sweep_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            sweep_folder.main(list(arguments))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def test_the_same_command_skips_what_is_done_and_another_extends(here: Path) -> None:
    first = rnn_train("-m", *SMALL, "seed=0,1", "workers=1", "hydra.sweep.dir=s")
    assert first.code == 0, first.err
    assert first.out.splitlines()[-1] == f"2 runs in {here / 's'}"
    before = kept_of_all(here / "s")
    # typed otherwise, the same training
    again = rnn_train("-m", *SMALL, "optimizer.lr=1e-3", "seed=0,1", "threads=2", "hydra.sweep.dir=s")
    assert (again.code, again.out) == (0, f"2 runs in {here / 's'}: 2 skipped\n"), again.err
    assert kept_of_all(here / "s") == before
    more = rnn_train(
        "-m", *SMALL, "seed=range(0,3)", "model=rnn,gru", "exclude='model=gru,seed=2'", "hydra.sweep.dir=s"
    )
    assert more.code == 0, more.err
    assert more.err.splitlines()[0] == "rnn-train: left out by exclude=model=gru,seed=2: 1 of 6 runs"
    assert more.out.splitlines()[-1] == f"5 runs in {here / 's'}: 3 done, 2 skipped"
    assert {name: before[name] for name in before} == {
        name: left for name, left in kept_of_all(here / "s").items() if name in before
    }


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ("clipping=none", 4),  # the default is left out as what was typed is
        ("probe=gradient_norm,seed=1", 3),
        ("clipping=[value,agc]", 4),
        ("'clipping=[agc,value]'", None),  # another order is another strategy
        ("clipping=agc,hidden_size=4", 4),
        ("clipping.clipping=0.01,seed=0", 7),
    ],
)
def test_runs_are_left_out_by_what_they_have(rule: str, left: int | None, here: Path) -> None:
    swept = ("clipping=[value,agc],none", "seed=0,1,2,3") if "clipping" in rule else ("seed=0,1,2,3",)
    ended = rnn_train("-m", *SMALL, *swept, f"exclude={rule}", "dry_run=true")
    if left is None:
        assert (ended.code, "which none of the runs have" in ended.err) == (2, True)
    else:
        assert ended.code == 0, ended.err
        assert f"{left} of {left} runs would be trained" in ended.out


def test_what_would_happen(here: Path) -> None:
    ended = rnn_train("-m", *SMALL, "seed=0,1,2", "dataset.length=9,10,11", "zip='seed,dataset.length'", "dry_run=true")
    assert ended.code == 0, ended.err
    *lines, last_line = ended.out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["#1/3", "#2/3", "#3/3"]
    assert all(f"dataset.length={9 + number}" in line and f"seed={number}" in line for number, line in enumerate(lines))
    assert all(": trained, in " in line for line in lines)
    assert last_line.startswith("3 of 3 runs would be trained, by ")
    assert last_line.endswith("; nothing was written")
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["retry=-1"], "retry: given '-1', expected an integer >= 0"),
        (["workers=many"], "workers: given 'many', expected auto or an integer >= 0"),
        (
            ["hydra/launcher=slurm", "hydra.launcher.workers=nan"],
            "workers: given 'nan', expected auto or an integer >= 0",
        ),
        (["fail_fast=perhaps"], "fail_fast: given 'perhaps', expected true or false"),
        (["stale=maybe"], "stale: given 'maybe', expected warn, skip or rerun"),
        (["extend=10"], "extend: given '10', expected true or false"),
        (["exclude=gru"], "exclude: given 'gru', expected pairs"),
        (["hydra/launcher=lokal"], "hydra/launcher: given 'lokal', expected one of basic, "),
        ([f"{'k' * 300}=3"], f"{'k' * 40}...: unknown, a key of 300 characters"),
        (["--config-dir", "k" * 300], "which is not a folder; expected one that holds config groups"),
        (["exclude=model=gru"], "exclude: given 'model=gru', which none of the runs have"),
        (["zip=seed"], "zip: given 'seed', expected two or more swept keys"),
        (["zip='seed,dataset.length'"], "zip: given seed,dataset.length, but dataset.length has not several"),
        (
            ["zip='seed,hidden_size'", "hidden_size=1,2,3"],
            "zip: seed has 2, hidden_size has 3 values; expected as many",
        ),
        (["confirm_above=1"], "2 runs are to be trained, and confirm_above=1; add yes=true"),
        (["hydra.sweep.subdir=x"], "hydra.sweep.subdir: two runs would lie in x"),
    ],
)
def test_bad_input_is_one_line(typed: list[str], said: str, here: Path) -> None:
    small = [text for text in SMALL if not text.startswith(("dataset.length", "model.cell"))]
    ended = rnn_train("-m", *small, "seed=0,1", *typed)
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 1
    assert said in ended.err
    assert not list(here.iterdir())


def test_an_option_of_a_sweep_needs_one(here: Path) -> None:
    ended = rnn_train(*SMALL, "retry=1")
    assert ended.code == 2
    assert "retry: given, but this is one run" in ended.err


@pytest.mark.parametrize("damage", ['{"version": 99, "status": "done"}', "{"])
def test_a_record_that_can_t_be_read_is_left_alone_and_said(damage: str, here: Path, sweep_command: Any) -> None:
    assert rnn_train("-m", *SMALL, "seed=0,1", "workers=1", "hydra.sweep.dir=s").code == 0
    first, _ = runs.find([here / "s"])
    (first / "run.json").write_text(damage)
    ended = rnn_train("-m", *SMALL, "seed=0,1", "workers=1", "hydra.sweep.dir=s")
    assert ended.code == 1
    assert ended.out.splitlines()[-1] == f"2 runs in {here / 's'}: 1 skipped, 1 damaged"
    (line,) = ended.err.splitlines()
    assert ": left alone: " in line
    assert line.endswith(f"; rnn-sweep reset {here / 's'} begins it anew")
    assert (first / "run.json").read_text() == damage
    assert sweep_command("reset", "s", "--yes")[0] == 0
    assert rnn_train("-m", *SMALL, "seed=0,1", "workers=1", "hydra.sweep.dir=s").code == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_failures(workers: int, own: Callable[..., Path], here: Path, sweep_command: Callable[..., Any]) -> None:
    """Said at once, counted, and tried again where that is asked for; a typing error is said before all."""
    folder = own(clipping__mine="# mine\n_target_: raises_in_sweep.Mine\n", raises_in_sweep=RAISES)
    typed = ["--config-dir", str(folder), *SMALL, "clipping=none,mine", "seed=0,1,x", "hydra.sweep.dir=s"]
    ended = rnn_train("-m", *typed, f"workers={workers}")
    assert ended.code == 2
    assert sum(": refused: seed: given 'x'" in line for line in ended.err.splitlines()[:2]) == 2
    assert sum(": failed: KeyError: 'boom'; the traceback is in " in line for line in ended.err.splitlines()) == 2
    assert ended.out.splitlines()[-1] == f"6 runs in {here / 's'}: 2 done, 2 failed, 2 refused"
    assert ended.err.splitlines()[-1].endswith("retry=1")
    if workers > 1:
        return  # what comes of it is the same
    typed = [text.replace(",x", "") for text in typed]
    assert rnn_train("-m", *typed).out.splitlines()[-1] == f"4 runs in {here / 's'}: 2 skipped, 2 failed"
    ended = rnn_train("-m", *typed, "retry=1", "fail_fast=true", "workers=1")
    assert ended.code == 1
    assert sum(": failed: " in line for line in ended.err.splitlines()) == 1
    code, out, _ = sweep_command("status", "s")
    assert code == 0
    assert out.splitlines()[-1] == "4 runs in s: 2 done, 2 failed"
    assert "KeyError: 'boom'" in out
    code, out, err = sweep_command("retry", "s")
    assert (code, "nobody can be asked here; add --yes" in err) == (2, True)
    code, out, _ = sweep_command("work", "s", "--retry", "5")
    assert (code, out) == (2, "0 runs were trained here; 2 done, 2 failed\n")  # its code is not trusted


ENDS = """
import os, signal
from rnn_research.clipping.none import NoClipping

class Ends(NoClipping):
    def __init__(self, how="well"):
        super().__init__()
        self.how = how

    def forward(self, parameters):
        parameters = list(parameters)
        if self.how == "raises":
            raise KeyError("boom")
        if self.how == "exits":
            raise SystemExit("its own")
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how.startswith("leaves"):
            os._exit(int(self.how[-1]))
        if self.how == "stopped":
            os.kill(os.getpid(), signal.SIGTERM)
        if self.how == "nan":
            for parameter in parameters:
                parameter.grad.fill_(float("nan"))
        return super().forward(parameters)
"""


def test_a_sweep_in_which_much_goes_wrong(own: Callable[..., Path], here: Path) -> None:
    """As three that raise, one whose process the system kills whenever it is tried, and one that diverges."""
    how = ["well", "raises", "killed", "nan", "exits", "raises", "well", "well"]
    folder = own(clipping__ends="# ends\n_target_: ends_in_sweep.Ends\nhow: well\n", ends_in_sweep=ENDS)
    typed = ["--config-dir", str(folder), *SMALL, "clipping=ends", "hydra.sweep.dir=s", "workers=2"]
    typed += [f"seed=range({len(how)})", f"clipping.how={','.join(how)}", "zip='seed,clipping.how'"]
    ended = rnn_train("-m", *typed)
    assert ended.code == 1, ended.err
    assert ended.out.splitlines()[-1] == f"8 runs in {here / 's'}: 3 done, 4 failed, 1 diverged"
    assert sum(": done after 3 steps" in line for line in ended.out.splitlines()) == 3
    *said, again = ended.err.splitlines()
    for number, text in ((2, "KeyError: 'boom'"), (6, "KeyError: 'boom'"), (5, "SystemExit: its own")):
        assert sum(line.startswith(f"rnn-train: #{number}/8 ") and text in line for line in said) == 1
    assert sum(": its worker was ended by SIGKILL; what it left is taken up" in line for line in said) == 4
    assert sum("4 processes were killed while they trained it" in line for line in said) == 1
    command = shlex.split(again.partition("what is left: ")[2])
    assert command[0] == "rnn-train"
    ended = rnn_train(*command[1:])
    assert ended.out.splitlines()[-1] == f"8 runs in {here / 's'}: 4 skipped, 4 failed"
    assert "4 of 8 runs are done before, 0 are taken up" in ended.err.splitlines()[0]


def test_runs_that_end_their_process_take_none_with_them(own: Callable[..., Path], here: Path) -> None:
    """With a code as of success too; one that a signal stops at every step goes on step by step."""
    folder = own(clipping__ends="# ends\n_target_: ends_in_sweep.Ends\nhow: well\n", ends_in_sweep=ENDS)
    typed = ["--config-dir", str(folder), *SMALL, "clipping=ends", "hydra.sweep.dir=s", "workers=2"]
    ended = rnn_train("-m", *typed, "clipping.how=leaves0,stopped,well")
    assert ended.code == 1, ended.err
    assert ended.out.splitlines()[-1] == f"3 runs in {here / 's'}: 2 done, 1 failed"
    for how, times in (("with code 0", 4), ("by SIGTERM", 3)):
        assert ended.err.count(f": its worker was ended {how}; what it left is taken up") == times, ended.err


def test_a_single_run_that_is_killed_leaves_the_command(own: Callable[..., Path], here: Path) -> None:
    folder = own(clipping__ends="# ends\n_target_: ends_in_sweep.Ends\nhow: well\n", ends_in_sweep=ENDS)
    ended = rnn_train(
        "-m", "--config-dir", str(folder), *SMALL, "clipping=ends", "hydra.sweep.dir=s", "clipping.how=killed"
    )
    assert ended.code == 1, ended.err
    assert ended.out.splitlines()[-1] == f"1 run in {here / 's'}: 1 failed"


def test_a_run_that_was_taken_out_of_the_queue_is_not_there(here: Path) -> None:
    """One worker was told that it is refused while another was about to read it."""
    assert rnn_train("-m", *SMALL, "hydra.sweep.dir=s", "workers=0").code == 0
    (run,) = store.listed(here / "s")

    def train(run: store.QueuedRun) -> runs.RunRecord:
        store.remove(run)
        raise AssertionError(run.spec())

    events: list[Event] = []
    trainer: Any = train
    assert work([run], trainer, Rules(), events.append) == 0
    assert [event.what for event in events] == ["began"]
    assert not run.folder.exists()


def test_pairs_that_cannot_work_are_listed_before(here: Path) -> None:
    """By a dry run, which writes nothing."""
    typed = ["-m", *SMALL, "structure=chain,balanced", "clipping=none,tbptt", "architecture=label,ctc"]
    ended = rnn_train(*typed, "dry_run=true", "hydra.sweep.dir=s")
    assert ended.code == 0, ended.err
    assert not (here / "s").exists()
    *lines, closing = ended.out.splitlines()
    assert sum(line.endswith(": left out, its options can't work together") for line in lines) == 5
    assert closing.startswith("3 of 8 runs would be trained, by ")
    said = ended.err.splitlines()
    assert [line.partition("left out, as all that have it: ")[2][:14] for line in said] == [
        "architecture=c",
        "clipping=tbptt",
    ]


def test_work_on_a_folder_that_another_command_began(here: Path, sweep_command: Callable[..., Any]) -> None:
    ended = rnn_train("-m", *SMALL, "seed=0,1,2", "workers=0", "hydra.sweep.dir=s")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"3 runs are to be done in {here / 's'}; each rnn-sweep work ")
    code, out, _ = sweep_command("status", "s", "--json")
    assert (code, json.loads(out)["counts"]) == (0, {"pending": 3})
    assert rnn_train("-m", *SMALL, "seed=0,1", "workers=1", "hydra.sweep.dir=s").code == 0
    assert sweep_command("status", "s")[1].splitlines()[-1] == "3 runs in s: 1 pending, 2 done"
    code, _, _ = sweep_command("reset", "s", "--all", "--yes")
    assert code == 0
    assert sweep_command("status", "s")[1].splitlines()[-1] == "3 runs in s: 3 pending"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "nowhere"], "nowhere: is not a folder"),
        (["work", "."], ".: has no queue"),
        (["work", ".", "--limit", "0"], "--limit: given 0, expected at least 1"),
        (["frobnicate", "."], "invalid choice"),
        ([], "the following arguments are required: VERB"),
    ],
)
def test_rnn_sweep_refuses_in_one_line(
    arguments: list[str], said: str, here: Path, sweep_command: Callable[..., Any]
) -> None:
    code, out, err = sweep_command(*arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert said in err


def test_hydras_launcher_interface(here: Path) -> None:
    ended = rnn_train("-m", *SMALL, "seed=0,1", "hydra/launcher=local", "hydra.launcher.workers=2", "hydra.sweep.dir=s")
    assert ended.code == 0, ended.err
    assert [runs.read(run).status for run in runs.find([here / "s"])] == ["done", "done"]


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_pairs_that_cannot_work_are_left_out_and_listed_once(
    workers: int, here: Path, sweep_command: Callable[..., Any]
) -> None:
    typed = [*SMALL, "structure=chain,parse", "engine=auto,native", "trainer.precision=32,bf16-true"]
    ended = rnn_train("-m", *typed, "dry_run=true", "hydra.sweep.dir=s")
    assert ended.out.splitlines()[-1].startswith("3 of 8 runs would be trained, by ")
    ended = rnn_train("-m", *typed, f"workers={workers}", "fail_fast=true", "hydra.sweep.dir=s")
    assert ended.code == 0, ended.err
    said = [line for line in ended.err.splitlines() if ": left out" in line]
    assert len(said) == len(ended.err.splitlines()) == 2
    assert sum("structure=parse: this dataset has no trees" in line for line in said) == 1
    assert sum("engine: given native, but trainer.precision=bf16-true" in line for line in said) == 1
    assert ended.out.splitlines()[-1] == f"8 runs in {here / 's'}: 3 done, 5 left out"
    assert sweep_command("status", "s")[1].splitlines()[-1] == "3 runs in s: 3 done"


def test_a_pair_that_cannot_work_is_left_out_where_others_can(here: Path) -> None:
    ended = rnn_train("-m", *SMALL, "structure=parse", "seed=0,1", "hydra.sweep.dir=t")
    assert (ended.code, ended.out) == (2, "")
    assert not (here / "t").exists()
    ended = rnn_train("-m", *SMALL, "architecture=label,ctc", "seed=0,1", "workers=1", "hydra.sweep.dir=u")
    assert ended.code == 0, ended.err
    assert ended.err.count("left out, as all that have it: architecture=ctc: these data ask for a label") == 1
    assert ended.out.splitlines()[-1] == f"4 runs in {here / 'u'}: 2 done, 2 left out"
