"""Which code trained a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnn_research.records import sources as module
from rnn_research.records.sources import changed, joined, sources


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_packages_code_is_one_text() -> None:
    assert sources() == sources(())
    assert set(sources()) == {"rnn_research"}
    assert len(sources()["rnn_research"]) == module.DIGITS


def test_a_change_of_what_only_reads_records_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, dict.fromkeys(("__init__.py", "cli/a.py", "compare/b.py", "cells/rnn.py", "cells/kernel.c"), "1"))
    monkeypatch.setattr(module.rnn_research, "__file__", str(tmp_path / "__init__.py"))

    def now() -> str:
        return module._package.__wrapped__()

    before = now()
    (tmp_path / "cli" / "a.py").write_text("2")
    (tmp_path / "compare" / "b.py").write_text("2")
    (tmp_path / "cells" / "notes.txt").write_text("2")
    assert now() == before
    for name in ("rnn.py", "kernel.c"):
        (tmp_path / "cells" / name).write_text("2")
        assert now() != before
        before = now()
    (tmp_path / "cells" / "rnn.py").rename(tmp_path / "cells" / "other.py")
    assert now() != before


def test_of_a_users_folder_python_files_count_alone(tmp_path: Path) -> None:
    folder = write(tmp_path / "own", {"mine.py": "a", "model/mine.yaml": "b", "deep/er.py": "c"})
    first = sources([folder])
    write(folder, {"model/mine.yaml": "other", ".hidden/more.py": "other", "__pycache__/mine.py": "other"})
    write(folder / "outputs" / "run", {"code.py": "left there by a run", "run.json": "{}"})
    assert changed(first, sources([folder])) == []
    write(folder, {"deep/er.py": "d"})
    assert changed(first, sources([folder])) == ["the config folder's"]


def test_a_file_that_can_t_be_read_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "gone.py").symlink_to("nowhere")
    assert set(sources([tmp_path])) == {"rnn_research", "own"}


def test_what_changed() -> None:
    now = {"rnn_research": "a", "own": "b"}
    assert changed({}, now) == []  # a record from before says nothing
    assert changed(now, now) == []
    assert changed({"rnn_research": "a"}, now) == ["the config folder's"]
    assert changed({"rnn_research": "c", "own": "b"}, now) == ["rnn_research's"]


def test_a_run_that_two_codes_made_is_neithers() -> None:
    one, other = {"rnn_research": "a", "own": "b"}, {"rnn_research": "c", "own": "b"}
    both = joined(one, other)
    assert both == {"rnn_research": "a+c", "own": "b"}
    assert changed(both, one) == changed(both, other) == ["rnn_research's"]
    assert joined(both, other) == both
    assert joined(one, one) == one
    assert joined({}, one) == one
