"""A mistake in what is asked for: one line on stderr, exit code 2, nothing trained, nothing written."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from command import SMALL, Ended, rnn_train
from forked import Forked

from rnn_research.cli.train import main
from rnn_research.records import runs

CHECKOUT = Path(__file__).resolve().parents[2]

# Arguments, and what the line says beside them.
OPTIONS = [
    ("model=lstmm", "model: given 'lstmm', expected one of", "did you mean lstm?"),
    ("dataset=adding_problem", "dataset: given 'adding_problem', expected one of adding,"),
    ("structure=chains", "structure: given 'chains'", "did you mean chain?"),
    ("init=[orthogonl]", "init: given 'orthogonl'", "did you mean orthogonal?"),
    ("init=[orthogonal,forget-bias]", "init: given 'forget-bias'", "did you mean forget_bias?"),
    ("clipping=globalnorm", "clipping: given 'globalnorm'", "did you mean global_norm?"),
    ("optimizer=adem", "optimizer: given 'adem'", "did you mean adam?"),
    ("probe=[adjont]", "probe: given 'adjont'", "did you mean adjoint?"),
    ("trainer=gpu", "trainer: given 'gpu', expected one of default"),
    ("logger=tensorbord", "logger: given 'tensorbord'", "did you mean tensorboard?"),
    ("experiment=digit_vanishing", "experiment: given 'digit_vanishing'", "did you mean digits_vanishing?"),
    ("model=[lstm]", "model: given [lstm], expected one option"),
    ("model=5", "model: given 5, expected one of"),
    ("clipping=null", "clipping: given null, expected one of", "none"),
    ("model=_model", "model.cell: given None, expected"),
    ("model=rnn,lstm", "model: given several values, rnn,lstm", "-m for a sweep"),
]
NAMES = [
    ("modle=rnn", "modle: unknown", "did you mean model?"),
    ("+modle=rnn", "modle: unknown", "did you mean model?"),
    ("sed=1", "sed: unknown", "did you mean seed?"),
    ("+foo=1", "foo: unknown, expected one of model, dataset"),
    ("dataset=adding dataset.lenght=10", "dataset.lenght: unknown, expected one of", "did you mean length?"),
    ("model.cell.hiddensize=3", "model.cell.hiddensize: unknown", "did you mean hidden_size?"),
    ("num_layers=3", "num_layers: unknown", "did you mean model.num_layers?"),
    ("accumulate_grad_batches=0", "did you mean trainer.accumulate_grad_batches?"),
    ("clipping=none clipping.max_norm=1", "clipping.max_norm: unknown"),
    ("init.orthogonal.gain=2", "init.orthogonal.gain: unknown"),
    ("trainer.foo=1", "trainer.foo: unknown, expected one of max_epochs"),
    ("hydra.run.dri=x", "hydra.run.dri: unknown, expected one of dir"),
    ("~optimiser", "optimiser: unknown", "did you mean optimizer?"),
    ("~optimizer", "optimizer: missing, expected optimizer=OPTION"),
    ("+seed=1", "+seed: the config has it already, expected seed=VALUE"),
    ("+dataset.foo=1", "dataset.foo: unknown, expected one of by"),
    ("+model.foo=1", "model.foo: unknown, expected one of", "num_layers"),
    ("+model.cell.foo=1", "model.cell.foo: unknown, expected one of hidden_size"),
    ("+trainer.max_step=1", "trainer.max_step: unknown", "did you mean max_steps?"),
    ("+optimizer.foo=1", "optimizer.foo: unknown, expected one of lr"),
    ("+structure.foo=1", "structure.foo: unknown"),
    ("+clipping.foo=1", "clipping.foo: unknown"),
    ("+init.default.gain=2", "init.default.gain: unknown"),
    ("+probe.adjoint.foo=2", "probe.adjoint.foo: unknown, expected one of every_n_steps"),
    ("logger=csv +logger.csv.foo=1", "logger.csv.foo: unknown"),
    ("+model.clipping=1", "model.clipping: can't be set"),
    ("+trainer.callbacks=[]", "trainer.callbacks: can't be set"),
    ("+optimizer.params=[]", "optimizer.params: can't be set"),
    ("--multirn", "--multirn", "did you mean --multirun?"),
    ("--cfg everything", "invalid choice: 'everything'", "job"),
]
TYPES = [
    ("dataset=adding dataset.length=ten", "dataset.length: given 'ten', expected an integer"),
    ("dataset.batch_size=1.5", "dataset.batch_size: given 1.5, expected an integer"),
    ("dataset.permute=5", "dataset.permute: given 5, expected true or false"),
    ("dataset.by=column", "dataset.by: given 'column', expected one of pixel, row"),
    ("seed=abc", "seed: given 'abc', expected an integer"),
    ("seed=null", "seed: given None, expected an integer"),
    ("threads=true", "threads: given True, expected an integer"),
    ("trust=os", "trust: given os, expected a list"),
    ("optimizer.lr=fast", "optimizer.lr: given 'fast', expected a number"),
    ("optimizer.betas=0.9", "optimizer.betas: given 0.9, expected a list of 2 numbers"),
    ("optimizer=sgd optimizer.momentum=high", "optimizer.momentum: given 'high', expected a number"),
    ("model.cell=rnn", "model.cell: given rnn, expected a mapping"),
    ("model.cell.bias=3", "model.cell.bias: given 3, expected true or false"),
    ("model.num_layers=two", "model.num_layers: given 'two', expected an integer"),
    ("model.cell.nonlinearity=tan", "model.cell.nonlinearity: given 'tan'", "did you mean tanh?"),
    ("trainer.max_steps=many", "trainer.max_steps: given 'many', expected an integer"),
    ("trainer.fast_dev_run=maybe", "trainer.fast_dev_run: given 'maybe'"),
    ("probe.adjoint.every_n_steps=x", "probe.adjoint.every_n_steps: given 'x', expected an integer"),
    ("init=[orthogonal] init.orthogonal.gain=big", "init.orthogonal.gain: given 'big', expected a number"),
]
RANGES = [
    ("trainer.max_steps=0", "trainer: given a limit of 0", "expected a number >= 1"),
    ("dataset=adding dataset.length=-5", "dataset.length: given -5, expected an integer >= 2"),
    ("dataset.batch_size=0", "dataset.batch_size: given 0, expected an integer >= 1"),
    ("dataset.num_workers=-1", "dataset.num_workers: given -1, expected an integer >= 0"),
    ("seed=-1", "seed: given -1, expected an integer from 0"),
    ("seed=4294967296", "seed: given 4294967296, expected an integer from 0 to 4294967295"),
    ("threads=0", "threads: given 0, expected an integer from 1"),
    ("model.cell.hidden_size=0", "model.cell.hidden_size: given 0, expected an integer >= 1"),
    ("model.dropout=1.5", "model.dropout: given 1.5, expected a number >= 0 and <= 1"),
    ("model.match_parameters=0", "model.match_parameters: given 0, expected an integer >= 1"),
    ("model.match_parameters=[]", "model.match_parameters: given [], expected an integer >= 1"),
    ("clipping=global_norm clipping.max_norm=0", "clipping.max_norm: given 0, expected a number > 0"),
    ("clipping=global_norm clipping.max_norm=-1", "clipping.max_norm: given -1, expected a number > 0"),
    ("clipping=global_norm clipping.max_norm=nan", "clipping.max_norm: given nan, expected a number > 0"),
    ("clipping=value clipping.max_value=-inf", "clipping.max_value: given -inf, expected a number > 0"),
    ("optimizer.lr=-1", "optimizer.lr: given -1, expected a number >= 0"),
    ("optimizer.weight_decay=-1", "optimizer: ", "weight_decay", "-1"),
    ("optimizer.weight_decay=1e300", "optimizer.weight_decay: given 1e+300, expected another value"),
    ("trainer.max_steps=-5", "trainer.max_steps: given -5, expected an integer >= -1"),
    ("trainer.max_epochs=-1", "trainer: given no limit, expected trainer.max_steps=N"),
    ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches: given 0, expected an integer >= 1"),
    ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps: given 0, expected an integer >= 1"),
    ("+trainer.limit_val_batches=-3", "trainer.limit_val_batches: given -3"),
]
SYNTAX = [
    ("dataset.length=[1", "dataset.length: given '[1', expected a number, a word, or a list"),
    ("seed==3", "seed: given '=3', expected a number"),
    ("=3", "given '=3', expected GROUP=OPTION or KEY=VALUE"),
    ("model=", "model: given '', expected one of", "lstm"),
    ("model", "model: given no option, expected model=OPTION with one of", "lstm"),
    ("lstm", "given 'lstm', expected GROUP=OPTION or KEY=VALUE (did you mean model=lstm?)"),
    ("temporal_ordr", "given 'temporal_ordr'", "did you mean dataset=temporal_order "),
    ("seed=${sed}", "Interpolation key 'sed' not found"),
]
PAIRS = [
    ("structure=parse dataset=digits", "structure=parse: this dataset has no trees", "structure=chain"),
    ("structure=parse dataset=adding", "structure=parse: this dataset has no trees", "structure=chain"),
    ("model.loss=every", "model.loss: given every, but these batches label no positions"),
    ("init=[chrono]", "init=chrono: RNN has no gate 'f'"),
]
MACHINE = [
    ("trainer.accelerator=tpu", "trainer.accelerator: given 'tpu', expected one of auto, cpu, gpu"),
    ("trainer.devices=0", "trainer.devices: given 0, expected 1"),
    ("trainer.devices=5", "trainer.devices: given 5, expected 1"),
    ("trainer.devices=auto", "trainer.devices: given 'auto', expected 1"),
    ("+trainer.num_nodes=2", "trainer.num_nodes: given 2, expected 1"),
    ("+trainer.strategy=ddp", "trainer.strategy: given 'ddp', expected one of auto"),
    ("model.cell.hidden_size=100000000", "model.cell: needs more memory than there is"),
    ("trainer.precision=foo", "trainer.precision: given 'foo'", "32-true"),
    ("clipping.max_norm=1", "a key of clipping=adjoint_norm, global_norm, per_gate, per_parameter"),
    ("trainer.gradient_clip_val=1", "trainer.gradient_clip_val: not supported", "clipping=global_norm"),
    ("+trainer.gradient_clip_val=1", "trainer.gradient_clip_val: not supported", "clipping=global_norm"),
    ("++trainer.gradient_clip_algorithm=norm", "trainer.gradient_clip_algorithm: not supported"),
]


def told(ended: Ended, *parts: str) -> str:
    """The line that a mistake gives."""
    assert ended.code == 2, ended
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("rnn-train: ")
    for part in parts:
        assert part in ended.err
    return ended.err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "case", [*OPTIONS, *NAMES, *TYPES, *RANGES, *SYNTAX, *PAIRS, *MACHINE], ids=lambda case: case[0]
)
def test_one_line_and_nothing_else(case: tuple[str, ...], here: Path) -> None:
    given, *parts = case
    told(rnn_train(*given.split()), *parts)
    assert not list(here.iterdir())


def test_a_gpu_where_there_is_none(here: Path) -> None:
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has a GPU")
    told(rnn_train("trainer.accelerator=gpu"), "trainer.accelerator: given 'gpu'", "trainer.accelerator=cpu")
    assert not list(here.iterdir())


def test_a_logger_that_is_not_installed(here: Path) -> None:
    if find_spec("tensorboard") or find_spec("tensorboardX"):
        pytest.skip("tensorboard is installed")
    told(rnn_train(*SMALL, "logger=tensorboard"), "logger=tensorboard: ", "tensorboard", "install")
    assert not list(here.iterdir())


def test_mistakes_in_options_answer_without_torch(tmp_path: Path) -> None:
    cases = (*OPTIONS[:4], *NAMES[::6], *SYNTAX[:1], *SYNTAX[4:6])
    given = [case[0].split() for case in cases if "+" not in case[0] and "~" not in case[0]]
    script = f"""
import sys
from rnn_research.cli.train import main
for arguments in {given!r}:
    try:
        main(arguments)
    except SystemExit as ended:
        assert ended.code == 2, arguments
    assert not {{"torch", "lightning"}} & set(sys.modules), arguments
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    assert not list(tmp_path.iterdir())


# Data.


def sst(folder: Path, train: bytes) -> str:
    folder.mkdir(exist_ok=True)
    for name in ("train.txt", "dev.txt", "test.txt"):
        (folder / name).write_bytes(train if name == "train.txt" else b"(3 (2 It) (2 is))\n")
    return f"dataset.root={folder}"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"(3 (2 It) (2 is)", "left open"),
        (b"(3 (2 It) (2 is)))", "closing bracket"),
        (b"(7 (2 It) (2 is))", "'7'"),
        ("(3 (2 caf\xe9) (2 is))".encode("latin-1"), "UTF-8"),
    ],
)
def test_a_malformed_tree_is_named_by_file_and_line(line: bytes, what: str, tmp_path: Path, here: Path) -> None:
    root = sst(tmp_path / "trees", b"(3 (2 It) (2 is))\n\n" + line + b"\n")
    told(rnn_train("dataset=sst", root), f"dataset.root: {tmp_path}/trees/train.txt, line 3: ", what)
    assert [path.name for path in here.iterdir()] == ["trees"]


def test_trees_that_are_not_there(tmp_path: Path, here: Path) -> None:
    told(rnn_train("dataset=sst", "dataset.root=gone"), "dataset.root: given gone, which is not there", "dev.txt")
    (tmp_path / "empty").mkdir()
    told(
        rnn_train("dataset=sst", "dataset.root=empty"), "dataset.root: empty has none of the files, expected train.txt"
    )
    assert [path.name for path in here.iterdir()] == ["empty"]


def test_no_root_and_no_network(tmp_path: Path, here: Path) -> None:
    url = "dataset.url=http://127.0.0.1:9/trees.zip"
    told(
        rnn_train("dataset=sst", url, f"dataset.cache={tmp_path / 'cache'}"),
        "fetch http://127.0.0.1:9/trees.zip by hand",
        "set dataset.root=",
    )
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".lock"]


# Configs of one's own.


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


def test_a_config_dir_that_is_not_there(here: Path) -> None:
    told(rnn_train("--config-dir", "gone", "model=rnn"), "--config-dir: given gone, which is not a folder")
    told(rnn_train("--config-dir=gone", "--help"), "--config-dir: given gone, which is not a folder")
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("yaml", "parts"),
    [
        ("max_norm: [1\nfoo: }\n", ("own/clipping/mine.yaml, line 3: not valid YAML",)),
        ("_target_: elsewhere.Mine\n", ("clipping._target_: given 'elsewhere.Mine'", "trust=[elsewhere]")),
        ("_target_: torch.nn.Nowhere\n", ("clipping._target_: given 'torch.nn.Nowhere', which can't be imported",)),
        ("_target_: raises_.Mine\n", ("can't be imported: RuntimeError: no luck", "raises_.py, line 2")),
        ("_target_: quits_.Mine\n", ("can't be imported: SystemExit", "quits_.py, line 2")),
        ("_target_: fails_.Mine\n", ("clipping: unsupported operand", "fails_.py, line 4")),
        ("_target_: torch.nn.Identity\n", ("clipping._target_: given 'torch.nn.Identity', expected a Clipping",)),
        ("max_norm: 1\n", ("clipping: given", "expected a mapping with a _target_")),
    ],
)
def test_an_option_of_ones_own_that_does_not_work(
    yaml: str, parts: tuple[str, ...], own: Callable[..., Path], here: Path
) -> None:
    folder = own(
        clipping__mine=f"# mine\n{yaml}",
        raises_="import os\nraise RuntimeError('no\\nluck')\n",
        quits_="import sys\nsys.exit()\n",
        fails_="from rnn_research.clipping import Clipping\nclass Mine(Clipping):\n    def __init__(self):\n"
        "        1 + 'a'\n    def forward(self, parameters): ...\n",
    )
    told(rnn_train("--config-dir", str(folder), *SMALL, "clipping=mine"), *parts)
    assert [path.name for path in here.iterdir()] == ["own"]


def test_lightnings_own_clipping_in_a_yaml(own: Callable[..., Path], here: Path) -> None:
    folder = own(trainer__mine="# mine\ndefaults: [default]\ngradient_clip_val: 1.0\n")
    ended = rnn_train("--config-dir", str(folder), "trainer=mine")
    told(ended, "trainer.gradient_clip_val: not supported", "clipping=global_norm")
    assert [path.name for path in here.iterdir()] == ["own"]


def test_a_mistake_in_an_experiment_names_its_file(own: Callable[..., Path], here: Path) -> None:
    folder = own(experiment__mine="# @package _global_\n# mine\ndefaults:\n  - override /modle: rnn\n")
    told(rnn_train("--config-dir", str(folder), "experiment=mine"), "experiment/mine.yaml: modle: unknown")
    assert [path.name for path in here.iterdir()] == ["own"]


def test_a_variable_of_an_experiment_is_no_unknown_key(own: Callable[..., Path], here: Path) -> None:
    text = "# @package _global_\n# mine\nwidth: 5\nmodel:\n  cell:\n    hidden_size: ${width}\n"
    folder = own(experiment__mine=text)
    without = [argument for argument in SMALL if "hidden_size" not in argument]
    ended = rnn_train("--config-dir", str(folder), "experiment=mine", *without, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert runs.read(here / "run").parameters == 5 * 2 + 5 * 5 + 5 + 5 + 5 + 1


# Output folders.


@pytest.mark.parametrize("folder", ["/proc/runs/here", "file", "file/below"])
def test_an_output_folder_that_can_not_be(folder: str, here: Path) -> None:
    (here / "file").write_text("mine")
    for arguments in ([f"hydra.run.dir={folder}"], ["-m", "seed=0,1", f"hydra.sweep.dir={folder}"]):
        told(
            rnn_train(*SMALL, *arguments),
            f"output folder {here / folder.removesuffix('/here')}",
            "hydra.run.dir=FOLDER",
        )
    assert [path.name for path in here.iterdir()] == ["file"]
    assert (here / "file").read_text() == "mine"


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_folder_that_holds_a_run_stays_as_it_is(here: Path) -> None:
    assert rnn_train(*SMALL, "hydra.run.dir=a/run").code == 0
    before = contents(here)
    told(rnn_train(*SMALL, "hydra.run.dir=a/run", "seed=1"), "a/run: already holds run.json")
    told(rnn_train("-m", *SMALL, "hydra.sweep.dir=a", "seed=0,1"), "a: already holds runs")
    told(rnn_train("-m", *SMALL, "hydra.sweep.dir=a/run", "seed=0,1"), "a/run: already holds runs")
    assert contents(here) == before


@pytest.mark.parametrize("name", ["metrics.csv", "run.log", "checkpoint.ckpt", "probes"])
def test_files_that_a_run_would_write_over(name: str, here: Path) -> None:
    (here / name).write_text("mine")
    before = contents(here)
    told(rnn_train(*SMALL, f"hydra.run.dir={here}"), f"already holds {name}")
    assert contents(here) == before


def test_an_empty_folder_of_the_users_stays(here: Path) -> None:
    (here / "mine" / "runs").mkdir(parents=True)
    told(rnn_train("seed=x", "hydra.run.dir=mine/runs"))
    told(rnn_train("seed=x", "hydra.run.dir=mine/runs/a/b"))
    told(rnn_train("-m", "model=rnn,lstmm", "hydra.sweep.dir=mine/runs/c"))
    assert sorted(map(str, here.rglob("*"))) == [str(here / "mine"), str(here / "mine" / "runs")]


def bound_by_permissions(commands: list[list[str]]) -> None:
    """The commands one after another, by a process that gives up root's right to pass over permissions."""
    if os.geteuid() == 0:
        libc, rights = ctypes.CDLL(None), 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        version, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert libc.capget(version, sets) == 0
        for number in range(3):  # effective, permitted, inheritable
            sets[number] &= ~rights
        assert libc.capset(version, sets) == 0
    for arguments in commands:
        try:
            main(arguments)
        except SystemExit as ended:
            print(ended.code)


def test_what_can_not_be_read_or_written(tmp_path: Path) -> None:
    """Nor by root, where it gives up its right to pass over permissions."""
    sst(tmp_path / "trees", b"")
    (tmp_path / "trees" / "train.txt").chmod(0)
    (tmp_path / "locked").mkdir(mode=0o555)
    commands = [
        ["hydra.run.dir=locked/run"],
        ["hydra.run.dir=locked"],
        ["-m", "seed=0,1", "hydra.sweep.dir=locked"],
        ["dataset=sst", "dataset.root=trees"],
    ]
    process = Forked(bound_by_permissions, commands, folder=tmp_path)
    _, said = process.communicate(timeout=250)
    assert process.returncode == 0, said.decode()
    lines = [line for line in said.decode().splitlines() if line != "2"]
    assert len(said.decode().splitlines()) == 8, said.decode()
    assert len(lines) == 4, said.decode()
    assert all("output folder locked" in line.replace(f"{tmp_path}/", "") for line in lines[:3])
    assert all("Permission denied" in line for line in lines)
    assert "dataset.root: can't read trees/train.txt" in lines[3]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dev.txt", "locked", "test.txt", "train.txt", "trees"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
        if os.geteuid() or shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
            pytest.skip("a small disk can't be mounted here (needs root)")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], check=False, stderr=subprocess.DEVNULL)


def test_a_disk_that_is_full(small_disk: Callable[[int], Path]) -> None:
    folder = small_disk(8)
    (folder / "mine").write_bytes(bytes(8192))
    told(rnn_train(*SMALL, f"hydra.run.dir={folder}/run"), f"output folder {folder}/run: the disk is full", "free")
    assert [path.name for path in folder.iterdir()] == ["mine"]


@pytest.mark.parametrize("size", [32, 64])
def test_a_disk_that_fills_while_training(size: int, small_disk: Callable[[int], Path]) -> None:
    """32 kB are too few for two checkpoints, 64 kB for the tables. What did not fit is gone, so the record fits."""
    folder = small_disk(size)
    probe = ("probe.adjoint.every_n_steps=1", "trainer.max_steps=60", "probe=[adjoint]")
    ended = rnn_train(*SMALL, *probe, f"hydra.run.dir={folder}/run")
    assert ended.code == 2
    assert ended.out == ""
    assert f"failed: output folder {folder}/run: the disk is full" in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err
    record = runs.read(folder / "run")
    assert record.status == "failed"
    assert "Error" in str(record.error)


# Sweeps.


def test_an_unknown_option_stops_a_sweep_before_its_first_run(here: Path) -> None:
    told(rnn_train("-m", *SMALL, "model=rnn,lstmm", "seed=0,1"), "model: given 'lstmm'", "did you mean lstm?")
    told(rnn_train("-m", *SMALL, "dataset.lenght=10,20"), "dataset.lenght: unknown", "did you mean length?")
    assert not list(here.iterdir())


def test_a_bad_value_refuses_its_run_and_the_others_go_on(here: Path) -> None:
    ended = rnn_train("-m", *SMALL, "model.cell.hidden_size=3,0,4", "hydra.sweep.dir=sweep")
    assert ended.code == 2
    (refused,) = ended.err.splitlines()
    assert refused.startswith("rnn-train: #2/3 ")
    assert "refused: model.cell.hidden_size: given 0, expected an integer >= 1" in refused
    assert sorted(line[:4] for line in ended.out.splitlines()[:-1]) == ["#1/3", "#3/3"]
    assert ended.out.splitlines()[-1].startswith("3 runs in ")
    names = sorted(path.name.partition("-")[0] for path in (here / "sweep").iterdir() if path.name != "queue")
    assert names == ["0", "2"]


def test_a_sweep_of_bad_values_leaves_nothing(here: Path) -> None:
    ended = rnn_train("-m", *SMALL, "seed=x,-1", "hydra.sweep.dir=sweep")
    assert ended.code == 2
    assert ended.out == ""
    assert len(ended.err.splitlines()) == 2
    assert not list(here.iterdir())


RAISES = """
from rnn_research.clipping.none import NoClipping
class Mine(NoClipping):
    def forward(self, parameters):
        raise KeyError("boom")
"""


def test_a_run_that_raises_is_failed_and_the_others_go_on(own: Callable[..., Path], here: Path) -> None:
    folder = own(clipping__mine="# mine\n_target_: raises_in_training.Mine\n", raises_in_training=RAISES)
    sweep = ("-m", "clipping=none,mine", "seed=0,1", "hydra.sweep.dir=sweep")
    ended = rnn_train("--config-dir", str(folder), *SMALL, *sweep)
    assert ended.code == 1
    assert len(ended.out.splitlines()) == 3
    *failed, left = ended.err.splitlines()
    assert len(failed) == 2
    assert left.startswith("rnn-train: what is left: rnn-train --config-dir ")
    assert left.endswith("sweep retry=1")
    assert "Traceback" not in ended.err
    found = {run.name.partition("-")[0]: runs.read(run) for run in runs.find([here / "sweep"])}
    assert [found[number].status for number in "0123"] == ["done", "done", "failed", "failed"]
    assert found["2"].error == "KeyError: 'boom'"
    (log,) = (here / "sweep").glob("2-*/run.log")
    assert str(log.relative_to(here)) in ended.err
    assert 'raise KeyError("boom")' in log.read_text()
    assert "Traceback" in log.read_text()


BROKEN = """
from rnn_research.datasets.base import DataModule
class Mine(DataModule):
    def load(self):
        raise KeyError("no such column")
"""


def test_a_run_that_can_not_be_built_leaves_its_traceback(own: Callable[..., Path], here: Path) -> None:
    folder = own(dataset__mine="# mine\n_target_: cannot_load.Mine\n", cannot_load=BROKEN)
    ended = rnn_train("--config-dir", str(folder), "dataset=mine", "hydra.run.dir=run")
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert "failed: KeyError: 'no such column'" in ended.err
    assert 'raise KeyError("no such column")' in (here / "run" / "run.log").read_text()
