"""The package itself: what a notebook imports from it, and that importing it imports nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import forked
import pytest

import rnn_research

HEAVY = ("torch", "lightning", "hydra", "omegaconf", "numpy", "torchmetrics", "sklearn", "matplotlib")
NAMES = ("Chain", "Forest", "compare", "fit", "load", "unroll")


def python(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def loaded(code: str) -> set[str]:
    """The heavy modules, and those of the package, that are loaded after `code`."""
    found = json.loads(python(f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"))
    return {name for name in found if name in HEAVY or name.startswith("rnn_research.")}


def test_importing_the_package_imports_nothing_else() -> None:
    assert loaded("import rnn_research; rnn_research.__version__; dir(rnn_research)") == set()


def test_records_and_comparisons_are_had_without_torch() -> None:
    assert not {"torch", "lightning", "hydra"} & loaded(
        "from rnn_research import compare; import rnn_research.records.runs"
    )


@pytest.mark.parametrize(
    "first",
    ["", "import rnn_research.unroll", "from rnn_research.compare import compare; import rnn_research.unroll.norms"],
)
def test_each_name_is_what_its_room_has_whatever_was_imported_before(first: str, tmp_path: Path) -> None:
    """In a process that has torch, and imports the package anew."""
    said = forked.python(
        "import sys\n"
        "for name in [name for name in sys.modules if name.partition('.')[0] == 'rnn_research']:\n"
        "    del sys.modules[name]\n"
        f"{first}\n"
        "from rnn_research import unroll, Chain, Forest, fit, load, compare\n"
        "import torch\n"
        "from rnn_research.cells import RNN\n"
        "from rnn_research.unroll import Unrolled\n"
        "import rnn_research.structures, rnn_research.training.fit, rnn_research.config.trained, rnn_research.unroll\n"
        "assert Chain is rnn_research.structures.Chain and Forest is rnn_research.structures.Forest\n"
        "assert fit is rnn_research.training.fit.fit and load is rnn_research.config.trained.load\n"
        "unrolled = unroll(RNN(2, 3), Chain(lengths=torch.tensor([4, 2])), torch.randn(2, 4, 2), engine='reference')\n"
        "assert isinstance(unrolled, Unrolled)\n"
        "try:\n"
        "    compare(['no-such-folder'])\n"
        "except rnn_research.compare.NothingToCompare as error:\n"
        "    print(error)\n",
        tmp_path,
    )
    assert "no-such-folder" in said


def test_another_name_is_an_error_as_of_any_module() -> None:
    assert set(NAMES) == set(rnn_research.__all__) <= set(dir(rnn_research))
    with pytest.raises(AttributeError, match="module 'rnn_research' has no attribute 'unrol'"):
        rnn_research.unrol  # noqa: B018


def test_a_type_checker_is_told_the_same_names() -> None:
    stub = Path(rnn_research.__file__).with_suffix(".pyi").read_text()
    assert all(f" as {name}\n" in stub for name in NAMES)
    assert stub.count(" as ") == len(NAMES)
