"""Of several runs that start in one folder at once, one trains there, and the others say why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command import SMALL, rnn_train
from small import SEQUENCES, Given, model_of, run, sequences

from rnn_research.records import runs
from rnn_research.sweeps import claims
from rnn_research.sweeps.claims import Claimed, claimed

RACE = """
import sys
from pathlib import Path
from rnn_research.sweeps import claims
print("ready", flush=True)
sys.stdin.readline()
try:
    with claims.claimed(Path(sys.argv[1])):
        print("mine", flush=True)
        sys.stdin.readline()
except claims.Claimed as error:
    print(error, flush=True)
"""


def test_of_processes_that_claim_at_once_one_succeeds(tmp_path: Path) -> None:
    """Each waits until all are there, and the one that has it until all have said something."""
    command = [sys.executable, "-c", RACE, str(tmp_path / "run")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    all_of = [subprocess.Popen(command, **pipes) for _ in range(6)]
    lines = [(process.stdin, process.stdout) for process in all_of]
    assert [out.readline() for _, out in lines] == ["ready\n"] * 6
    for line, _ in lines:
        line.write("\n")
    said = [out.readline().strip() for _, out in lines]
    for process in all_of:
        process.communicate(timeout=200)
    assert said.count("mine") == 1, said
    assert sum("another run has just been started there" in text for text in said) == 5, said
    assert list((tmp_path / "run").iterdir()) == []


def test_the_claim_of_a_process_that_is_gone_blocks_nobody(tmp_path: Path) -> None:
    killed = "import os, sys; from pathlib import Path; from rnn_research.sweeps import claims; "
    killed += "claims.claim(Path(sys.argv[1])); os._exit(9)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [".claim-0", ".claim-1"]
    with claimed(tmp_path):
        assert (tmp_path / ".claim-2").exists()
    assert not (tmp_path / ".claim-2").exists()


def _in_a_thread(folder: Path) -> str:
    """What another thread is told."""
    found = []

    def try_it() -> None:
        try:
            with claimed(folder):
                found.append("")
        except Claimed as error:
            found.append(str(error))

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return found[0]


def test_a_claim_holds_until_it_is_given_back(tmp_path: Path) -> None:
    with claimed(tmp_path):
        with claimed(tmp_path):
            pass
        assert f"process {os.getpid()}" in _in_a_thread(tmp_path)
    assert _in_a_thread(tmp_path) == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"host": "elsewhere", "pid": 3, "started": ""}', "process 3 on elsewhere; if that is gone, remove"),
        ("", "it has not yet said which"),
        ("[]", "it has not yet said which"),
        (json.dumps({"host": "HERE", "pid": "OURS", "started": "1"}), ""),  # the number is used again
    ],
)
def test_a_claim_that_can_t_be_judged_is_respected(content: str, says: str, tmp_path: Path) -> None:
    import socket

    (tmp_path / ".claim-0").write_text(
        content.replace("HERE", socket.gethostname()).replace('"OURS"', str(os.getpid()))
    )
    if "HERE" in content and not claims._started(os.getpid()):
        pytest.skip("the system doesn't tell when a process started")
    assert says in _in_a_thread(tmp_path)
    assert bool(_in_a_thread(tmp_path)) == bool(says)


# The command.


@pytest.fixture
def taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that this process, which is not the command's, holds."""
    monkeypatch.chdir(tmp_path)
    claims.claim(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("arguments", [("hydra.run.dir=here",), ("-m", "seed=0,1", "hydra.sweep.dir=here")])
def test_the_second_start_exits_with_one_line(arguments: tuple[str, ...], taken: Path) -> None:
    ended = rnn_train(*SMALL, *arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.count("\n") == 1
    assert "here: another run has just been started there (process " in ended.err
    assert "choose another folder" in ended.err
    assert [path.name for path in taken.iterdir()] == [".claim-0"]
    claims.release(taken)
    assert rnn_train(*SMALL, *arguments).code == 0
    assert not list(taken.rglob(".claim-*"))


def test_what_is_refused_leaves_no_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (("hydra.run.dir=a/b",), ("-m", "seed=0,1", "hydra.sweep.dir=a/b")):
        assert rnn_train(*SMALL, "dataset.length=-1", *arguments).code == 2
        assert not (tmp_path / "a").exists()


def test_a_fit_that_is_called_directly_claims_too(tmp_path: Path) -> None:
    data = Given(SEQUENCES, sequences(8))
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with claimed(tmp_path):
            held.set()
            over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        with pytest.raises(FileExistsError, match="another run has just been started there"):
            run(data, model_of(data), tmp_path, max_steps=1)
    finally:
        over.set()
        thread.join()
    assert run(data, model_of(data), tmp_path, max_steps=1).status == "done"
    assert runs.read(tmp_path).status == "done"
    assert not list(tmp_path.glob(".claim-*"))
