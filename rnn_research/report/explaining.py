"""What explains the decay rate, in words. Computes no number."""

from __future__ import annotations

from collections.abc import Mapping

from rnn_research.compare.explained import ExplainedRates
from rnn_research.statistics.factors import Term

ROUNDING = 1e-9


def named(found: ExplainedRates, term: Term, names: Mapping[str, str]) -> str:
    """`model × clipping`, `model (varies with lr)`: the effects of factors that vary together can't be told apart."""
    alias = dict(found.varies_with)
    said = []
    for factor in term.factors:
        others = ", ".join(names.get(other, other) for other in alias.get(factor, ()))
        said.append(names.get(factor, factor) + (f" (varies with {others})" if others else ""))
    return " × ".join(said)


def of(found: ExplainedRates) -> str:
    """`at step 200, of 12 runs whose gradient one rate describes; p by Holm`: what the numbers are of; without p where
    no term has one. Where settings have unequally many runs, what two factors explain can be the same, or each can hide
    the other: shares then need not add up, and where they are over 1 together that is said."""
    step = "" if found.step is None else f"at step {found.step:,}, "
    notes = "".join(f"; {note}" for note in found.notes)
    tested = "; p by Holm" if any(term.p == term.p for term in found.terms) else ""
    over = sum(term.share for term in found.terms) + (found.seeds if found.blocked else 0.0) > 1 + ROUNDING
    overlap = "; shares overlap, since settings have unequally many runs" if over else ""
    return f"{step}of {found.n} runs whose gradient one rate describes, share of variance{tested}{overlap}{notes}"
