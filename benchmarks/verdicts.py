"""`python -m benchmarks.verdicts`: how often each word is said of curves whose law is known, at 3 and at 5 seeds.

Twelve shapes over distances 0 to 63 are planted in tables as a run leaves them, with the spread of real runs: that of
`make study` after training, where log F has a standard deviation of 0.7 over seeds, and each of 32 samples walks away
from the others by 0.15 nats an application (1.2 at the far end). Prints a table in Markdown; about a minute.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from rnn_research.curves import Reading, curve, decay, summary, together, typical, verdict

FAR, SAMPLES = 64, 32
SEEDS, WALK = 0.7, 0.15
"""Standard deviations: of log F over seeds, and of a sample's step from one distance to the next."""
REPETITIONS, RESAMPLES = 100, 100
D = np.arange(FAR) - 1.0
"""Applications from distance 1 on."""

Shape = Callable[[], np.ndarray]


def _alike(log: np.ndarray) -> Shape:
    return lambda: np.tile(log, (SAMPLES, 1))


def _of_two(share: float, one: float, other: float) -> Shape:
    """A share of the samples has the slope `one`, the others `other`."""
    slopes = np.where(np.arange(SAMPLES) < round(share * SAMPLES), one, other)
    return lambda: slopes[:, None] * D


SHAPES: dict[str, Shape] = {
    "keeps: F = 1": _alike(0 * D),
    "borderline: F = 1/2": _alike(np.log(0.5) / 62 * D),
    "weakens: F = 0.07": _alike(np.log(0.07) / 62 * D),
    "borderline: F = 0.011": _alike(np.log(0.011) / 62 * D),
    "vanishes: F = 1e-6": _alike(np.log(1e-6) / 62 * D),
    "explodes: F = 1e4": _alike(np.log(1e4) / 62 * D),
    "-1 for 6, then flat: F = 0.0025": _alike(-np.minimum(D, 6)),
    "flat for 48, then -0.2: F = 0.06": _alike(-0.2 * np.maximum(D - 48, 0)),
    "power, (1 + d)^-1: F = 0.03": _alike(-np.log((2 + D) / 2)),
    "down to 0.001 and back: F = 1": _alike(np.log(1e-3) * (1 - np.abs(D - 31) / 31).clip(0)),
    "half at -0.1, half at +0.1": _of_two(0.5, -0.1, 0.1),
    "cut after 10: F = 0": _alike(np.where(D < 10, 0, -np.inf)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print how often each word, and each law, is said."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--spread", type=float, default=SEEDS, help="standard deviation of log F over seeds")
    options = parser.parse_args(arguments)
    print("| planted | seeds | said, % | the law named, % |\n|---|---|---|---|")
    for number, (name, shape) in enumerate(SHAPES.items()):
        random = np.random.default_rng(number)
        found = [readings(shape, random, options.spread) for _ in range(options.repetitions)]
        for column, seeds in enumerate((3, 5)):
            told = [pair[column] for pair in found]
            said = _counted([_said(reading) for reading in told])
            print(f"| {name} | {seeds} | {said} | {_counted([_law(reading) for reading in told])} |")


def readings(shape: Shape, random: np.random.Generator, spread: float = SEEDS) -> tuple[Reading, Reading]:
    """What is said of 3 seeds, and of these and 2 more."""
    seeds = []
    for _ in range(5):
        found = curve(planted(shape, random, spread))
        rate = decay(found, resamples=RESAMPLES, seen=typical(found, RESAMPLES))
        seeds.append((summary(found), rate, verdict(found, rate)))
    three, five = (together(*map(list, zip(*seeds[:count], strict=True))) for count in (3, 5))
    assert three is not None
    assert five is not None
    return three, five


def planted(shape: Shape, random: np.random.Generator, spread: float) -> np.ndarray:
    """One run's table: the shape, a slope of the seed's own, and each sample's walk."""
    walk = np.cumsum(WALK * random.normal(size=(SAMPLES, FAR)), axis=1)
    log = shape() + spread * random.normal() * D / (FAR - 2) + walk
    names = [("step", "i8"), ("layer", "i2"), ("sample", "i4"), ("distance", "i4"), ("hidden", "f8")]
    table = np.zeros((SAMPLES, FAR), dtype=names)
    table["sample"], table["distance"] = np.arange(SAMPLES)[:, None], np.arange(FAR)
    table["hidden"] = np.exp(log)
    return table.ravel()


def _said(reading: Reading) -> str:
    """The word; in doubt all that can be, from the lowest to the highest."""
    said = reading.verdict
    if len(said.also) > 1:
        return f"{said.word} (unclear)"
    return " or ".join(sorted((said.word, *said.also)))


def _law(reading: Reading) -> str:
    """What is named: nothing where samples differ, and where the gradient is gone that it is cut."""
    found = reading.decay
    if found.far.differ:
        return "withheld"
    return f"{found.law.name}, then zero" if found.far_ratio == 0 else found.law.name


def _counted(words: Sequence[str]) -> str:
    return ", ".join(f"{word} {100 * count / len(words):.0f}" for word, count in Counter(words).most_common())


if __name__ == "__main__":
    main()
