"""What a terminal shows of a sweep while its workers train."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
from pathlib import Path

from command import SMALL, last
from forked import Forked
from rich.console import Console

from rnn_research.cli import pool
from rnn_research.cli.live_table import LiveTable
from rnn_research.cli.sweep_options import SweepOptions
from rnn_research.cli.sweeping import Sweep
from rnn_research.cli.train import main
from rnn_research.sweeps import store
from rnn_research.sweeps.store import QueuedRun


def test_the_table(tmp_path: Path) -> None:
    labels = [f"model=gru, dataset=adding, seed={seed}" for seed in range(4)]
    runs = [QueuedRun(tmp_path, f"{n:020x}", f"run{n}", n, label) for n, label in enumerate(labels)]
    for run in runs:
        store.add(run, {"config": {"trainer": {"max_steps": 500}}})
    sweep = Sweep(tmp_path, runs, SweepOptions())
    running = {1: runs[2]}
    table = LiveTable(sweep, 2, lambda: running)
    sweep.states[runs[0].digest] = "done"  # before
    sweep.ended[runs[1].digest] = "failed"
    sweep.seconds += [240.0, 360.0]
    (tmp_path / "run2").mkdir()
    metrics = tmp_path / "run2" / "metrics.csv"
    metrics.write_text("step,epoch,split,loss\n0,0,val,1.0\n123,1,val,0.123456\n125,1,tra")
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(table.table())
    head, line, caption = (line.strip() for line in console.export_text().strip().split("\n"))
    assert head.split() == ["run", "step", "last", "for"]
    assert re.fullmatch(r"#3 seed=2 +123/500 +val loss 0\.1235 +0 s", line)
    assert caption == "1 failed, 1 done of 4; about 5 min left"
    running.clear()
    assert table.table().row_count == 0


def with_looks(arguments: list[str]) -> None:
    """The command, which looks five times a second."""
    pool.TICK = 0.2
    main(arguments)


def on_terminal(arguments: list[str], folder: Path) -> str:
    """What the command writes where its output is a terminal, without what moves the cursor."""
    parent, terminal = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while part := os.read(parent, 1 << 16):
                shown.extend(part)
        except OSError:
            return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    environment = os.environ | {"COLUMNS": "200", "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    process = Forked(with_looks, arguments, folder=folder, env=environment, out=Path(os.ttyname(terminal)))
    code = process.wait(timeout=250)
    os.close(terminal)
    reader.join(timeout=60)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert code == 0, text
    assert "Traceback" not in text
    return text


def test_a_terminal_shows_it_and_keeps_the_lines(tmp_path: Path) -> None:
    long = ["trainer.max_steps=200", "trainer.log_every_n_steps=5", "trainer.check_val_every_n_epoch=1000"]
    typed = last(["-m", *SMALL, *long, "dataset.train_size=2000", "seed=0,1", "workers=2", "hydra.sweep.dir=s"])
    text = on_terminal(typed, tmp_path)
    assert len(re.findall(r"#\d/2 .*?: done after 200", text, re.DOTALL)) == 2
    assert re.search(r"#\d seed=\d +\d+/200 ", text)
    assert text.rstrip().endswith(f"2 runs in {tmp_path / 's'}")


def test_one_run_says_first_what_it_will_do(tmp_path: Path) -> None:
    text = on_terminal(last([*SMALL, "model=gru", "seed=3", "hydra.run.dir=r"]), tmp_path)
    said = f"rnn-train: gru on adding, clipping none, seed 3, at most 3 steps, in {tmp_path / 'r'}; starting"
    assert text.splitlines()[0] == said
