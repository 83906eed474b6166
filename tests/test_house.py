"""The shape of the package: sizes, names and imports that keep it readable."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rnn_research"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """The package's modules that are imported wherever this one is: not those of a function, nor for types alone."""
    body = list(tree(path).body)
    while body:
        node = body.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            body += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try | ast.With):
            body += node.body


MODULES = {name(path): path for path in FILES}


def test_no_module_is_over_300_lines_and_no_function_over_60() -> None:
    long = []
    for path in FILES:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        long += [f"{name(path)} has {lines} lines"] if lines > 300 else []
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                long += [f"{name(path)}.{node.name} has {lines} lines"] if lines > 60 else []
    assert long == []


def test_no_class_name_has_two_meanings() -> None:
    names = Counter(node.name for path in FILES for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef))
    assert [found for found, count in names.items() if count > 1] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: {other for other in imported(path) if other in MODULES} for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module not in done:
            for other in graph[module] - {module}:
                visit(other, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_the_root_holds_what_every_room_needs_and_nothing_else() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__init__.pyi", "checks.py", "errors.py", "py.typed"}


def test_a_model_and_a_fit_are_small() -> None:
    from rnn_research.models.model import Model
    from rnn_research.training.fit import fit

    assert len(inspect.getsource(Model).splitlines()) <= 220
    assert len(inspect.signature(fit).parameters) <= 6


def test_every_room_has_its_tests() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    tested = {path.name for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))}
    assert rooms <= tested


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest imports them by their names, and would refuse the second."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [found for found, count in names.items() if count > 1] == []
