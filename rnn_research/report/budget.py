"""How many runs solved their task, and after how many steps, as text. Computes none."""

from __future__ import annotations

from rnn_research.compare import Success
from rnn_research.report import as_text


def solved(found: Success | None) -> str:
    """`3 of 5 [0.15, 0.95]`: how many runs, and the interval of their share (Clopper and Pearson)."""
    if found is None:
        return as_text.NOTHING
    share = found.share_solved
    return f"{found.solved} of {found.runs} [{share.low:.2f}, {share.high:.2f}]"


def steps(found: Success | None) -> str:
    """`1,250 [900, >2,000], 2 censored`: Kaplan and Meier's median of all runs with its interval; `>2,000` is beyond
    the last step that any run took."""
    if found is None:
        return as_text.NOTHING
    end = int(found.step[-1])
    middle, low, high = (
        f"{step:,.0f}" if step < float("inf") else f">{end:,}"
        for step in (found.median.median, found.median.low, found.median.high)
    )
    said = middle if found.median.why else f"{middle} [{low}, {high}]"
    return f"{said}, {len(found.censored)} censored" if found.censored else said
