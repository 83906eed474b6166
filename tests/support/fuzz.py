"""Random command lines for `rnn-train`, and what became of each: done, diverged, or refused in one line.

python tests/support/fuzz.py 500 [FIRST]      so many cases from number FIRST; prints what failed, and how to repeat it

Options and keys are read from conf/, so that a new one is tried as well. A case follows from its number.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from command import Ended, Server
from files import files_for
from omegaconf import OmegaConf

from rnn_research.config.groups import CONF
from rnn_research.records import runs

LISTS = ("init", "clipping", "regularizer", "probe")
SMALL: dict[str, list[object]] = {
    "hidden_size": [4, 4, 4, 5],
    "num_layers": [1, 1, 2],
    "dropout": [0.0, 0.0, 0.3, 1.0],
    "embedding_size": [3],
    "loss": [*["auto"] * 8, "terminal", "every"],
    "match_parameters": [*["null"] * 5, 1000],
    "nonlinearity": ["tanh", "relu", "sigmoid", "identity"],
    "dataset.form": ["le", "pascanu"],
    "regularizer.omega.form": ["code", "paper"],
    "rule": ["accuracy", "mse"],
    "labels": ["nodes", "root"],
    "parse": ["binary", "nary"],
    "by": ["row", "pixel"],
    "classes": [2, 5],
    "symbols": [2, 3],
    "bits": [5, 20, "signs"],
    "mode": ["adaptive_scaling", "mean", "percentile"],
    "length": [10, 12],
    "max_length": ["null", 12, 14],
    "delay": [3, 10],
    "depth": [2, 3],
    "min_depth": ["null", 2],
    "max_depth": [3, 4],
    "max_args": [2, 3],
    "max_operators": [1, 2],
    "min_leaves": ["null", 2],
    "max_leaves": [3, 11],
    "num_workers": [0],
    "samples": [1, 2, 32, "null"],
    "gates": ["null", "null", "null", "[f]", "[z,r]"],
    "every_n_steps": [1, 2, 100],
    "nonzeros": [2, 15],
    "lr": [0.001, 0.1, 1e4],
    "betas": ["[0.9,0.999]", "[0,0.5]"],
    "momentum": [0.0, 0.9],
    "pooling": ["last", "last", "mean", "max", "attention"],
    "bidirectional": ["false", "false", "true"],
    "tie_weights": [*["false"] * 5, "true"],
    "attention": ["none", "dot", "additive", "location"],
    "scheduled_sampling": [0, 0.5, 1],
    "scheduled_sampling_rise": [0, 3],
    "window": [3, 10],
    "tokens": ["words", "chars", "characters", "bytes", "spaces"],
    "vocabulary_size": ["null", 5],
    "missing": ["refuse", "drop", "interpolate"],
    "scale": ["standard", "none"],
    "fraction": [1.0, 0.5],
    "class_weights": ["none", "balanced"],
    "vectors": ["null"],
    "rate": [8000],
    "bands": [4, 40],
    **{key: [0.1, 0.3] for key in ("val_fraction", "test_fraction")},
    "k1": [2, 5, 35],
    "k2": ["null", 2, 7],
    "every": [1, 2, 4],
    **{key: ["null", "null", "[12,15]", "[]"] for key in ("test_lengths", "test_delays")},
    "test_depths": ["null", "[2]"],
    **{key: ["null", "[3]", "[4,5]"] for key in ("test_operators", "test_leaves")},
}
"""What a key is given, by its name or the last part of it, where those beside the default would be slow or wrong."""
GIVEN = {
    "train_size": 24,
    "val_size": 8,
    "test_size": 8,
    "batch_size": 4,
    "hidden_size": 4,
    "num_workers": 0,
    "exponents": 2,
}
"""Always given, where the option has the key."""
FIXED = ("url", "sha256", "cache", "root", "path", "name", "version", "save_dir")
TRAINER: dict[str, list[object]] = {
    "precision": [
        "32-true",
        "32",
        "64-true",
        "64",
        "64",
        "bf16-true",
        "16-true",
        "bf16-mixed",
        "16-mixed",
        "16",
        "null",
    ],
    "max_epochs": [-1, 1, 2],
    "accumulate_grad_batches": [1, 2, 3, 7],
    "check_val_every_n_epoch": [1, 2, "null"],
    "val_check_interval": [1.0, 0.5, 1, 2, 7],
    "log_every_n_steps": [1, 2, 10],
    "fast_dev_run": ["false", "true", 2],
    "limit_train_batches": [1.0, 0.5, 3, 0.01],
    "limit_val_batches": [1.0, 0.5, 1, 0],
    "limit_test_batches": [1.0, 0.5, 1, 0],
    "overfit_batches": [0.0, 1, 0.5, 0.1],
    "min_steps": [1, 3],
    "min_epochs": [1],
    "max_time": ["00:00:01:00", "{minutes:1}"],
    "detect_anomaly": ["true", "false"],
    "deterministic": ["true", "false", "warn"],
    "benchmark": ["true", "false"],
    "inference_mode": ["true", "false"],
    "use_distributed_sampler": ["true", "false"],
    "profiler": ["null", "simple", "advanced"],
    "sync_batchnorm": ["true", "false"],
    "reload_dataloaders_every_n_epochs": [0, 1],
    "enable_autolog_hparams": ["true", "false"],
    "limit_predict_batches": [1],
    "plugins": ["null"],
    "model_registry": ["null"],
}
TOP: dict[str, list[object]] = {
    "seed": [0, 1, 2**32 - 1],
    "threads": [1, 1, 2],
    "engine": ["auto", "auto", "native", "torch", "reference"],
    "stop_when_solved": ["false", "false", "true"],
    "stop_when": ["null", "loss", "accuracy"],
    "stop_when_patience": [1, 10],
    "stop_when_min_delta": [0.0, 0.5],
    "keep_best": ["auto", "null", "loss", "accuracy"],
    "resume": ["null"],
    "trust": ["[]", "[mine]"],
}
WRONG = [
    "", "null", "-1", "0", "-0.5", "0.5", "1.5", "1e-30", "1e30", "inf", "-inf", "nan", ".inf", "-.inf", ".nan",
    "true", "false", "abc", "'a b'", "[]", "[1,2]", "[a]", "{}", "{a:1}", "1000000000", "100000", "-100000",
    "10000000000000000000000", "${seed}", "glob(*)", "é", "[[1]]",
]  # fmt: skip
"""Given to any key now and then."""
OUTCOMES = ("done", "diverged", "refused")


class Judged(NamedTuple):
    """What became of a case: one of `OUTCOMES`, or what is wrong with it."""

    outcome: str
    command: str
    said: str


def case(number: int) -> list[str]:
    """The arguments of one command line."""
    draw = random.Random(number)
    arguments = [
        f"{group}={draw.choice(options_of(group))}" for group in ("model", "dataset", "optimizer", "scheduler")
    ]
    if draw.random() < 0.25:
        arguments.append(f"structure={draw.choice(options_of('structure'))}")
    if draw.random() < 0.3:
        arguments.append(f"architecture={draw.choice(options_of('architecture'))}")
    keys = [key for argument in arguments for key in keys_of(*argument.split("="))]
    for group in LISTS:
        taken = draw.sample(options_of(group), draw.choice((0, 1, 1, 2)))
        taken = [option for option in taken if option != "none" or len(taken) == 1]
        if taken:
            arguments.append(f"{group}=[{','.join(taken)}]")
            keys += [key for option in taken for key in keys_of(group, option)]
    arguments += [f"{key}={GIVEN[leaf]}" for key, leaf, _ in keys if leaf in GIVEN]
    free = [(key, leaf, default) for key, leaf, default in keys if leaf not in (*GIVEN, *FIXED)]
    always = [one for one in free if {*one[:2]} & {*SMALL} and one[0].startswith(("dataset.", "model."))]
    more = [one for one in free if one not in always]
    for key, leaf, default in [*always, *draw.sample(more, min(len(more), draw.randrange(3)))]:
        arguments.append(f"{key}={draw.choice(_near(key, leaf, default))}")
    arguments += [f"{key}={draw.choice(TOP[key])}" for key in draw.sample(list(TOP), draw.randrange(3))]
    arguments += [
        f"++trainer.{key}={draw.choice(TRAINER[key])}" for key in draw.sample(list(TRAINER), draw.randrange(5))
    ]
    arguments.append(f"trainer.max_steps={draw.choice((1, 2, 3, 5))}")
    if draw.random() < 0.1:
        arguments.append(f"logger={draw.choice(('csv', 'none'))}")
    if draw.random() < 0.3:
        every = [*[key for key, leaf, _ in keys if leaf not in FIXED], *(f"++trainer.{key}" for key in TRAINER), *TOP]
        arguments.append(f"{draw.choice(every)}={draw.choice(WRONG)}")
    return list({argument.partition("=")[0].lstrip("+"): argument for argument in arguments}.values())


def options_of(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if not path.stem.startswith("_"))


def keys_of(group: str, option: str) -> list[tuple[str, str, Any]]:
    """Each key of an option as the command line has it, its last part, and its default."""
    keys: dict[str, tuple[str, str, Any]] = {}
    read = yaml.safe_load((CONF / group / f"{option}.yaml").read_text("utf-8")) or {}
    for shared in read.get("defaults", ()):
        if isinstance(shared, str) and shared != "_self_":
            keys |= {key: (key, leaf, value) for key, leaf, value in keys_of(group, shared)}
    keys |= {f"{group}.{key}": (f"{group}.{key}", leaf, value) for key, leaf, value in _leaves(read, "")}
    return list(keys.values())


def _leaves(node: dict[str, Any], path: str) -> list[tuple[str, str, Any]]:
    found = []
    for key, value in node.items():
        if isinstance(value, dict):
            found += _leaves(value, f"{path}{key}.")
        elif not key.startswith("_") and key != "defaults":
            found.append((f"{path}{key}", key, value))
    return found


def _near(key: str, leaf: str, default: Any) -> list[object]:
    """Values that a user may give a key."""
    given = SMALL.get(key) or SMALL.get(leaf)
    if given and not (isinstance(default, str) and default not in given):  # texts may be those of another option
        return [value for value in given if type(value) is type(default)] or given
    if isinstance(default, bool):
        return ["true", "false"]
    if isinstance(default, int):
        return [default, 0, 1, 2, default + 1]
    if isinstance(default, float):
        return [default, 0, default / 10, default * 10, 1, 1e-8, ".inf"]
    return ["null"] if default is None else [default]


def read_from(arguments: list[str], folder: Path) -> list[str]:
    """What to type so that a data set that reads files reads tiny ones, which are written into `folder`."""
    option = next((one.partition("=")[2] for one in arguments if one.startswith("dataset=")), "")
    path = CONF / "dataset" / f"{option}.yaml"
    if not path.is_file():
        return []
    given = files_for(OmegaConf.create(yaml.safe_load(path.read_text("utf-8"))), folder)
    typed = {argument.partition("=")[0] for argument in arguments}
    return [f"{key}={value}" for key, value in given.items() if key not in typed]


def judge(ended: Ended, folder: Path, written: list[str]) -> tuple[str, str]:
    """The outcome, or what is wrong, and what the command said.

    Args:
        written: what lies in `folder` now.
    """
    said = (ended.err.strip() or ended.out.strip()).splitlines()
    last = said[-1] if said else ""
    if "Traceback" in ended.err + ended.out:
        return "a traceback", last
    if ended.code == 2:
        if len(said) != 1 or ended.out or not last.startswith("rnn-train: "):
            return "not one line", repr(ended)
        return ("refused", last) if not written else (f"refused, but left {written}", last)
    if ended.code != 0:
        return f"exit {ended.code}", last
    try:
        record = runs.read(folder / "run")
    except (runs.DamagedRecord, OSError) as error:
        return "no record", str(error)
    if record.status not in ("done", "diverged") or f": {record.status} " not in ended.out:
        return f"exit 0 with a record that is {record.status}", ended.out.strip()
    if "Traceback" in (folder / "run" / "run.log").read_text("utf-8", errors="replace"):
        return "a traceback in run.log", last
    return record.status, ended.out.strip()


def fuzz(numbers: range, seconds: float = 60.0) -> list[Judged]:
    """What became of each case."""
    found, server = [], Server(memory=12 << 30)
    with tempfile.TemporaryDirectory() as top:
        files = Path(top) / "files"
        for number in numbers:
            arguments, folder = case(number), Path(top) / str(number)
            folder.mkdir()
            arguments += read_from(arguments, files)
            try:
                ended = server.call([*arguments, "hydra.run.dir=run"], folder=folder, seconds=seconds)
                outcome, said = judge(ended, folder, sorted(os.listdir(folder)))
            except TimeoutError:
                outcome, said = f"no answer within {seconds:g} s", ""
            except ConnectionError as error:
                outcome, said = "the process died", str(error)
            shutil.rmtree(folder)
            found.append(Judged(outcome, f"# {number}\nrnn-train {shlex.join(arguments)}", said))
    server.close()
    return found


def report(found: list[Judged]) -> str:
    """How often each outcome came, and every failure with its command line."""
    lines = [f"{count:5} {outcome}" for outcome, count in Counter(one.outcome for one in found).most_common()]
    for one in found:
        if one.outcome not in OUTCOMES:
            lines += ["", f"{one.outcome}: {one.said[:1000]}", one.command]
    return "\n".join(lines)


if __name__ == "__main__":
    first = int(sys.argv[2]) if sys.argv[2:] and sys.argv[2].isdigit() else 0
    results = fuzz(range(first, first + int(sys.argv[1])))
    print(report(results))
    if "-v" in sys.argv:
        print(*(f"{one.outcome}: {one.said}\n    {one.command}" for one in results), sep="\n")
    sys.exit(any(one.outcome not in OUTCOMES for one in results))
