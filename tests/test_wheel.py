"""The wheel, away from the checkout: it brings its configs and types, and finds a user's configs too."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
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
    run(*PIP, "install", "--no-deps", "--no-index", "--target", target, wheel, cwd=target)
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
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"rnn_research"}


def test_the_installed_package_is_the_one_that_runs(installed: Path, tmp_path: Path):
    where = python(installed, "-c", "import rnn_research; print(rnn_research.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed)


def test_help_lists_the_groups_of_the_wheel(installed: Path, tmp_path: Path):
    shown = python(installed, "-m", "rnn_research.train", "--help", cwd=tmp_path)
    for group in ("model", "dataset", "clipping", "probe", "trainer", "experiment"):
        assert f"{group}: " in shown


def test_help_lists_the_options_of_a_config_dir_of_ones_own(installed: Path, tmp_path: Path):
    own = tmp_path / "own"
    (own / "clipping").mkdir(parents=True)
    (own / "clipping" / "mine.yaml").write_text("_target_: elsewhere.Mine\n")
    shown = python(installed, "-m", "rnn_research.train", "--config-dir", str(own), "--help", cwd=tmp_path)
    (line,) = (line for line in shown.splitlines() if line.startswith("clipping: "))
    assert "mine" in line.split(": ")[1].split(", ")
