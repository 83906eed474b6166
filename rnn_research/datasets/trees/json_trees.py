"""A user's own trees in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from rnn_research.datasets.trees.formats import NestedJson, TreeFormat
from rnn_research.datasets.trees.module import OwnTrees
from rnn_research.datasets.trees.nested_json import Keys


@final
class JSONTrees(OwnTrees):
    """Trees as nested objects, `{"label": "pos", "children": [{"token": "Good"}, {"token": "film"}]}`, of any arity.

    A node may be a list, which has no label, or a text or a number, which is a leaf: `{"label": "pos", "children":
    [["A", "film"], "works"]}`. Roots must be labelled. A node may have a token and children: then it reads the token
    above them. Files: .jsonl or .ndjson, a tree a line; .json, a list of trees, or trees one after another. Any depth.

    Args:
        path: a file, or a folder of them.
        label_key, token_key, children_key: what a node's label, its token and its children are called.
        others: as `OwnTrees` and `OwnData`.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing or malformed: says which, and the line.
    """

    def __init__(
        self,
        path: str | None = None,
        label_key: str = "label",
        token_key: str = "token",
        children_key: str = "children",
        labels: str = "auto",
        merge: Mapping[Any, Any] | None = None,
        min_count: int = 1,
        lower: bool = True,
        vectors: str | None = None,
        freeze_vectors: bool = False,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        self._form = NestedJson(Keys(label_key, token_key, children_key))
        super().__init__(
            labels,
            merge,
            min_count,
            lower,
            vectors,
            freeze_vectors,
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
