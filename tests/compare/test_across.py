"""What holds over 5 or more tasks: the numbers of the library that defines them, and nothing below 5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from folders import write_run

from rnn_research.compare import Comparison, across_tasks, as_json, compare
from rnn_research.report import page
from rnn_research.report import terminal as terminal_report


def study(root: Path, tasks: int, seeds: int = 3) -> dict[str, np.ndarray]:
    """Accuracies by model, as (seed, task)."""
    random = np.random.default_rng(0)
    found = {"rnn": random.uniform(0.2, 0.6, (seeds, tasks)), "lstm": random.uniform(0.4, 0.95, (seeds, tasks))}
    for model, scores in found.items():
        for (seed, task), accuracy in np.ndenumerate(scores):
            factors = {"model": model, "dataset": f"task{task}"}
            write_run(root / f"{model}{task}-{seed}", seed=seed, accuracy=float(accuracy), factors=factors, distances=8)
    return found


def compared(root: Path, *where: str) -> Comparison:
    return compare([root], baseline=["model=rnn"], where=where)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A study of five tasks, and its accuracies."""
    root = tmp_path_factory.mktemp("five")
    return root, study(root, 5)


def test_five_tasks_are_pooled_as_rliable_defines_it(five: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, scores = five
    found = compared(root)
    across = {one.options["model"]: one for one in across_tasks(found)}
    assert list(across["lstm"].options) == ["model"]
    for model, own in across.items():
        assert own.mean is not None
        assert own.mean.mean == pytest.approx(scipy.stats.trim_mean(scores[model].ravel(), 0.25), rel=1e-9)
        assert own.mean.low < own.mean.mean < own.mean.high
        assert own.profile is not None
        above = (scores[model].ravel()[:, None] > own.profile.bound).mean(0)
        np.testing.assert_allclose(own.profile.share, above)
    improvement = across["lstm"].improvement
    pairs = [
        scipy.stats.mannwhitneyu(scores["lstm"][:, task], scores["rnn"][:, task]).statistic / 9 for task in range(5)
    ]
    assert improvement is not None
    assert improvement.mean == pytest.approx(np.mean(pairs), rel=1e-9)
    assert across["rnn"].improvement is None
    assert [one["options"]["model"] for one in as_json(found)["across_tasks"]] == list(across)
    assert "ACROSS TASKS" in terminal_report.text(found)
    assert "Across tasks" in page(found)


def test_four_tasks_are_not(five: tuple[Path, dict[str, np.ndarray]]) -> None:
    found = compared(five[0], "dataset!=task4")
    assert len(found.conditions) == 8
    assert across_tasks(found) == ()
    assert "ACROSS TASKS" not in terminal_report.text(found)


def test_signed_ranks_are_scipys_from_six_seeds_on(tmp_path: Path) -> None:
    for seeds in (5, 8):
        random, differences = np.random.default_rng(3), []
        for seed in range(seeds):
            plain, effect = random.uniform(0.3, 0.5), random.normal(0.05, 0.04)
            differences.append(effect)
            for model, accuracy in (("rnn", plain), ("lstm", plain + effect)):
                folder = tmp_path / str(seeds) / f"{model}{seed}"
                write_run(folder, 0.9, seed=seed, accuracy=accuracy, factors={"model": model}, distances=8)
        (effect_found,) = compared(tmp_path / str(seeds)).effects
        if seeds == 5:
            assert np.isnan(effect_found.metric_rank_p)
        else:
            assert effect_found.metric_rank_p == pytest.approx(scipy.stats.wilcoxon(differences).pvalue, rel=1e-9)
            assert "signed rank p: metric" in terminal_report.text(compared(tmp_path / "8"))
