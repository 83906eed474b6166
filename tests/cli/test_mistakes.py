"""Mistakes of every kind: each key of every option given values that it may not have, sizes beyond any machine, and
surroundings that are not as usual. A command ends done, diverged, or refused in one line; nothing else.

`test_errors.py` has what each line says.
"""

from __future__ import annotations

import errno
import io
import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command import COMMAND, SMALL, last, rnn_train, server, started
from folders import write_run
from fuzz import GIVEN, LISTS, OUTCOMES, TOP, TRAINER, WRONG, fuzz, judge, keys_of, options_of, report

from rnn_research import checks
from rnn_research.cli.console import Forgiving, forgiving
from rnn_research.config import resources
from rnn_research.config.estimate import TooMuch, check_workers
from rnn_research.datasets import known
from rnn_research.datasets.adding import Adding
from rnn_research.datasets.sampling import Batches
from rnn_research.records import runs
from rnn_research.unroll.compiled import library


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*arguments: str, parts: tuple[str, ...], here: Path) -> None:
    """The command as it is given, each argument once or twice, ends in one line, and leaves nothing."""
    ended = server().call(arguments)
    outcome, said = judge(ended, here, sorted(os.listdir(here)))
    assert outcome == "refused", ended
    for part in parts:
        assert part in said


# The command line.

LINES = [
    ("seed=3 seed=4", "seed: given twice, seed=3 and seed=4"),
    ("seed=3 ++seed=4", "seed: given twice"),
    ("model=rnn model=lstm", "model: given twice"),
    ("clipping=value clipping.max_value=1 clipping.value.max_value=2", "given twice, also as clipping.max_value"),
    ("-m seed=glob(*)", "seed: given glob(*), which lists the options of a group"),
    ("model=glob(x*)", "model: given glob(x*), which fits none of", "lstm"),
    ("-m seed=range(2,0)", "seed: given range(2,0), which holds no value"),
    ("-m seed=range(0,3,0)", "seed: given range(0,3,0), which holds no value"),
    ("-m seed=interval(0,1)", "seed: given interval(0,1), which has no single values"),
    ("-m seed=range(0,1000000000000)", "a sweep of 1000000000000 runs", "of memory"),
    ("-m seed=0,1 model=glob(*) dataset.batch_size=range(0,1000000000000)", "sweep of 14000000000000 runs"),
    ("-m seed=range(0,100000000)", "a sweep of 100000000 runs: their configs alone need", "TB of memory"),
    ("dataset=adding model.embedding_size=3 resume=nowhere", "resume: given nowhere, which is no run's folder"),
    ("+=3", "given '+=3', expected GROUP=OPTION or KEY=VALUE"),
    ("--shell-completion", "--shell-completion: expected install=SHELL"),
    ("logger=csv logger.csv.version=../b", "logger.csv.version: given '../b', expected a name"),
    ("logger=csv logger.csv.name=/tmp", "logger.csv.name: given '/tmp', expected a name"),
    ("logger=csv logger.csv.version=probes", "logger.csv.version: given 'probes', which the run itself has"),
    ("logger=csv logger.csv.version=''", "logger.csv: given no name and no version"),
    (
        "trainer.accumulate_grad_batches=2 model=rnn regularizer=flossing",
        "trainer.accumulate_grad_batches: given 2, but regularizer=flossing",
    ),
    ("hydra.run.dir=", "hydra.run.dir: given '', expected a folder"),
    ("hydra.run.dir=\"' '\"", "hydra.run.dir: given ' ', expected a folder"),
    ("hydra.run.dir=null", "hydra.run.dir: given null, expected another value"),
    ("-m hydra.sweep.dir= seed=0,1", "hydra.sweep.dir: given '', expected a folder"),
    ("-m hydra.sweep.subdir= seed=0,1", "hydra.sweep.subdir: given ''"),
    ("experiment=digits_vanishing hydra.sweep.dir=", "hydra.sweep.dir: given ''"),
    ("resume=", "resume: given '', expected a folder's path, or null"),
    ("resume=[a]", "resume: given ['a'], expected a folder's path"),
    ("seed=0,", "seed: given '0,', expected a number"),
    ("--package model", "--package: given model", "add --cfg job"),
    ("--resolve", "--resolve: given, which tells --cfg how to print", "add --cfg job"),
    ("model=glob(*)", "model: given several values", "-m for a sweep"),
    ("-m hydra.run.dir=x seed=0,1", "hydra.run.dir: given, but this is a sweep", "hydra.sweep.dir=FOLDER"),
    ("hydra.sweep.dir=x", "hydra.sweep.dir: given, but this is one run", "hydra.run.dir=FOLDER"),
    ("experiment=digits_vanishing hydra.run.dir=x", "hydra.run.dir: given, but this is a sweep"),
    ("~regularizer", "~regularizer: a list of options can't be taken out, expected regularizer=none"),
    ("~probe", "~probe: a list of options can't be taken out, expected probe=none"),
    ("+experiment=forget_bias", "+experiment: the config has the group already, expected experiment=forget_bias"),
    ("+model=lstm", "+model: the config has the group already, expected model=lstm without the +"),
    ("hydra/launcher=nowhere -m seed=0,1", "hydra/launcher: given 'nowhere'", "pip install hydra-nowhere-launcher"),
    ("hydra/sweeper=no_where -m seed=0,1", "hydra/sweeper: given 'no_where'", "pip install hydra-no-where-sweeper"),
    ("hydra.job.chdir=true", "hydra.job.chdir: has no effect here"),
    ("hydra.callbacks.x=1", "hydra.callbacks.x"),
    ("probe.every_n_steps=2", "probe.adjoint.every_n_steps or probe.gradient_norm.every_n_steps"),
    ("hydra.searchpath=[file:///no/where]", "hydra.searchpath: given", "which is not there"),
    ("--config-name mine", "--config-name: not supported"),
    ("--cfg job -m seed=0,1", "--cfg: given with --multirun"),
]
ARCHITECTURE = [
    (
        "dataset=reverse_tokens architecture=encoder_decoder architecture.attention=soft",
        "architecture.attention: given 'soft', expected one of none",
    ),
    (
        "dataset=reverse_tokens architecture=encoder_decoder architecture.scheduled_sampling=2",
        "architecture.scheduled_sampling: given 2, expected",
    ),
    (
        "dataset=reverse_tokens architecture=encoder_decoder architecture.scheduled_sampling_rise=2",
        "architecture.scheduled_sampling_rise: given 2 beside",
    ),
    ("dataset=reverse_tokens architecture=encoder_decoder model.pooling=mean", "model.pooling: given mean"),
]
LIGHTNING = [
    (
        "trainer.val_check_interval=0",
        "given 0, expected a number of batches >= 1, or a share",
    ),
    ("trainer.val_check_interval=0.0", "trainer.val_check_interval: given 0.0, expected"),
    ("trainer.val_check_interval=abc", "trainer.val_check_interval: given 'abc', expected a duration"),
    ("trainer.val_check_interval=0.5 trainer.check_val_every_n_epoch=null", "given 0.5, a share of an epoch, but"),
    (
        "+trainer.overfit_batches=0.0001",
        "trainer.overfit_batches: given 0.0001, not supported",
    ),
    (
        "dataset=adding +trainer.limit_val_batches=0 stop_when_solved=true",
        "stop_when_solved: looks at whether the task is solved, but trainer.limit_val_batches=0 leaves no validation",
    ),
    ("+trainer.limit_val_batches=0.0001", "trainer.limit_val_batches: given 0.0001, which is less than one", "of val"),
    ("+trainer.limit_test_batches=0.0001", "trainer.limit_test_batches: given 0.0001", "of test"),
    ("+trainer.limit_train_batches=0", "trainer.limit_train_batches: given 0, which trains nothing"),
    ("+trainer.limit_train_batches=0.0", "trainer.limit_train_batches: given 0.0, which trains nothing"),
    ("+trainer.limit_train_batches=true", "trainer.limit_train_batches: given True, expected"),
    ("+trainer.detect_anomaly=maybe", "trainer.detect_anomaly: given 'maybe', expected true or false"),
    ("+trainer.detect_anomaly=null", "trainer.detect_anomaly: given None, expected true or false"),
    ("+trainer.deterministic=maybe", "trainer.deterministic: given 'maybe', expected true, false or warn"),
    ("+trainer.min_epochs=abc", "trainer.min_epochs: given 'abc', expected an integer >= 1"),
    ("+trainer.min_steps=9 trainer.max_steps=3", "trainer.min_steps: given 9, expected at most trainer.max_steps=3"),
    ("+trainer.max_time=abc", "trainer.max_time: given 'abc', expected a duration"),
    ("+trainer.max_time={decades:1}", "trainer.max_time: given {'decades': 1}, expected a duration"),
    ("+trainer.profiler=inf", "trainer.profiler: given inf, expected one of simple"),
    ("trainer.precision=1.5", "trainer.precision: given '1.5', expected one of 32-true"),
    ("trainer.max_steps=10000000000000000000000", "expected an integer from -1 to 9223372036854775807"),
]
VALUES = [
    ("optimizer.lr=.inf", "optimizer.lr: given inf, expected a finite number"),
    ("optimizer.betas=[a,0.5]", "optimizer.betas: given 'a', expected a number"),
    (
        "dataset=adding dataset.seed=10000000000000000000000",
        "dataset.seed: given 1",
        "expected an integer from 0",
    ),
    ("dataset=sst dataset.root=true", "dataset.root: given True, expected a folder's path"),
    ("dataset=sst dataset.cache=", "dataset.cache: given '', expected a folder's path"),
]


@pytest.mark.parametrize("case", [*LINES, *LIGHTNING, *ARCHITECTURE, *VALUES], ids=lambda case: case[0])
def test_one_line_and_nothing_else(case: tuple[str, ...], here: Path) -> None:
    given, *parts = case
    refused(*shlex.split(given), parts=tuple(parts), here=here)


def test_a_key_may_be_given_the_same_value_twice(here: Path) -> None:
    ended = server().call([*SMALL, "seed=1", "++seed=1", "hydra.run.dir=run"])
    assert ended.code == 0, ended.err


def test_glob_sweeps_over_the_options_of_a_group(here: Path) -> None:
    """But not over yamls that are parts of others."""
    ended = rnn_train("-m", *SMALL, "model=glob([r*,g*])", "hydra.sweep.dir=sweep")
    assert ended.code == 0, ended.err
    assert sorted(runs.read(run).choices["model"] for run in runs.find([here / "sweep"])) == ["gru", "rnn"]


@pytest.mark.parametrize("written", ["inf", ".inf", ".INF"])
def test_infinity_as_a_yaml_writes_it(written: str, here: Path) -> None:
    """Where it is legal, alone or swept."""
    ended = rnn_train(*SMALL, "clipping=zclip", f"clipping.max_norm={written}", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert runs.read(here / "run").config["clipping"]["zclip"]["max_norm"] == "inf"


def test_whole_numbers_where_an_optimizer_takes_others(here: Path) -> None:
    assert rnn_train(*SMALL, "optimizer.betas=[0,0.5]", "optimizer.lr=1", "hydra.run.dir=run").code == 0


@pytest.mark.parametrize("flag", ["--version", "--vers"])
def test_the_version_is_this_projects(flag: str, here: Path) -> None:
    from rnn_research import __version__

    assert rnn_train(flag) == (0, f"rnn_research {__version__}\n", "")


def test_info_prints_and_trains_nothing(here: Path) -> None:
    ended = rnn_train("--info", *SMALL)
    assert (ended.code, ended.err) == (0, "")
    assert "Config" in ended.out
    assert not list(here.iterdir())


# Sizes beyond any machine, each with the estimate.

SIZES = ("dataset.train_size=24", "dataset.val_size=8", "dataset.test_size=8", "dataset.batch_size=4")
SIZES = ("dataset=adding", *SIZES, "model.cell.hidden_size=4")
HUGE = [
    ("dataset.length=1000000000", "dataset: samples of 1000000000 steps need at least 6.14 TB of memory"),
    ("dataset.test_lengths=[1000000000]", "dataset: samples of 1000000000 steps need at least"),
    ("dataset=copying_memory dataset.delay=1000000000", "dataset: samples of 1000000000 steps need at least"),
    ("dataset=tree_keyword dataset.max_leaves=1000000000", "dataset: samples of 1000000000 steps need at least"),
    ("dataset=tree_keyword dataset.max_leaves=1000000", "dataset: making the first samples takes about", "minutes"),
    (
        "dataset.val_size=10000000000",
        "dataset.val_size: given 10000000000, expected fewer: drawing them once takes about",
    ),
    (
        "dataset.test_size=10000000000",
        "dataset.test_size: given 10000000000, expected fewer: drawing them once takes about",
    ),
    ("model.cell.hidden_size=1000000000", "model.cell: needs more memory than there is: at least 16 EB for 1e+18"),
    ("model.cell.hidden_size=9223372036854775807", "model.cell: needs more memory than there is: at least"),
    ("model.cell.hidden_size=10000000000000000000000", "model.cell.hidden_size: given 1", "expected an integer from 1"),
    ("model.num_layers=100000", "model.num_layers: one step takes at least 100 s here"),
    ("model.num_layers=10000000000", "model.num_layers: needs more memory than there is: at least"),
    ("model.match_parameters=1000000000000", "model.match_parameters: needs more memory than there is: at least 16 TB"),
    ("model.match_parameters=20000 model.num_layers=100000", "one step takes at least 100 s here"),
    ("dataset=listops model.num_layers=1000000000", "model.num_layers: needs more memory than there is: at least"),
    ("dataset=listops model.embedding_size=10000000000", "model.embedding_size: needs more memory than there is"),
    ("dataset.num_workers=5000", "dataset.num_workers: given 5000, expected fewer"),
    ("dataset.num_workers=1000000000", "dataset.num_workers: given 1000000000, expected fewer", "of memory"),
]


@pytest.mark.parametrize("case", HUGE, ids=lambda case: case[0])
def test_what_has_no_room_is_refused_with_the_estimate(case: tuple[str, ...], here: Path) -> None:
    given, *parts = case
    arguments = given.split()
    refused(*last((*SIZES, *arguments)), parts=tuple(parts), here=here)


def test_a_billion_samples_to_train_on(here: Path) -> None:
    """They are drawn as they are needed; so is their order."""
    ended = rnn_train(*SMALL, "dataset.train_size=1000000000", "dataset.batch_size=1000", "hydra.run.dir=run")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(("length", "batch", "block"), [(24, 4, None), (1000, 7, 256), (256, 300, 256), (513, 10, 256)])
@pytest.mark.parametrize("sizes", [False, True])
@pytest.mark.parametrize("seed", [None, 3])
def test_the_order_of_samples_is_as_if_drawn_at_once(
    length: int, batch: int, block: int | None, sizes: bool, seed: int | None
) -> None:
    """Written out: whole blocks are shuffled, then the samples of each; a pool of batches is sorted by size."""
    of = np.random.default_rng(0).integers(5, size=length).tolist() if sizes else None
    batches = Batches(length, batch, seed, of, block)
    random, order = np.random.default_rng([3, 0]), np.arange(length)
    if seed is not None:
        blocks = [order[start : start + (block or length)] for start in range(0, length, block or length)]
        order = np.concatenate([random.permutation(blocks[index]) for index in random.permutation(len(blocks))])
    expected = []
    for start in range(0, length, batches.pool):
        part = order[start : start + batches.pool]
        part = part if of is None else part[np.argsort(np.asarray(of)[part], kind="stable")]
        made = [part[at : at + batch].tolist() for at in range(0, len(part), batch)]
        shuffled = seed is not None and of is not None
        expected += [made[index] for index in random.permutation(len(made))] if shuffled else made
    assert list(batches) == expected


def test_memory_that_a_control_group_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tightest limit counts, of versions 1 and 2; what its files take as cache is free."""
    for name, text in {"memory.max": "max\n", "a/memory.max": "1000000\n", "a/memory.current": "600000\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "a/memory.stat").write_text("anon 1\ninactive_file 100000\n")
    monkeypatch.setattr(
        resources, "_groups", lambda: [(tmp_path / "a", *resources.SECOND), (tmp_path, *resources.SECOND)]
    )
    assert resources.available() == 500000
    assert resources.size(500000) == "500 kB"


# Every key of every option.


def every_key() -> Iterator[tuple[tuple[str, ...], str]]:
    """What chooses the option, and the key as the command line has it."""
    for key in TOP:
        yield (), key
    for key in TRAINER:
        yield (), f"++trainer.{key}"
    for group in ("model", "dataset", "optimizer", *LISTS, "logger"):
        for option in options_of(group):
            if option not in ("sst", "tensorboard"):
                for key, leaf, _ in keys_of(group, option):
                    if leaf not in ("url", "sha256", "cache", "version", "name"):
                        yield (f"{group}=[{option}]" if group in LISTS else f"{group}={option}",), key


def tried(chosen: tuple[str, ...], key: str, value: str, here: Path) -> str:
    """What became of the command with this value; "" where that is well."""
    group = chosen[0].partition("=")[0] if chosen else ""
    option = chosen[0].partition("=")[2].strip("[]") if chosen else ""
    small = [item for item in SMALL if not (group == "dataset" and item.startswith("dataset"))]
    small += [f"{key}={GIVEN[leaf]}" for key, leaf, _ in (keys_of(group, option) if chosen else ()) if leaf in GIVEN]
    needs = {"h_detach": "model=lstm", "forget_bias": "model=lstm", "chrono": "model=lstm"}
    trees = ("dataset=boolean_trees", "dataset.depth=2", "model=tree_rnn")
    more = trees if option == "depth_detach" else (needs.get(option, ""),)
    small = [item for item in small if option != "depth_detach" or not item.startswith(("dataset=", "dataset.length"))]
    number = sum(1 for _ in here.iterdir())
    folder = here / str(number)
    folder.mkdir()
    arguments = last([*small, *filter(None, more), *chosen, f"{key}={value}", "hydra.run.dir=run"])
    ended = server().call(arguments, folder=folder, seconds=60)
    outcome, said = judge(ended, folder, sorted(os.listdir(folder)))
    return "" if outcome in OUTCOMES else f"{key}={value}: {outcome}: {said}\n    {' '.join(arguments)}"


def test_a_wrong_value_for_many_keys(here: Path) -> None:
    """Some of all pairs; `make test-slow` tries them all."""
    cases = list(every_key())[::30]
    assert len(cases) > 15
    found = [tried(*case, WRONG[7 * at % len(WRONG)], here) for at, case in enumerate(cases)]
    assert not list(filter(None, found)), "\n".join(filter(None, found))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("value", WRONG)
def test_every_wrong_value_for_every_key(value: str, here: Path) -> None:
    found = [tried(*case, value, here) for case in every_key()]
    assert not list(filter(None, found)), "\n".join(filter(None, found))


# Random command lines.


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_five_hundred_random_command_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each ends done, diverged, or refused in one line, and its record says the same."""
    found = fuzz(range(500))
    with capsys.disabled():
        print(f"\n{report(found)}")
    assert not [one for one in found if one.outcome not in OUTCOMES], report(found)


# Surroundings.

BATCH_SYSTEMS = [
    {"SLURM_NTASKS": "4"},
    {"SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "2", "SLURM_NODEID": "0", "SLURM_JOB_ID": "7"},
    {"SLURM_NTASKS_PER_NODE": "8", "SLURM_NTASKS": "8", "SLURM_JOB_NAME": "train"},
    {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "GROUP_RANK": "0",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "4",
        "TORCHELASTIC_RUN_ID": "a",
    },
    {"LSB_JOBID": "3", "LSB_DJOB_RANKFILE": "gone", "JSM_NAMESPACE_LOCAL_RANK": "1", "JSM_NAMESPACE_SIZE": "4"},
    {"LOCAL_RANK": "x", "NODE_RANK": "x"},
]


@pytest.mark.parametrize("variables", BATCH_SYSTEMS, ids=lambda variables: next(iter(variables)))
def test_a_run_is_alone_in_whatever_batch_system(variables: dict[str, str], here: Path) -> None:
    """Under srun with four tasks, four runs are four runs."""
    ended = server().call([*SMALL, "logger=csv", "hydra.run.dir=run"], env=variables)
    assert ended.code == 0, ended.err
    assert (here / "run" / "checkpoint.ckpt").exists()
    assert (here / "run" / "lightning" / "metrics.csv").exists()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in some containers: no entry in passwd, no HOME. Kernels are compiled for this process alone."""

    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "RNN_RESEARCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert Path(library._folder()).is_dir()
    with pytest.raises(ValueError, match=r"dataset\.cache: given none, and this user has no home"):
        known.PublishedData("x", (), bool, "", "", "", "").folder(None)
    with pytest.raises(ValueError, match=r"root: given '~/x', but there is no such home folder"):
        checks.path_of("root", "~/x")


def test_a_name_that_no_system_has_is_told_with_its_key() -> None:
    with pytest.raises(
        ValueError, match=r"^resume: given a name of 300 bytes, kkkkkkkkkkkkkkkkkkkk\.\.\.; expected at"
    ):
        checks.path_of("resume", f"a/{'k' * 300}/b")


def test_what_is_said_is_written_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with PYTHONIOENCODING=ascii; a folder's name may not even be UTF-8."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True))
    out = sys.stdout.buffer
    with forgiving():
        print("0.5 ± 0.1, 3 µs, é, in runs/\udce9")
    assert out.getvalue() == b"0.5 +- 0.1, 3 us, ?, in runs/\\xe9\n"


def test_what_nobody_reads_is_dropped() -> None:
    """Also what was buffered before, which python would write as it ends."""
    reading, writing = os.pipe()
    stream = open(writing, "w", encoding="utf-8")  # noqa: SIM115
    os.close(reading)
    forgiving_stream = Forgiving(stream)
    for _ in range(3):
        print("x" * 100_000, file=forgiving_stream, flush=True)
    stream.close()


def test_a_full_disk_behind_what_is_printed_costs_no_training(here: Path) -> None:
    with started(*SMALL, "engine=reference", "hydra.run.dir=run", folder=here, out=Path("/dev/full")) as command:
        assert command.wait() == 0
    assert runs.read(here / "run").status == "done"


def test_processes_that_take_most_of_a_minute_to_start_are_refused() -> None:
    """300 were not, and took one."""
    with pytest.raises(TooMuch, match="num_workers: given 300, expected fewer: to start and to end them takes about"):
        check_workers(Adding(length=4, train_size=8, val_size=4, test_size=4, num_workers=300))


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_what_was_asked_to_be_printed_and_has_no_room_is_one_line(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    said = "rnn-train: <stdout>: can't be written (No space left on device); give it room\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_so_is_a_comparison(here: Path) -> None:
    write_run(here / "runs" / "0")
    command = [sys.executable, "-m", "rnn_research.cli.compare", "runs", "--no-figures"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    said = "rnn-compare: error: <stdout>: can't be written (No space left on device); give it room"
    assert (done.returncode, done.stderr.splitlines()[-1], "Traceback" in done.stderr) == (2, said, False)


def test_hydras_help_is_the_same_beside_options(here: Path) -> None:
    alone, beside = (rnn_train("--hydra-help", *more) for more in ([], ["model=lstm"]))
    assert beside == alone
    assert beside.code == 0


def test_other_errors_of_writing_are_told() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        print("x", file=Forgiving(Full()))
