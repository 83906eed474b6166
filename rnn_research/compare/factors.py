"""What varies between runs: the option of a config group, or a value of the composed config."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnn_research.records.canonical import ABSENT, spelled
from rnn_research.records.identity import is_factor, values_of
from rnn_research.records.runs import RunRecord

CLIPPING = "clipping"
SHORT = ("clipping", "regularizer")
"""Groups whose keys may be named without the option: `clipping.max_norm`."""
OWN_LAYOUT = "rnn_research.structures."
SEED = re.compile(r"(^|[._])seed$")
OF_THE_SEED = re.compile(r"\$\{[^{}]*\bseed\}")
Settings = dict[str, str]


@dataclass(frozen=True)
class Factors:
    """The factors that vary among some runs, and the ones that don't.

    A condition is one option of each varying factor.
    """

    varying: tuple[str, ...]
    constant: dict[str, str]

    def condition(self, settings: Settings) -> tuple[str, ...]:
        """The option that a run has of each varying factor."""
        return tuple(option(settings, factor) for factor in self.varying)


def option(settings: Settings, factor: str) -> str:
    """What a run has for `factor`."""
    return settings.get(factor, ABSENT)


def settings_of(records: Sequence[RunRecord]) -> list[Settings]:
    """For each record the option of each group and the value of each key, as text.

    Values that are the same have one text in all records, and others another. A key has its short name where no run has
    two options with that key.
    """
    found = [_values(record) for record in records]
    names = _names(found)
    found = [{names[key]: value for key, value in values.items()} for values in found]
    settings: list[Settings] = [{} for _ in records]
    for key in dict.fromkeys(key for values in found for key in values):
        having = [(own, values[key]) for own, values in zip(settings, found, strict=True) if key in values]
        texts = spelled([value for _, value in having], key)
        for (own, _), text in zip(having, texts, strict=True):
            own[key] = text
    return [own | record.choices for own, record in zip(settings, records, strict=True)]


def factors_of(records: Sequence[RunRecord], settings: Sequence[Settings]) -> Factors:
    """The factors of `records`, the model's first and clipping's last.

    Runs are of one condition where all that trains them is the same: `settings` decide, and not what was typed. Of keys
    that vary together, those are named that are a group's option, or that somebody typed; the others where they vary
    within a condition. So different runs are never averaged.

    A key that repeats the run's seed is no factor, but only where it is a seed itself: by its name (`dataset.seed`), or
    typed as an interpolation of the seed. `model.num_layers` is a factor, whatever its values.
    """
    seeds = [str(record.seed) for record in records]
    typed = [dict(_typed(record, own)) for record, own in zip(records, settings, strict=True)]
    there = {key for own in settings for key in own}
    named = (*(record.choices for record in records), *typed)
    keys = [key for key in dict.fromkeys(key for keys in named for key in keys) if is_factor(key) and key in there]
    varying, constant = [], {}
    for key in keys:
        options = [option(own, key) for own in settings]
        if len(set(options)) == 1:
            constant[key] = options[0]
        elif not (_is_seed(key, typed) and _follow(options, seeds)) and not _of_an_option(key, records, settings):
            varying.append(key)
    unnamed = _disagreements(settings, Factors(tuple(varying), constant), seeds, typed)
    return Factors(tuple(sorted([*varying, *unnamed], key=place)), constant)


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


def _values(record: RunRecord) -> dict[str, Any]:
    """The values of a record's config; of the project's own layouts the option's name says all."""
    values = values_of(record.config)
    if "structure" in record.choices and str(values.get("structure._target_")).startswith(OWN_LAYOUT):
        del values["structure._target_"]
    return values


def _names(found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The short name of each key where no run has it twice; else the key."""
    counts = [Counter(_shortened(key) for key in values) for values in found]
    twice = {name for one in counts for name, count in one.items() if count > 1}
    keys = dict.fromkeys(key for values in found for key in values)
    return {key: name if (name := _shortened(key)) not in twice else key for key in keys}


def _shortened(key: str) -> str:
    group, *parts = key.split(".")
    return ".".join((group, *parts[1:])) if group in SHORT and len(parts) > 1 else key


def _typed(record: RunRecord, settings: Settings) -> Iterator[tuple[str, str]]:
    """The keys that were typed for a run, by the names that they have in its settings, with the text."""
    for text in record.overrides:
        key, _, value = text.lstrip("+~").partition("=")
        if key.startswith("-") or key in record.choices:
            continue
        names = [name for name in (key, _shortened(key)) if name in settings][:1]
        # else another short name (`hidden_size`), or a whole mapping
        others = (name for name in settings if name.endswith(f".{key}") or name.startswith(f"{key}."))
        yield from ((name, value) for name in names or others)


def place(factor: str) -> int:
    """The model first and clipping last: the question is what clipping does to a model."""
    return 2 if is_of_clipping(factor) else int(factor.partition(".")[0] != "model")


def _of_an_option(key: str, records: Sequence[RunRecord], settings: Sequence[Settings]) -> bool:
    """Whether a key varies only because some options of its group have it and others don't."""
    group = key.partition(".")[0]
    if group == key or all(key in own for own in settings):
        return False
    by_option: dict[str | None, set[str]] = defaultdict(set)
    for record, own in zip(records, settings, strict=True):
        by_option[record.choices.get(group)].add(option(own, key))
    return all(len(options) == 1 for options in by_option.values())


def _disagreements(
    settings: Sequence[Settings], factors: Factors, seeds: list[str], typed: Sequence[Mapping[str, str]]
) -> list[str]:
    """The keys that vary within a condition of `factors`."""
    groups: dict[tuple[str, ...], list[Settings]] = defaultdict(list)
    for own in settings:
        groups[factors.condition(own)].append(own)
    keys = dict.fromkeys(key for own in settings for key in own if is_factor(key))
    return [
        key
        for key in keys
        if key not in factors.varying
        and any(len({own.get(key) for own in group}) > 1 for group in groups.values())
        and not (_is_seed(key, typed) and _follow([option(own, key) for own in settings], seeds))
    ]


def _follow(values: Sequence[str], seeds: list[str]) -> bool:
    """Whether each value is the run's seed, where the run has one: a strategy's own seed is only where it is taken."""
    return all(value in (ABSENT, seed) for value, seed in zip(values, seeds, strict=True))


def _is_seed(key: str, typed: Sequence[Mapping[str, str]]) -> bool:
    return bool(SEED.search(key)) or all(OF_THE_SEED.search(own.get(key, "")) for own in typed)
