"""What an option changed: paired at one step, adjusted for how many are shown, and nothing where nothing follows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from folders import refused, write_run

from rnn_research.compare import Comparison, compare, explained_rates
from rnn_research.compare.effects import Effect
from rnn_research.records import runs


def grid(root: Path, models: dict[str, float], seeds: int = 4, effect: float = 0.0, **given: float) -> Path:
    """Runs with and without clipping, whose rates differ by `effect` and by noise that a seed has in both."""
    random = np.random.default_rng(0)
    for model, rate in models.items():
        for seed in range(seeds):
            shared = random.normal(scale=0.02)
            for threshold in (None, 1.0):
                own = rate + shared + random.normal(scale=0.002) + (effect if threshold else 0.0)
                write_run(
                    root / f"{model}-{threshold}-{seed}", float(np.exp(own)), seed=seed, threshold=threshold,
                    accuracy=0.5 + own, factors={"model": model}, **{"distances": 9, **given},  # type: ignore[arg-type]
                )  # fmt: skip
    return root


def rates(found: Comparison, clipping: str, model: str) -> dict[int, float]:
    return {
        run.record.seed: run.chosen.decay.rate
        for run in found.runs
        if run.chosen and (run.record.choices["clipping"], run.record.choices["model"]) == (clipping, model)
    }


def test_p_values_are_those_of_scipy_adjusted_by_holm_for_all_that_is_shown(tmp_path: Path) -> None:
    found = compare([grid(tmp_path, {"rnn": -0.5, "lstm": -0.1}, effect=-0.01)])
    plain = []
    for effect in found.effects:
        model = effect.clipped.options["model"]
        ours, theirs = rates(found, "global_norm", model), rates(found, "none", model)
        differences = [ours[seed] - theirs[seed] for seed in ours]
        assert effect.rate is not None
        assert effect.rate.mean == pytest.approx(np.mean(differences))
        test = scipy.stats.ttest_rel(list(ours.values()), list(theirs.values()))
        low, high = test.confidence_interval(0.95)
        assert (effect.rate.low, effect.rate.high) == pytest.approx((low, high))
        plain.append(test.pvalue)
        sizes = np.std(differences, ddof=1)
        power = scipy.stats.nct(len(differences) - 1, effect.rate_detectable / sizes * len(differences) ** 0.5)
        assert 1 - power.cdf(scipy.stats.t(len(differences) - 1).ppf(0.975)) == pytest.approx(0.8, abs=1e-3)
    # the metric differs by as much: four tests in the family
    family = sorted([*plain, *plain])
    expected = {p: max(min(1.0, (4 - k) * family[k]) for k in range(index + 1)) for index, p in enumerate(family)}
    assert [effect.rate_p for effect in found.effects] == pytest.approx([expected[p] for p in plain], rel=1e-3)


def test_a_strategy_that_never_acted_changed_nothing_and_nothing_is_concluded(tmp_path: Path) -> None:
    grid(tmp_path, {"rnn": -0.5}, effect=-0.2)
    for run in tmp_path.glob("*-1.0-*"):
        table = runs.read_table(run, "clipping")
        assert table is not None
        table["fired"], table["coefficient"] = False, 1.0
        runs.write_table(run, "clipping", table)
    (effect,) = compare([tmp_path]).effects
    assert (effect.rate, effect.metric) == (None, None)
    assert effect.notes == ("it never acted in any step: what differs is not its doing, and nothing is concluded",)


def diverging(root: Path, step: int, recorded: tuple[int, ...] = (0, 50, 100, 150, 200)) -> Effect:
    """Clipped runs go on to step 200 and change their rate; those without diverge early."""
    for seed in range(3):
        early = {number: 0.9 + 0.001 * seed for number in recorded if number <= step}
        write_run(root / f"plain{seed}", early, seed=seed, status="diverged", diverged_step=step + 1, steps=step)
        late = {number: (0.9 if number <= step else 0.3) + 0.002 * seed for number in (0, 50, 100, 150, 200)}
        write_run(root / f"clipped{seed}", late, seed=seed, threshold=1.0)
    (effect,) = compare([root]).effects
    return effect


def test_rates_are_compared_at_a_step_that_both_recorded(tmp_path: Path) -> None:
    """And not that of a run at its end with that of one that diverged at step 51."""
    effect = diverging(tmp_path, 50)
    assert effect.step == 50
    assert effect.rate is not None
    differences = [np.log((0.9 + 0.002 * seed) / (0.9 + 0.001 * seed)) for seed in range(3)]
    assert effect.rate.mean == pytest.approx(np.mean(differences))
    assert "rates are compared at step 50, the last that all of the paired runs recorded" in effect.notes
    assert any("diverged" in note for note in effect.notes)
    assert effect.metric is None or effect.metric.n == 0


def test_where_no_step_is_shared_rates_are_not_compared(tmp_path: Path) -> None:
    effect = diverging(tmp_path, 40, recorded=(1, 21, 41))
    assert (effect.step, effect.rate) == (None, None)
    assert any("no step was recorded by all" in note for note in effect.notes)


def test_levels_that_are_pooled_are_no_seeds(tmp_path: Path) -> None:
    """Three levels without effect and three seeds give three numbers, the mean of each seed's, and no nine."""
    for level, seed in np.ndindex(3, 3):
        write_run(
            tmp_path / f"{level}-{seed}", float(np.exp(-0.1 * (1 + seed) - 0.01 * level)), seed=seed,
            accuracy=0.5 + 0.1 * seed + 0.01 * level, factors={"model": "rnn", "optimizer.lr": str(level + 1)},
        )  # fmt: skip
    (condition,) = compare([tmp_path], by=["model"]).conditions
    assert condition.metric is not None
    assert condition.metric.n == 3
    expected = scipy.stats.t.interval(0.95, 2, 0.61, np.std([0.51, 0.61, 0.71], ddof=1) / 3**0.5)
    assert (condition.metric.low, condition.metric.high) == pytest.approx(expected)
    assert condition.chosen is not None
    assert condition.chosen.decay.rate == pytest.approx(np.mean([-0.11, -0.21, -0.31]), abs=1e-6)
    assert condition.chosen.decay.seeds == 3
    assert condition.learning is not None
    assert condition.learning.n == 3


def test_one_short_seed_cuts_no_curve(tmp_path: Path) -> None:
    for seed, distances in ((0, 33), (1, 33), (2, 12)):
        write_run(tmp_path / str(seed), 0.9, seed=seed, distances=distances, steps=201 if seed else 51)
    (condition,) = compare([tmp_path]).conditions
    assert condition.chosen is not None
    curve = condition.chosen.curve
    assert curve.x.tolist() == list(range(33))
    assert curve.seeds is not None
    assert curve.seeds.tolist() == [3] * 12 + [2] * 21
    assert condition.learning is not None
    assert condition.learning.x.tolist() == [0, 50, 100, 150, 200]


def test_another_baseline_and_conditions_by_where(tmp_path: Path) -> None:
    grid(tmp_path, {"rnn": -0.5, "lstm": -0.1, "gru": -0.2})
    found = compare([tmp_path], baseline=["model=rnn"], where=["clipping=none"])
    by_model = {effect.clipped.options["model"]: effect.rate for effect in found.effects}
    assert {effect.plain.options["model"] for effect in found.effects} == {"rnn"}
    assert {model: rate and round(rate.mean, 1) for model, rate in by_model.items()} == {"lstm": 0.4, "gru": 0.3}
    assert len(compare([tmp_path], where=["model!=rnn,gru"]).conditions) == 2
    assert len(compare([tmp_path], where=["hidden_size>=64", "model=gru"]).runs) == 8


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("--where", "model"), "where: given 'model', expected FACTOR=OPTION"),
        (("--where", "modle=rnn"), "where: given modle, expected one of model"),
        (("--where", "model=lstn"), "where: given model=lstn, which no run fulfils; the runs have model: gru, rnn"),
        (("--where", "model<three"), "where: given 'model<three', expected a number after <"),
        (("--baseline", "model=lstm"), "baseline: given model=lstm, expected one of model=gru, model=rnn"),
        (
            ("--baseline", "model=rnn", "model=gru"),
            "baseline: given model 2 times (model=rnn model=gru); give one option of it",
        ),
        (("--pair", "modle"), "pair: given modle, expected one of model"),
    ],
)
def test_a_mistake_is_one_line(
    given: tuple[str, ...], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid(tmp_path, {"rnn": -0.5, "gru": -0.1}, seeds=1)
    assert line in refused([str(tmp_path), *given], capsys)


def test_links_to_runs_are_followed_and_a_copy_is_called_one(tmp_path: Path) -> None:
    import shutil

    write_run(tmp_path / "real" / "a", 0.9)
    links = tmp_path / "links"
    links.mkdir()
    (links / "a").symlink_to(tmp_path / "real" / "a")
    (links / "round").symlink_to(links)
    assert len(compare([links]).runs) == 1
    shutil.copytree(tmp_path / "real" / "a", tmp_path / "real" / "b")
    found = compare([tmp_path / "real"])
    (left,) = found.excluded
    assert left.reason == f"repeated: a copy of {found.runs[0].folder}, with the same record"


def test_pooled_levels_of_one_seed_are_one_pair(tmp_path: Path) -> None:
    """A seed's own difference, which its levels share, is no six differences: 3 seeds give n = 3."""
    random = np.random.default_rng(1)
    for seed in range(3):
        shared = random.normal(scale=0.05)
        for level, threshold in itertools.product(range(6), (None, 1.0)):
            rate = -0.3 + (shared if threshold else 0.0) + random.normal(scale=0.001)
            factors = {"model": "rnn", "model.cell.hidden_size": str(16 + level)}
            name = f"{seed}-{level}-{threshold}"
            given: dict[str, Any] = {"seed": seed, "threshold": threshold, "factors": factors, "distances": 9}
            write_run(tmp_path / name, float(np.exp(rate)), **given)
    (effect,) = compare([tmp_path], by=["clipping"]).effects
    assert effect.rate is not None
    assert effect.rate.n == 3
    assert effect.rate_p > 0.05


def test_levels_of_one_seed_have_no_interval(tmp_path: Path) -> None:
    for level in range(4):
        factors = {"model": "rnn", "model.cell.hidden_size": str(16 + level)}
        write_run(tmp_path / str(level), 0.5 + 0.02 * level, factors=factors)
    (condition,) = compare([tmp_path], by=["model"]).conditions
    assert condition.seeds == 1
    assert condition.chosen is not None
    decay = condition.chosen.decay
    assert np.isnan([decay.low, decay.high, decay.far.low, decay.far.high]).all()


def test_two_seeds_have_no_interval_and_no_band(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / str(seed), 0.5 + 0.02 * seed, seed=seed)
    (condition,) = compare([tmp_path]).conditions
    assert condition.chosen is not None
    assert np.isnan([condition.chosen.decay.far.low, condition.chosen.decay.far.high]).all()
    assert np.isnan(condition.chosen.curve.low).all()


def test_one_short_seed_is_not_what_all_are_judged_by(tmp_path: Path) -> None:
    for seed, distances in enumerate((5, 33, 33)):
        write_run(tmp_path / str(seed), 0.7, seed=seed, distances=distances)
    (condition,) = compare([tmp_path]).conditions
    assert condition.chosen is not None
    assert condition.chosen.decay.far.last == 32
    assert condition.chosen.decay.far_ratio == pytest.approx(0.7**31, rel=1e-3)
    assert "1 of 3 seeds end before distance 32" in condition.chosen.verdict.reason


def test_the_order_of_conditions_is_that_of_all_runs_there_are(tmp_path: Path) -> None:
    """Whichever of them failed, or are asked for; and numbers ascend beside words."""
    models = ("b", "a", "c")
    for place, (model, seed) in enumerate(itertools.product(models, range(2))):
        start = f"2026-01-01T00:{place:02d}:00+00:00"
        write_run(tmp_path / f"{model}{seed}", 0.5, seed=seed, factors={"model": model}, start=start)

    def order(**given: list[str]) -> list[str]:
        return [condition.options["model"] for condition in compare([tmp_path], **given).conditions]

    assert order() == list(models)
    assert order(where=["model=c,a"]) == ["a", "c"]
    write_run(tmp_path / "b0", 0.5, seed=0, factors={"model": "b"}, start="2026-01-01T00:00:00+00:00", status="failed")
    assert order() == list(models)


@pytest.mark.parametrize(
    ("rates_of", "seeds", "why"),
    [
        ({"rnn": -0.1, "lstm": -0.1 + 2e-7}, 3, "all equal, of 6 runs"),  # to what float32 can tell
        ({"rnn": -0.1, "lstm": -0.2}, 1, "no run is left to tell chance by, of 2 runs"),
        ({"rnn": -0.1, "lstm": -0.2}, 3, ""),
    ],
)
def test_nothing_is_explained_where_rates_are_equal_or_anything_would_explain_them(
    rates_of: dict[str, float], seeds: int, why: str, tmp_path: Path
) -> None:
    for (model, rate), seed in itertools.product(rates_of.items(), range(seeds)):
        rate += 1e-8 * seed
        write_run(tmp_path / f"{model}{seed}", float(np.exp(rate)), seed=seed, factors={"model": model})
    found = explained_rates(compare([tmp_path]))
    assert found is not None
    assert found.why == (f"{why} whose gradient one rate describes" if why else "")
