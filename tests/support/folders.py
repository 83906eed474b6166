"""Run folders as training leaves them, whose gradients are known in closed form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from rnn_research.cli.compare import main
from rnn_research.records import runs
from rnn_research.records.runs import RunRecord

STEPS = (0, 50, 100, 150, 200)
ENDS = (STEPS[0], STEPS[-1])
"""The steps at which a gradient is recorded that is the same at all: each that is read takes time."""


def adjoint_table(gammas: dict[int, float], seed: int, distances: int = 33, samples: int = 16) -> np.ndarray:
    """What an adjoint probe leaves of a cell that scales the gradient by gamma: n_d = a gamma^d, in
    float32, with a log-normal over samples. `gammas` is by step."""
    loud = np.exp(np.random.default_rng(seed).normal(size=(samples, 1)))
    names = ("hidden", "hidden_direct", "hidden_recurrent")
    dtype = [
        ("step", "i8"),
        ("layer", "i2"),
        ("sample", "i4"),
        ("distance", "i4"),
        *((name, "f8") for name in names),
    ]
    parts = []
    for step, gamma in gammas.items():
        part = np.zeros((samples, distances), dtype=dtype)
        part["step"], part["sample"], part["distance"] = (
            step,
            np.arange(samples)[:, None],
            np.arange(distances),
        )
        with np.errstate(all="ignore"):
            part["hidden"] = (loud * np.float64(gamma) ** np.arange(distances) * (gamma / gamma)).astype(np.float32)
        part["hidden_direct"][:, 0], part["hidden_recurrent"][:, 1:] = (
            part["hidden"][:, 0],
            part["hidden"][:, 1:],
        )
        parts.append(part.ravel())
    return np.concatenate(parts)


def clipping_table(steps: int, threshold: float | None, seed: int) -> np.ndarray:
    dtype = [
        ("step", "i8"),
        ("norm_before", "f8"),
        ("norm_after", "f8"),
        ("coefficient", "f8"),
        ("fired", "?"),
    ]
    table = np.zeros(steps, dtype=dtype)
    table["step"] = np.arange(steps)
    spikes = np.random.default_rng(seed).standard_t(2.5, size=steps)
    table["norm_before"] = np.exp(0.6 * spikes - np.arange(steps) / steps)
    table["coefficient"] = np.minimum(1, (threshold or np.inf) / table["norm_before"])
    table["norm_after"] = table["norm_before"] * table["coefficient"]
    table["fired"] = table["coefficient"] != 1
    return table


def write_metrics(folder: Path, accuracy: float, steps: int, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(scale=0.01, size=len(STEPS))
    lines = ["step,epoch,split,loss,accuracy"]
    for index, step in enumerate(step for step in STEPS if step <= steps):
        value = accuracy - (accuracy - 0.1) * np.exp(-step / 60) + noise[index]
        lines += [
            f"{step},{index},train,{1 - value},{value}",
            f"{step},{index},val,{1 - value},{value}",
        ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")


def put(config: dict, key: str, value: str) -> None:
    """Set a value by its dotted key, as a number where it is one."""
    *above, last = key.split(".")
    for name in above:
        config[name] = dict(config.get(name, {}))
        config = config[name]
    config[last] = json.loads(value) if re.fullmatch(r"[\d.]+", value) else value


def write_run(
    folder: Path,
    gammas: float | dict[int, float] = 0.5,
    *,
    seed: int = 0,
    accuracy: float = 0.9,
    threshold: float | None = None,
    status: str = "done",
    steps: int = 201,
    factors: dict[str, str] | None = None,
    config: dict | None = None,
    distances: int = 33,
    **changes,
) -> Path:
    """A whole run folder, as training leaves it; `gammas` are by step, or one for the first and the last."""
    clipping = "none" if threshold is None else "global_norm"
    named = {
        "model": "linear",
        "dataset": "digits",
        "structure": "chain",
        "clipping": clipping,
        "optimizer": "adam",
    }
    named |= {key: value for key, value in (factors or {}).items() if "." not in key}
    typed = {key: value for key, value in (factors or {}).items() if "." in key}
    whole = {
        "seed": seed,
        "model": {"cell": {"hidden_size": 64}},
        "dataset": {"by": "pixel", "batch_size": 32},
        "clipping": {clipping: {"_target_": f"rnn_research.clipping.{clipping}"}},
    }
    for key, value in typed.items():
        put(whole, key.replace("clipping.", f"clipping.{clipping}."), value)
    whole |= config or {}
    record = RunRecord(
        name=folder.name,
        status=status,
        choices=named,
        overrides=[f"{key}={value}" for key, value in (named | typed).items()],
        seed=seed,
        config=whole,
        parameters=changes.pop("parameters", 4810),
        data=changes.pop("data", {"name": named["dataset"], "fingerprint": f"{named['dataset']}-1"}),
        versions={"python": "3.11.7", "rnn_research": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
        commit=changes.pop("commit", "0123456789abcdef"),
        machine={"system": "Linux", "processor": "x86_64", "cores": 2},
        start=changes.pop("start", f"2026-01-01T00:00:{seed:02d}+00:00"),
        end="2026-01-01T00:10:00+00:00",
        steps=steps,
        epochs=5,
        final={"test_accuracy": accuracy, "test_loss": 1 - accuracy, "val_accuracy": accuracy},
        baselines={"test_accuracy": 0.1, "test_loss": 2.3},
        **changes,
    )
    runs.write(record, folder)
    if not isinstance(gammas, dict):
        gammas = dict.fromkeys(ENDS, gammas)
    runs.write_table(folder, "adjoint", adjoint_table(gammas, seed, distances))
    runs.write_table(folder, "clipping", clipping_table(steps, threshold, seed))
    write_metrics(folder, accuracy, steps, seed)
    return folder


def refused(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    """The one line on stderr of a command that was refused."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("rnn-compare: error: ")
    return line


SOME_OR_EVERY = pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"]
)
"""A test draws the figures that it looks at; the slow one every figure."""


def draw_less(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Let `report.write` draw figures as SVG alone (and no others than these), for tests of what stands around them:
    PNG and PDF take twice the time of the SVG, which the page has."""
    from rnn_research.report import figures

    leave_out(patch, "png", "pdf")
    if names:
        patch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in names})


def leave_out(patch: pytest.MonkeyPatch, *forms: str) -> None:
    """Let figures be drawn without these of their forms: svg, png, pdf."""
    from rnn_research.report import style

    for form in forms:
        patch.setattr(style, form, lambda figure, nothing="" if form == "svg" else b"": nothing)
