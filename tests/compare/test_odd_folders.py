"""Folders and values that nobody planned for: each compared, or refused in one line, and nothing else is printed."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import SOME_OR_EVERY, STEPS, draw_less, refused, write_run
from test_cached import kept, same

from rnn_research import report
from rnn_research.cli.compare import main
from rnn_research.compare import caveats, compare, reading
from rnn_research.compare.cached import PREFIX
from rnn_research.records import runs
from rnn_research.report import figures


def change(folder: Path, **changes: Any) -> None:
    runs.write(dataclasses.replace(runs.read(folder), **changes), folder)


def test_a_metric_that_a_task_lacks_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for task, final in (("digits", {"test_accuracy": 0.9}), ("adding", {"test_mse": 0.1, "val_mse": 0.2})):
        change(write_run(tmp_path / task, factors={"dataset": task}), final=final, baselines={})
    assert refused([str(tmp_path), "--metric", "accuracy", "--no-figures"], capsys) == (
        "rnn-compare: error: metric: given accuracy, which not all tasks have: adding has test_mse, val_mse; look at "
        "the others alone (--where dataset!=adding), or leave --metric out"
    )
    assert "expected one of" in refused([str(tmp_path), "--metric", "f1"], capsys)
    assert main([str(tmp_path), "--metric", "accuracy", "--where", "dataset!=adding", "--no-figures"]) == 0
    assert main([str(tmp_path), "--no-figures"]) == 0
    assert "the tasks have no metric in common" in " ".join(capsys.readouterr().out.split())


def test_conditions_that_share_no_seed_say_so(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / f"plain{seed}", seed=seed)
        write_run(tmp_path / f"clipped{seed}", seed=seed + 10, threshold=1.0)
    (effect,) = compare([tmp_path]).effects
    assert (effect.rate, effect.metric) == (None, None)
    assert effect.notes == (
        "it shares no seed with its baseline (seeds 10, 11, 12 against 0, 1, 2): nothing is paired",
    )
    assert "it shares no seed with its baseline" in report.text(compare([tmp_path]))


def test_pairs_without_a_rate_or_a_score_say_so(tmp_path: Path) -> None:
    for seed in range(3):
        change(write_run(tmp_path / f"plain{seed}", seed=seed), final={})
        folder = write_run(tmp_path / f"clipped{seed}", seed=seed, threshold=1.0)
        table = runs.read_table(folder, "adjoint")
        assert table is not None
        table["hidden"] = np.where(table["distance"] > 3, np.nan, 1.0)
        runs.write_table(folder, "adjoint", table[table["distance"] < 2])
    (effect,) = compare([tmp_path]).effects
    assert "no pair has a decay rate on both sides at step 200" in effect.notes
    assert "no pair has test_accuracy on both sides" in effect.notes


def test_a_colon_in_a_name_leaves_the_reasons_whole(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = write_run(tmp_path / "a: b" / "lr: 0.1", seed=0)
    write_run(tmp_path / "a: b" / "good", seed=1)
    for name in ("adjoint", "clipping"):
        path = folder / "probes" / f"{name}.npy"
        path.write_bytes(path.read_bytes()[:-5])
    (write_run(tmp_path / "a: b" / "c: d", seed=2) / "run.json").write_text("{")
    found = compare([tmp_path / "a: b"])
    (run,) = [run for run in found.runs if run.missing]
    assert all(re.match(r"(adjoint|clipping) table: damaged \(\d+ bytes of rows", reason) for reason in run.missing)
    (left,) = found.excluded
    assert left.reason.startswith("damaged (")
    main([str(tmp_path / "a: b"), "--no-figures"])
    assert "left out c: d: damaged (" in capsys.readouterr().err


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and a strategy whose norms and metrics are near the largest and the smallest float."""
    made = tmp_path_factory.mktemp("huge")
    for number in range(8):
        model, threshold, seed = ("rnn", "lstm")[number % 2], (None, 1.0)[number // 2 % 2], number // 4
        gammas = dict.fromkeys(STEPS[::2], 1.0)
        given: dict[str, Any] = {"seed": seed, "threshold": threshold, "factors": {"model": model}, "distances": 17}
        folder = write_run(made / str(number), gammas, **given)
        value = (1e308, -1.7e308)[seed]
        change(folder, final={"test_accuracy": value, "test_mse": value}, baselines={"test_accuracy": 1.7e308})
        for name in ("adjoint", "clipping"):
            table = runs.read_table(folder, name)
            assert table is not None
            late = np.arange(len(table)) % 17 > 8
            for column in table.dtype.names or ():
                if table.dtype[column].kind == "f":
                    table[column] = np.where(late, 1.7e308, 5e-324) if number % 2 else np.where(late, 1e308, 1.0)
            runs.write_table(folder, name, table)
        rows = [f"{step},0,val,{value},{value * (-1) ** place}" for place, step in enumerate(STEPS)]
        (folder / "metrics.csv").write_text("\n".join(["step,epoch,split,loss,accuracy", *rows]) + "\n")
    return made


@pytest.mark.parametrize("options", [[], ["--look", "paper", "--metric", "mse"], ["--format", "json"]])
@SOME_OR_EVERY
def test_numbers_near_the_largest_warn_nobody(
    huge: Path,
    options: list[str],
    every: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No warning of numpy's or matplotlib's: of every figure as SVG, and beside other options of those with the metric
    in every form; slow: every figure in every form. The tables are read anew each time."""
    for path in huge.rglob(f"{PREFIX}*"):
        path.unlink()
    if not every and options:
        kept = ("learning", "beside_task")
        monkeypatch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in kept})
    elif not every:
        draw_less(monkeypatch)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("always", RuntimeWarning)
        assert main([str(huge), "--out", str(tmp_path), *options]) == 0
    assert not [str(one.message) for one in warned]
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    printed = capsys.readouterr()
    assert all(line.startswith("rnn-compare: ") for line in printed.err.splitlines()), printed.err
    if "json" not in options:
        page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
        assert "Infinity" not in page.rpartition("<script>")[0]
        assert all(len(line) <= 100 for line in printed.out.splitlines()[:-1])
    assert not re.search(r"\d{40}", printed.out)


def test_what_is_no_file_is_damaged_and_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Pipes, and links to devices that never end."""
    names = ("run.json", "metrics.csv", "run.log", "probes/adjoint.npy", "probes/clipping.npy")
    for seed, name in enumerate(names):
        path = write_run(tmp_path / f"pipe{seed}", seed=seed, distances=5) / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    path = write_run(tmp_path / "endless", seed=9, distances=5) / "metrics.csv"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert main([str(tmp_path), "--no-figures"]) == 0
    told = capsys.readouterr().err
    assert "left out pipe0: damaged (not a file)" in told
    assert told.count("(not a file)") == 4
    assert main(["show", str(tmp_path / "pipe2")]) == 0


def test_names_in_no_encoding_reach_page_and_terminal_as_codes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff\x1bname"))
    shutil.copytree(write_run(tmp_path / "source", distances=5), odd)
    assert main([str(tmp_path), "--no-figures"]) == 0
    page = (tmp_path / "comparison" / "comparison.html").read_text(encoding="utf-8")
    assert "\\udcff\\x1bname" in page
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err


@pytest.mark.parametrize("command", [(), ("show",), ("best",), ("diff", ".")])
def test_a_name_that_no_disk_holds_is_refused(command: tuple[str, ...], capsys: pytest.CaptureFixture) -> None:
    refused([*command, "x" * 5000], capsys)


# -- what is kept of a run is read by nobody's leave ---------------------------------------------------


def forged(path: Path, change: Any) -> None:
    """Change the JSON of what is kept, and give it the digest that it then has."""
    _, head, arrays = path.read_bytes().split(b"\n", 2)
    body = change(json.loads(head), arrays)
    path.write_bytes(hashlib.blake2b(body, digest_size=16).hexdigest().encode() + b"\n" + body)


def leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [place for key, item in items for place in leaves(item, (*at, key))]
    return [*found, at] if at else found


def put(value: Any, at: tuple[Any, ...], new: Any) -> None:
    for key in at[:-1]:
        value = value[key]
    value[at[-1]] = new


NEW = (None, "text", -1, 1 << 80, 1e308, True, [], {}, {"tuple": [1]}, {"kind": "Law"}, {"array": ["|O8", 0, [1]]},
       {"array": ["<f8", 0, [-1]]}, {"array": ["<f8", 1 << 60, [1 << 60]]}, {"kind": []}, {"dict": [[[], 1]]},
       {"text": [[1], []]})  # fmt: skip


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that stay as they are say the same each time that they are read."""
    monkeypatch.setattr(reading, "summarise", functools.cache(reading.summarise))


@pytest.mark.usefixtures("read_once")
@SOME_OR_EVERY
def test_a_forged_summary_is_ignored_or_means_what_it_says(every: bool, tmp_path: Path) -> None:
    """Any value in place of any other, under the right digest: never an error, and what is of another type is not
    taken."""
    folder = write_run(tmp_path / "run", {0: 0.9, 50: 0.8}, threshold=1.0, distances=9)
    first = compare([folder])
    (path,) = kept(folder)
    whole = path.read_bytes()
    places = leaves(json.loads(whole.split(b"\n", 2)[1])["summary"])
    rng = np.random.default_rng(0)
    for _ in range(300 if every else 60):
        place, new = places[rng.integers(len(places))], NEW[rng.integers(len(NEW))]
        path.write_bytes(whole)

        def exchange(head: Any, arrays: bytes, place: tuple[Any, ...] = place, new: Any = new) -> bytes:
            put(head["summary"], place, new)
            return json.dumps(head).encode() + b"\n" + arrays

        forged(path, exchange)
        found = compare([folder])
        if same(found, first):  # it was ignored, or says the same
            continue
        assert not isinstance(new, dict), (place, new)
        report.text(found)
        caveats(found)


@pytest.mark.usefixtures("read_once")
def test_one_turned_bit_is_enough_to_read_again(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", 0.9, threshold=1.0, distances=9)
    first = compare([folder])
    (path,) = kept(folder)
    whole = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(len(whole), size=20):
        turned = whole.copy()
        turned[place] ^= 4
        path.write_bytes(turned)
        assert same(compare([folder]), first)
        assert path.read_bytes() == whole


def test_the_pages_curves_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_less(monkeypatch, "rates")
    write_run(tmp_path / "run", dict.fromkeys(STEPS, 0.9))
    found = compare([tmp_path])
    report.write(found, tmp_path / "out")
    assert len(list((tmp_path / "run").glob(f"{PREFIX}*"))) == 2
    (tmp_path / "out" / "comparison.html").unlink()
    monkeypatch.setattr(runs, "read_table", lambda *_: pytest.fail("read a table"))
    report.write(compare([tmp_path]), tmp_path / "out")


def test_text_in_a_table_of_answers_reaches_page_and_files_as_codes(tmp_path: Path) -> None:
    """Names of evaluation sets and features, as a terminal would obey them."""
    folder = write_run(tmp_path / "run", distances=5)
    rows = [("test", 1.0), ("\x1b[2J", 2.0), ("a\nb", 3.0)] * 2
    runs.write_table(folder, runs.ANSWERS, np.array(rows, dtype=[("set", "U4"), ("loss", "f8")]))
    assert main([str(tmp_path), "--no-figures", "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    answers = (tmp_path / "out" / "answers.csv").read_text(encoding="utf-8")
    assert "\x1b" not in page + answers
    assert "\\x1b[2J" in page
    assert "a\\nb" in answers
