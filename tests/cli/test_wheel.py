"""The wheel, away from the checkout: it brings its configs and types, and finds a user's configs too."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from folders import write_run

CHECKOUT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


def run(*command: str | Path, **options) -> str:
    """What the command printed; where it fails, the test fails with all of that."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, text=True, **streams, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the hatchling at hand: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    run(*PIP, "wheel", *offline, "--wheel-dir", folder, CHECKOUT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    # what is not imported need not be compiled
    run(*PIP, "install", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel, cwd=target)
    return target


def python(installed: Path, *arguments: str, cwd: Path) -> str:
    """Python with the wheel's package: PYTHONPATH comes before the editable install that runs this test."""
    return run(sys.executable, *arguments, cwd=cwd, env=os.environ | {"PYTHONPATH": str(installed)})


def test_the_wheel_carries_every_config_and_py_typed(wheel: Path):
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {f"rnn_research/{path.relative_to(CHECKOUT)}" for path in CHECKOUT.glob("conf/**/*.yaml")}
    assert "rnn_research/conf/train.yaml" in ours
    assert ours <= names
    assert "rnn_research/py.typed" in names


def test_the_wheel_carries_nothing_else(wheel: Path):
    with ZipFile(wheel) as archive:
        folders = {name.split("/")[0] for name in archive.namelist()}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"rnn_research", "hydra_plugins"}


def test_the_installed_package_is_the_one_that_runs(installed: Path, tmp_path: Path):
    where = python(installed, "-c", "import rnn_research; print(rnn_research.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed)


def helped(installed: Path, *arguments: str, cwd: Path) -> dict[str, dict[str, str]]:
    """Group -> option -> its line, as the wheel's help prints them."""
    groups: dict[str, dict[str, str]] = {}
    members: dict[str, str] = {}
    long = ""  # a name that fills its column has its line below
    for line in python(installed, "-m", "rnn_research.cli.train", *arguments, "--help", cwd=cwd).splitlines():
        if re.fullmatch(r"\w+=", line):
            members = groups.setdefault(line.removesuffix("="), {})
        elif option := re.fullmatch(r"  (\w+) *(.*)", line):
            members[option[1]] = option[2]
            long = "" if option[2] else option[1]
        elif long:
            members[long] = line.strip()
            long = ""
    return groups


def test_help_lists_every_group_and_option_of_the_wheel(installed: Path, tmp_path: Path):
    shown = helped(installed, cwd=tmp_path)
    expected: dict[str, set[str]] = {}
    for path in (CHECKOUT / "conf").glob("*/[!_]*.yaml"):
        expected.setdefault(path.parent.name, set()).add(path.stem)
    assert {"model", "dataset", "clipping", "probe", "trainer", "experiment"} <= set(expected)
    assert {group: set(members) for group, members in shown.items()} == expected
    assert all(line for members in shown.values() for line in members.values())


def test_help_lists_the_options_of_a_config_dir_of_ones_own(installed: Path, tmp_path: Path):
    own = tmp_path / "own"
    (own / "clipping").mkdir(parents=True)
    (own / "clipping" / "mine.yaml").write_text("# halves every gradient\n_target_: elsewhere.Mine\n")
    shown = helped(installed, "--config-dir", str(own), cwd=tmp_path)
    assert shown["clipping"]["mine"] == "halves every gradient"
    assert "global_norm" in shown["clipping"]


def test_the_installed_package_composes_its_configs(installed: Path, tmp_path: Path):
    shown = python(installed, "-m", "rnn_research.cli.train", "--cfg", "job", "model=lstm", "seed=7", cwd=tmp_path)
    assert "_target_: rnn_research.cells.lstm.LSTM" in shown
    assert "seed: 7" in shown.splitlines()
    assert not list(tmp_path.iterdir())


LIGHT = ("numpy", "scipy", "jaxtyping", "wadler_lindig")
"""What comparing needs; the last is jaxtyping's own. Figures need matplotlib too."""
HEAVY = ("torch", "lightning", "hydra", "omegaconf", "torchmetrics", "sklearn", "tqdm", "matplotlib")


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the light packages alone, and the libraries that they bring."""
    folder = tmp_path_factory.mktemp("light")
    for name in LIGHT:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        home = Path(spec.origin).parents[1]
        for path in (home / name, *home.glob(f"{name}.libs"), *home.glob(f"{name}-*.dist-info")):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    for seed in range(2):
        write_run(root / f"run{seed}", seed=seed)
    return root


SAID = {
    "{study} --no-figures --out {out}": "2 runs in 1 condition",
    "{study} --format latex": r"\begin{tabular}",
    "best {study}": "highest of 2 runs",
    "show {study}/run0": "vanishes over 31",
    "diff {study}/run0 {study}/run1": "second less first",
}
"""What a command says."""


def test_comparing_from_the_wheel_needs_nothing_that_trains(installed: Path, light: Path, study: Path, tmp_path: Path):
    typed = [[word.format(study=study, out=tmp_path / "out") for word in line.split()] for line in SAID]
    code = f"from rnn_research.cli.compare import main; print(*(main(one) for one in {typed}))"
    # -S: without site-packages, so that nothing else is there to be imported, as where nothing else is installed
    alone = os.environ | {"PYTHONPATH": f"{installed}{os.pathsep}{light}"}
    printed = run(sys.executable, "-S", "-c", code, cwd=tmp_path, env=alone)
    assert [said for said in SAID.values() if said not in printed] == []
    assert printed.splitlines()[-1] == "0 0 0 0 0"


def test_there_nothing_that_trains_could_be_imported(installed: Path, light: Path, tmp_path: Path):
    alone = os.environ | {"PYTHONPATH": f"{installed}{os.pathsep}{light}"}
    code = f"import importlib.util as u; print([name for name in {HEAVY} if u.find_spec(name)])"
    assert run(sys.executable, "-S", "-c", code, cwd=tmp_path, env=alone).strip() == "[]"
