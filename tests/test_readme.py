"""The README is true: its map is the tree, its commands compose as typed, and its Python runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from composed import as_typed
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from rnn_research.cli.help import help_text
from rnn_research.errors import UsageError

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rnn_research"
README = (ROOT / "README.md").read_text("utf-8")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    found = [line.strip("|").split("|") for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in found][2:]


def commands() -> list[str]:
    """Every line of code that is a call of rnn-train, and the keys of each row of the table of overrides."""
    called = [line.strip() for line in README.splitlines() if re.match(r" {4}rnn-train ", line)]
    typed = [re.findall(r"`([^`]*=[^`]*)`", cells[0]) for cells in rows("Override")]
    return [*called, *(f"rnn-train {' '.join(keys)}" for keys in typed)]


def folders(parent: Path) -> set[str]:
    return {path.name for path in parent.iterdir() if path.is_dir() and any(path.glob("*.py"))}


def test_the_map_is_the_tree() -> None:
    paths = [re.match(r"`([^`]*)/`", cells[0]) for cells in rows("Map")]
    named = [path[1] for path in paths if path]
    assert len(named) == len(paths) == len(set(named))
    assert all((ROOT / path).is_dir() for path in named)
    rooms = {path.removeprefix("rnn_research/") for path in named if path.startswith("rnn_research/")}
    assert rooms == folders(PACKAGE)
    assert {path for path in named if "/" not in path} == {"conf", "docs", "tests", "benchmarks"}
    assert all(cells[1] for cells in rows("Map"))


def test_files_and_modules_that_the_text_names_exist() -> None:
    for text in (README, *(path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md"))):
        for path in re.findall(r"\b(?:rnn_research|conf|docs|tests|benchmarks)/[\w./]*\w", text):
            assert (ROOT / path).exists() or (ROOT / "docs" / path).exists(), path
        for module in re.findall(r"\bbenchmarks\.\w+", text):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), module
        for path in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / path).exists() or (ROOT / "docs" / path).exists(), path


def test_the_rooms_of_the_tests_are_those_of_the_package() -> None:
    assert folders(ROOT / "tests") - {"support", "browser"} <= folders(PACKAGE)


def test_the_commands_compose_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "clipping").mkdir(parents=True)
    half = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert half
    (tmp_path / "mine" / "clipping" / "half.yaml").write_text(half[1])
    wrong = []
    for command in commands():
        arguments = shlex.split(command.replace("FOLDER", "folder"), comments=True)[1:]
        if "dataset.length" in command:  # a row of keys that often are used
            arguments.append("dataset=adding")
        first = [re.sub(r"=([^\[,]*),.*", r"=\1", argument) for argument in arguments if argument != "-m"]  # of a sweep
        try:
            assert help_text(first) if "--help" in first else as_typed(first)
        except (UsageError, HydraException, OmegaConfBaseException) as error:
            wrong.append(f"{command}: {error}")
    assert len(commands()) > 30
    assert not wrong, "\n".join(wrong)


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", section("Engines"), re.DOTALL):
        exec(compile(block, "README.md", "exec"), {})
