"""A tree as a file writes it: its nodes in the order in which they are written, each before its children."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class WrittenTree:
    """The nodes of one tree, none before the node above it, siblings in order.

    Attributes:
        parents: the number of the node above each, -1 at the root, which is node 0.
        labels: what the file says of each node; None: nothing.
        words: what is read at each node; empty: nothing.
        line: where in its file the tree starts, counted from 1.
        lines: over how many lines it runs.
    """

    parents: list[int]
    labels: list[str | None]
    words: list[str]
    line: int = 1
    lines: int = 1

    def add(self, parent: int, label: str | None = None, word: str = "") -> int:
        """Append a node. Returns its number."""
        self.parents.append(parent)
        self.labels.append(label)
        self.words.append(word)
        return len(self.parents) - 1

    @property
    def arity(self) -> int:
        """The most children of a node; 1 in a tree of one node, since a model has no use for 0."""
        return max(Counter(self.parents[1:]).values(), default=1)

    def key(self, clean: Sequence[str]) -> Hashable:
        """Equal for trees of one shape with the same words, whatever their labels.

        Args:
            clean: the words, as a model reads them.
        """
        return hash((tuple(self.parents), tuple(clean)))

    def without_wrapper(self) -> WrittenTree:
        """The tree below a root that has neither a label nor a word and one child, as `( (S ...) )`; else itself."""
        tree = self
        while len(tree.parents) > 1 and not tree.labels[0] and not tree.words[0] and tree.parents.count(0) == 1:
            parents = [above - 1 for above in tree.parents[1:]]
            tree = WrittenTree(parents, tree.labels[1:], tree.words[1:], tree.line, tree.lines)
        return tree
