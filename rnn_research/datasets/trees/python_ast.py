"""A user's own Python sources: functions as syntax trees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from rnn_research.checks import choice, integer
from rnn_research.datasets.own.module import RawSamples
from rnn_research.datasets.own.parts import part_of
from rnn_research.datasets.trees.formats import Programs, TreeFormat
from rnn_research.datasets.trees.module import OwnTrees
from rnn_research.datasets.trees.written import WrittenTree


@final
class PythonAST(OwnTrees):
    """Functions and methods of Python sources as the trees that `ast` makes: a node reads its type, as `If`. Sources
    are parsed, never imported or run; a file that does not parse is counted and named.

    A node has as many children as Python gives it, a long body or a list hundreds: `child_sum_tree_lstm` serves any
    number. Names and constants are not read, so that a function's name can be predicted. The labels:

    * `ends`: whether every way through the function ends in `return` or `raise`. Only functions that have one of the
      two count, so that no token tells the answer: what counts is where they stand.
    * `nested_loops`: whether a loop lies in another. Only functions of two loops or more count.
    * `name`: the first word of the name, one of the `names` most frequent; others are left out.

    Equal trees are one sample. Where `path` has a folder `train`, what lies in its folders train, val (or dev, valid,
    validation) and test is these splits; what files are called says nothing, since `test_x.py` is a module as any
    other. Otherwise files are drawn whole, since functions of one file resemble each other; with `split_by=function`
    functions are drawn.

    Args:
        path: a file, or a folder of which every .py file in it and below is read.
        predict: ends, nested_loops or name.
        names: how many first words are classes.
        max_nodes: functions with more are left out; None: none is.
        split_by: file or function.
        others: as `OwnData`.

    Raises:
        ValueError: an argument is out of range; on loading, there is no source.
    """

    def __init__(
        self,
        path: str | None = None,
        predict: str = "ends",
        names: int = 10,
        max_nodes: int | None = None,
        split_by: str = "file",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = True,
    ) -> None:
        self._form = Programs(predict)
        self.names = integer("names", names, least=2)
        self.max_nodes = None if max_nodes is None else integer("max_nodes", max_nodes)
        self.split_by = choice("split_by", split_by, ("file", "function"))
        super().__init__(
            "root",
            None,
            1,
            False,
            None,
            False,
            path=path,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            class_weights=class_weights,
            batch_size=batch_size,
            num_workers=num_workers,
            bucket=bucket,
        )

    def form(self) -> TreeFormat:
        return self._form

    def _root(self, tree: WrittenTree, file: Path) -> str | None:
        if tree.labels[0] is None:
            self.report.drop(f"functions of which dataset.predict={self._form.predict} says nothing")
            return None
        if self.max_nodes is not None and len(tree.parents) > self.max_nodes:
            self.report.drop(f"functions of more than {self.max_nodes} nodes")
            return None
        return tree.labels[0]

    def read(self) -> RawSamples:
        raw = super().read()
        if self._form.predict != "name" or raw.labels is None:
            return raw
        often = sorted(Counter(raw.labels).items(), key=lambda one: (-one[1], one[0]))
        kept = {label for label, _ in often[: self.names]}
        chosen = [number for number, label in enumerate(raw.labels) if label in kept]
        self.report.drop(f"functions of other names than the {self.names} most frequent", len(raw.labels) - len(chosen))

        def of(values: Sequence[Any]) -> list[Any]:
            return [values[number] for number in chosen]

        given, groups = (None if values is None else of(values) for values in (raw.given, raw.groups))
        parts = of(raw.items), of(raw.labels), of(raw.keys)
        return RawSamples(*parts, lambda number: raw.where(chosen[number]), given, groups)

    def parts(self, files: Sequence[Path], path: Path) -> Sequence[str]:
        """By the folders right below the path, where one of them is `train`."""
        said = [part_of(file.relative_to(path).parts[0]) or "" for file in files] if path.is_dir() else []
        return said if "train" in said else [""] * len(files)

    def groups(self, files: Sequence[Path]) -> Sequence[str] | None:
        return list(map(str, files)) if self.split_by == "file" else None
