"""Processes that tests fork."""

from __future__ import annotations

from pathlib import Path

from forked import IMPORTED, python


def test_a_process_begins_with_all_that_was_to_be_imported(tmp_path: Path) -> None:
    """The fork server says nothing of what it could not find."""
    script = f"import sys; print([name for name in {IMPORTED} if name not in sys.modules])"
    assert python(script, tmp_path).strip() == "[]"
