"""What factors and conditions are called in words and figures: short, and never a bare number or `none`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rnn_research.compare import Comparison, Condition
from rnn_research.compare.factors import short

NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?|true|false|null|nan|inf", re.IGNORECASE)
NONE = "none"
VAGUE = ("value",)
"""Last parts of a factor's name that say nothing: the part before is its name."""


def names(comparison: Comparison, more: Sequence[str] = ()) -> dict[str, str]:
    """The name of each factor that tells conditions apart, and of `more`: `length`, `forget bias`."""
    found, brief = {}, short(tuple(dict.fromkeys((*comparison.distinguishing_factors, *more))))
    for factor, name in brief.items():
        parts = factor.split(".")
        vague = name in VAGUE and len(parts) > 1
        found[factor] = (parts[-2] if vague else name).replace("_", " ")
    return found if len(set(found.values())) == len(found) else brief


def joined(comparison: Comparison, condition: Condition, factors: Sequence[str], between: str = ", ") -> str:
    """The condition's options of `factors`: `lstm, length 20`."""
    told = names(comparison)
    return between.join(told_option(told.get(factor, factor), condition.options[factor]) for factor in factors)


def told_option(name: str, option: str) -> str:
    """An option as it is; a number with the name of its factor, and of none what there is none of."""
    if option == NONE:
        return f"no {name}"
    return f"{name} {option}" if NUMBER.fullmatch(option) else option
