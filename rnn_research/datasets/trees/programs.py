"""Functions of Python sources as trees, read through `ast`: nothing is imported, nothing is run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from rnn_research.datasets.trees.written import WrittenTree

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.ClassDef, ast.Lambda)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
ENDS = (ast.Return, ast.Raise)
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\da-zA-Z_]+")


class NotParsed(Exception):
    """A source that Python's own parser refuses; says why."""


def functions(source: bytes, label: Callable[[Any], str | None]) -> Iterator[WrittenTree]:
    """The functions and methods of a source, in order; one inside another is a part of it and no sample of its own.

    A node reads the name of its type, as `If` or `Call`; what is only about how a name is used (`Load`, `Store`,
    `Del`) is left out, and so are names, constants and comments.

    Args:
        label: what a function is labelled with; None: nothing.

    Raises:
        NotParsed: Python's parser refuses it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a source's own, such as an invalid escape
            module = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotParsed(f"{type(error).__name__}: {error}") from None
    stack: list[ast.AST] = [module]
    while stack:
        node = stack.pop()
        if isinstance(node, FUNCTIONS):
            yield _tree(node, label(node))
        else:
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _tree(function: Any, label: str | None) -> WrittenTree:
    tree = WrittenTree([], [], [], function.lineno, function.end_lineno - function.lineno + 1)
    stack: list[tuple[ast.AST, int]] = [(function, -1)]
    while stack:
        node, parent = stack.pop()
        number = tree.add(parent, None, type(node).__name__)
        below = [one for one in ast.iter_child_nodes(node) if not isinstance(one, ast.expr_context)]
        stack.extend((one, number) for one in reversed(below))
    tree.labels[0] = label
    return tree


def own_nodes(function: Any) -> Iterator[ast.AST]:
    """The nodes of a function's own body, without those of functions and classes inside it."""
    stack: list[ast.AST] = list(reversed(function.body))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, SCOPES):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def ends(function: Any) -> str | None:
    """`always` where every way through a function ends in `return` or `raise`, `not always` where its end can be
    reached; None for a function that has neither: that would be read from one token.

    Both classes have the same tokens: what counts is where they stand. A condition may be true or false, whatever it
    says; only `while True` without `break` is known not to end.
    """
    if not any(isinstance(node, ENDS) for node in own_nodes(function)):
        return None
    return "always" if _stops(function.body) else "not always"


def _stops(body: list[ast.stmt]) -> bool:
    """Whether the statement after a block is never reached. Not recursive: `elif` nests as deep as there are."""
    values: dict[int, bool] = {}
    stack: list[tuple[Any, bool]] = [(body, False)]
    while stack:  # each block after the blocks in its statements
        block, ready = stack.pop()
        if ready:
            values[id(block)] = any(_statement_stops(one, values) for one in block)
        else:
            stack.append((block, True))
            stack.extend((inner, False) for one in block for inner in _blocks(one))
    return values[id(body)]


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks that decide whether a statement stops."""
    if isinstance(statement, ast.If):
        return [statement.body, statement.orelse]
    if isinstance(statement, ast.With | ast.AsyncWith):
        return [statement.body]
    if isinstance(statement, ast.Try):
        handlers = [handler.body for handler in statement.handlers]
        return [statement.body, statement.orelse, statement.finalbody, *handlers]
    if isinstance(statement, ast.Match):
        return [case.body for case in statement.cases]
    return []


def _statement_stops(statement: ast.stmt, values: dict[int, bool]) -> bool:
    if isinstance(statement, ENDS):
        return True
    blocks = [values[id(block)] for block in _blocks(statement)]
    if isinstance(statement, ast.Try):
        body, other, final, *handlers = blocks
        return final or ((body or other) and all(handlers))
    if isinstance(statement, ast.Match):
        last = statement.cases[-1]
        return all(blocks) and last.guard is None and isinstance(last.pattern, ast.MatchAs) and not last.pattern.pattern
    if isinstance(statement, ast.While):
        return isinstance(statement.test, ast.Constant) and bool(statement.test.value) and not _breaks(statement)
    return bool(blocks) and all(blocks)


def _breaks(loop: ast.While) -> bool:
    """Whether a `break` leaves a loop: one of a loop inside it does not."""
    stack: list[ast.AST] = list(loop.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Break):
            return True
        if isinstance(node, LOOPS):
            stack.extend(node.orelse)
        elif not isinstance(node, SCOPES):
            stack.extend(ast.iter_child_nodes(node))
    return False


def nested_loops(function: Any) -> str | None:
    """`nested` where a loop lies in another one, `apart` where none does; None for a function with fewer than two:
    that would be read from the tokens alone."""
    loops = [node for node in own_nodes(function) if isinstance(node, LOOPS)]
    if len(loops) < 2:
        return None
    inner = (node for loop in loops for node in _below(loop))
    return "nested" if any(isinstance(node, LOOPS) for node in inner) else "apart"


def _below(loop: Any) -> Iterator[ast.AST]:
    stack: list[ast.AST] = [*loop.body]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, SCOPES):
            stack.extend(ast.iter_child_nodes(node))


def first_word(function: Any) -> str | None:
    """The first word of a function's name in lower case, `read` of `_read_file` and of `readFile`; None for `__init__`
    and its like, whose names nobody chose, and where there is no word."""
    name = function.name
    if name.startswith("__") and name.endswith("__"):
        return None
    found = WORD.search(name)
    return None if found is None else found[0].lower()


LABELS: dict[str, Callable[[Any], str | None]] = {"ends": ends, "nested_loops": nested_loops, "name": first_word}
"""What `dataset.predict` names."""
