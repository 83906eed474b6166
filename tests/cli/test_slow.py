"""Long laws on real data: `make test-slow`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnn_research.cli.train import main
from rnn_research.records import runs


@pytest.mark.slow
@pytest.mark.parametrize("model", ["child_sum_tree_lstm", "nary_tree_lstm", "lstm"])
def test_two_epochs_of_the_treebank_beat_the_majority(model: str, real_sst: Path, tmp_path: Path) -> None:
    """On root labels, five classes: test accuracy of 0.36 or more, where the most frequent class reaches 0.23."""
    arguments = ["dataset=sst", f"dataset.root={real_sst}", f"model={model}", "trainer.max_epochs=2"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, f"hydra.run.dir={tmp_path / 'run'}"])
    assert ended.value.code == 0
    record = runs.read(tmp_path / "run")
    assert record.final["test_accuracy"] >= 0.36
    assert record.baselines["test_accuracy"] == pytest.approx(0.231, abs=0.001)
    table = runs.read_table(tmp_path / "run", "adjoint")
    assert table is not None
    assert table["distance"].max() >= 20
