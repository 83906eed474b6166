"""Penn brackets, as in `(3 (2 Good) (2 film))`: the one reader of them, for data sets and for a user's own files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from rnn_research.datasets.trees.written import WrittenTree

TOKEN = re.compile(r"\([^() \t\r\f\v]*|\)|[^() \t\r\f\v]+")
"""An opening bracket with its label, a closing one, a word (which may hold a no-break space)."""
ESCAPES = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}

Refuse = Callable[[str, int], ValueError]
"""The error for what was found in a line, counted from 1."""


def unescaped(word: str) -> str:
    r"""A word as it was before the treebank escaped it: -LRB- and its like, \\/ and \\*."""
    return ESCAPES.get(word, word).replace("\\/", "/").replace("\\*", "*")


def read_brackets(text: str, refuse: Refuse, strict: bool = False) -> Iterator[WrittenTree]:
    """The trees of a text, one after another: each on a line, over several, or several on one.

    What follows an opening bracket without a space is the node's label, whatever it is; without it the node has none.
    A node that holds one word and nothing else reads that word; each word beside others, or beside nodes, is a leaf
    of its own without a label: `(pos ((The film) works))` has three leaves. Not recursive: a tree may be as deep as it
    likes.

    Args:
        refuse: makes the error for what was found in a line.
        strict: every line is one tree, whose nodes hold one word or nodes.

    Raises:
        ValueError: `refuse`'s, for brackets that are not balanced, text outside them, or a node that holds nothing;
            names the line of the fault, of a tree that does not end the line where it starts.
    """
    reader = _Reader(refuse, strict)
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield from reader.line(number, line)
    reader.end()


class _Reader:
    """The tree that is being read.

    `path` holds its open nodes, the root first. `number` is the line that is read.
    """

    def __init__(self, refuse: Refuse, strict: bool) -> None:
        self.refuse, self.strict = refuse, strict
        self.number = 1
        self._start()

    def _start(self) -> None:
        self.tree = WrittenTree([], [], [])
        self.path: list[int] = []
        self.done = False  # on this line a tree has ended

    def line(self, number: int, line: str) -> Iterator[WrittenTree]:
        """The trees that end on a line."""
        self.number, self.done = number, False
        for token in TOKEN.findall(line):
            if token[0] == "(":
                self._open(token[1:])
            elif token != ")":
                self._word(token)
            elif self._close():
                tree = self.tree
                tree.lines = number - tree.line + 1
                self._start()
                self.done = True
                yield tree
        if self.strict:
            self.end()

    def end(self) -> None:
        """Refuse a tree that is still open."""
        if self.path:
            where = "its" if self.strict else "the file's"
            found = f"found {len(self.path)} brackets left open at {where} end, expected balanced brackets"
            raise self.refuse(found, self.tree.line)

    def _open(self, label: str) -> None:
        tree, path = self.tree, self.path
        if not path:
            if self.strict and self.done:
                raise self.refuse("found a second tree, expected one a line", self.number)
            tree.line = self.number
        elif tree.words[path[-1]]:
            if self.strict:
                word = tree.words[path[-1]]
                found = f"found a node inside the leaf {word!r}, expected a word or children, not both"
                raise self.refuse(found, self.number)
            self._apart()
        path.append(tree.add(path[-1] if path else -1, label or None))

    def _word(self, word: str) -> None:
        tree, path = self.tree, self.path
        if not path:
            raise self.refuse(f"found {word!r} outside the tree, expected brackets around it", self.number)
        node = path[-1]
        if node == len(tree.words) - 1 and not tree.words[node]:
            tree.words[node] = word
        elif self.strict:
            found = f"found {word!r} after a node's word or children, expected a closing bracket"
            raise self.refuse(found, self.number)
        else:
            if tree.words[node]:
                self._apart()
            tree.add(node, None, word)

    def _apart(self) -> None:
        """Give the word of the open node, which has more than that, a leaf of its own."""
        tree, node = self.tree, self.path[-1]
        word, tree.words[node] = tree.words[node], ""
        tree.add(node, None, word)

    def _close(self) -> bool:
        """Whether the tree ends here."""
        if not self.path:
            found = "found a closing bracket without its opening one, expected balanced brackets"
            raise self.refuse(found, self.number)
        node = self.path.pop()
        if node == len(self.tree.words) - 1 and not self.tree.words[node]:
            alone = self.tree.labels[node]
            more = f" but its label {alone!r}" if alone else ""
            found = f"found a node that has neither a word nor children{more}, expected one of them"
            raise self.refuse(found, self.number)
        return not self.path
