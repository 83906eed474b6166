"""The verdict against curves whose law is known, and against nets whose algebra is: see docs/verdict.md."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import verdicts
from rnn_research.curves import (
    LADDER,
    WORDS,
    Curve,
    Decay,
    Law,
    Reading,
    Verdict,
    curve,
    decay,
    law,
    summary,
    together,
    typical,
    verdict,
)
from rnn_research.report import as_text, prose

SAMPLES, FAR = 32, 64
D = np.arange(FAR) - 1.0
"""Applications from distance 1 on."""


def table_of(log: np.ndarray) -> np.ndarray:
    """An adjoint table of log norms (sample, distance); NaN: not there, -inf: exactly zero."""
    sample, distance = np.nonzero(~np.isnan(log))
    names = [("step", "i8"), ("layer", "i2"), ("sample", "i4"), ("distance", "i4"), ("hidden", "f8")]
    table = np.zeros(len(sample), dtype=names)
    table["sample"], table["distance"] = sample, distance
    table["hidden"] = np.exp(log[sample, distance])
    return table


def told(log: np.ndarray) -> tuple[Curve, Decay, Verdict]:
    found = curve(table_of(np.atleast_2d(log) * np.ones((SAMPLES, 1)) if log.ndim == 1 else log))
    rate = decay(found)
    return found, rate, verdict(found, rate)


def reading(*logs: np.ndarray) -> Reading:
    found, rates, words = zip(*map(told, logs), strict=True)
    found = together([summary(one) for one in found], rates, words)
    assert found is not None
    return found


def with_one(at: int, log: float) -> np.ndarray:
    """Flat but at one distance."""
    return np.where(np.arange(FAR) == at, log, 0.0)


# -- the word comes from what arrives, and from no single distance or sample ---------------------------


@pytest.mark.parametrize("at", [2, 30, 60, 63])
@pytest.mark.parametrize("ratio", [1e-3, 200.0, 1e-12])
def test_one_distance_makes_no_word_no_horizon_and_no_rate(at: int, ratio: float):
    _, rate, said = told(with_one(at, np.log(ratio)))
    assert said.word == "keeps"
    assert rate.horizon is None
    assert rate.holds
    assert not rate.moves
    assert rate.far_ratio == pytest.approx(1)


@pytest.mark.parametrize("at", [(2, 3), (30, 31), (55, 56), (60, 61), (61, 62), (62, 63), (2, 3, 62, 63)])
@pytest.mark.parametrize("log", [np.log(1e-5), np.log(1e5)])
def test_two_distances_make_no_way_down_or_up(at: tuple[int, ...], log: float):
    odd = np.where(np.isin(np.arange(FAR), at), log, 0.0)
    for said in (told(odd)[2], reading(odd, odd, odd).verdict):
        assert said.word == "keeps"
        assert "on the way" not in said.reason


@pytest.mark.parametrize("end", [10, 30, 50, 57])
@pytest.mark.parametrize(("log", "word"), [(-11.0, "falls and rises"), (11.0, "rises and falls")])
def test_five_distances_before_the_last_tenth_do(end: int, log: float, word: str):
    places = np.arange(FAR)
    assert told(np.where((places > end - 5) & (places <= end), log, 0.0))[2].word == word


def test_one_distance_at_200_times_leaves_the_half_life_what_it_is():
    _, rate, said = told(-0.0126 * D + with_one(20, np.log(200)))
    assert said.word == "weakens"
    assert rate.half_life == pytest.approx(55, abs=0.5)


@pytest.mark.parametrize("far", [20, 40, 63])
def test_one_long_sample_among_many_makes_no_word(far: int):
    log = np.full((SAMPLES, FAR), np.nan)
    log[:, :17] = 0
    log[0, :far] = -0.5 * np.arange(far)
    _, rate, said = told(log)
    assert said.word == "keeps"
    assert said.length == 15
    assert rate.horizon is None


@pytest.mark.parametrize(("share", "word"), [(0.1, "keeps"), (0.2, "keeps"), (0.9, "vanishes")])
def test_a_few_samples_of_another_kind_are_said_and_make_no_word(share: float, word: str):
    log = np.where(np.arange(SAMPLES)[:, None] < round(share * SAMPLES), -0.5, 0.0) * D
    _, rate, said = told(log)
    assert said.word == word
    assert rate.rate == pytest.approx(0.0 if word == "keeps" else -0.5)
    falls = round(share * SAMPLES) / SAMPLES
    assert f"samples: {100 * falls:.0f}% fall (to 3.4e-14), {100 - 100 * falls:.0f}% keep (to 1)" in said.reason


def test_half_of_the_samples_each_way_differ_and_both_are_said():
    log = np.where(np.arange(SAMPLES)[:, None] % 2 == 0, -0.1, 0.1) * D
    _, rate, said = told(log)
    assert said.word == "samples differ"
    assert not rate.holds
    assert "50% fall (to 0.002, -0.1 per application), 50% rise (to 493, 0.1 per application)" in said.reason


@pytest.mark.parametrize("spread", [0.5, 1.2, 3.0])
@pytest.mark.parametrize("middle", [1.0, 0.5, 0.1, 3.0])
def test_samples_of_one_population_rarely_differ(spread: float, middle: float):
    random = np.random.default_rng(0)
    slopes = (np.log(middle) + spread * random.normal(size=(30, SAMPLES, 1))) / 62
    assert sum(typical(curve(table_of(one * D)), resamples=0).differ for one in slopes) <= 3


def test_the_length_decides_and_stands_beside_the_word():
    short, long = told(-0.07 * np.arange(10.0))[2], told(-0.07 * np.arange(100.0))[2]
    assert (short.headline, long.headline) == ("keeps over 8", "vanishes over 98")
    assert told(-0.25 * np.arange(5.0))[2].reason.startswith("0.47 of the norm at distance 1 arrives over only 3")


def test_what_the_readout_drops_at_distance_0_is_no_fall():
    _, rate, said = told(np.where(D < 0, 4.0, -0.001 * D))
    assert said.word == "keeps"
    assert rate.rate == pytest.approx(-0.001)
    assert rate.horizon is None


def test_middle_words():
    words = {ratio: told(np.log(ratio) / 62 * D)[2].word for ratio in (1e-3, 0.019, 0.3, 0.8, 1.5, 30.0, 1e4)}
    assert list(words.values()) == ["vanishes", "weakens", "weakens", "keeps", "keeps", "grows", "explodes"]


# -- samples of unequal length ---------------------------------------------------------------------------


def of_lengths(lengths: np.ndarray, log: np.ndarray) -> np.ndarray:
    """Samples that follow `log` (distance, or sample and distance) to their own last distance."""
    return np.where(np.arange(log.shape[-1]) < np.asarray(lengths)[:, None], log, np.nan)


LONG = np.arange(100) - 1.0


@pytest.mark.parametrize("times", [3, pytest.param(12, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("log", "word"),
    [
        (-0.08 * LONG, "vanishes"),
        (-(LONG**2) / 800, "vanishes"),  # the slope goes with the length: long samples are the steepest
        (-0.1 * np.maximum(LONG - 15, 0), "vanishes"),
        (-0.3 * np.minimum(LONG, 8) - 0.01 * LONG, "weakens"),  # and here the short ones
        (0 * LONG, "keeps"),
    ],
)
def test_samples_of_one_law_have_its_word_whatever_their_lengths(log: np.ndarray, word: str, times: int):
    random = np.random.default_rng(3)
    for _ in range(times):
        parts = [of_lengths(random.integers(8, 100, size=SAMPLES), log) for _ in range(3)]
        found = reading(*parts)
        assert found.words == (word,) * 3
        assert found.verdict.word == word
        assert not found.decay.far.differ
        assert max(group.share for group in (found.decay.far.falls, found.decay.far.keeps)) == 1


def test_the_quarter_of_the_samples_that_is_long_is_judged_by_its_own_middle_half():
    log = np.where(np.arange(SAMPLES)[:, None] < 24, 0.0, -0.1) * LONG
    _, rate, said = told(of_lengths(np.where(np.arange(SAMPLES) < 24, 10, 100), log))
    assert said.headline == "vanishes over 98"
    assert rate.rate == pytest.approx(-0.1)
    assert rate.used == 99


@pytest.mark.parametrize("long", [60, 8])
def test_samples_that_differ_in_length_alone_do_not_differ(long: int):
    """h = 0.9 h' + W x: over 4 applications 0.66 is kept, over 58 next to nothing."""
    lengths = np.where(np.arange(SAMPLES) % 2, 6, long)
    _, rate, said = told(of_lengths(lengths, np.log(0.9) * LONG))
    assert said.word == ("vanishes" if long == 60 else "keeps")
    assert [group.share for group in (rate.far.falls, rate.far.keeps)] == [long == 60, long == 8]
    assert "samples" not in said.reason


def test_samples_of_unequal_length_that_do_differ_are_told_apart():
    slopes = np.where(np.arange(SAMPLES) % 2, -0.1, 0.1)[:, None]
    lengths = np.random.default_rng(0).integers(40, 100, size=SAMPLES)
    assert told(of_lengths(lengths, slopes * LONG))[2].word == "samples differ"


def test_a_seed_that_is_too_short_for_a_verdict_is_counted_and_does_not_disagree():
    found = reading(-0.1 * D, -0.101 * D, -0.1 * np.arange(3.0))
    assert found.words == ("vanishes", "vanishes", "too short")
    assert (found.verdict.word, found.verdict.length) == ("vanishes", 62)
    assert "seeds: vanishes in 2, too short in 1" in found.verdict.reason
    assert reading(-0.1 * np.arange(3.0), -0.1 * np.arange(3.0)).verdict.word == "too short"


# -- seeds ---------------------------------------------------------------------------------------------


def test_seeds_disagree_is_another_word_than_falls_and_rises():
    valley = np.log(1e-4) * (1 - np.abs(D - 31) / 31).clip(0)
    assert reading(valley, 1.01 * valley, 0.99 * valley).verdict.word == "falls and rises"
    apart = reading(0 * D, 0.001 * D, -0.5 * D).verdict
    assert apart.word == "seeds disagree"
    assert apart.reason.startswith("seeds: keeps in 2, vanishes in 1")


def test_more_words_than_two_are_unclear_and_the_range_is_said():
    said = reading(-0.2 * D / 62, -3.5 * D / 62, -2.0 * D / 62).verdict
    assert said.word == "weakens"
    assert said.doubt.startswith(" (unclear: vanishes to ")
    assert as_text.words(reading(-0.2 * D / 62, -3.5 * D / 62, -2.0 * D / 62)) == f"weakens over 62{said.doubt}"


def test_seeds_whose_samples_are_unsure_are_not_surer_together_than_these():
    walks = 0.4 * np.cumsum(np.random.default_rng(1).normal(size=(SAMPLES, FAR)), axis=1)
    found = reading(walks, walks, walks)  # equal seeds: no spread between, but samples that differ
    far = found.decay.far
    assert far.low < far.ratio / 1.2 < far.ratio * 1.2 < far.high
    two = reading(walks, walks)
    assert np.isnan([two.decay.far.low, two.decay.far.high]).all()
    assert two.verdict.borderline


def test_a_few_samples_that_fall_open_the_interval_downwards_alone():
    """None of the samples rises, so no seed's may."""
    random = np.random.default_rng(0)
    parts = []
    for _ in range(5):
        log = 0.02 * np.cumsum(random.normal(size=(SAMPLES, FAR)), axis=1)
        parts.append(np.where(np.arange(SAMPLES)[:, None] < 7, log - D, log))
    for found in (reading(*parts), reading(*parts[:2])):
        assert found.verdict.word == "keeps"
        assert set(found.verdict.also) <= {"weakens", "vanishes"}
        assert found.verdict.also
    far = reading(*parts).decay.far
    assert far.low < 0.1 < 0.9 < far.ratio < far.high < 1.2


def test_one_of_five_gone_is_said_in_the_cell():
    gone = np.where(np.arange(FAR) < 2, 0.0, -np.inf)
    found = reading(*(-0.05 * D + 1e-3 * k * D for k in range(4)), gone)
    assert as_text.rate(found).endswith("; 1 of 5 gone")
    assert as_text.rate(found).startswith("-0.049 [-0.051, -0.046]")
    assert found.decay.law.name == "exponential"


def test_one_of_five_gone_is_no_share_of_the_samples_and_the_sentence_has_the_seeds_words():
    gone = np.where(np.arange(FAR) < 2, 0.0, -np.inf)
    found = reading(*(-0.05 * D for _ in range(4)), gone)
    assert "samples are exactly zero" not in found.verdict.reason
    assert prose._arriving("rnn", [found], False) == "rnn (weakens 4, gone 1)"


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        (np.where(np.arange(FAR) < 11, 0.0, -np.inf), "gone"),
        (np.where(np.arange(FAR) < 6, 15 * D, np.inf), "overflowed"),
    ],
)
def test_a_seed_that_had_a_rate_before_it_was_gone_or_overflowed_is_not_in_that_of_the_others(odd, what: str):
    found = reading(*(-0.05 * D for _ in range(4)), odd)
    alone = reading(*(-0.05 * D for _ in range(4)))
    assert found.decay.rate == pytest.approx(-0.05)
    assert as_text.rate(found) == f"{as_text.rate(alone)}; 1 of 5 {what}"
    assert (as_text.half_life(found), as_text.far(found)) == (as_text.half_life(alone), as_text.far(alone))
    assert f"per application, half-life 14; 1 of 5 {what}" in found.verdict.reason
    assert "samples: " not in found.verdict.reason


def test_where_every_seed_is_gone_the_rate_is_that_before():
    rates = (-0.05, -0.06, -0.07)
    found = reading(*(np.where(np.arange(FAR) < 21, rate * D, -np.inf) for rate in rates))
    assert found.decay.rate == pytest.approx(-0.06)
    assert "rate -0.060 [-0.085, -0.035] per application before" in found.verdict.reason


@pytest.mark.parametrize("rate", [0.0, 3e-9, -3e-9])
def test_equal_seeds_that_keep_have_a_rate_of_zero_and_no_half_life(rate: float):
    """Without an interval, as runs of a comparison are read."""
    curves = [told(rate * (1 + k) * D)[0] for k in range(3)]
    rates = [decay(one, resamples=0) for one in curves]
    found = together(
        [summary(one) for one in curves], rates, [verdict(*both) for both in zip(curves, rates, strict=True)]
    )
    assert found is not None
    assert (as_text.rate(found), as_text.half_life(found), found.decay.half_life) == ("0", "–", float("inf"))
    assert "rate 0 per application" in found.verdict.reason
    assert "half-life" not in found.verdict.reason
    assert "doubling" not in found.verdict.reason


def test_of_a_part_or_a_layer_the_doubt_is_said_too():
    found = reading(*(np.log(ratio) * D / 62 for ratio in (0.02, 0.05, 0.45)))
    assert len(found.verdict.also) > 1
    assert as_text.beside(found).endswith(", vanishes to grows?")


# -- the law -------------------------------------------------------------------------------------------

X = np.arange(1, 301)


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize(
    ("name", "log", "bend", "slopes"),
    [
        ("exponential", -0.05 * X, None, None),
        ("exponential", 0.0 * X, None, None),
        ("power law", -1.0 * np.log1p(X), None, None),
        ("power law", -0.5 * np.log1p(X), None, None),
        ("plateau, then decay", -0.2 * np.maximum(X - 250, 0.0), 250, (0, -0.2)),
        ("plateau, then growth", 0.1 * np.maximum(X - 40, 0.0), 40, (0, 0.1)),
        ("decay, then plateau", -1.0 * np.minimum(X - 1, 6), 7, (-1, 0)),
        ("growth, then plateau", 0.3 * np.minimum(X, 100), 100, (0.3, 0)),
        ("fall and rise", -0.1 * np.minimum(X, 100) + 0.05 * np.maximum(X - 100, 0), 100, (-0.1, 0.05)),
        ("rise and fall", 0.1 * np.minimum(X, 200) - 0.2 * np.maximum(X - 200, 0), 200, (0.1, -0.2)),
        ("two rates", -0.5 * np.minimum(X, 60) - 0.1 * np.maximum(X - 60, 0), 60, (-0.5, -0.1)),
    ],
)
def test_the_law_that_fits_is_named_with_its_bend(name: str, log: np.ndarray, bend, slopes, noise: float):
    found = law(X, log + noise * np.random.default_rng(0).normal(size=len(X)), error=noise)
    assert found.name == name
    if bend is not None:
        assert found.bend == pytest.approx(bend, abs=3)
        assert found.slopes == pytest.approx(slopes, abs=0.02)
    if name == "power law":
        assert found.power == pytest.approx(-log[-1] / np.log1p(X[-1]), abs=0.02)


def test_where_no_law_fits_none_is_named_and_no_rate_given():
    waves = 3 * np.sin(X / 12)
    assert law(X, waves) == Law("none", misfit=law(X, waves).misfit)
    _, rate, said = told(3 * np.sin(np.arange(FAR) / 3))
    assert not rate.holds
    assert "no single rate: no simple law fits" in said.reason


@pytest.mark.parametrize(
    ("log", "kept", "said"),
    [
        (-1.0 * np.minimum(D, 6), (), "decay, then plateau, -1 per application (half-life 0.69) to distance 7"),
        (-0.2 * np.maximum(np.arange(300) - 250.0, 0), (), "-0.2 per application (half-life 3.5) beyond"),
        (-np.log1p(np.arange(FAR)), (), "no single rate but a power law, (1 + d)^-1"),
        (-0.1 * D, ("half-life",), "rate -0.1 ± 1e-06 per application, half-life 6.9"),
        (0.1 * D, ("doubling in",), "rate 0.1 ± 1e-06 per application, doubling in 6.9"),
        (0.0 * D, (), "rate 0 ± 1e-06 per application"),
    ],
)
def test_rate_and_half_life_are_given_where_they_hold(log: np.ndarray, kept: tuple, said: str):
    found = reading(log)
    assert said in found.verdict.reason
    assert (as_text.half_life(found) != as_text.NOTHING) == bool(kept)
    assert (as_text.rate(found) != as_text.NOTHING) == found.decay.holds


def test_a_horizon_that_the_norm_comes_back_from_is_withheld():
    valley = np.log(1e-4) * (1 - np.abs(D - 31) / 31).clip(0)
    assert as_text.horizon(reading(valley)) == as_text.NOTHING
    assert as_text.horizon(reading(0 * D)) == "> 63"
    assert as_text.horizon(reading(-0.2 * np.maximum(np.arange(300) - 250.0, 0))) == "274"  # ln 100 / 0.2 = 23.03


# -- the sentence is the word's ------------------------------------------------------------------------


def shapes() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    made = [shape() + s * random.normal() * D / 62 for shape, s in itertools.product(verdicts.SHAPES.values(), (0, 1))]
    return [log if log.ndim == 2 else np.tile(log, (SAMPLES, 1)) for log in made]


@pytest.mark.parametrize("number", range(24))
def test_a_word_is_one_of_the_list_and_follows_from_the_ratio_in_its_own_sentence(number: int):
    log = shapes()[number]
    _, rate, said = told(log)
    assert said.word in WORDS
    assert set(said.also) <= set(LADDER)
    bounds = dict(zip(LADDER, ((0, 0.01), (0.01, 0.5), (0.5, 2), (2, 100), (100, np.inf)), strict=True))
    if said.word in LADDER:
        low, high = bounds[said.word]
        assert low <= rate.far_ratio <= high
        first = said.reason.split()[0].removeprefix("less").strip("<")
        assert float(first) == pytest.approx(rate.far_ratio, rel=0.06)
    if said.word == "gone":
        assert said.reason.startswith("exactly zero from distance ")


def test_each_word_has_a_colour_or_none_on_purpose():
    style = (Path(prose.__file__).parent / "page.css").read_text()
    plain = ("too short", "no gradient")
    for word in WORDS:
        kind = prose.verdict_word(word).partition('"word ')[2].partition('"')[0]
        assert bool(re.search(rf"\.{kind}\b", style)) == (word not in plain)


def test_the_operating_characteristics_are_made_by_a_command(capsys: pytest.CaptureFixture):
    verdicts.main(["--repetitions", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 * len(verdicts.SHAPES) == 26
    rows = {tuple(cell.strip() for cell in line.split("|")[1:3]): line for line in lines[2:]}
    assert "vanishes 100" in rows["vanishes: F = 1e-6", "3"]
    assert "gone 100" in rows["cut after 10: F = 0", "5"]
    assert "samples differ 100" in rows["half at -0.1, half at +0.1", "3"]


def test_the_table_in_the_docs_is_the_commands():
    """Its rows are the planted shapes of today, and every word in it is one."""
    text = (Path(__file__).parents[2] / "docs" / "verdict.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ") and line.count(" | ") == 3]
    planted = [row[0].removeprefix("| ") for row in rows if row[1] in ("3", "5")]
    assert planted == [name for name in verdicts.SHAPES for _ in range(2)]
    for row in rows:
        for said in row[2].split(", ") if row[1] in ("3", "5") else ():
            word = said.rpartition(" ")[0].removesuffix(" (unclear)")
            assert set(word.split(" or ")) <= set(WORDS)
