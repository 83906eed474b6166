"""What makes two trainings the same: which keys of a config change the numbers, and how a run is told from others.

Resuming, comparing and sweeping read this one table. They read the composed config, and not what was typed: a default
that is left out, `0.001` and `1e-3` are the same training.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from rnn_research.records.canonical import canonical, leaves

GROUPS = (
    "model",
    "dataset",
    "structure",
    "architecture",
    "init",
    "clipping",
    "regularizer",
    "optimizer",
    "scheduler",
    "probe",
    "trainer",
    "logger",
)
SCALARS = (
    "seed",
    "threads",
    "engine",
    "resume",
    "stop_when_solved",
    "stop_when",
    "stop_when_patience",
    "stop_when_min_delta",
    "keep_best",
    "checkpoint",
    "trust",
)
"""What is at the top of a config; other keys are a user's own, and count where these refer to them."""
LISTS = {"init": "default", "clipping": "none", "regularizer": "none", "probe": "none", "logger": "none"}
"""Groups that take several options, and what their having none is called."""

Change = Literal["numbers", "rounding", "length", "measured", "seed", "source", "watching", "speed", "place", "command"]


@dataclass(frozen=True)
class KeyRule:
    """What the keys that match a pattern change, and why."""

    pattern: str
    change: Change
    reason: str


TABLE = (
    KeyRule(r"seed", "seed", "tells the runs of one condition apart"),
    KeyRule(
        r"trainer\.((max|min)_(steps|epochs)|max_time|detect_anomaly)|stop_when\w*",
        "length",
        "when training ends: a longer one takes the shorter one's steps first",
    ),
    KeyRule(
        r"trainer\.(val_check_interval|check_val_every_n_epoch|limit_(val|test)_batches)|keep_best",
        "measured",
        "when, on how much and at which step it is measured; training stays the same",
    ),
    KeyRule(
        r"trainer\.(accelerator|devices|num_nodes|strategy|deterministic|benchmark)",
        "rounding",
        "the machine: it takes the same sums in another order",
    ),
    KeyRule(r"trainer\.(log_every_n_steps|profiler|enable_\w+)", "watching", "what is written down while it trains"),
    KeyRule(r"(probe|logger)(\..*)?", "watching", "reads the training and changes nothing of it"),
    KeyRule(
        r"threads|checkpoint(\..*)?|dataset\.num_workers|trainer\.inference_mode",
        "speed",
        "how fast the same numbers come",
    ),
    KeyRule(r"dataset\.(root|cache|url)", "place", "where the data lie: their fingerprint says which they are"),
    KeyRule(r"trainer\.default_root_dir", "place", "where files are written"),
    KeyRule(
        r"dataset\.(\w*(dir|path|folder)|vectors)",
        "source",
        "perhaps where a user's own data lie: the fingerprint decides whether a run goes on, and a comparison shows it",
    ),
    KeyRule(r"resume|trust|experiment|hydra(\..*)?", "command", "asked of the command, not of the training"),
    KeyRule(r"(.*\.)?_(partial|convert|recursive)_", "command", "how Hydra makes the objects"),
)
"""What keys change, the first match counts; a key that none matches changes the numbers, whatever its name is."""

LEFT_OUT = ("seed", "watching", "speed", "place", "command")
"""Changes that make no other condition: runs that differ in these alone are averaged."""
MAY_DIFFER = ("rounding", "length", "measured", "source", "watching", "speed", "place", "command")
"""Changes in spite of which a run may go on from another's checkpoint."""
BEFORE: dict[str, Any] = {
    "stop_when_solved": False,
    "stop_when": None,
    "stop_when_patience": 10,
    "stop_when_min_delta": 0.0,
    "keep_best": "auto",
    "checkpoint.every_seconds": 10,
    "trainer.val_check_interval": 1.0,
    "model.pooling": "last",
    "model.input_dropout": 0.0,
    "model.output_dropout": 0.0,
    "architecture._target_": "rnn_research.models.architectures.automatic.automatic_architecture",
    "architecture._partial_": True,
    "model.tie_weights": False,
    "scheduler._target_": "rnn_research.models.schedules.NoSchedule",
    "dataset.vectors": None,
    "dataset.freeze_vectors": False,
    "model.bidirectional": False,
    "model.frame_features": 64,
    "architecture.scheduled_sampling": 0,
    "architecture.scheduled_sampling_rise": 0,
    "dataset.tempo": 0.0,
    "dataset.warp": 0.0,
    "dataset.level": None,
}
"""What runs did before these keys were there to choose: no data of theirs named a metric for `keep_best=auto`."""
LIMITS = ("trainer.max_steps", "trainer.max_epochs")
"""How long a run goes on: another with larger ones may go on where it ended."""
CHOSEN_BEFORE = {"scheduler": "none"}
"""The options that runs had of groups before these were there to choose from."""


@cache
def change_of(key: str) -> Change:
    """What a key of the config changes."""
    for rule in TABLE:
        if re.fullmatch(rule.pattern, key):
            return rule.change
    return "numbers"


def is_factor(key: str) -> bool:
    """Whether runs that differ in this key are of different conditions."""
    return change_of(key) not in LEFT_OUT


def may_differ(key: str) -> bool:
    """Whether a run may go on from the checkpoint of one that has another value of this key.

    A key at the top that is a user's own counts where the project's keys refer to it.
    """
    return key.partition(".")[0] not in (*GROUPS, *SCALARS) or change_of(key) in MAY_DIFFER


def values_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a composed config trains with, by dotted key.

    Values for an option that was not chosen are left out: an experiment may have some for a strategy that the command
    line replaced. So are the project's own options that do nothing, which may stand in a config or not.
    """
    chosen = {
        group: {name: node[name] for name in selected(node) if not (name == nothing and _own(node[name]))}
        for group, nothing in LISTS.items()
        if isinstance(node := config.get(group), Mapping) and "_target_" not in node
    }
    found = {**BEFORE, **leaves({**config, **chosen})} if config else {}
    return {key: value for key, value in found.items() if value != {} or key not in LISTS}


def selected(node: Mapping[str, Any]) -> list[str]:
    """The options that the config of a group holds, in order."""
    return [str(name) for name, option in node.items() if isinstance(option, Mapping) and "_target_" in option]


def _own(option: Mapping[str, Any]) -> bool:
    return str(option["_target_"]).startswith("rnn_research.")


def identity_of(
    config: Mapping[str, Any],
    choices: Mapping[str, Any],
    overrides: Sequence[str],
    *,
    structure: str | None = None,
    config_dirs: Sequence[str] = (),
) -> dict[str, Any]:
    """What a record holds of the command: `choices`, `overrides` and `config`, by these names.

    Args:
        config: composed and resolved; what came from the environment stands in it as it was written.
        choices: Hydra's, the option by group.
        overrides: as they were typed, with `+` and `~`; those of Hydra, which say where a run lies, are left out.
        structure: the name of the layout that `auto` stands for.
        config_dirs: what was given with --config-dir.
    """
    chosen = {key: str(value) for key, value in choices.items() if not key.startswith("hydra/")}
    chosen = {key: value for key, value in chosen.items() if value != "None"}
    for group, nothing in LISTS.items():
        node = config.get(group)
        if isinstance(node, Mapping) and "_target_" in node:
            continue  # an option whose keys are the group's own
        chosen[group] = "+".join(selected(node) if isinstance(node, Mapping) else ()) or nothing
    if structure is not None:
        chosen["structure"] = structure
    typed = [text for text in overrides if not text.lstrip("+~").startswith(("hydra.", "hydra/"))]
    return {
        "choices": chosen,
        "overrides": [*(f"--config-dir={folder}" for folder in config_dirs), *typed],
        "config": dict(config),
    }


def digest(config: Mapping[str, Any], leave_out: Sequence[Change] = ("speed", "place", "command")) -> str:
    """A text of 20 signs that two composed configs share exactly where they train the same.

    Args:
        config: composed and resolved, as in a record.
        leave_out: changes that make no other training.
    """
    return _hashed(_lines(config, leave_out).values())


def digests(config: Mapping[str, Any]) -> tuple[str, str]:
    """The digest of a config, and the one that it shares with those that train as it does for more steps or fewer."""
    lines = _lines(config, ("speed", "place", "command"))
    return _hashed(lines.values()), _hashed(line for key, line in lines.items() if key not in LIMITS)


def _lines(config: Mapping[str, Any], leave_out: Sequence[Change]) -> dict[str, str]:
    """A line for each value that a config trains with, by its key, in order."""
    values = {key: value for key, value in values_of(config).items() if change_of(key) not in leave_out}
    return {key: f"{key}={_one_text(canonical(value, key))}" for key, value in sorted(values.items())}


def _hashed(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _one_text(form: Any) -> str:
    """The same text for equal canonical forms: 1 and 1.0 are equal."""
    if isinstance(form, tuple):
        return f"({','.join(map(_one_text, form))})"
    if isinstance(form, float) and form.is_integer():
        return repr(int(form))
    return repr(form)
