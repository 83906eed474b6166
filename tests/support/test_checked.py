"""Types and shapes in the package's signatures are checked while it is tested, and only then."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import checked
import numpy as np
import pytest
import torch
from jaxtyping import Float, Int, Shaped
from jaxtyping._storage import get_shape_memo

import rnn_research
from rnn_research.structures import Chain
from rnn_research.unroll import unroll

REFUSED = r"violates|Type-check"


def test_every_room_that_names_shapes_is_checked() -> None:
    package = Path(rnn_research.__file__).parent
    files = (path for path in package.rglob("*.py") if "jaxtyping" in path.read_text())
    assert {path.relative_to(package).parts[0] for path in files} == set(checked.ROOMS)


def test_a_type_that_is_not_the_signatures_is_refused() -> None:
    with pytest.raises(Exception, match=REFUSED):
        unroll("no cell", Chain(torch.tensor([2])), torch.zeros(1, 2, 1))  # type: ignore[arg-type]


def test_a_shape_that_is_not_the_signatures_is_refused() -> None:
    chain = Chain(torch.tensor([2, 1]))
    assert chain.terminal(torch.zeros(2, 2, 3)).shape == (2, 3)
    with pytest.raises(Exception, match=REFUSED):
        chain.terminal(torch.zeros(2, 2))
    with pytest.raises(Exception, match=REFUSED):
        chain.terminal(torch.zeros(2, 2, 3, dtype=torch.int64))
    with pytest.raises(Exception, match=REFUSED):
        Chain(torch.tensor([2.0]))


ANNOTATIONS: list[Any] = [
    *(Float[np.ndarray, axes] for axes in ("", "n", "n n", "n 2", "n _", "... n", "*n", "#n")),
    *(Int[torch.Tensor, axes] for axes in ("n", "m n")),
    Shaped[torch.Tensor, "n m"],
    Float[np.ndarray, "n"] | Float[np.ndarray, "n m"],
]
VALUES: list[Any] = [
    *(np.zeros(shape) for shape in ((), (2,), (3,), (2, 2), (2, 3), (1,))),
    *(torch.zeros(shape, dtype=torch.int64) for shape in ((2,), (2, 2), (3, 2))),
    np.zeros(2, np.int64),
    torch.zeros(2),
    torch.nn.Parameter(torch.zeros(2, 2)),
    "text",
]


def test_arrays_are_right_that_jaxtyping_says_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any two after each other in one call, whatever was right before; and what is kept of their axes is the same."""

    def said(both: tuple[Any, Any]) -> list[Any]:
        with checked._axes:
            right = [isinstance(value, annotation) for annotation, value in both]
            return [*right, *(dict(kept) for kept in get_shape_memo()[:2])]

    every = list(itertools.product(itertools.product(ANNOTATIONS, VALUES), repeat=2))
    here = [said(both) for both in every]
    assert here == [said(both) for both in every]
    monkeypatch.setattr(checked._annotated, "__instancecheck__", checked._says_jaxtyping)
    assert here == [said(both) for both in every]


def test_axes_of_one_name_are_of_one_size(tmp_path: Path) -> None:
    """Between arguments, and between arguments and result; in functions, methods and dataclasses."""
    (tmp_path / "shapes.py").write_text(MODULE)
    script = "import sys; sys.path[:0] = sys.argv[1:]; import checked; checked.install(); "
    script += "from jaxtyping import install_import_hook; "
    script += "install_import_hook(['shapes'], 'beartype.beartype'); import shapes; shapes.refused()"
    subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)], check=True)


MODULE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
import numpy as np
from jaxtyping import Float
if TYPE_CHECKING:
    from nowhere import Unknown

def two(a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"]) -> None: ...
def result(a: Float[np.ndarray, "n"], size: int) -> list[Float[np.ndarray, "n"]]: return [np.zeros(size)]
def number(a: int, unknown: Unknown | None = None) -> int: return a

@dataclass
class Pair:
    a: Float[np.ndarray, "n"]
    b: Float[np.ndarray, "n"]

class Methods:
    @classmethod
    def made(cls, a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"]) -> None: ...
    @staticmethod
    def plain(a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"]) -> None: ...
    @property
    def wrong(self) -> Float[np.ndarray, "n"]: return np.zeros((1, 1))

def refused():
    two(np.zeros(2), np.zeros(2)), result(np.zeros(2), 2), number(1, "any"), Pair(np.zeros(3), np.zeros(3))
    one, other = np.zeros(2), np.zeros(3)
    wrong = [lambda: two(one, other), lambda: result(one, 3), lambda: number("1"), lambda: Pair(one, other),
             lambda: Methods.made(one, other), lambda: Methods.plain(one, other), lambda: Methods().wrong]
    for k, call in enumerate(wrong):
        try:
            call()
        except Exception as error:
            assert "violat" in str(error) or "Type-check" in str(error), error
        else:
            raise AssertionError(k)
"""
