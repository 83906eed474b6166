"""What varies between runs: the option of a config group, or a value."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rnn_research.records.runs import RunRecord

ABSENT = "–"
CLIPPING = "clipping"
# What changes no number of a training: where it writes, what watches it, its processes and threads.
IRRELEVANT = re.compile(
    r"^(seed|name|threads|trust|experiment|logger|probe|resume|hydra)(\.|$)"
    r"|(^|\.)(num_workers|root|cache|url|\w*(dir|path|folder)|enable_\w+|log_every_n_steps)$"
)
# What runs did before these values could be chosen: of a record that does not name one.
BEFORE = {"stop_when_solved": "false", "trainer.val_check_interval": "1.0"}
SEED = re.compile(r"(^|[._])seed$")
OF_THE_SEED = re.compile(r"\$\{[^{}]*\bseed\}")


@dataclass(frozen=True)
class Factors:
    """The factors that vary among some runs, and the ones that don't.

    A condition is one option of each varying factor.
    """

    varying: tuple[str, ...]
    constant: dict[str, str]

    def condition(self, record: RunRecord) -> tuple[str, ...]:
        """The option `record` has of each varying factor."""
        return tuple(option(record, factor) for factor in self.varying)


def factors_of(records: Sequence[RunRecord]) -> Factors:
    """The factors of `records`: every key of their `factors`, the model's first and clipping's last.

    Within a condition the configs must agree too. Where they don't (a value set in an experiment's yaml, a
    default that has changed since), the keys that differ are factors as well, so that different runs are
    never averaged. A key that repeats the run's seed is none, but only where it is a seed itself, by its
    name (`dataset.seed`) or as an interpolation of the seed: `model.num_layers` is a factor, whatever its
    values.
    """
    named = dict.fromkeys(key for record in records for key in record.factors if not IRRELEVANT.search(key))
    options = {key: [option(record, key) for record in records] for key in named}
    seeds = [str(record.seed) for record in records]
    varying = [
        key
        for key, values in options.items()
        if len(set(values)) > 1 and not (_is_seed(key, records) and _follow(values, seeds, ABSENT))
    ]
    constant = {key: values[0] for key, values in options.items() if len(set(values)) == 1}
    unnamed = _disagreements(records, Factors(tuple(varying), constant), seeds)
    return Factors(tuple(sorted([*varying, *unnamed], key=_place)), constant)


def option(record: RunRecord, factor: str) -> str:
    """What `record` has for `factor`: as chosen or overridden, else as its whole config says."""
    chosen = record.factors.get(factor)
    return str(chosen) if chosen is not None else configured(record).get(factor, ABSENT)


def configured(record: RunRecord) -> dict[str, str]:
    """The leaves of a record's config, by dotted key."""
    return BEFORE | flat(record.config)


def flat(config: Any, prefix: str = "") -> dict[str, str]:
    """The leaves of a nested config as text, by dotted key: `{"model": {"cell": 1}}` -> `{"model.cell":
    "1"}`."""
    if isinstance(config, dict) and config:
        items = (flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in config.items())
        return {key: value for item in items for key, value in item.items()}
    return {prefix: _text(config)} if prefix else {}


def is_of_clipping(factor: str) -> bool:
    """Whether a factor is the clipping strategy or a value of it."""
    return factor.partition(".")[0] == CLIPPING


def short(factors: Sequence[str]) -> dict[str, str]:
    """A name for each factor that is as short as it can be without two being the same:
    `model.cell.hidden_size` is `hidden_size`."""
    names = {}
    for factor in factors:
        parts = factor.split(".")
        tails = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        alone = (tail for tail in tails if sum(f".{other}".endswith(f".{tail}") for other in factors) == 1)
        names[factor] = next(alone, factor)  # one factor may be the end of another's name
    return names


def _place(factor: str) -> int:
    """The model first and clipping last: the question is what clipping does to a model."""
    return 2 if is_of_clipping(factor) else int(factor.partition(".")[0] != "model")


def _disagreements(records: Sequence[RunRecord], factors: Factors, seeds: list[str]) -> list[str]:
    groups: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    configs = [configured(record) for record in records]
    for record, config in zip(records, configs, strict=True):
        groups[factors.condition(record)].append(config)
    keys = dict.fromkeys(key for config in configs for key in config if not IRRELEVANT.search(key))
    return [
        key
        for key in keys
        if key not in factors.varying
        and not (_is_seed(key, records) and _follow([config.get(key) for config in configs], seeds, None))
        and any(len({config.get(key) for config in group}) > 1 for group in groups.values())
    ]


def _follow(values: Sequence[str | None], seeds: list[str], absent: str | None) -> bool:
    """Whether each value is the run's seed, where the run has one: a strategy's own seed is only where it is taken."""
    return all(value in (absent, seed) for value, seed in zip(values, seeds, strict=True))


def _is_seed(key: str, records: Sequence[RunRecord]) -> bool:
    return bool(SEED.search(key)) or all(OF_THE_SEED.search(str(record.factors.get(key))) for record in records)


def _text(value: Any) -> str:
    """As Hydra writes it on a command line."""
    names = {None: "null", True: "true", False: "false"}
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return names[value] if value is None or isinstance(value, bool) else str(value)
