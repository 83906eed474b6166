"""The command `rnn-train`: help, composition by Hydra, one run or a sweep, and what is said when something is wrong.

Imports neither torch nor lightning until a run starts, so that help and mistakes in options answer at once.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnn_research.checks import nearest
from rnn_research.help import CONF, config_dirs, help_text

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL)
FULL = (errno.ENOSPC, errno.EDQUOT)
OTHER_FOLDER = "choose another folder with hydra.run.dir=FOLDER (or hydra.sweep.dir=FOLDER with -m)"
_failures: list[int] = []
"""Exit codes of this process's runs that did not end well: Hydra goes on with a sweep's other runs."""


class Refused(Exception):
    """One line for the user; exit code 2."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of `rnn-train`. Exits with 0; 1 where a run failed; 2 for a mistake in what was asked for; 130
    after Ctrl-C."""
    arguments = sys.argv[1:] if argv is None else argv
    if "--help" in arguments or "-h" in arguments:
        print(help_text(arguments))
        sys.exit(0)
    try:
        _compose_and_run(arguments)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(130)
    except Refused as error:
        _say(str(error))
        sys.exit(2)
    sys.exit(max(_failures, default=0))


def _compose_and_run(arguments: list[str]) -> None:
    for folder in config_dirs(arguments):
        if not folder.is_dir():
            raise Refused(f"--config-dir: given {folder}, which is not a folder; expected one that holds config groups")
        sys.path.insert(0, str(folder.resolve()))
    for argument in arguments:
        _check_refused(argument)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors as they are: they are told here
    sys.argv = [sys.argv[0], *arguments]
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from rnn_research.sweep import FolderInUse

    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(run)()
    except (HydraException, OmegaConfBaseException) as error:
        raise Refused(_composition_error(error, arguments)) from error
    except FolderInUse as error:
        raise Refused(f"output folder {error}: already holds runs, nothing was written over; {OTHER_FOLDER}") from error
    except OSError as error:
        raise Refused(_os_error(error, None)) from error


def _check_refused(argument: str) -> None:
    """Keys that would be Lightning's own clipping: refused by name, before Hydra calls them unknown."""
    key = argument.lstrip("+~").partition("=")[0]
    if key in ("trainer.gradient_clip_val", "trainer.gradient_clip_algorithm"):
        raise Refused(
            f"{key}: not supported, expected a clipping strategy, which records what it did; use "
            "clipping=global_norm clipping.max_norm=1.0 (or clipping=value clipping.max_value=1.0)"
        )


def run(cfg: Any) -> float | None:
    """One run: build, fit, record, and a line that says how it went. Returns the final validation loss."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from rnn_research.sweep import Sweep

    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    sweep = job.mode == RunMode.MULTIRUN
    title = ", ".join(job.overrides.task) or "defaults"
    label = f"#{job.job.num + 1}/{Sweep.runs} {title}" if sweep else title
    start = time.monotonic()
    try:
        record = _run(cfg, folder, progress=not sweep)
    except Refused as error:
        with contextlib.suppress(OSError):
            folder.rmdir()  # made by Hydra; it stays where it holds something
        if not sweep:
            raise
        _failures.append(2)
        print(f"{label}: refused: {error}", flush=True)
        return None
    except Exception as error:
        _failures.append(1)
        text = f"{type(error).__name__}: {' '.join(str(error).split())}; the traceback is in {folder / 'run.log'}"
        print(f"{label}: failed: {text}", flush=True, file=sys.stdout if sweep else sys.stderr)
        return None
    seconds = time.monotonic() - start
    print(f"{label}: {_summary(record)}, {seconds:.1f} s{'' if sweep else f', in {folder}'}", flush=True)
    return record.final.get("val_loss")


def _run(cfg: Any, folder: Path, progress: bool) -> Any:
    from rnn_research.runs import RECORD

    if (folder / RECORD).exists():
        raise Refused(f"output folder {folder}: already holds a run, nothing was written over; {OTHER_FOLDER}")
    import torch

    torch.set_num_threads(cfg.threads if isinstance(cfg.threads, int) and cfg.threads > 0 else 1)
    from rnn_research.config import UsageError, build
    from rnn_research.fit import fit

    try:
        with _logged(folder):
            parts = build(cfg, tuple(config_dirs(sys.argv[1:])))
            return fit(
                parts.data,
                parts.model,
                parts.trainer,
                parts.probes,
                folder,
                loggers=parts.loggers,
                progress=progress,
                **_identity(cfg, parts.layout.name, folder),
            )
    except UsageError as error:
        (folder / "run.log").unlink(missing_ok=True)
        raise Refused(str(error)) from error
    except (OSError, RuntimeError) as error:
        text = _os_error(error, folder)
        if not text:
            raise
        raise Refused(text) from error


def _identity(cfg: Any, structure: str, folder: Path) -> dict[str, Any]:
    """What tells this run from others: its name, the chosen options, the overrides, the whole config."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    job = HydraConfig.get()
    choices = {key: str(value) for key, value in job.runtime.choices.items() if not key.startswith("hydra/")}
    choices = {key: value for key, value in choices.items() if value != "None" or key == "clipping"}
    choices |= {"structure": structure, "init": "+".join(cfg.init), "probe": "+".join(cfg.probe or {})}
    overrides = dict(item.lstrip("+~").split("=", 1) for item in job.overrides.task if "=" in item)
    values = {key: value for key, value in overrides.items() if key not in choices and key not in ("seed", "experiment")}
    return {
        "name": folder.name,
        "factors": choices | values,
        "seed": cfg.seed,
        "config": OmegaConf.to_container(cfg, resolve=True),
    }


def _summary(record: Any) -> str:
    if record.status == "diverged":
        return f"diverged at step {record.diverged_step}"
    parts = [f"{record.status} after {record.steps} steps"]
    for name in ("test_accuracy", "test_mse"):
        if name in record.final:
            beside = f" (baseline {record.baselines[name]:.3g})" if name in record.baselines else ""
            parts.append(f"{name} {record.final[name]:.3g}{beside}")
    return ", ".join(parts)


@contextlib.contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Log to `folder/run.log`: ours, lightning's, and python's warnings; the terminal stays free."""
    handler = logging.FileHandler(folder / "run.log", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def _os_error(error: BaseException, folder: Path | None) -> str:
    """What to say of an error in writing the output; empty where it is something else."""
    number = getattr(error, "errno", None)
    where = f"output folder {folder or getattr(error, 'filename', None) or '?'}"
    with contextlib.suppress(OSError):
        if folder is not None and shutil.disk_usage(folder).free < 1 << 16:
            number = errno.ENOSPC
    if number in FULL:
        return f"{where}: the disk is full; free some space, or {OTHER_FOLDER}"
    if folder is None or number in UNWRITABLE:
        return f"{where}: can't be written ({getattr(error, 'strerror', None) or error}); {OTHER_FOLDER}"
    return ""


def _composition_error(error: Exception, arguments: list[str]) -> str:
    """One line from Hydra's several: what was given, what was expected, the nearest name."""
    from hydra.errors import MissingConfigException

    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        options = [name for name in error.options or () if not name.startswith("_")]
        if group and options:
            return (
                f"{group}: given {option!r}, expected one of {', '.join(options)}{nearest(option, options)}; "
                "rnn-train --help lists them"
            )
    found = re.search(r"Could not override '([^']+)'", text) or re.search(r"full_key: (\S+)", text)
    if found and ("not in struct" in text or "No match" in text):
        key = found.group(1)
        return f"{key}: unknown, expected a key or group of the config{nearest(key, _known_keys(arguments))}"
    return " ".join(text.split())


def _known_keys(arguments: list[str]) -> list[str]:
    """Every key of the config that the valid group choices among `arguments` give, and every group."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    groups = [path.name for folder in (CONF, *config_dirs(arguments)) for path in folder.iterdir() if path.is_dir()]
    chosen = [argument for argument in arguments if argument.partition("=")[0] in groups and "," not in argument]
    GlobalHydra.instance().clear()
    with contextlib.suppress(Exception), initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = OmegaConf.to_container(compose("train", chosen))
        return [*groups, *_flat(cfg, "")]
    return groups


def _flat(node: Any, path: str) -> Iterator[str]:
    for key, value in node.items():
        yield f"{path}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")


def _say(text: str) -> None:
    print(f"rnn-train: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
