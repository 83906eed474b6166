"""What lifelines and rliable answer, written to tests/statistics/answers.json: the tests hold ours against it.

Neither is needed to run the tests: rliable brings arch, statsmodels, seaborn and absl, lifelines brings pandas,
autograd and formulaic, 250 MB in all. To ask them again (`make test-slow` does so too, where both are installed):

    pip install '.[oracles]'
    python tests/support/oracles.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).parents[1] / "statistics" / "answers.json"
RESAMPLES = 200
LATER = 10**9
"""A step after all others: runs that would never have solved it stay at risk until then."""


def survival() -> list[dict[str, Any]]:
    """Kaplan-Meier with its band and median of planted runs, by lifelines."""
    from lifelines import KaplanMeierFitter
    from lifelines.utils import median_survival_times

    generator, answers = np.random.default_rng(0), []
    for n in (3, 5, 8, 12, 20, 41):
        for confidence in (0.95, 0.8):
            solve = generator.exponential(1000, n).round(-2 if n > 12 else 0) + 1
            end = generator.choice([700, 1500, 4000], n)
            never = int(n // 8)
            solved, censored = solve[solve <= end][never:], end[solve > end]
            steps = [*solved, *censored, *[LATER] * never]
            events = [1] * len(solved) + [0] * (len(censored) + never)
            fit = KaplanMeierFitter(alpha=1 - confidence).fit(steps, events)
            kept = fit.survival_function_.index.to_numpy() < LATER
            band = fit.confidence_interval_.to_numpy()[kept]
            ends = median_survival_times(fit.confidence_interval_).to_numpy()[0]
            answers.append(
                {
                    "solved": [int(step) for step in solved],
                    "censored": [int(step) for step in censored],
                    "never": never,
                    "confidence": confidence,
                    "step": fit.survival_function_.index.to_numpy()[kept].tolist(),
                    "left": fit.survival_function_.to_numpy()[kept, 0].tolist(),
                    "low": band[:, 0].tolist(),
                    "high": band[:, 1].tolist(),
                    "median": [float(fit.median_survival_time_), *map(float, ends)],
                }
            )
    return answers


def across_tasks() -> list[dict[str, Any]]:
    """Interquartile mean, improvement and profile with their intervals of planted scores, by rliable."""
    from rliable import library, metrics

    generator, answers = np.random.default_rng(1), []
    bounds = [-1.0, -0.25, 0.0, 0.3, 1.0]
    for runs, others, tasks in ((3, 3, 5), (5, 4, 7), (10, 10, 6)):
        ours = generator.normal(0.3, 1, (runs, tasks)).round(1)  # some tie
        theirs = generator.normal(0, 1, (others, tasks)).round(1)
        asked = (
            ({"ours": ours}, lambda scores: np.array([metrics.aggregate_iqm(scores)])),
            ({"ours": (ours, theirs)}, lambda x, y: np.array([metrics.probability_of_improvement(x, y)])),
            ({"ours": ours}, lambda scores: library.score_distributions(scores, np.array(bounds))),
        )
        found = []
        for scores, function in asked:
            np.random.seed(7)  # noqa: NPY002 (rliable draws from the global generator)
            point, ends = library.get_interval_estimates(scores, function, reps=RESAMPLES)
            found.append([point["ours"].tolist(), *ends["ours"].tolist()])
        answers.append({"ours": ours.tolist(), "theirs": theirs.tolist(), "bounds": bounds, "seed": 7})
        answers[-1].update(zip(("mean", "improvement", "profile"), found, strict=True))
    return answers


def recorded() -> dict[str, Any]:
    """All answers, with the versions that gave them."""
    versions = {name: version(name) for name in ("lifelines", "rliable", "scipy", "numpy")}
    return {"versions": versions, "survival": survival(), "across_tasks": across_tasks()}


if __name__ == "__main__":
    PATH.write_text(json.dumps(recorded()) + "\n", encoding="utf-8")
