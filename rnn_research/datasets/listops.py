"""ListOps: nested lists of digits to be evaluated, where the parse says what belongs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from rnn_research.checks import choice, integer, integers, path_of
from rnn_research.datasets.generated import GeneratedModule
from rnn_research.datasets.listops_expressions import (
    END,
    FORMS,
    MIN,
    VOCABULARY,
    Expressions,
    as_if_distinct,
    checksums,
    draw,
    samples,
    values,
)
from rnn_research.datasets.listops_files import read
from rnn_research.datasets.streams import CHECKSUMS, OVERDRAW, MakeSamples
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample

TRIES = 300  # drawn in vain so often, expressions are too rare to wait for
FILES = {"train": "train_d20s.tsv", "test": "test_d20s.tsv"}


@final
class ListOps(GeneratedModule):
    """Expressions such as `[MAX 2 9 [MIN 4 7 ] 0 ]`; the class is the value, a digit. The parse alone makes it easy.

    Nangia & Bowman 2018, "ListOps: a diagnostic dataset for latent tree learning" (arXiv:1804.06028). An argument
    is a list with probability 1/4, unless it is at the greatest depth, and else a digit; lists have 2 to 5 arguments
    and an operator: MIN, MAX, MED (the median, rounded down) or SM (the sum modulo 10). All draws are uniform.

    Generated: by these rules. The published 100,000 expressions are all different, so that of the short ones, which
    are few, there are few: each is kept with the probability that makes the distribution that of such a set. A digit
    alone is not generated (the files have up to ten). An expression's checksum decides its split. The published test
    set has 42.8 tokens on average, median 16, most 939; its binary parses have depth 16.6 on average, 84 at most.

    Files: with `root`, train_d20s.tsv and test_d20s.tsv, `label<TAB>expression` a line, in the published brackets
    `( ( ( [MAX 2 ) 9 ) ] )`. The last `val_size` expressions of train are val; train and test are what is there,
    whatever `train_size`, `test_size`, `seed` and the rules of generation are.

    Sequence: the tokens, less those brackets. Parse: in the form `binary`, which is the published one, tokens are at
    the leaves, a list is folded from the left, operator first and `]` last, and internal nodes read nothing. In
    the form `nary` an operator reads its own token above its arguments, and `]` is left out.

    The literature has no rule for when a run counts as solved.

    Args:
        root: the folder with the published files; None: generated samples.
        parse: binary or nary.
        max_args: the most arguments of a list, 2 to 9.
        max_depth: of expressions, counting the digits' own level, 2 to 20.
        test_depths: also evaluate on expressions whose lists are nested exactly so deep, each a set `depth_<lists>`;
            below max_depth. With files: those of the test set.
        train_size: samples of train; likewise `val_size`, `test_size`.
        seed: which samples are drawn.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing or malformed (says which line).
    """

    def __init__(
        self,
        root: str | None = None,
        parse: str = "binary",
        max_args: int = 5,
        max_depth: int = 20,
        test_depths: list[int] | None = None,
        train_size: int = 90_000,
        val_size: int = 1_000,
        test_size: int = 10_000,
        seed: int = 0,
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, test_size, seed, batch_size, num_workers, bucket)
        self.root = None if root is None else path_of("root", root)
        self.overlaps = root is not None
        self.parse = choice("parse", parse, FORMS)
        self.max_args = integer("max_args", max_args, least=2, most=9)
        self.max_depth = integer("max_depth", max_depth, least=2, most=20)
        self.test_depths = integers("test_depths", test_depths, most=None if root else max_depth - 1)

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        found, arity = self._generated() if self.root is None else self._read(self.root)
        children = 2 if self.parse == "binary" else arity
        return Task("classification", len(VOCABULARY), 10, tokens=True, max_children=children), found

    def features(self, split: str) -> dict[str, np.ndarray]:
        """Also `operators`: how many lists the expression has."""
        counts = [((sample.inputs >= MIN) & (sample.inputs < END)).sum() for sample in self.samples(split)]
        return super().features(split) | {"operators": np.array(counts)}

    def _generated(self) -> tuple[dict[str, Sequence[Sample]], int]:
        make = partial(_make, self.parse, self.max_args, self.max_depth)
        further: Mapping[str, MakeSamples] = {
            f"depth_{lists}": partial(make, CHECKSUMS["test"], lists) for lists in self.test_depths
        }
        found = self.streams(lambda split: partial(make, CHECKSUMS[split], None), further)
        for name in further:
            found[name][0]  # what is too rare to draw is told before training
        return found, self.max_args

    def _read(self, root: Path) -> tuple[dict[str, Sequence[Sample]], int]:
        (train, train_labels), (test, test_labels) = (read(root / name) for name in FILES.values())
        held = self.sizes["val"]
        if held >= len(train_labels):
            raise ValueError(
                f"dataset.val_size: given {held}, expected fewer than the {len(train_labels)} expressions in "
                f"{root / FILES['train']}, of which val is held out; give fewer"
            )
        known = samples(train, self.parse, train_labels)
        found: dict[str, Sequence[Sample]] = {"train": known[:-held], "val": known[-held:]}
        found["test"] = samples(test, self.parse, test_labels)
        for lists in self.test_depths:
            found[f"depth_{lists}"] = self._nested(test, found["test"], lists)
        return found, 1 + int(max(train.side.max(), test.side.max()))

    def _nested(self, test: Expressions, all_of_it: Sequence[Sample], lists: int) -> list[Sample]:
        chosen = [all_of_it[index] for index in np.flatnonzero(test.nesting() == lists).tolist()]
        if not chosen:
            raise ValueError(
                f"dataset.test_depths: given {lists}, expected a depth of the test set, which has none such"
            )
        return chosen


def _make(
    form: str,
    max_args: int,
    max_depth: int,
    allowed: tuple[int, ...],
    nested: int | None,
    random: np.random.Generator,
    count: int,
) -> list[Sample]:
    """Expressions are drawn until `count` of them belong to the set."""
    made: list[Sample] = []
    vain = 0
    while len(made) < count and vain < TRIES:
        drawn = draw(random, OVERDRAW * count, max_args, max_depth)
        kept = as_if_distinct(random, drawn, max_args, max_depth)
        if nested is not None:
            kept = kept[drawn.nesting()[kept] == nested]
        drawn = drawn.chosen(kept)
        wanted = np.flatnonzero(np.isin(checksums(drawn), allowed))[: count - len(made)] if len(kept) else kept
        vain = 0 if len(wanted) else vain + 1
        if len(wanted):
            drawn = drawn.chosen(wanted)
            made += samples(drawn, form, values(drawn, max_args)[drawn.parent < 0])
    if len(made) == count:
        return made
    raise ValueError(
        f"dataset.test_depths: given {nested}, expected a depth that is not so rare with dataset.max_args={max_args}; "
        "leave it out, or allow more arguments"
    )
