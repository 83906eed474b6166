"""What `rnn-train --help` prints: the config groups and their options, read from the yamls' first lines."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).parent / "conf"
CONF = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[1] / "conf"
"""The project's configs: inside the package where it is installed from a wheel, beside it in a checkout."""

GROUPS = (
    "model",
    "dataset",
    "structure",
    "init",
    "clipping",
    "regularizer",
    "optimizer",
    "probe",
    "trainer",
    "logger",
)
SCALARS = ("seed", "threads", "engine", "resume", "stop_when_solved", "trust")
"""What is at the top of a config; other keys are a user's own, and count where these refer to them."""

USAGE = """\
rnn-train: does the gradient vanish, and what does clipping do about it? One training, or a sweep of them.

usage: rnn-train [GROUP=OPTION ...] [KEY=VALUE ...]             one run
       rnn-train -m GROUP=OPTION,OPTION KEY=VALUE,VALUE ...     a sweep: every combination
       rnn-train experiment=NAME                                a study with a question
       rnn-train --config-dir FOLDER ...                        with your own options beside these
       rnn-train --cfg job ...                                  print the config, train nothing
       rnn-compare FOLDER                                       compare the runs in a folder

often used: model.cell.hidden_size=64 dataset.length=50 dataset.root=FOLDER dataset.batch_size=32
            clipping.max_norm=1.0 optimizer.lr=0.001 trainer.max_steps=500 trainer.max_epochs=10 seed=0
            model.match_parameters=20000 hydra.run.dir=FOLDER (with -m: hydra.sweep.dir=FOLDER)
"""


def config_dirs(arguments: list[str]) -> list[Path]:
    """The folders given with --config-dir (or -cd)."""
    found = []
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            found += [Path(value)] if equals else [Path(item) for item in arguments[index + 1 : index + 2]]
    return found


def options(folders: list[Path]) -> dict[str, dict[str, str]]:
    """Group -> option -> the first comment of its yaml. Options with names that begin with "_" are parts of others."""
    groups: dict[str, dict[str, str]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/*.yaml")):
            if not path.stem.startswith("_") and path.parent.name != "hydra":
                groups.setdefault(path.parent.name, {})[path.stem] = first_line(path)
    return groups


def first_line(path: Path) -> str:
    """The first comment of a yaml that is not a Hydra directive."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"(can't be read: {error.strerror})"
    for line in text.splitlines():
        if line.startswith("#") and not line.startswith("# @"):
            return line.lstrip("# ").strip()
        if line and not line.startswith("#"):
            break
    return ""


def help_text(arguments: list[str]) -> str:
    """The whole help."""
    lines = [USAGE]
    for group, members in options([CONF, *config_dirs(arguments)]).items():
        lines.append(f"{group}=")
        lines += [f"  {name:22} {line}" for name, line in sorted(members.items())]
        lines.append("")
    lines.append("init=, clipping=, regularizer= and probe= take lists, in order: clipping=[value,global_norm]")
    lines.append("in a list, an option's keys stand below its name: clipping.value.max_value=0.1")
    return "\n".join(lines)
