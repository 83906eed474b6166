"""A user's own trees in Penn brackets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from rnn_research.datasets.trees.formats import Brackets, TreeFormat
from rnn_research.datasets.trees.module import OwnTrees


@final
class PTBTrees(OwnTrees):
    r"""Trees in Penn brackets, `(3 (2 Good) (2 film))`: one a line, over several lines, or several on a line.

    What follows an opening bracket without a space is the node's label; a node without one is not labelled. A word
    beside other words or nodes is a leaf of its own: `(pos ((The film) works))`. Roots must be labelled; a wrapper
    around the root, `( (S ...) )`, is taken off. Any arity, any depth. Files end in .txt, .ptb, .mrg, .tree, .trees
    or .parse, and are UTF-8.

    Args:
        path: a file, or a folder of them.
        unescape: -LRB- and its like are read as brackets, `\/` as /.
        others: as `OwnTrees` and `OwnData`.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing or malformed: says which, and the line.
    """

    def __init__(
        self,
        path: str | None = None,
        labels: str = "auto",
        merge: Mapping[Any, Any] | None = None,
        min_count: int = 1,
        lower: bool = True,
        unescape: bool = True,
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
        self._form = Brackets(unescape)
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
