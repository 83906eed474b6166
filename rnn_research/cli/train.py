"""The command `rnn-train`: help, composition by Hydra, one run or a sweep, and how each ended.

Imports neither torch nor lightning until a run starts, so that help and mistakes in options answer at once.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import logging
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from rnn_research import __version__
from rnn_research.checks import nearest, path_of
from rnn_research.cli.console import forgiving
from rnn_research.cli.errors import OTHER_FOLDER, composition_error, os_error
from rnn_research.cli.help import help_text
from rnn_research.cli.process import LOG, answering, leave, logged, stop, stopped, uncollected
from rnn_research.config.groups import CONF, REFUSED, config_dirs
from rnn_research.errors import UsageError
from rnn_research.records.printable import printable

ONE = ("model", "dataset", "structure", "architecture", "optimizer", "trainer", "experiment")
"""Groups of which one option is taken."""
AUTOMATIC = ("architecture", "auto")
"""No factor: it follows from the task, and earlier records have no such group."""
_failures: list[int] = []
"""Exit codes of this process's runs that did not end well: Hydra goes on with a sweep's other runs."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of `rnn-train`. Exits with 0; 1 where a run failed; 2 for a mistake in what was asked for, or output
    that can't be written; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    arguments = sys.argv[1:] if argv is None else argv
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)  # python's last look for garbage costs a second, once lightning is imported
    _failures.clear()
    stopped.clear()
    with forgiving(), answering(leave):
        try:
            _check_folders(arguments)
            if "--help" in arguments or "-h" in arguments:
                _tell(help_text(arguments))
            else:
                _compose_and_run(arguments)
        except UsageError as error:
            _say(str(error))
            sys.exit(2)
        except KeyboardInterrupt as interrupt:
            _say(str(interrupt) or "interrupted")
            sys.exit(128 + (stopped or [signal.SIGINT])[-1])
    sys.exit(max(_failures, default=0))


def _check_folders(arguments: list[str]) -> None:
    from rnn_research.config.foreign import check_text

    for folder in config_dirs(arguments):
        if not folder.is_dir():
            raise UsageError(
                f"--config-dir: given {folder}, which is not a folder; expected one that holds config groups"
            )
        for path in sorted((*folder.glob("*.yaml"), *folder.glob("*/*.yaml"))):
            check_text(path)
        if str(folder.resolve()) not in sys.path:
            sys.path.append(str(folder.resolve()))  # last: its modules hide none of python's


def _compose_and_run(arguments: list[str]) -> None:
    """Hand over to Hydra, and make one line of what it raises: `run` itself raises nothing but interrupts."""
    import hydra
    from hydra.errors import HydraException

    from rnn_research.cli.overrides import checked
    from rnn_research.cli.sweep import CantStart, FolderInUse, Sweep, set_aside
    from rnn_research.config.foreign import guarded
    from rnn_research.config.short_keys import register, short_keys

    flags, overrides = _checked(arguments)
    overrides = checked(overrides, arguments)
    register()
    full, argv, level = os.environ.get("HYDRA_FULL_ERROR", "0"), sys.argv, logging.getLogger().level
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors as they are: they are told here
    sys.argv = [argv[0], *flags, *set_aside(overrides)]  # flags first: Hydra finds no overrides behind one
    Sweep.forget()
    try:
        with short_keys(), guarded(overrides):
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(run)()
    except CantStart as error:
        raise UsageError(str(error)) from error
    except FolderInUse as error:
        raise UsageError(f"output folder {error}; {OTHER_FOLDER}") from error
    except Exception as error:
        if full == "1":
            raise
        written = isinstance(error, OSError) and not isinstance(error, HydraException)  # some of Hydra's are both
        text = os_error(error, None) if written else composition_error(error, arguments)
        raise UsageError(text) from error
    finally:
        Sweep.discard()
        os.environ["HYDRA_FULL_ERROR"], sys.argv = full, argv
        logging.getLogger().setLevel(level)  # hydra.verbose is for this call alone


def _checked(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The flags with their values, and the overrides.

    Raises:
        UsageError: a flag that there is not, or a key that is refused by name, before Hydra calls it unknown.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> None:
        near = nearest(message.rpartition(" ")[2], parser._option_string_actions)
        raise UsageError(f"{message}{near}; rnn-train --help shows how it is called")

    parser.error = refuse  # type: ignore[method-assign,assignment]
    for action in parser._actions:
        if isinstance(action, argparse._VersionAction):
            action.version = f"rnn_research {__version__}"
    behind = [*arguments[1:], ""]
    arguments = [  # else it would take the override behind it for what is asked
        "--info=all" if argument in ("-i", "--info") and ("=" in after or not after) else argument
        for argument, after in zip(arguments, behind, strict=True)
    ]
    found, rest = parser.parse_known_args(arguments)
    if found.experimental_rerun is not None:
        refuse(
            "--experimental-rerun: not supported, since it runs whatever the file holds; give the run's options again"
        )
    flags = list(arguments)
    for argument in (*found.overrides, *rest):
        flags.remove(argument)
        key, _, value = argument.lstrip("+~").partition("=")
        if argument.startswith("-"):
            refuse(f"unrecognized argument: {argument}")
        if key in REFUSED:
            raise UsageError(f"{key}: {REFUSED[key]}")
        if key in ONE and value.startswith("["):
            raise UsageError(f"{key}: given {value}, expected one option, without brackets")
    if found.package and not found.cfg:
        refuse(f"--package: given {found.package}, which tells --cfg what to print; add --cfg job")
    return flags, [*found.overrides, *rest]


def run(cfg: Any) -> float | None:
    """One run: build, fit, record, and a line that says how it went. Returns the final validation loss."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from rnn_research.cli.sweep import Sweep

    job = HydraConfig.get()
    folder, sweep = Path(job.runtime.output_dir), job.mode == RunMode.MULTIRUN
    given = [item for item in job.overrides.task if not item.startswith("experiment=")]
    title = ", ".join(given or job.overrides.task) or "defaults"
    label = f"#{job.job.num + 1}/{Sweep.runs} {title}" if sweep else title
    start = time.monotonic()
    try:
        record = _run(cfg, folder, progress=not sweep)
    except UsageError as error:
        Sweep.discard(folder)
        _failures.append(2)
        _say(f"{label}: refused: {error}" if sweep else str(error))
        return None
    except KeyboardInterrupt:
        Sweep.discard(folder)
        raise KeyboardInterrupt(f"{label}: interrupted{f', in {folder}' if folder.exists() else ''}") from None
    except Exception as error:
        unwritable = os_error(error, folder)
        _failures.append(2 if unwritable else 1)
        text = f"{type(error).__name__}: {' '.join(str(error).split())}; the traceback is in {folder / LOG}"
        _say(f"{label}: failed: {unwritable or text}")
        return None
    seconds = time.monotonic() - start
    _tell(f"{label}: {_summary(record)}, {seconds:.1f} s{'' if sweep else f', in {folder}'}")
    return record.final.get("val_loss")


def _run(cfg: Any, folder: Path, progress: bool) -> Any:
    from rnn_research.sweeps import claims

    with answering(partial(leave, discard=partial(_give_up, folder))):
        try:
            claims.claim(folder)
        except claims.Claimed as error:
            raise UsageError(f"output folder {error}; {OTHER_FOLDER}") from error
        except OSError as error:
            raise UsageError(os_error(error, folder) or str(error)) from error
        try:
            return _claimed(cfg, folder, progress)
        finally:
            claims.release(folder)


def _give_up(folder: Path) -> None:
    """Leave nothing of a run that did not come to be, nor of its sweep."""
    from rnn_research.cli.sweep import Sweep
    from rnn_research.sweeps import claims

    claims.release_all()
    Sweep.discard(folder)


def _claimed(cfg: Any, folder: Path, progress: bool) -> Any:
    """The run, in a folder that no other process has."""
    from omegaconf.errors import OmegaConfBaseException

    from rnn_research.records import runs

    if found := runs.in_use(folder, LOG):
        raise UsageError(f"output folder {folder}: already holds {found}, nothing was written over; {OTHER_FOLDER}")
    with uncollected():  # imported while a signal has nothing to save
        import rnn_research.config.build
        import rnn_research.training.fit  # noqa: F401

    try:
        with answering(stop), logged(folder):
            return _build_and_fit(cfg, folder, progress)
    except BaseException as error:
        if (folder / runs.RECORD).exists():
            raise
        text = os_error(error, folder)
        if text or isinstance(error, UsageError | OmegaConfBaseException | KeyboardInterrupt):
            (folder / LOG).unlink(missing_ok=True)
        if isinstance(error, OmegaConfBaseException):
            text = composition_error(error, sys.argv[1:])
        if text:
            raise UsageError(text) from error
        raise


def _build_and_fit(cfg: Any, folder: Path, progress: bool) -> Any:
    from rnn_research.config.build import build
    from rnn_research.training.fit import fit
    from rnn_research.training.resume import ResumeError
    from rnn_research.training.spec import RunSpec

    try:
        parts = build(cfg, _own_folders())
    except Exception:
        logging.getLogger(__name__).exception("the run could not start")
        raise
    identity = _identity(cfg, parts.layout.name, folder)
    how = {"resume_from": cfg.resume and path_of("resume", cfg.resume), "stop_when_solved": cfg.stop_when_solved}
    spec = RunSpec(folder, loggers=parts.loggers, progress=progress, **how, **identity)
    try:
        return fit(parts.data, parts.model, parts.trainer, parts.probes, spec)
    except ResumeError as error:
        raise UsageError(str(error)) from error


def _own_folders() -> tuple[Path, ...]:
    """The folders given with --config-dir, as Hydra found them."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources
    return tuple(Path(source.path) for source in sources if source.provider == "command-line")


def _identity(cfg: Any, structure: str, folder: Path) -> dict[str, Any]:
    """What tells this run from others: its name, the chosen options, the overrides, the whole config."""
    from hydra.core.hydra_config import HydraConfig

    from rnn_research.config.environment import from_environment, put, recorded, written
    from rnn_research.config.short_keys import NAMED, names

    job = HydraConfig.get()
    choices = {key: str(value) for key, value in job.runtime.choices.items() if not key.startswith("hydra/")}
    choices = {key: value for key, value in choices.items() if value != "None" and (key, value) != AUTOMATIC}
    lists = {group: names(cfg, group, choices) or ["none"] for group in ("probe", *NAMED)}
    lists["init"] = names(cfg, "init", choices) or ["default"]
    choices |= {"structure": structure} | {key: "+".join(names) for key, names in lists.items()}
    overrides = dict(item.lstrip("+~").split("=", 1) for item in job.overrides.task if "=" in item)
    left_out = {*choices, "seed", "experiment"}
    values = {key: value for key, value in overrides.items() if key not in left_out}
    config = recorded(cfg)
    params: Any = job.sweeper.get("params") or {}
    for key in [key for key in values if key in params and from_environment(params, key)]:
        values[key] = written(params, key)  # a sweep's own values are resolved before its runs are composed
        put(config, key, values[key])
    return {
        "name": folder.name,
        "factors": choices | values,
        "seed": cfg.seed,
        "config": config,
    }


def _summary(record: Any) -> str:
    if record.status == "diverged":
        return f"diverged at step {record.diverged_step}"
    parts = [f"{record.status} after {record.steps} steps"]
    if record.success:
        solved = record.success["step"]
        parts.append("not solved" if solved is None else f"solved at step {solved}")
    for name in ("test_accuracy", "test_mse"):
        if name in record.final:
            beside = f" (baseline {record.baselines[name]:.3g})" if name in record.baselines else ""
            parts.append(f"{name} {record.final[name]:.3g}{beside}")
    if record.engine:
        fallback = record.engine["asked"] == "auto" and record.engine["used"] != "native"
        parts.append(f"engine {record.engine['used']}" + (f" ({record.engine['why']})" if fallback else ""))
    return ", ".join(parts)


def _tell(text: str) -> None:
    print(printable(text), flush=True)


def _say(text: str) -> None:
    print(printable(f"rnn-train: {text}"), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
