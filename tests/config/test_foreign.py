"""A config from elsewhere: no code runs from a yaml alone, and nothing secret is written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import SMALL, rnn_train

from rnn_research.config.compose import Composer
from rnn_research.config.queue import NotTrusted, QueueTrainer
from rnn_research.config.similar import as_plain
from rnn_research.sweeps import store
from rnn_research.sweeps.store import QueuedRun

C = '__attribute__((constructor)) void f(void) { fclose(fopen("MARK", "w")); }'
TOUCH = "{_target_: subprocess.run, args: [touch, MARK]}"
GLOBAL = "# @package _global_\n"
HYDRA = f"{GLOBAL}hydra:\n  "
PROFILER = "_target_: lightning.pytorch.profilers."

ATTACKS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    # the yaml's place, its text, the arguments that choose it
    "created": ("experiment", f"{GLOBAL}optimizer: '${{oc.create:TOUCH}}'\n", ()),
    "created inside": ("clipping", "_target_: rnn_research.clipping.none.NoClipping\nx: '${oc.create:TOUCH}'\n", ()),
    "decoded": ("clipping", "_target_: '${oc.decode:subprocess.run}'\nargs: [touch, MARK]\n", ()),
    "escaped": ("clipping", "_target_: '\\${oc.decode:subprocess.run}'\nargs: [touch, MARK]\n", ()),
    "escaped twice": (
        "clipping",
        "_target_: rnn_research.clipping.none.NoClipping\nx: '\\${oc.create:TOUCH}'\n",
        (),
    ),
    "by way of another key": ("experiment", f"{GLOBAL}evil: TOUCH\noptimizer: ${{evil}}\n", ()),
    "in a list": ("experiment", f"{GLOBAL}trainer:\n  plugins: [TOUCH]\n", ()),
    "beside what is allowed": (
        "probe",
        "x:\n  _target_: rnn_research.probes.adjoint.Adjoint\n  every_n_steps: TOUCH\n",
        (),
    ),
    "deep in torch": (
        "optimizer",
        "_target_: torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler\n"
        "entrypoint: touch\nargs: [MARK]\nenv: {}\nstdout: null\nstderr: null\nlocal_rank_id: 0\n",
        (),
    ),
    "a function of torch": ("init", "x:\n  _target_: torch.hub.load\n  repo_or_dir: here\n  source: local\n", ()),
    "a library's class of another kind": ("clipping", "_target_: torch.utils.data.DataLoader\ndataset: []\n", ()),
    "our compiler": (
        "init",
        f"x:\n  _target_: rnn_research.unroll.compiled.library.load\n  source: '#include <stdio.h>\n\n    {C}'\n"
        "  double: false\n",
        (),
    ),
    "our command": ("structure", "_target_: rnn_research.cli.train.main\nargv: []\n", ()),
    "our caller": ("init", "x:\n  _target_: rnn_research.config.instantiate.make\n  node: TOUCH\n  path: x\n", ()),
    "another's within ours": (
        "init",
        "x:\n  _target_: rnn_research.training.provenance.subprocess.run\n  args: [touch, MARK]\n",
        (),
    ),
    "positions": ("optimizer", "_target_: torch.optim.SGD\n_args_: [TOUCH]\n", ()),
    "no name": ("optimizer", "_target_: [subprocess.run]\nargs: [touch, MARK]\n", ()),
    "not a name": ("optimizer", "_target_: 'torch.optim.SGD '\n", ()),
    "trust": ("experiment", f"{GLOBAL}trust: [subprocess]\noptimizer: TOUCH\n", ()),
    "trust by reference": ("experiment", f"{GLOBAL}words: [subprocess]\noptimizer: TOUCH\n", ("trust=${words}",)),
    "trust in a sweep": (
        "experiment",
        f"{HYDRA}mode: MULTIRUN\n  sweeper:\n    params: {{trust: '[subprocess]'}}\n",
        (),
    ),
    "trust as a package": ("experiment", "# @package trust\nx: 1\n", ()),
    "callbacks": ("experiment", f"{HYDRA}callbacks:\n    x: TOUCH\n", ()),
    "callbacks as a package": (
        "experiment",
        "# @package hydra.callbacks.x\n_target_: subprocess.run\nargs: [touch, MARK]\n",
        (),
    ),
    "callbacks as a chosen package": (
        "clipping",
        "_target_: subprocess.run\nargs: [touch, MARK]\n",
        ("+clipping@hydra.callbacks.x=evil",),
    ),
    "the environment": ("experiment", f"{HYDRA}job:\n    env_set: {{LD_PRELOAD: /tmp/x.so}}\n", ()),
    "the environment of each run": (
        "experiment",
        f"{HYDRA}mode: MULTIRUN\n  sweeper:\n    params: {{+hydra.job.env_set.CC: touch MARK}}\n",
        (),
    ),
    "a key with a value": (
        "experiment",
        f"{HYDRA}mode: MULTIRUN\n  sweeper:\n    params: {{'+hydra.job.env_set.CC=touch MARK': 1}}\n",
        (),
    ),
    "a group within a sweep": (
        "experiment",
        f"{HYDRA}mode: MULTIRUN\n  sweeper:\n    params: {{'+clipping@hydra.callbacks.x': none}}\n",
        (),
    ),
    "a log": (
        "experiment",
        f"{HYDRA}job_logging:\n    version: 1\n    handlers: {{x: {{(): subprocess.run, args: [touch, MARK]}}}}\n",
        (),
    ),
    "a launcher": ("experiment", f"{HYDRA}launcher: TOUCH\n", ()),
    "experiments within an experiment": (
        "experiment",
        f"{HYDRA}mode: MULTIRUN\n  sweeper:\n    params: {{experiment: 'a,b'}}\n",
        (),
    ),
    "a launcher of its own": ("hydra/launcher", TOUCH, ("-m", "seed=0,1")),
    "a sweeper": ("experiment", f"{HYDRA}sweeper: TOUCH\n", ()),
    "all of hydra": ("experiment", f"{GLOBAL}hydra: '${{oc.create:{{callbacks: {{x: TOUCH}}}}}}'\n", ()),
    "a primary config": ("", "hydra:\n  searchpath: ['pkg://antigravity']\n", ("--config-name=evil",)),
    "names that are paths": (
        "probe",
        "../../x:\n  _target_: rnn_research.probes.gradient_norm.GradientNorm\n",
        (),
    ),
    "a profile elsewhere": (
        "experiment",
        f"{GLOBAL}trainer:\n  profiler: {{{PROFILER}SimpleProfiler, dirpath: MARK}}\n",
        (),
    ),
    "a profile by a path": (
        "experiment",
        f"{GLOBAL}trainer:\n  profiler: {{{PROFILER}SimpleProfiler, filename: ../../x}}\n",
        (),
    ),
    "a profile with a function": (
        "experiment",
        f"{GLOBAL}trainer:\n  profiler: {{{PROFILER}PyTorchProfiler, on_trace_ready: print}}\n",
        (),
    ),
    "no whole profiler": (
        "experiment",
        f"{GLOBAL}trainer:\n  profiler: {{{PROFILER}SimpleProfiler, _partial_: true}}\n",
        (),
    ),
    "a profiler of TPUs": ("experiment", f"{GLOBAL}trainer:\n  profiler: {{{PROFILER}XLAProfiler}}\n", ()),
    "no profiler": (
        "experiment",
        f"{GLOBAL}trainer:\n  profiler:\n    _target_: torch.nn.modules.linear.Linear\n    in_features: 1\n"
        "    out_features: 1\n",
        (),
    ),
    "a name with a dot": ("regularizer", "a.b:\n  _target_: rnn_research.regularizers.spectral.Spectral\n", ()),
}


def choose(folder: Path, place: str, text: str) -> list[str]:
    """Write the yaml, and give the arguments that choose it."""
    mark = str(folder / "executed")
    path = folder / "own" / place / "evil.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("TOUCH", TOUCH).replace("MARK", mark), encoding="utf-8")
    chosen = [f"{place}=[evil]" if place in ("init", "clipping", "probe", "regularizer") else f"{place}=evil"]
    return ["--config-dir", str(folder / "own"), *(chosen if place else [])]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", ATTACKS)
def test_no_code_runs_from_a_yaml_alone(case: str, here: Path) -> None:
    """And the refusal is one line, before anything is written."""
    place, text, arguments = ATTACKS[case]
    ended = rnn_train(*choose(here, place, text), *(SMALL if place != "" else ()), *arguments)
    assert ended.code == 2, (ended.out, ended.err)
    assert ended.err.startswith("rnn-train: ")
    assert ended.err.count("\n") == 1
    assert [path.name for path in here.iterdir()] == ["own"]


def test_a_file_called_as_a_module_of_python_makes_that_module_nobodys_own(here: Path) -> None:
    arguments = choose(here, "optimizer", "_target_: subprocess.Popen\nargs: [touch, MARK]\n")
    (here / "own" / "subprocess.py").write_text("")
    ended = rnn_train(*arguments, *SMALL)
    assert (ended.code, (here / "executed").exists()) == (2, False)
    assert "optimizer._target_: given 'subprocess.Popen'" in ended.err


def test_what_the_command_line_trusts_is_called(here: Path) -> None:
    arguments = choose(here, "experiment", f"{HYDRA}job:\n    env_set: {{RNN_RESEARCH_X: '1'}}\n")
    ended = rnn_train(*arguments, *SMALL, "trust=[hydra]", "engine=reference", "trainer.max_steps=1")
    assert ended.code == 0, ended.err
    ended = rnn_train(*choose(here, "dataset", "_target_: collections.Counter\n"), "trust=[collections]")
    assert "dataset._target_: given 'collections.Counter', expected a DataModule" in ended.err


def test_a_yaml_from_elsewhere_may_say_where_runs_lie_and_what_is_swept(here: Path) -> None:
    text = f"{HYDRA}mode: MULTIRUN\n  sweep:\n    dir: swept\n  sweeper:\n    params: {{seed: '0,1'}}\n"
    ended = rnn_train(*choose(here, "experiment", text), *SMALL, "engine=reference", "trainer.max_steps=1")
    assert ended.code == 0, ended.err
    assert len(list((here / "swept").glob("*/run.json"))) == 2


def test_a_file_is_never_unpickled(here: Path) -> None:
    (here / "config.pickle").write_bytes(b"cposix\nsystem\n(S'touch executed'\ntR.")
    for flag in ("--experimental-rerun", "--experimental-rer"):
        ended = rnn_train(flag, "config.pickle")
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "--experimental-rerun: not supported" in ended.err
    assert [path.name for path in here.iterdir()] == ["config.pickle"]


@pytest.mark.parametrize("swept", [False, True])
def test_what_came_from_the_environment_is_used_and_not_written_down(swept: bool, here: Path) -> None:
    """Not by way of another key, nor of a sweep."""
    reads = "NO_SUCH_VARIABLE,chain"  # a default counts as what the environment gives
    yaml = f"{GLOBAL}token: ${{oc.env:{reads}}}\nmine: x-${{token}}\nengine: reference\n"
    yaml += "logger:\n  csv:\n    name: ${token}\n"
    yaml += "    _target_: lightning.pytorch.loggers.CSVLogger\n    _partial_: true\n    version: ${mine}\n"
    if swept:
        yaml += "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      logger.csv.prefix: ${token}\n"
        yaml = yaml.replace("    version:", "    prefix: ''\n    version:")
    arguments = choose(here, "experiment", yaml)
    ended = rnn_train(*arguments, *SMALL, "trainer.max_steps=1", "trust=[environment]")
    assert ended.code == 0, ended.err
    (path,) = here.rglob("run.json")
    record = json.loads(path.read_text())
    assert record["config"]["logger"]["csv"]["name"] == "${token}"
    assert record["config"]["token"] == "${oc.env:" + reads + "}"
    assert (path.parent / "chain" / "x-chain").is_dir()  # it is used
    assert "x-chain" not in path.read_text()
    assert ("logger.csv.prefix=${token}" in record["overrides"]) == swept


SECRET = "rnn-research-secret"
READS = {
    "plainly": ("dataset", "_target_: x\nurl: 'http://HOST/${oc.env:SECRET}/x'\n", "dataset.url"),
    "in a list": ("logger", "x:\n  tags: [a, '${oc.env:SECRET}']\n", "logger.x.tags.1"),
    "with a default": ("experiment", f"{GLOBAL}threads: ${{oc.env:SECRET,1}}\n", "threads"),
    "decoded": ("clipping", "a: '${oc.decode:\"${oc.env:SECRET}\"}'\n", "clipping.a"),
    "by another's name": ("experiment", f"{GLOBAL}a: oc\nb: ${{${{a}}.env:SECRET}}\n", "b"),
    "escaped": ("experiment", f"{GLOBAL}a: '\\${{oc.env:SECRET}}'\n", "a"),
    "in a folder's name": ("experiment", f"{HYDRA}run:\n    dir: x-${{oc.env:SECRET}}\n", "hydra.run.dir"),
    "swept": (
        "experiment",
        f"{HYDRA}mode: MULTIRUN\n  sweeper:\n    params: {{dataset.root: '${{oc.env:SECRET}}'}}\n",
        "hydra.sweeper.params.dataset.root",
    ),
}


@pytest.mark.parametrize("case", READS)
def test_a_yaml_from_elsewhere_reads_nothing_of_the_environment(case: str, here: Path) -> None:
    """A server of a stranger's would be sent it, as a part of an address."""
    place, text, key = READS[case]
    arguments = choose(here, place, text)
    small = [one for one in SMALL if place != "dataset" or not one.startswith("dataset")]
    ended = rnn_train(*arguments, *small, env={"SECRET": SECRET})
    said = f"rnn-train: {key}: reads the environment, which a yaml from elsewhere can't"
    assert (ended.code, ended.err.count("\n")) == (2, 1), ended.err
    assert said in ended.err
    assert SECRET not in ended.err
    assert [path.name for path in here.iterdir()] == ["own"]
    assert "reads the environment" not in rnn_train(*arguments, *small, "trust=[environment]", "+no=1", "--cfg=job").err


def test_what_is_typed_reads_the_environment_beside_a_yaml_from_elsewhere(here: Path) -> None:
    """Also where the yaml takes it up; a queue that does needs a word for it on another's machine."""
    arguments = choose(here, "experiment", f"{GLOBAL}threads: ${{mine}}\n")
    typed = ["+mine='${oc.decode:${oc.env:MINE}}'", "engine=reference", "trainer.max_steps=1", "hydra.sweep.dir=s"]
    ended = rnn_train(*arguments, *SMALL, *typed, "seed=0,1", "-m", env={"MINE": "1"})
    assert ended.code == 0, ended.err
    record = json.loads(next(here.rglob("run.json")).read_text())
    assert (record["config"]["mine"], record["config"]["threads"]) == ("${oc.decode:${oc.env:MINE}}", "${mine}")


def test_a_queue_reads_nothing_of_the_environment(here: Path) -> None:
    spec = as_plain(Composer().run(["dataset=adding", "+mine=${oc.env:HOME}"]))
    run = QueuedRun(here, "0" * 20, "run", 0, "")
    store.add(run, spec)
    with pytest.raises(NotTrusted, match=r"mine reads the environment of this machine; add --trust"):
        QueueTrainer()._spec(run)
    assert as_plain(QueueTrainer(trust=True)._spec(run)) == spec


def test_no_sign_reaches_the_terminal_that_it_would_obey(here: Path) -> None:
    arguments = choose(here, "clipping", "# a \x1b]0;title\x07 b\nx: 1\n")
    shown = rnn_train(*arguments[:2], "--help").out
    refused = rnn_train(*choose(here, "clipping", '# mine\n_target_: "\\e[31m"\n'), *SMALL).err
    for said in (shown, refused):
        assert "\x1b" not in said
        assert "\\x1b" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "a0: &a0 [1, 2]\n" + "".join(f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 9)}]\n" for k in range(9)),
            "aliases",
        ),
        ("a: " + "[" * 3000 + "]" * 3000 + "\n", "nested more than 50 deep"),
        (b"\xff\xfe\x00", "byte 0 is not UTF-8"),
    ],
)
def test_a_yaml_that_would_take_for_ever_or_is_no_text_is_named(here: Path, content: str | bytes, said: str) -> None:
    (here / "own" / "clipping").mkdir(parents=True, exist_ok=True)
    path = here / "own" / "clipping" / "bomb.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = rnn_train("--config-dir", "own", "clipping=bomb")
    assert ended.code == 2
    assert ended.err.startswith("rnn-train: own/clipping/bomb.yaml: ")
    assert said in ended.err
    assert ended.err.count("\n") == 1
