"""The cache of compiled libraries: whose it is, and who waits for whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked import python

from rnn_research.unroll.compiled import cache, library


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache with one library, and nothing of it in this process; said lines are said again."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(folder))
    forget()
    assert number() == 1
    forget()
    yield folder
    forget()


def forget() -> None:
    for one in (library._unsafe, cache.say):
        one.cache_clear()
    for kept in (library._LOADED, cache._tired):
        kept.clear()


def number() -> int:
    return int(library.load("int number(void) { return 1; }", double=False).number())


def test_a_cache_is_made_for_this_user_alone(kept: Path) -> None:
    (made,) = kept.glob("*.so")
    assert kept.stat().st_mode & 0o777 == 0o700
    assert made.stat().st_mode & 0o077 == 0
    assert not list(kept.glob(".making-*"))


FAKE = """#!/bin/sh
case "$*" in *--version*) exec cc --version ;; *{folder}*) {does} ;; esac
exec cc "$@"
"""


@pytest.mark.parametrize("does", ["echo 'ld: final link failed: No space left on device' >&2; exit 1", "exit 1"])
def test_where_the_cache_is_full_it_is_compiled_for_this_process(
    kept: Path, does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A linker may say so, or the disk alone tell."""
    fake = tmp_path / "cc"
    fake.write_text(FAKE.format(folder=kept, does=does))
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    if "space" not in does:
        monkeypatch.setattr(library.shutil, "disk_usage", lambda path: SimpleNamespace(free=40_000))
    before = sorted(kept.iterdir())
    assert number() == 1
    assert sorted(kept.iterdir()) == before


def test_what_is_no_folder_is_said_to_be_none() -> None:
    assert (
        cache.unsafe(Path(os.devnull)) == f"{os.devnull} is no folder; give RNN_RESEARCH_CACHE=FOLDER, or leave it out"
    )


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o702])
def test_a_cache_that_others_can_write_to_is_not_loaded_from(
    kept: Path, mode: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_alone_in", lambda group: False)
    before = sorted(kept.iterdir())
    kept.chmod(mode)
    opened: list[Path] = []
    monkeypatch.setattr(library, "_open", lambda path, real=library._open: [opened.append(path), real(path)][1])
    assert number() == 1
    assert not [path for path in opened if kept in path.parents]
    assert sorted(kept.iterdir()) == before
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"{kept} can be written to by others; chmod 700 {kept}" in said


def test_in_a_group_of_ones_own_it_is(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the umask is 002, every folder may be written to by the user's own group."""
    monkeypatch.setattr(cache, "_alone_in", lambda group: True)
    kept.chmod(0o775)
    assert cache.unsafe(kept) == ""


@pytest.mark.parametrize("above", [0o777, 0o757])
def test_nor_one_in_a_folder_where_others_can_replace_it(kept: Path, above: int) -> None:
    kept.parent.chmod(above)
    assert "can be written to by others" in cache.unsafe(kept)
    kept.parent.chmod(above | 0o1000)  # as /tmp: nobody can replace another's
    assert cache.unsafe(kept) == ""


def test_a_link_counts_with_all_that_it_leads_through(kept: Path) -> None:
    (kept.parent / "open").mkdir()
    (kept.parent / "open" / "second").symlink_to(kept)
    (kept.parent / "first").symlink_to(kept.parent / "open" / "second")
    assert cache.unsafe(kept.parent / "first") == ""
    (kept.parent / "open").chmod(0o777)
    assert "open can be written to by others" in cache.unsafe(kept.parent / "first")
    (kept.parent / "round").symlink_to(kept.parent / "round")
    assert "can't be used" in cache.unsafe(kept.parent / "round")


def test_another_users_cache_or_library_is_not_loaded(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (made,) = kept.glob("*.so")
    assert cache.read(made)
    me = cache._user()
    monkeypatch.setattr(cache, "_user", lambda: me + 1)
    assert "is another user's" in cache.unsafe(kept)
    assert cache.read(made) is None


@pytest.mark.parametrize("case", ["linked", "writable", "swapped", "a folder", "a pipe"])
def test_a_file_in_the_cache_that_is_not_what_was_made_is_not_loaded(kept: Path, case: str) -> None:
    (made,) = kept.glob("*.so")
    if case == "linked":
        made.rename(made.with_suffix(".real"))
        made.symlink_to(made.with_suffix(".real"))
    elif case == "writable":
        made.chmod(0o722)
    elif case == "swapped":
        library.load("int number(void) { return 2; }", double=False)
        (other,) = set(kept.glob("*.so")) - {made}
        other.replace(made)
    elif case == "a pipe":
        made.unlink()
        os.mkfifo(made)
    else:
        made.unlink()
        made.mkdir()
    assert cache.read(made) is None
    forget()
    assert number() == 1


HOLD = """
import fcntl, sys, time, hashlib, pathlib
path = pathlib.Path(sys.argv[1])
lock = open(path.parent / ".lock", "r+b")
fcntl.lockf(lock, fcntl.LOCK_EX, 1, int(hashlib.sha256(path.name.encode()).hexdigest()[:15], 16))
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_process_that_is_stopped_or_killed_while_it_compiles_holds_up_no_other(
    kept: Path, how: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And a line says what for, where one waits."""
    monkeypatch.setattr(cache, "WAIT", 0.6)
    monkeypatch.setattr(cache, "QUIET", 0.1)
    (made,) = kept.glob("*.so")
    made.unlink()
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(made)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(how)
        if how == signal.SIGKILL:
            holder.wait()
        start = time.monotonic()
        with cache.turn(made):
            waited = time.monotonic() - start
        assert waited < 5
        said = [record.getMessage() for record in caplog.records]
        if how == signal.SIGSTOP:
            assert waited >= 0.6
            assert said == [f"waiting for another process, which compiles {made}; for 0.6 s at most"]
            with cache.turn(made):  # once is enough
                assert time.monotonic() - start - waited < 0.5
        assert number() == 1
        assert made.is_file()
    finally:
        holder.kill()
        holder.wait()


def test_compiling_is_said_when_it_takes_long(
    kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, for however many libraries."""
    monkeypatch.setattr(cache, "QUIET", 0.001)
    for value in (3, 4):
        library.load(f"int number(void) {{ return {value}; }}", double=False)
    assert [record.getMessage() for record in caplog.records] == [
        f"compiling native code for this machine: once, it is kept in {kept}"
    ]


def test_what_a_killed_process_left_half_made_is_removed(kept: Path) -> None:
    for name in (".making-old", ".making-new"):
        (kept / name).mkdir()
        (kept / name / "source.c").write_text("")
    past = time.time() - cache.LEFT - 1
    os.utime(kept / ".making-old", (past, past))
    library.load("int number(void) { return 5; }", double=False)
    assert [path.name for path in kept.glob(".making-*")] == [".making-new"]


def test_what_is_kept_for_one_process_alone_is_gone_with_it(tmp_path: Path) -> None:
    """A worker of a sweep is such a process, too."""
    script = "from rnn_research.unroll.compiled import library\nprint(library._private())"
    folder = Path(python(script, tmp_path).strip())
    assert folder.name.startswith("rnn_research-")
    assert not folder.exists()


@pytest.mark.parametrize("when", ["--version", "source.c"])
def test_a_compiler_that_prints_no_text_is_said(kept: Path, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an encoding of its own, or garbage: what it prints is looked at, and nothing rests on it."""
    script = kept.parent / "cc"
    script.write_text(
        "#!/bin/sh\necho 1.0\n"
        f'case "$*" in *{when}*) printf "\\377\\376\\033[2J error\\n"; printf "\\377 error\\n" >&2; exit 1;; esac\n'
    )
    script.chmod(0o700)
    monkeypatch.setenv("CC", str(script))
    library._version_of.cache_clear()
    with pytest.raises(library.Unavailable, match=r"--version failed|could not compile: \ufffd error"):
        number()
