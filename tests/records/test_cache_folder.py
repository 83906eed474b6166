"""One rule says where things are kept, and all that keep something follow it."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from rnn_research.datasets import sst
from rnn_research.records.cache_folder import cache_folder
from rnn_research.unroll.compiled import library

CASES = {
    "its own variable": ({"RNN_RESEARCH_CACHE": "/own", "XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/own"),
    "a home in it": ({"RNN_RESEARCH_CACHE": "~/own", "HOME": "/home/me"}, "/home/me/own"),
    "the desktop's variable": ({"XDG_CACHE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/rnn_research"),
    "neither": ({"HOME": "/home/me"}, "/home/me/.cache/rnn_research"),
    "empty ones": ({"RNN_RESEARCH_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/rnn_research"),
}


@pytest.mark.parametrize("case", CASES)
def test_libraries_and_archives_are_kept_in_one_folder(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, expected = CASES[case]
    for name in ("RNN_RESEARCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == library._folder() == sst.PUBLISHED.folder(None).parent == Path(expected)


def test_a_user_without_a_home_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("RNN_RESEARCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder() is None
