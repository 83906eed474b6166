"""rnn-compare best, diff and show; --sort and --format on the command line."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import adjoint_table, refused, write_run

from rnn_research.cli.compare import main
from rnn_research.records import runs
from rnn_research.report.fitting import cells_of


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    for minute, (model, gamma) in enumerate({"rnn": 0.6, "lstm": 0.97}.items()):
        for seed in range(2):
            write_run(
                root / f"{model}{seed}",
                gamma,
                seed=seed,
                factors={"model": model},
                accuracy=0.7 + 0.1 * seed + 0.05 * minute,
                start=f"2026-01-01T00:0{minute}:00+00:00",
            )
    return root


def change(folder: Path, **changes) -> None:
    runs.write(dataclasses.replace(runs.read(folder), **changes), folder)


def shown(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def facts(text: str) -> dict[str, str]:
    pairs = (line.partition("  ") for line in text.partition("\n\n")[0].splitlines())
    return {name: value.strip() for name, _, value in pairs}


# -- best ----------------------------------------------------------------------------------------------


def test_best_is_the_highest_accuracy_and_the_lowest_loss(study: Path, capsys):
    found = facts(shown(["best", str(study)], capsys))
    assert found["folder"] == str(study / "lstm1")
    assert found["val_accuracy"] == "0.85 (highest of 4 runs)"
    assert shlex.split(found["command"])[:2] == ["rnn-train", "model=lstm"]
    assert found["command"].endswith("seed=1")
    found = facts(shown(["best", str(study), "--metric", "test_loss"], capsys))
    assert found["folder"] == str(study / "lstm1")
    assert found["test_loss"].startswith("0.15 (lowest of 4 runs; chosen by the test set")
    assert facts(shown(["best", str(study), "--metric", "test_loss", "--higher"], capsys))["folder"].endswith("rnn0")


def test_best_leaves_out_what_diverged_failed_or_is_nan_and_counts_ties(tmp_path: Path, capsys):
    for seed, accuracy in enumerate((0.5, 0.9, float("nan"), 0.95, 0.99, 0.9)):
        write_run(tmp_path / str(seed), seed=seed, accuracy=accuracy)
    change(tmp_path / "3", status="diverged")
    change(tmp_path / "4", status="failed")
    found = facts(shown(["best", str(tmp_path)], capsys))
    assert found["folder"] == str(tmp_path / "1")
    assert found["val_accuracy"] == "0.9 (highest of 3 runs; 1 more with the same value)"


def test_best_reads_no_table(study: Path, tmp_path: Path, capsys):
    write_run(tmp_path / "run")
    for path in (tmp_path / "run" / "probes").iterdir():
        path.write_bytes(b"junk")
    assert "0.9" in shown(["best", str(tmp_path)], capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["best", "{study}", "--metric", "acuracy"], "metric: given acuracy, expected one of"),
        (["best", "{study}", "--metric", "acuracy"], "did you mean accuracy?"),
        (["best", "{study}/absent"], "which does not exist"),
        (["best"], "the following arguments are required: FOLDER; see rnn-compare best --help"),
        (["best", "{study}", "--higher", "--lower"], "not allowed with argument"),
        (["best", "{odd}", "--metric", "val_wobble"], "does not say whether more is better; add --higher or --lower"),
        (["show", "{study}"], "expected the folder of one run; it holds 4, such as"),
        (["show", "{study}/lstm3"], "lstm3, which does not exist (did you mean lstm"),
        (["show", "{study}/lstm0/run.json"], "given the file"),
        (["show", "{study}/lstm0/probes"], "which holds no run.json; give the folder of a run"),
        (["show", "{odd}/torn"], "damaged"),
        (["show", "{study}/lstm0", "--lines", "many"], "given many, expected a number of lines"),
        (["diff", "{study}/lstm0"], "the following arguments are required: RUN"),
        (["diff", "{study}/lstm0", "{study}"], "expected the folder of one run"),
        (["diff", "{study}/lstm0", "{study}/lstm1", "more"], "unrecognized arguments: more"),
        (["{study}", "--sort", "raet"], "sort: given raet, expected one of"),
        (["{study}", "--sort", "-raet"], "did you mean rate?"),
        (["{study}", "--sort"], "argument --sort: expected one argument"),
        (["{study}", "--format", "markdwon"], "did you mean markdown?"),
        (["{study}", "--format", "latex", "--out", "{study}/lstm0/run.json"], "which can't be written"),
        (["{study}", "--watch", "0"], "given 0, expected seconds, a number > 0 and <= 86400"),
        (["{study}", "--watch", "-3"], "given -3, expected seconds"),
    ],
)
def test_a_mistake_is_one_line(study: Path, tmp_path: Path, capsys, arguments: list[str], message: str):
    odd = tmp_path / "odd"
    change(write_run(odd / "run"), final={"val_wobble": 1.0})
    (odd / "torn").mkdir()
    (odd / "torn" / "run.json").write_text("{")
    assert message in refused([argument.format(study=study, odd=odd) for argument in arguments], capsys)


def test_a_folder_with_the_name_of_a_command_is_given_with_its_path(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("best"))
    assert main(["./best", "--no-figures"]) == 0
    assert "1 run in 1 condition" in capsys.readouterr().out
    assert Path("best/comparison/comparison.html").exists()


# -- show ----------------------------------------------------------------------------------------------


def test_show_tells_one_run_with_its_layers_and_the_end_of_its_log(tmp_path: Path, capsys):
    folder = write_run(tmp_path / "run", parameters=12345)
    layers = []
    for layer, gamma in enumerate((0.6, 0.9)):
        table = adjoint_table({0: 0.9, 200: gamma}, 0)
        table["layer"] = layer
        layers.append(table)
    runs.write_table(folder, "adjoint", np.concatenate(layers))
    (folder / "run.log").write_text("".join(f"line {n} \x1b[31m{'x' * 300}\n" for n in range(100_000)))
    change(folder, engine={"asked": "auto", "used": "native", "why": "it is there"})
    text = shown(["show", str(folder), "--lines", "3"], capsys)
    found = facts(text)
    assert found["status"] == "done, 201 steps, 5 epochs"
    assert found["took"] == "10 min"
    assert found["parameters"] == "12,345"
    assert found["condition"].startswith("model=linear dataset=digits")
    assert found["command"].startswith("rnn-train model=linear")
    assert found["engine"] == "native (asked for auto: it is there)"
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("layer ")] == [
        ["layer", "0"],
        ["layer", "1"],
    ]
    assert "Verdict: " in text
    assert "†" not in text
    last = text.rstrip().splitlines()[-3:]
    assert [line[:11] for line in last] == ["line 99997 ", "line 99998 ", "line 99999 "]
    assert all(cells_of(line) <= 110 for line in last)
    assert "\x1b" not in text


@pytest.mark.parametrize("status", runs.STATUSES)
def test_show_tells_a_run_of_any_status(tmp_path: Path, capsys, status: str):
    folder = write_run(tmp_path / "run", status=status, error="boom\nbang" if status == "failed" else None)
    text = shown(["show", str(folder)], capsys)
    assert facts(text)["status"].startswith(status)
    assert ("boom bang" in text) == (status == "failed")


def test_show_tells_a_run_without_anything(tmp_path: Path, capsys):
    folder = write_run(tmp_path / "run")
    change(folder, final={}, baselines={}, status="running", end=None)
    for path in (*(folder / "probes").iterdir(), folder / "metrics.csv"):
        path.unlink()
    text = shown(["show", str(folder)], capsys)
    assert "METRICS\nnone was recorded" in text
    assert "MISSING\n* adjoint table: there is none" in text
    assert "GRADIENT" not in text
    assert "LOG" not in text


def test_show_says_what_marks_mean(tmp_path: Path, capsys):
    text = shown(["show", str(write_run(tmp_path / "run", distances=6))], capsys)
    assert "\n(† fitted over fewer than 10 distances)\n" in text


# -- diff ----------------------------------------------------------------------------------------------


def test_diff_puts_what_differs_side_by_side(study: Path, capsys):
    text = shown(["diff", str(study / "rnn0"), str(study / "lstm1")], capsys)
    blocks = {block.partition("\n")[0]: block for block in text.split("\n\n")}
    assert [line.split() for line in blocks["CONFIG"].splitlines()[1:]] == [
        ["key", "rnn0", "lstm1"],
        ["model", "rnn", "lstm"],
        ["seed", "0", "1"],
    ]
    assert "digits" not in blocks["CONFIG"]
    assert ["test_accuracy", "0.7", "0.85", "0.15"] in [line.split() for line in blocks["METRICS"].splitlines()]
    gradient = next(block for title, block in blocks.items() if title.startswith("GRADIENT"))
    assert "vanishes over 31" in gradient
    assert "weakens over 31" in gradient
    assert "-0.510826" in gradient


def test_diff_of_a_run_with_itself_says_so(study: Path, capsys):
    text = shown(["diff", str(study / "rnn0"), str(study / "rnn0")], capsys)
    assert "CONFIG\nthe same" in text
    assert "RECORD\nthe same" in text


def test_long_values_are_shown_where_they_differ(tmp_path: Path, capsys):
    for name in "ab":
        write_run(tmp_path / name, factors={"model": f"{'long ' * 60}{name} end"})
    text = shown(["diff", str(tmp_path / "a"), str(tmp_path / "b")], capsys)
    assert "ong a end" in text
    assert "ong b end" in text
    assert max(map(cells_of, text.splitlines())) <= 100


# -- forms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "json", "latex", "markdown"])
def test_another_form_is_alone_on_stdout_and_writes_no_page(study: Path, tmp_path: Path, capsys, form: str):
    write_run(tmp_path / "run")
    write_run(tmp_path / "bad", status="failed", error="boom")
    before = sorted(tmp_path.rglob("[!.]*"))  # what is kept of a run for the next comparison begins with a dot
    assert main([str(tmp_path), "--format", form]) == 0
    printed = capsys.readouterr()
    assert sorted(tmp_path.rglob("[!.]*")) == before
    assert "rnn-compare: left out bad: failed: boom" in printed.err
    assert "rnn-compare: 1 run left out, failed, boom (1): bad." in printed.err
    start = {"csv": "runs,", "json": ("[", "{"), "latex": "% ", "markdown": "| "}[form]
    assert printed.out.startswith(start)
    assert "boom" not in printed.out or form == "json"
    assert main([str(tmp_path), "--format", form, "--out", str(tmp_path / "out"), "--no-figures"]) == 0
    again = capsys.readouterr()
    assert again.out == printed.out
    assert str(tmp_path / "out" / "comparison.html") in again.err
    assert (tmp_path / "out" / "comparison.html").exists()


def test_what_is_printed_is_sorted_and_what_is_written_is_not(study: Path, tmp_path: Path, capsys):
    assert main([str(study), "--sort", "-rate", "--out", str(tmp_path), "--no-figures"]) == 0
    out = capsys.readouterr().out
    assert out.index("\nlstm") < out.index("\nrnn")
    written = list(csv.DictReader((tmp_path / "conditions.csv").open()))
    assert [row["model"] for row in written] == ["rnn", "lstm"]
    assert main([str(study), "--sort", "-rate", "--format", "csv"]) == 0
    printed = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["model"] for row in printed] == ["lstm", "rnn"]


def test_the_json_is_read_by_a_pipe(study: Path, capsys):
    assert main([str(study), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_a_terminal_without_block_signs_gets_digits(study: Path, tmp_path: Path):
    command = [sys.executable, "-m", "rnn_research.cli.compare", str(study), "--no-figures", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=True)
    text = done.stdout.decode("ascii")
    assert "curve: from distance 1 to the farthest, on one log scale; 1 1.3e-07, 8 1 of" in text
    assert "?" not in text


NAMES = ("a\x1b[31m\n\tb", "é漢字🙂\u202e", "\udcff", "--sort", "n" * 255, "<b>|x&$_", " spaces ")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with odd names, a run of each status, and errors that say evil things."""
    root = tmp_path_factory.mktemp("odd")
    for seed, name in enumerate(NAMES):
        write_run(root / "run", seed=seed, commit="\x1b<i>" if seed % 2 else None).rename(root / name)
        status = "failed" if seed % 2 else "running"
        left_out = write_run(root / "left out" / "run", seed=seed, status=status, error="\x1b]0;title\x07<b>\nx" * 50)
        left_out.rename(left_out.with_name(name))
    folder = root / NAMES[0]
    (folder / "run.log").write_bytes(b"\x1b[2J\x00\xff\xfe\r\n" * 9)
    machine = {"system": None, "processor": ["a", {"b": "\x1b"}], "\x07": 1}
    change(folder, machine=machine, engine={"used": "\x1b[0m"}, versions={"\x1b": "2"})
    return root


def harmless(text: str) -> bool:
    return all(sign in "\n\t" or sign.isprintable() for sign in text)


@pytest.mark.parametrize("form", ["table", "csv", "json", "latex", "markdown"])
def test_odd_folders_and_errors_come_out_safely(odd: Path, tmp_path: Path, capsys, form: str):
    assert main([str(odd), "--format", form, "--no-figures", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    for text in printed:
        assert harmless(text.replace("\r\n", "\n"))
    if form == "table":
        assert max(map(cells_of, printed.out.splitlines()[:-1])) <= 100


def test_odd_folders_come_out_safely_as_bytes(odd: Path, tmp_path: Path):
    command = [sys.executable, "-m", "rnn_research.cli.compare", str(odd), "--no-figures", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert all(harmless(stream.decode("utf-8")) for stream in (done.stdout, done.stderr))


@pytest.mark.parametrize("name", NAMES)
def test_one_odd_run_comes_out_safely(odd: Path, capsys, name: str):
    for arguments in (
        ["show", str(odd / name)],
        ["diff", str(odd / name), str(odd / NAMES[0])],
        ["best", str(odd / name)],
    ):
        assert harmless(shown(arguments, capsys))
    assert harmless(shown(["show", str(odd / "left out" / name)], capsys))


@pytest.mark.parametrize("arguments", [["--help"], ["best", "--help"], ["diff", "--help"], ["show", "--help"]])
def test_each_command_has_help(capsys, arguments: list[str]):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "usage: rnn-compare" in capsys.readouterr().out
