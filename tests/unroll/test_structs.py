"""The structs that Python fills in and the C driver reads: one layout, and a changed field is noticed."""

from __future__ import annotations

import ctypes
import re

import pytest
import torch

from rnn_research.cells import RNN
from rnn_research.structures import Chain
from rnn_research.unroll import unroll
from rnn_research.unroll.compiled import library, structs

HEADERS = "".join((library.HERE / name).read_text(encoding="utf-8") for name in ("kernel.h", "structs.h"))
SIZES = "".join(f"SIZE_OF({name})\n" for name in structs.STRUCTS)


def driver_with(name: str, old: str, new: str) -> ctypes.CDLL:
    """A library with the sizes alone, of headers in which the struct `name` has been changed."""
    body = re.search(rf"typedef struct \{{([^}}]*)\}} {name};", HEADERS)
    assert body is not None
    assert old in body[1]
    changed = HEADERS.replace(body[0], body[0].replace(old, new, 1))
    return library.load(f"{changed}\n{SIZES}", double=False, level="-O0")


def fields_in_c(name: str) -> list[str]:
    """The names of a struct's fields in C, in order."""
    body = re.search(rf"typedef struct \{{([^}}]*)\}} {name};", HEADERS)
    assert body is not None
    declarations = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL).split(";")
    return [
        re.sub(r"\[\d+\]", "", one).split()[-1].lstrip("*")
        for line in declarations
        for one in line.split(",")
        if one.strip()
    ]


@pytest.mark.parametrize("double", [False, True], ids=["float", "double"])
def test_the_driver_and_python_have_the_same_sizes(double: bool) -> None:
    structs.check_sizes(library.driver(double))


@pytest.mark.parametrize("name", structs.STRUCTS)
def test_the_fields_have_the_same_names_in_the_same_order(name: str) -> None:
    assert fields_in_c(name) == [field for field, *_ in structs.STRUCTS[name]._fields_]


@pytest.mark.parametrize("kind", ["int32_t", "int64_t", "double", "void *"])
@pytest.mark.parametrize("name", structs.STRUCTS)
def test_a_field_added_in_c_is_noticed(name: str, kind: str) -> None:
    added = driver_with(name, "\n", f"\n    {kind} added;\n")
    with pytest.raises(RuntimeError, match=rf"^engine=native: the struct {name} has \d+ bytes .* give both the same"):
        structs.check_sizes(added)


def test_a_field_of_another_width_is_noticed() -> None:
    with pytest.raises(RuntimeError, match=r"the struct Bias has 24 bytes in the compiled driver .* but 16 in Python"):
        structs.check_sizes(driver_with("Bias", "int32_t acc, tensor", "int64_t acc, tensor"))


def test_a_field_added_in_python_is_noticed_when_the_driver_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Longer(ctypes.Structure):
        _fields_ = [*structs.ProgramStruct._fields_, ("added", ctypes.c_int64)]

    monkeypatch.setitem(structs.STRUCTS, "Program", Longer)
    with pytest.raises(RuntimeError, match=r"the struct Program has 96 bytes .* but 104 in Python"):
        unroll(RNN(2, 37), Chain(torch.tensor([3])), torch.randn(1, 3, 2))


def test_a_driver_that_says_no_sizes_is_refused() -> None:
    without = library.load("int nothing;", double=False, level="-O0")
    with pytest.raises(RuntimeError, match=r"the struct Run has None bytes"):
        structs.check_sizes(without)
