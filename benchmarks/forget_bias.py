"""`python -m benchmarks.forget_bias FOLDER`: for how long an LSTM keeps its gradient, by algebra and as measured.

Reads the runs of `experiment=forget_bias`. Along the cell alone the gradient is multiplied by f = sigmoid(b) at each
application, so that it lasts for tau = -1 / ln f of them; a half-life is tau ln 2, and the norm falls below 1% of that
at distance 1 at the first distance above 1 + tau ln 100. Measured are the joint state's rate (tau = -1 / rate) and the
probe `saturation`'s forget gates themselves (the median of -1 / ln f).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnn_research.compare import Condition, NothingToCompare, compare
from rnn_research.records import runs
from rnn_research.report import as_text

BIAS, GAIN = "init.forget_bias.value", "init.scaled.gain"
HEADS = ("gain", "bias", "tau", "measured", "gates", "half-life", "measured", "horizon", "measured", "verdict")


def algebra(bias: float) -> tuple[float, float, int]:
    """(tau, half-life, horizon) of a cell that forgets by f = sigmoid(bias) alone.

    The horizon is the first distance with less than 1% of the norm at distance 1.
    """
    tau = 1 / math.log1p(math.exp(-bias))
    return tau, tau * math.log(2), 2 + math.floor(tau * math.log(100))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line a condition: what algebra gives, beside what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+")
    try:
        found = compare(parser.parse_args(arguments).folder, by=[GAIN, BIAS], step="first")
    except NothingToCompare as error:
        parser.error(str(error))
    lines = [HEADS, *(_line(condition) for condition in found.conditions)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False))
        print("  ".join((*padded, line[-1])))


def _line(condition: Condition) -> tuple[str, ...]:
    tau, half_life, horizon = algebra(float(condition.options[BIAS]))
    reading = condition.chosen
    if reading is None:
        return (condition.options[GAIN], condition.options[BIAS], f"{tau:.3g}", *["–"] * (len(HEADS) - 3))
    holds = reading.decay.holds and reading.decay.rate < 0
    measured = f"{-1 / reading.decay.rate:.3g}" if holds else as_text.NOTHING
    last = reading.decay.far.last
    return (
        condition.options[GAIN],
        condition.options[BIAS],
        f"{tau:.3g}",
        measured,
        f"{_gates(condition):.3g}",
        f"{half_life:.2g}" if half_life < 99.5 else f"{half_life:.0f}",
        as_text.half_life(reading),
        str(horizon) if horizon <= last else f"> {last}",
        as_text.horizon(reading),
        as_text.words(reading),
    )


def _gates(condition: Condition) -> float:
    """The time scale of the forget gates themselves, over the seeds."""
    tables = [runs.read_table(run.folder, "saturation") for run in condition.runs]
    scales = [table["forget_timescale"][0] for table in tables if table is not None]
    return float(np.median(scales)) if scales else float("nan")


if __name__ == "__main__":
    main()
