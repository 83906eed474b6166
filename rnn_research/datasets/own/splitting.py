"""Which samples train, choose and test: by the files' own splits where they have some, else drawn by a seed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from rnn_research.datasets.task import SPLITS


def split(
    count: int,
    *,
    labels: Sequence[Hashable] | None = None,
    groups: Sequence[Hashable] | None = None,
    given: Sequence[str] | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The numbers of the samples of "train", "val" and "test", in order: disjoint, and each with at least one.

    What is drawn is drawn in proportion from each label; with groups, whole groups are drawn, of their number and not
    of their samples the fractions.

    Args:
        count: how many samples there are.
        labels: of each sample.
        groups: of each sample; no group is in two splits.
        given: the split of each sample that its file says, "" where it says none. A split that no file has is drawn
            from the samples of "train" and of none.

    Raises:
        ValueError: there are too few samples or groups for three splits, or a group is in two of the given ones.
    """
    place = np.array(["" if one == "train" else one for one in given or [""] * count], dtype=object)
    if given is not None and groups is not None:
        _check_groups(np.asarray(given, dtype=object), groups)
    random = np.random.default_rng(seed)
    drawn_from = np.flatnonzero(place == "")
    units = len(drawn_from) if groups is None else len({groups[index] for index in drawn_from.tolist()})
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        if not (place == name).any():
            free = np.flatnonzero(place == "")
            chosen = _drawn(free, round(units * fraction), random, labels, groups)
            place[chosen] = name
    place[place == ""] = "train"
    found = {name: np.flatnonzero(place == name) for name in SPLITS}
    if empty := [name for name in SPLITS if not len(found[name])]:
        kind = "sample" if groups is None else "group"
        of = "" if groups is None else f" of {len(set(groups))} groups"
        raise ValueError(
            f"found {count} samples{of}, which leaves none for {' and '.join(empty)}, expected a {kind} at least for "
            f"each of {', '.join(SPLITS)}; give more data"
        )
    return found


def _drawn(
    free: np.ndarray,
    many: int,
    random: np.random.Generator,
    labels: Sequence[Hashable] | None,
    groups: Sequence[Hashable] | None,
) -> np.ndarray:
    """So many of the free samples, or groups of them: at least one, and never all."""
    if groups is not None:
        known = list(dict.fromkeys(groups[index] for index in free))
        chosen = {known[index] for index in _spread(random.permutation(len(known)), many)}
        return np.array([index for index in free if groups[index] in chosen], dtype=np.int64)
    order = random.permutation(free)
    if labels is not None:
        numbers = {label: number for number, label in enumerate(dict.fromkeys(labels[index] for index in free))}
        order = order[np.argsort([numbers[labels[index]] for index in order], kind="stable")]
    return np.sort(_spread(order, many))


def _spread(order: np.ndarray, many: int) -> np.ndarray:
    """`many` of `order`, spread evenly over it: each stretch of it, a class, is drawn from in proportion."""
    if len(order) < 2:
        return order[:0]
    many = min(max(1, many), len(order) - 1)
    return order[((np.arange(many) + 0.5) * len(order) / many).astype(np.int64)]


def _check_groups(given: np.ndarray, groups: Sequence[Hashable]) -> None:
    seen: dict[Hashable, str] = {}
    for name, group in zip(given, groups, strict=True):
        if name and seen.setdefault(group, name) != name:
            raise ValueError(f"group {group} is in {seen[group]} and in {name}, expected each group in one split")


def without_duplicates(
    keys: Sequence[Hashable], given: Sequence[str] | None = None
) -> tuple[np.ndarray, dict[str, int]]:
    """The samples that stay, by number, and how many were dropped, by what they were equal to.

    Two samples of one key are the same to a model. Where the files say no splits the first of equals stays. Where they
    do, each split keeps what it has, but for what a later one has too, in the order train, val, test: an official test
    part stays whole. Of the samples from which a split that no file has is drawn, the first of equals stays.
    """
    said = set(given or ()) - {""}
    if given is None or not said:
        first = set(_first(keys, range(len(keys))))
        dropped = len(keys) - len(first)
        return np.array(sorted(first), dtype=np.int64), {"equal to an earlier sample": dropped} if dropped else {}
    of: dict[str, set[Hashable]] = {name: set() for name in SPLITS}
    for key, name in zip(keys, given, strict=True):
        of[name or "train"].add(key)
    later = {"train": of["val"] | of["test"], "val": of["test"], "test": set()}
    kept = np.array([key not in later[name or "train"] for key, name in zip(keys, given, strict=True)])
    dropped = {}
    for name, others in (("train", "val or test"), ("val", "test")):
        lost = sum(1 for stays, one in zip(kept, given, strict=True) if not stays and (one or "train") == name)
        if lost:
            dropped[f"of {name}, equal to one of {others}"] = lost
    if not {"val", "test"} <= said:
        free = [index for index in np.flatnonzero(kept).tolist() if given[index] in ("", "train")]
        again = set(free) - set(_first(keys, free))
        kept[list(again)] = False
        if again:
            dropped["of train, equal to an earlier one"] = len(again)
    return np.flatnonzero(kept), dropped


def _first(keys: Sequence[Hashable], places: Sequence[int]) -> list[int]:
    """Of the samples at these places, the first of each key."""
    return list({keys[place]: place for place in reversed(places)}.values())
