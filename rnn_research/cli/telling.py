"""What the commands say of runs: a line each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_research.cli.errors import OTHER_FOLDER, os_error
from rnn_research.errors import FolderInUse, UsageError
from rnn_research.records.printable import printable

if TYPE_CHECKING:
    from rnn_research.config.compose import ComposedRun
    from rnn_research.sweeps.worker import Event


def tell(text: str) -> None:
    """Print a line of output."""
    print(printable(text), flush=True)


def say(text: str, command: str = "rnn-train") -> None:
    """Print a line about the command, on stderr."""
    print(printable(f"{command}: {text}"), file=sys.stderr, flush=True)


def intent(spec: ComposedRun, folder: Path) -> str:
    """What a run is about to do, as far as its config says: what it waits for takes seconds to import."""
    from omegaconf import OmegaConf

    from rnn_research.records.identity import identity_of

    plain: Any = OmegaConf.to_container(spec.task, resolve=False)
    choices = identity_of(plain, spec.choices, ())["choices"]
    limits = plain.get("trainer") or {}
    counted = {"steps": limits.get("max_steps"), "epochs": limits.get("max_epochs")}
    most = [f"{count} {what}" for what, count in counted.items() if isinstance(count, int) and count > 0]
    parts = [
        f"{choices.get('model')} on {choices.get('dataset')}",
        f"clipping {choices.get('clipping')}",
        f"seed {plain.get('seed')}",
        *([f"at most {' or '.join(most)}"] if most else []),
    ]
    return f"{', '.join(parts)}, in {folder}; starting"


def refusal(error: UsageError) -> str:
    """What is said of a mistake in what was asked for."""
    return f"output folder {error}; {OTHER_FOLDER}" if isinstance(error, FolderInUse) else str(error)


def failure(record: Any, folder: Path) -> str:
    """What is said of a run that failed."""
    return f"failed: {' '.join(str(record.error).split()).removesuffix(':')}; the traceback is in {folder / 'run.log'}"


def summary(record: Any) -> str:
    """How a run ended, in one line."""
    if record.status == "diverged":
        return f"diverged at step {record.diverged_step}"
    parts = [f"{'pruned' if 'pruned' in record.actual else record.status} after {record.steps} steps"]
    if record.resumed:
        parts.append(f"the first {record.resumed['step']} of them by {Path(record.resumed['folder']).name}")
    if record.success:
        solved = record.success["step"]
        parts.append("not solved" if solved is None else f"solved at step {solved}")
    for name in ("test_accuracy", "test_mse", "test_bits"):
        if name in record.final:
            beside = f" (baseline {record.baselines[name]:.3g})" if name in record.baselines else ""
            parts.append(f"{name} {record.final[name]:.3g}{beside}")
    if record.engine:
        fallback = record.engine["asked"] == "auto" and record.engine["used"] != "native"
        parts.append(f"engine {record.engine['used']}" + (f" ({record.engine['why']})" if fallback else ""))
    return ", ".join(parts)


def left_out(event: Event, label: str, known: set[str], command: str = "rnn-train") -> None:
    """Print why a run of a sweep is left out, once for all that have the reason; `known` are those printed."""
    text = refusal(event.error) if isinstance(event.error, UsageError) else str(event.error)
    if text not in known:
        known.add(text)
        say(f"{label}: left out, as all that have it: {text}", command)


def event_line(event: Event, label: str, command: str = "rnn-train") -> int:
    """Print how a run of a sweep ended, and return its exit code: 0; 1 where it failed; 2 where it was refused or could
    not be written."""
    folder, record = event.run.folder, event.record
    if record is None:
        if isinstance(event.error, UsageError):
            say(f"{label}: refused: {refusal(event.error)}", command)
        else:
            text = os_error(event.error, folder) if event.error is not None else ""
            say(f"{label}: failed: {text or event.error}", command)
        return 2
    if record.status == "failed":
        say(f"{label}: {failure(record, folder)}", command)
        return 1
    tell(f"{label}: {summary(record)}, {event.seconds:.1f} s")
    return 0
