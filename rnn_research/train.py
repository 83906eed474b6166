"""The command `rnn-train`: help, composition by Hydra, one run or a sweep, and how each ended.

Imports neither torch nor lightning until a run starts, so that help and mistakes in options answer at once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rnn_research.checks import nearest
from rnn_research.help import config_dirs, help_text

LOG = "run.log"
STOPS = (signal.SIGINT, signal.SIGTERM)
_failures: list[int] = []
"""Exit codes of this process's runs that did not end well: Hydra goes on with a sweep's other runs."""
_stopped: list[int] = []
"""The signals that stopped training."""


def main(argv: list[str] | None = None) -> None:
    """Entry point of `rnn-train`. Exits with 0; 1 where a run failed; 2 for a mistake in what was asked for; 130
    after Ctrl-C (143 after SIGTERM)."""
    arguments = sys.argv[1:] if argv is None else argv
    _failures.clear()
    _stopped.clear()
    with _signals(_stop_at_once):
        from rnn_research.mistakes import Refused

        try:
            _check_folders(arguments)
            if "--help" in arguments or "-h" in arguments:
                print(help_text(arguments))
                sys.exit(0)
            _compose_and_run(arguments)
        except KeyboardInterrupt:
            _say("interrupted")
            sys.exit(128 + (_stopped or [signal.SIGINT])[-1])
        except Refused as error:
            _say(str(error))
            sys.exit(2)
    sys.exit(max(_failures, default=0))


def _check_folders(arguments: list[str]) -> None:
    from rnn_research.mistakes import Refused

    for folder in config_dirs(arguments):
        if not folder.is_dir():
            raise Refused(f"--config-dir: given {folder}, which is not a folder; expected one that holds config groups")
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # last: a module there hides none of python's


def _compose_and_run(arguments: list[str]) -> None:
    """Hand over to Hydra, and turn what it raises into one line: `run` itself raises nothing."""
    import hydra

    from rnn_research.help import CONF
    from rnn_research.mistakes import OTHER_FOLDER, Refused, composition_error, os_error
    from rnn_research.sweep import FolderInUse, Sweep

    _check_arguments(arguments)
    wanted, argv = os.environ.get("HYDRA_FULL_ERROR"), sys.argv
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors as they are: they are told here
    sys.argv = [sys.argv[0], *arguments]
    Sweep.folder = Sweep.made = None
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(run)()
    except FolderInUse as error:
        text = f"output folder {error}: already holds runs, nothing was written over; {OTHER_FOLDER}"
        raise Refused(text) from error
    except OSError as error:
        raise Refused(os_error(error, None)) from error
    except Exception as error:
        if wanted == "1":
            raise
        raise Refused(composition_error(error, arguments)) from error
    finally:
        Sweep.discard()
        sys.argv = argv
        os.environ["HYDRA_FULL_ERROR"] = wanted or "0"


def _check_arguments(arguments: list[str]) -> None:
    """Flags that there are not, and keys that are refused by name before Hydra calls them unknown."""
    from hydra._internal.utils import get_args_parser

    from rnn_research.mistakes import REFUSED, Refused

    parser = get_args_parser()
    flags = list(parser._option_string_actions)

    def refuse(message: str) -> None:
        given = message.rpartition("unrecognized arguments: ")[2]
        raise Refused(f"{message}{nearest(given, flags)}; rnn-train --help shows how to call it")

    parser.error = refuse  # type: ignore[assignment]
    for argument in parser.parse_args(arguments).overrides:
        key = argument.lstrip("+~").partition("=")[0]
        if key in REFUSED:
            raise Refused(f"{key}: {REFUSED[key]}")


def run(cfg: Any) -> float | None:
    """One run: build, fit, record, and a line that says how it went. Returns the final validation loss, or None."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from rnn_research.mistakes import Refused
    from rnn_research.sweep import Sweep

    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    sweep = job.mode == RunMode.MULTIRUN
    title = ", ".join(item for item in job.overrides.task if not item.startswith("experiment=")) or "defaults"
    label = f"#{job.job.num + 1}/{Sweep.runs} {title}" if sweep else title
    start = time.monotonic()
    try:
        record = _run(cfg, folder, progress=not sweep)
    except Refused as error:
        Sweep.discard(folder)
        _failures.append(2)
        _say(f"{label}: refused: {error}" if sweep else str(error))
        return None
    except KeyboardInterrupt:
        Sweep.discard(folder)
        raise
    except Exception as error:
        _failures.append(1)
        text = " ".join(str(error).split())
        _say(f"{label}: failed: {type(error).__name__}: {text}; the traceback is in {folder / LOG}")
        return None
    seconds = time.monotonic() - start
    print(f"{label}: {_summary(record)}, {seconds:.1f} s{'' if sweep else f', in {folder}'}", flush=True)
    return record.final.get("val_loss")


def _run(cfg: Any, folder: Path, progress: bool) -> Any:
    from omegaconf.errors import OmegaConfBaseException

    from rnn_research import runs
    from rnn_research.mistakes import OTHER_FOLDER, Refused, os_error

    found = runs.in_use(folder, LOG)
    if found:
        raise Refused(f"output folder {folder}: already holds {found}, nothing was written over; {OTHER_FOLDER}")
    try:
        with _logged(folder):
            try:
                return _build_and_fit(cfg, folder, progress)
            except (Refused, OmegaConfBaseException):
                raise
            except Exception:
                if not (folder / runs.RECORD).exists():  # else it is in the log
                    logging.getLogger(__name__).exception("the run could not start")
                raise
    except OmegaConfBaseException as error:
        raise Refused(" ".join(str(error).split())) from error
    except (OSError, RuntimeError) as error:
        text = os_error(error, folder)
        if not text or (folder / runs.RECORD).exists():
            raise
        raise Refused(text) from error
