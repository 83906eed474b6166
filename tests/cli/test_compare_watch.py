"""rnn-compare --watch: a comparison that is renewed while its runs are running."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from folders import refused, write_run

from rnn_research.cli import compare_watch
from rnn_research.cli.compare import main
from rnn_research.cli.compare_options import prepared
from rnn_research.records import runs
from rnn_research.sweeps import claims

LONG_AGO = 1_700_000_000


def finish(folder: Path, status: str = "done") -> None:
    runs.write(dataclasses.replace(runs.read(folder), status=status), folder)


def age(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def test_where_nothing_is_running_it_compares_once(tmp_path: Path, capsys):
    age(write_run(tmp_path / "run"))
    began = time.monotonic()
    assert main([str(tmp_path), "--watch", "60", "--no-figures"]) == 0
    assert time.monotonic() - began < 30
    assert capsys.readouterr().out.count("1 run in 1 condition") == 1


def test_it_renews_when_a_run_has_changed_until_nothing_is_running(tmp_path: Path, monkeypatch):
    write_run(tmp_path / "one")
    two = write_run(tmp_path / "two", seed=1, status="running")
    seen: list[str] = []
    naps = iter([lambda: None, lambda: finish(two), lambda: None, lambda: None, lambda: pytest.fail("it goes on")])
    monkeypatch.setattr(compare_watch.time, "sleep", lambda seconds: next(naps)())
    compare_watch.watch([tmp_path], 5, lambda: seen.append(runs.read(two).status))
    assert seen == ["running", "done"]  # and not where nothing had changed


def test_between_two_runs_of_a_sweep_it_waits(tmp_path: Path, monkeypatch):
    one = write_run(tmp_path / "one", status="running")
    naps = iter(
        [
            lambda: finish(one),
            lambda: write_run(tmp_path / "two", seed=1, status="running"),
            lambda: finish(tmp_path / "two"),
            lambda: None,
            lambda: None,
            lambda: pytest.fail("it goes on"),
        ]
    )
    monkeypatch.setattr(compare_watch.time, "sleep", lambda seconds: next(naps)())
    renewed: list[int] = []
    compare_watch.watch([tmp_path], 5, lambda: renewed.append(len(list(tmp_path.iterdir()))))
    assert renewed == [1, 1, 2, 2]


def test_a_run_that_has_begun_and_has_no_record_yet_is_waited_for(tmp_path: Path, monkeypatch):
    age(write_run(tmp_path / "one"))
    naps = iter(
        [
            lambda: write_run(tmp_path / "two", seed=1, status="running"),
            lambda: finish(tmp_path / "two"),
            lambda: claims.release(tmp_path / "two"),
            lambda: None,
            lambda: pytest.fail("it goes on"),
        ]
    )
    monkeypatch.setattr(compare_watch.time, "sleep", lambda seconds: next(naps)())
    claims.claim(tmp_path / "two")
    renewed: list[int] = []
    compare_watch.watch([tmp_path], 10, lambda: renewed.append(len(list(tmp_path.glob("*/run.json")))))
    assert renewed == [1, 2, 2]


def test_where_something_was_just_written_it_waits_a_moment(tmp_path: Path, monkeypatch):
    write_run(tmp_path / "one")
    naps = iter([lambda: write_run(tmp_path / "two", seed=1), lambda: None, lambda: pytest.fail("it goes on")])
    monkeypatch.setattr(compare_watch.time, "sleep", lambda seconds: next(naps)())
    renewed: list[int] = []
    compare_watch.watch([tmp_path], 5, lambda: renewed.append(len(list(tmp_path.iterdir()))))
    assert renewed == [1, 2]


def test_a_run_that_was_killed_long_ago_is_not_waited_for_unless_somebody_holds_it(tmp_path: Path):
    folder = write_run(tmp_path / "run", status="running")
    files = compare_watch.RunFiles()
    assert files.running([tmp_path]) == [folder]  # just written
    age(folder)
    assert files.running([tmp_path]) == []
    with claims.claimed(folder):
        assert files.running([tmp_path]) == [folder]
    assert files.running([tmp_path]) == []


def test_a_run_that_seems_to_have_been_killed_is_named(tmp_path: Path, capsys):
    write_run(tmp_path / "good")
    write_run(tmp_path / "live", status="running")
    age(write_run(tmp_path / "dead", status="running"))
    assert main([str(tmp_path), "--format", "csv"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "probably killed" in line]
    assert said == [
        "rnn-compare: dead: still said to be running, but held by no process and unchanged for 10 minutes: "
        "probably killed"
    ]


def test_a_record_is_read_again_only_where_it_changed(tmp_path: Path, monkeypatch):
    folders = [write_run(tmp_path / name, seed=seed, status="running") for seed, name in enumerate("ab")]
    read: list[Path] = []
    original = runs.read
    monkeypatch.setattr(runs, "read", lambda folder: read.append(folder) or original(folder))
    files = compare_watch.RunFiles()
    files.running([tmp_path])
    files.running([tmp_path])
    assert read == folders
    runs.write(dataclasses.replace(original(folders[1]), status="done", steps=7), folders[1])
    assert files.running([tmp_path]) == folders[:1]
    assert read == [*folders, folders[1]]


def test_while_no_run_is_done_it_waits_and_says_so(tmp_path: Path, monkeypatch, capsys):
    run = write_run(tmp_path / "run", status="running")
    naps = iter([lambda: finish(run), lambda: None, lambda: pytest.fail("it goes on")])
    monkeypatch.setattr(compare_watch.time, "sleep", lambda seconds: next(naps)())
    assert main([str(tmp_path), "--watch", "--no-figures"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("rnn-compare: waiting: folder: none of the 1 runs")
    assert "1 run in 1 condition" in printed.out


def test_where_nothing_runs_and_nothing_can_be_compared_it_ends(tmp_path: Path, capsys):
    assert "no run.json" in refused([str(tmp_path), "--watch"], capsys)
    write_run(tmp_path / "run", status="failed", error="boom")
    assert "failed: boom" in refused([str(tmp_path), "--watch"], capsys)


def test_ctrl_c_ends_it_quietly(tmp_path: Path):
    write_run(tmp_path / "one")
    write_run(tmp_path / "two", seed=1, status="running")
    command = [sys.executable, "-m", "rnn_research.cli.compare", str(tmp_path), "--watch", "60", "--no-figures"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        while "1 running" not in (line := process.stderr.readline()):
            assert line, "it ended before"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err == ""
    assert "1 run in 1 condition" in out


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["a", "--watch"], ["a", "--watch=10"]),
        (["--watch", "a"], ["--watch=10", "a"]),
        (["--watch", "3", "a"], ["--watch", "3", "a"]),
        (["a", "--watch", "--sort", "-rate"], ["a", "--watch=10", "--sort=-rate"]),
        (["a", "--sort", "--out", "b"], ["a", "--sort", "--out", "b"]),
    ],
)
def test_the_folder_after_watch_is_no_number(typed: list[str], read: list[str]):
    assert prepared(typed) == read
