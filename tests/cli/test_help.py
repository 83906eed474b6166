"""The help: what it says of options, keys and stages is what the yamls say, and what a composed config holds."""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import rnn_train
from composed import as_typed, compose_each_option, option_node
from hydra.errors import HydraException
from hydra.utils import get_class
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_research.cli.help import STAGES, WIDTH, help_text
from rnn_research.cli.sweep_options import HELP
from rnn_research.clipping import BackwardStrategy
from rnn_research.config import groups
from rnn_research.config.groups import CONF, options
from rnn_research.config.option_text import option_path, read_option, read_study
from rnn_research.errors import UsageError
from rnn_research.records.identity import SCALARS

OPTIONS = [(group, name) for group, members in options([CONF]).items() for name in members]
DOCS = Path(__file__).parents[2] / "docs"


def leaves(node: Any, path: str = "") -> Iterator[str]:
    """The keys below a node that a user may set."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}{key}.")
        elif not key.startswith("_"):
            yield f"{path}{key}"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder: an option of its own, and one with the name of a built-in one."""
    for group, name, text in (
        ("clipping", "half", "# half of every gradient\nhalf:\n  _target_: half.Half\n  share: 0.5 # what is left\n"),
        ("clipping", "zclip", "# another zclip\nzclip:\n  _target_: half.ZClip\n  # how much\n  # is left\n  z: 2\n"),
        ("dataset", "mine", "# my data\ndefaults: [_dataset, _self_]\n_target_: mine.Data\nbatch_size: 8\n"),
    ):
        (tmp_path / group).mkdir(exist_ok=True)
        (tmp_path / group / f"{name}.yaml").write_text(text)
    return tmp_path


# The whole help.


def test_no_line_is_longer_than_a_terminal_is_wide() -> None:
    for arguments in ([], [f"{group}={name}" for group, name in OPTIONS]):
        assert max(map(len, help_text(arguments).splitlines())) <= WIDTH == 100


def test_the_keys_that_belong_to_no_group_are_there_with_their_meaning() -> None:
    section = help_text([]).split("keys that belong to no group:\n")[1].split("\n\n")[0]
    train = OmegaConf.load(CONF / "train.yaml")
    keys = [key for key in train if key not in ("defaults", "hydra")]
    assert set(keys) == set(SCALARS)
    named = re.findall(r"^  ([\w.]+)=\S+ +\w", section, re.MULTILINE)
    assert list(dict.fromkeys(name.partition(".")[0] for name in named)) == keys


def test_what_a_sweep_may_be_told_is_there() -> None:
    section = help_text([]).split("of a sweep as a whole (-m):\n")[1].split("\n\n")[0]
    assert re.findall(r"^  (\w+)=\S+ +\w", section, re.MULTILINE) == list(HELP)
    assert "a process for each core" in help_text(["workers"])


def test_help_imports_neither_torch_nor_lightning_nor_hydra() -> None:
    heavy = "{'torch', 'lightning', 'hydra', 'omegaconf', 'numpy'}"
    said = f"import sys; from rnn_research.cli.help import help_text; help_text([]); print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", said], capture_output=True, text=True).stdout == "set()\n"


def table(column: str) -> dict[str, str]:
    """Option -> stage, as a table of docs/strategies.md has them."""
    found, stage = {}, ""
    rows = (DOCS / "strategies.md").read_text("utf-8").split(column)[1].split("\n\n")[0].splitlines()
    for row in rows:
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) > 3:
            stage = cells[1] or stage
            found |= dict.fromkeys(re.findall(r"`(\w+)`", cells[2]), stage)
    return found


@pytest.mark.parametrize("group", STAGES)
def test_the_stages_are_those_of_the_documentation_and_of_the_classes(group: str) -> None:
    names = [name for other, name in OPTIONS if other == group and name != "none"]
    texts = {name: read_option(CONF / group / f"{name}.yaml", [CONF]) for name in names}
    stages = {name: text.stage for name, text in texts.items()}
    assert stages == table(f"`{group}=` |")
    assert set(stages.values()) == set(STAGES[group])
    for name in names if group == "clipping" else ():
        target = OmegaConf.load(CONF / group / f"{name}.yaml")[name]._target_
        inside = stages[name] in ("inside backpropagation", "the graph")
        assert issubclass(get_class(target), BackwardStrategy) == inside, name


@pytest.mark.parametrize("group", STAGES)
def test_an_option_stands_below_its_stage(group: str) -> None:
    section = help_text([]).split(f"\n{group}=\n")[1].split("\n\n")[0]
    stage, found = "", {}
    for line in section.splitlines():
        if heading := re.fullmatch(r"  -- (.*)", line):
            stage = heading[1]
        elif name := re.match(r"  (\w+)", line):
            found[name[1]] = stage
    assert found == {name: read_option(CONF / group / f"{name}.yaml", []).stage for name in options([CONF])[group]}


# One option.


@pytest.mark.parametrize(("group", "name"), [one for one in OPTIONS if one[0] != "experiment"])
def test_every_key_of_an_option_is_there_with_its_meaning(group: str, name: str) -> None:
    keys = read_option(CONF / group / f"{name}.yaml", [CONF]).keys
    assert all(key.meaning for key in keys), [key.name for key in keys if not key.meaning]
    node = OmegaConf.to_container(option_node(group, name))
    expected = {key for key in leaves(node) if ".strategies." not in key}
    assert {key.name for key in keys} == expected
    shown = help_text([f"{group}={name}"])
    assert all(f"  {group}.{key.name}={key.default}" in shown for key in keys)


def test_one_option_says_what_each_of_its_keys_means() -> None:
    shown = help_text(["clipping=value"])
    assert shown.splitlines() == [
        "clipping=value: each component of the gradient is clamped to [-max_value, max_value] (Mikolov 2012)",
        "  acts on: the parameters' gradient",
        "    rnn-train clipping=value clipping.max_value=0.1",
        "",
        "  clipping.value.max_value=1.0  the threshold of each component; inf: no clipping",
        "",
        "  Where value is the only option, its name may be left out: clipping.max_value=1.0",
        "",
        "rnn-train --help lists every group and option",
    ]


def test_several_may_be_asked_for_in_any_way_that_a_command_has_them() -> None:
    for arguments in (["clipping=[value,agc]", "model=lstm"], ["-m", "clipping=value,agc", "+model=lstm", "a.b=3"]):
        opened = re.findall(r"^(\w+=\w+): ", help_text(arguments), re.MULTILINE)
        assert opened == ["clipping=value", "clipping=agc", "model=lstm"]
    assert help_text(["agc"]) == help_text(["clipping=agc"])
    assert help_text(["init=none"]) == help_text(["init=default"])
    assert help_text(["probe"]).startswith("probe=\n  adjoint ")
    assert help_text(["seed"]).startswith("  seed=0  the seed of ")
    assert help_text(["--cfg", "job", "model.num_layers=2", "hydra.run.dir=x"]) == help_text([])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("clipping=zclp", "clipping: given 'zclp', expected one of adagc, "),
        ("clipping=zclp", "(did you mean zclip?)"),
        ("zclp", "--help: given 'zclp', expected a group or GROUP=OPTION (did you mean zclip?)"),
    ],
)
def test_an_option_that_there_is_not_is_a_mistake(argument: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        help_text([argument])
    ended = rnn_train("--help", argument)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert said in ended.err


# A user's own options.


def test_a_users_option_is_shown_with_its_keys(own: Path) -> None:
    assert re.search(r"^  half +half of every gradient$", help_text(["--config-dir", str(own)]), re.MULTILINE)
    shown = help_text([f"--config-dir={own}", "clipping=half", "dataset=mine"])
    assert f"  in {own / 'clipping' / 'half.yaml'}\n" in shown
    assert re.search(r"^  clipping\.half\.share=0\.5 +what is left$", shown, re.MULTILINE)
    assert re.search(r"^  dataset\.batch_size=8 +samples a batch$", shown, re.MULTILINE)
    assert re.search(r"^  dataset\.num_workers=0 +processes that ", shown, re.MULTILINE)


def test_a_users_option_with_a_built_in_name_is_the_one_that_is_shown(own: Path) -> None:
    path = own / "clipping" / "zclip.yaml"
    lines = " ".join(help_text(["--config-dir", str(own)]).split())
    assert f" zclip another zclip ({path}, in place of the built-in option) " in lines
    shown = help_text(["--config-dir", str(own), "clipping=zclip"])
    assert shown.startswith("clipping=zclip: another zclip\n")
    assert re.search(r"^  clipping\.zclip\.z=2 +how much is left$", shown, re.MULTILINE)
    assert "alpha" not in shown


# What the yamls in conf/ say.


@pytest.mark.parametrize("experiment", options([CONF])["experiment"])
def test_an_experiment_opens_with_its_question_and_its_grid(experiment: str) -> None:
    path = CONF / "experiment" / f"{experiment}.yaml"
    question, grid, *_ = read_option(path, [CONF]).header
    assert question.endswith("?")
    counts = [len(values) for values in read_study(path)[1].values()]
    found = re.fullmatch(r"Grid: (.*) = (\d+) runs\.", grid)
    assert found, grid
    assert [int(part.split()[0]) for part in found[1].split(" x ")] == counts
    assert int(found[2]) == math.prod(counts)


def commands() -> Iterator[tuple[str, list[str]]]:
    for group, name in OPTIONS:
        path = option_path(group, name, [CONF])
        assert path is not None
        for line in read_option(path, [CONF]).header:
            if line.strip().startswith("rnn-train"):
                yield f"{group}={name}", shlex.split(line.replace("FOLDER", "."), comments=True)[1:]


def test_the_commands_in_conf_compose_as_typed() -> None:
    """What a command is an example of, it also chooses."""
    compose_each_option()
    found, wrong = list(commands()), []
    assert len({option for option, _ in found}) > 100
    for option, arguments in found:
        try:
            as_typed(arguments)
        except (UsageError, HydraException, OmegaConfBaseException) as error:
            wrong.append(f"{' '.join(arguments)}: {error}")
        group, _, name = option.partition("=")
        chosen = [value for key, _, value in (item.partition("=") for item in arguments) if key == group]
        if not any(name in re.split(r"[\[\],]", value) for value in chosen) and group != "trainer":
            wrong.append(f"{' '.join(arguments)}: does not choose {option}")
    assert not wrong, "\n".join(wrong)


def test_a_pipe_called_as_a_yaml_is_no_option_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "clipping").mkdir()
    os.mkfifo(tmp_path / "clipping" / "half.yaml")
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("waited"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1)
        assert groups.options([tmp_path]) == {}
        assert "can't be read" in groups.first_line(tmp_path / "clipping" / "half.yaml")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
