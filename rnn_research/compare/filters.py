"""`where` and `baseline`: what a person types to choose runs and conditions."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rnn_research.compare.factors import Settings, option

SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = re.compile(r"\s*([\w.]+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*")
EXPECTED = "FACTOR=OPTION, FACTOR!=OPTION (several options by commas), or FACTOR<NUMBER, <=, >, >="


@dataclass(frozen=True)
class Filter:
    """A condition on a run's option of one factor."""

    factor: str
    sign: str
    value: str

    def __call__(self, settings: Settings) -> bool:
        """Whether a run with these settings fulfils it; one without a number is neither above nor below any."""
        found = option(settings, self.factor)
        if self.sign in ("=", "!="):
            return any(same(found, one) for one in self.value.split(",")) == (self.sign == "=")
        number = _number(found)
        return number is not None and SIGNS[self.sign](number, float(self.value))


def filters(texts: Sequence[str], names: Mapping[str, str]) -> list[Filter]:
    """What the texts say; `names` are the factors by every name that they have.

    Raises:
        ValueError: one is of no such form, or compares with what is no number.
        KeyError: it names no factor; the key is what it names.
    """
    found = []
    for text in texts:
        match = FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"given {text!r}, expected {EXPECTED}")
        name, sign, value = match.groups()
        if name not in names:
            raise KeyError(name)
        if sign in SIGNS and _number(value) is None:
            raise ValueError(f"given {text!r}, expected a number after {sign}")
        found.append(Filter(names[name], sign, value))
    return found


def same(found: str, wanted: str) -> bool:
    """Whether two texts are one option: 0.10 is 0.1."""
    one, other = _number(found), _number(wanted)
    return found == wanted or (one is not None and one == other)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
