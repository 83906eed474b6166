"""The command `rnn-train`: help, one run or a sweep, and how each ended.

Imports neither torch nor lightning until a run starts, so that help and mistakes in options answer at once.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_research.cli import flags, sweep_options
from rnn_research.cli.console import STREAMS, forgiving, on_terminal, unwritable
from rnn_research.cli.errors import composition_error, os_error
from rnn_research.cli.help import help_text
from rnn_research.cli.process import answering, leave, noticed, stopping, uncollected
from rnn_research.cli.telling import failure, intent, refusal, say, summary, tell
from rnn_research.config.groups import config_dirs
from rnn_research.errors import UsageError

if TYPE_CHECKING:
    from rnn_research.cli.sweep import Plan
    from rnn_research.cli.sweep_options import SweepOptions
    from rnn_research.config.compose import ComposedRun, Composer

ASKED = {"--help", "-h", "--version", "--cfg", "-c", "--info", "-i", "--hydra-help"}
"""Flags that ask for what is printed, and for no training."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of `rnn-train`. Exits with 0; 1 where a run failed; 2 for a mistake in what was asked for, or output
    that can't be written; 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    arguments = sys.argv[1:] if argv is None else argv
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)  # python's last look for garbage costs a second, once lightning is imported
    heard: list[int] = []
    code = 0
    with forgiving(full=not ASKED & {argument.partition("=")[0] for argument in arguments}), answering(leave):
        try:
            _check_folders(arguments)
            if "--help" in arguments or "-h" in arguments:
                tell(help_text(arguments))
            else:
                code = _answer(arguments, heard)
        except UsageError as error:
            say(refusal(error))
            sys.exit(2)
        except OSError as error:
            if not (said := unwritable(error)):
                raise
            say(said)
            sys.exit(2)
        except KeyboardInterrupt as interrupt:
            say(str(interrupt) or "interrupted")
            sys.exit(128 + (heard or [signal.SIGINT])[-1])
    sys.exit(code)


def _check_folders(arguments: list[str]) -> None:
    folders = config_dirs(arguments)
    if not folders:
        return
    from rnn_research.config.untrusted_yamls import check_text

    for folder in folders:
        if not os.path.isdir(folder):
            raise UsageError(
                f"--config-dir: given {folder}, which is not a folder; expected one that holds config groups"
            )
        for path in sorted((*folder.glob("*.yaml"), *folder.glob("*/*.yaml"))):
            check_text(path)


def _answer(arguments: list[str], heard: list[int]) -> int:
    """Do what the arguments ask for, and return the exit code."""
    line = flags.read(arguments)
    if line.version:
        tell(flags.version())
        return 0
    if line.to_hydra:
        return _hydra_answers(line)
    from hydra.errors import HydraException

    from rnn_research.cli.overrides import checked
    from rnn_research.cli.study import is_asked_for, search
    from rnn_research.cli.sweep import plan
    from rnn_research.config.compose import Composer, check_folder
    from rnn_research.config.queue import label

    for folder in line.folders:
        check_folder(folder)
    options, overrides = sweep_options.read(line.overrides)
    study = is_asked_for(overrides) and not line.cfg
    overrides = checked(overrides, arguments, searched=study)
    composer = Composer(tuple(line.folders), tuple(overrides))
    try:
        if line.cfg:
            _print_config(composer.compose(overrides), line)
            return 0
        if study:
            return search(composer, overrides, options, heard)
        planned = plan(composer, overrides, line.multirun, options.zip)
        if planned.sweep:
            return _sweep(planned, composer, overrides, options, arguments, heard)
        if options.given:
            raise UsageError(f"{options.given[0]}: given, but this is one run, and it is asked of a sweep (-m)")
        (single,) = planned.runs
        return _run(single, _folder(single), label(single), heard)
    except UsageError:
        raise
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") == "1" or getattr(error, "filename", None) in STREAMS:
            raise
        written = isinstance(error, OSError) and not isinstance(error, HydraException)  # some of Hydra's are both
        text = os_error(error, None) if written else composition_error(error, arguments)
        raise UsageError(text) from error


def _print_config(config: Any, line: flags.CommandLine) -> None:
    from omegaconf import OmegaConf, open_dict, read_write

    from rnn_research.config.compose import in_hydra

    with in_hydra(config):
        shown = config
        if line.cfg != "all":
            wanted = [key for key in config if (key == "hydra") == (line.cfg == "hydra")]
            with read_write(config), open_dict(config):
                shown = OmegaConf.masked_copy(config, wanted)
        if line.package:
            shown = OmegaConf.select(shown, line.package)
            if not OmegaConf.is_config(shown):
                raise UsageError(f"--package: given {line.package}, which is no part of the config")
            tell(f"# @package {line.package}")
        tell(OmegaConf.to_yaml(shown, resolve=line.resolve).rstrip())


def _hydra_answers(line: flags.CommandLine) -> int:
    """Let Hydra's own command answer what is asked about Hydra; nothing is trained."""
    import hydra

    from rnn_research.config.compose import Composer
    from rnn_research.config.groups import CONF
    from rnn_research.config.short_keys import register

    if "--shell-completion" in line.to_hydra or "-sc" in line.to_hydra:
        shells = [text for text in line.overrides if text.partition("=")[0] in ("install", "uninstall", "query")]
        if len(shells) != 1 or len(line.overrides) != 1:
            raise UsageError("--shell-completion: expected install=SHELL or uninstall=SHELL, as install=bash")
    register()
    long = [] if "--hydra-help" in line.to_hydra else line.overrides  # which depends on none
    long = Composer(tuple(line.folders)).run(line.overrides).long if "--info" in str(line.to_hydra) else long
    before, sys.argv = sys.argv, [sys.argv[0], *line.to_hydra, *long]
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(lambda _: None)()
    finally:
        sys.argv = before
    return 0


def _folder(spec: ComposedRun) -> Path:
    return _named(spec.folder(), "hydra.run.dir")


def _named(given: Any, key: str) -> Path:
    """The folder that a key names; none is named where a variable of the shell is empty, as in hydra.run.dir=$OUT."""
    if given is None or str(given).strip() in ("", "None"):
        raise UsageError(f"{key}: given {str(given or '')!r}, expected a folder, as {key}=FOLDER; or leave it out")
    return Path(str(given)).absolute()


def _run(spec: ComposedRun, folder: Path, label: str, heard: list[int]) -> int:
    """Train one run, say how it went, and return its exit code.

    Raises:
        UsageError: what is asked for can't be had.
        KeyboardInterrupt: with what was interrupted.
    """
    from rnn_research.sweeps import claims
    from rnn_research.sweeps.folders import first_missing, remove_empty

    top = first_missing(folder)

    def give_up() -> None:
        claims.release_all()
        remove_empty(folder, top)

    start = time.monotonic()
    if on_terminal(sys.stderr):
        say(intent(spec, folder))
    try:
        with answering(partial(leave, discard=give_up)):
            with uncollected():  # imported while a signal has nothing to save
                import rnn_research.config.build
                import rnn_research.config.run_one
                import rnn_research.training.fit
            with stopping(heard), noticed():
                record = rnn_research.config.run_one.run_one(spec, folder, progress=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{label}: interrupted{f', in {folder}' if folder.exists() else ''}") from None
    except Exception as error:
        text = os_error(error, folder)
        if not text or isinstance(error, UsageError):
            raise
        if not (folder / "run.json").exists():
            raise UsageError(text) from error
        say(f"{label}: failed: {text}")
        return 2
    seconds = time.monotonic() - start
    if record.status == "failed":
        say(f"{label}: {failure(record, folder)}")
        return 1
    tell(f"{label}: {summary(record)}, {seconds:.1f} s, in {folder}")
    return 0


def _written(spec: ComposedRun, key: str) -> str:
    """What the config says of a sweep, as it stands there."""
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(spec.config.hydra.sweep, resolve=False)
    return str(values[key] or "")


def _sweep(
    planned: Plan, composer: Composer, overrides: list[str], options: SweepOptions, typed: list[str], heard: list[int]
) -> int:
    """Train the runs of a sweep, and return the exit code of the worst; or let Hydra's plugins."""
    from rnn_research.cli import launchers
    from rnn_research.cli.engines import engine_of
    from rnn_research.cli.sweeping import sweep
    from rnn_research.config.compose import in_hydra
    from rnn_research.config.extras import require_loggers

    first = planned.runs[0]
    require_loggers(first.config.get("logger"))
    with in_hydra(first.config):
        folder = _named(first.config.hydra.sweep.dir, "hydra.sweep.dir")
        if not _written(first, "subdir").strip():
            raise UsageError("hydra.sweep.subdir: given '', expected a folder's name for each run; leave it out")
    if not launchers.chosen(first.config):
        options = launchers.workers(first.config, overrides, options)
        return sweep(planned.runs, folder, options, typed, heard, engine_of(first.config))
    if options.given:
        raise UsageError(f"{options.given[0]}: given, but the runs are started by a plugin of Hydra's; leave it out")
    with launchers.sweeping(folder):
        code = launchers.sweep(composer, planned.runs, overrides, folder)
    count = len(planned.runs)
    if any(folder.glob("*/run.json")):
        tell(f"{count} {'run' if count == 1 else 'runs'} in {folder}")
    return code


if __name__ == "__main__":
    main()
