"""docs/compare.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rnn_research.cli.compare import main
from rnn_research.compare import honesty

TEXT = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")


def test_every_option_in_the_docs_is_in_the_help(capsys):
    shown = ""
    for arguments in ([], ["best"], ["diff"], ["show"]):
        with pytest.raises(SystemExit):
            main([*arguments, "--help"])
        shown += capsys.readouterr().out
    options = set(re.findall(r"--[a-z]\w*", TEXT)) - {"--no"}  # pip's --no-deps
    assert {option for option in options if option not in shown} == set()


def test_every_kind_of_caveat_is_in_the_docs():
    source = Path(honesty.__file__).read_text(encoding="utf-8")
    kinds = {*re.findall(r'Caveat\("([a-z ]+)"', source), *(kind for kind, _, _ in honesty.LEFT_OUT), "damaged"}
    kinds |= {"machine", "engine", "version", "few distances", "near underflow"}
    assert {kind for kind in kinds if kind not in TEXT.partition("## Read with care")[2]} == set()
