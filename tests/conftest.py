"""What all tests share: `--config-dir FOLDER`, one torch thread, and a tiny treebank.

Imports nothing heavy: some tests need no torch.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import asked_once  # noqa: F401
import checked
import pytest
import unsynced  # noqa: F401
from treebank import written
from widths import LEVELS, flags, missing

if TYPE_CHECKING:
    from rnn_research.datasets.sst import SST

os.environ.setdefault("OMP_NUM_THREADS", "1")  # on tensors this small, more threads only cost time
checked.install()
gc.disable()  # until the tests are imported

LAWS = ("test_contract", "test_curves", "test_unroll")
"""Files of tests that are marked `law`."""
FORKING = {"claimed", "command", "forked", "fuzz"}
"""Modules of tests/support that fork processes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--config-dir",
        action="append",
        default=[],
        type=lambda folder: Path(folder).resolve(),
        metavar="FOLDER",
        help="test_contract.py: check the options in this folder as well (as rnn-train's --config-dir)",
    )
    parser.addoption(
        "--width",
        choices=list(LEVELS),
        help="compile the native engine for this level of x86-64, which this CPU must have, rather than for this CPU",
    )


def pytest_configure(config: pytest.Config) -> None:
    if level := config.getoption("--width"):
        if lacking := missing(level):
            pytest.exit(f"--width={level}: this CPU has no {lacking}, so there is nothing to test", returncode=0)
        os.environ["RNN_RESEARCH_CFLAGS"] = flags(level)
    for folder in config.getoption("--config-dir"):
        if not folder.is_dir():
            raise pytest.UsageError(f"--config-dir: given {folder}, which is not a folder")
        sys.path.insert(0, str(folder))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m law`, do not even import the other files."""
    other = collection_path.suffix == ".py" and collection_path.stem not in LAWS
    return True if other and config.option.markexpr == "law" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the laws: not the slow ones, since `-m law` takes the place of `-m "not slow"`. Tests that fork processes
    come first: of two workers one then begins the process that all are forked from, which takes as long as to import
    lightning."""
    for item in items:
        if item.path.stem in LAWS and not item.get_closest_marker("slow"):
            item.add_marker("law")
    items.sort(key=lambda item: not _forks(getattr(item, "module", None)))


@functools.cache
def _forks(module: object) -> bool:
    """Whether a module of tests has something that forks processes, from `tests/support`."""
    values = list(vars(module).values()) if module else []
    return any({getattr(value, name, None) for name in ("__module__", "__name__")} & FORKING for value in values)


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make alone: going through all that was imported is a tenth of their time."""
    _tie_loggers()
    _seed_what_is_there()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    gc.enable()


def _tie_loggers() -> None:
    """Torch has 35 loggers with a handler each that hand nothing on: pytest adds its own to each, three times a test.
    Here they hand what they are told to the logger of torch, whose handler says the same."""
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.startswith("torch.") and name != "torch.__trace":
            logger.handlers.clear()
            logger.propagate = True


def _seed_what_is_there() -> None:
    """For each kind of device that is not there, `torch.manual_seed` writes down from where it was called, in case the
    device comes to be used: half a millisecond, and some tests seed a hundred times."""
    if (torch := sys.modules.get("torch")) is not None:
        for device in (torch.cuda, torch.xpu, torch.mtia):
            if not device.is_available():
                device.manual_seed_all = lambda seed: None


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """Also where a shell started the tests in the background, and all that comes of it would ignore Ctrl-C: some tests
    send it to themselves."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def treebank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few sentences in Penn Treebank brackets, for dataset.root."""
    folder = tmp_path_factory.mktemp("treebank")
    return written(folder)


@pytest.fixture(scope="session")
def data_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the tiny files of data sets that read some: see `files.files_for`."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """The folder of a real data set by its name, such as `sst`; a test is skipped where it is not there."""
    above = Path(os.environ.get("RNN_RESEARCH_DATA", Path(__file__).parents[2] / "shared" / "data"))

    def found(name: str) -> Path:
        if not (above / name).is_dir():
            pytest.skip(f"{name}: the real data are not here; RNN_RESEARCH_DATA names the folder that holds {name}/")
        return above / name

    return found


@pytest.fixture(scope="session")
def real_sst(real_data: Callable[[str], Path]) -> Path:
    """The folder of the real Stanford Sentiment Treebank, where there is one."""
    return real_data("sst")


@pytest.fixture(scope="session")
def sst_data(real_sst: Path) -> SST:
    """The same, read without options: once for all tests, which leave it as it is."""
    from rnn_research.datasets.sst import SST

    return SST(str(real_sst))
