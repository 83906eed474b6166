"""Whether two states of the project train to the same numbers, to the byte.

Trains every model on three data sets, and every dataset, clipping strategy, regularizer, initialisation, probe and
optimizer once, 30 steps each; then compares `metrics.csv` and every probe table of each run.

    python benchmarks/same_numbers.py train A --project OTHER_CHECKOUT
    python benchmarks/same_numbers.py train B --project .
    python benchmarks/same_numbers.py compare A B
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

SMALL = [
    "trainer.max_steps=30",
    "trainer.max_epochs=-1",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "dataset.batch_size=8",
    "dataset.num_workers=0",
    "model.cell.hidden_size=8",
]
SAMPLES = ["dataset.train_size=240", "dataset.val_size=16", "dataset.test_size=16"]
CHAIN = ["dataset=adding", "dataset.length=20", *SAMPLES]
TREE = ["dataset=boolean_trees", *SAMPLES]
ENTRY = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    from rnn_research.cli.train import main
except ImportError:
    from rnn_research.train import main
import rnn_research
assert rnn_research.__file__.startswith(sys.argv[1]), rnn_research.__file__
main(sys.argv[2:])
"""
"""Either state's command, from its own folder."""


def options(project: Path, group: str) -> list[str]:
    return sorted(path.stem for path in (project / "conf" / group).glob("*.yaml") if path.stem[0] != "_")


def sweeps(project: Path, treebank: Path) -> dict[str, list[str]]:
    """The command lines by the name of their sweep's folder."""
    sizes = {"digits": [], "sst": [f"dataset.root={treebank}"]}
    found = {}
    models = options(project, "model")
    trees = [name for name in models if "tree" in name]
    chains = [name for name in models if name not in trees]
    for dataset in ("adding", "temporal_order", "boolean_trees"):
        for which, names in (("chain", chains), ("tree", trees)):
            structure = "structure=balanced" if which == "tree" and dataset != "boolean_trees" else "structure=auto"
            found[f"model-{dataset}-{which}"] = [f"model={','.join(names)}", f"dataset={dataset}", structure, *SAMPLES]
    for dataset in options(project, "dataset"):
        found[f"dataset-{dataset}"] = ["model=lstm", f"dataset={dataset}", *sizes.get(dataset, SAMPLES)]
    clipping = [name for name in options(project, "clipping") if name != "depth_detach"]
    found["clipping"] = ["model=lstm", f"clipping={','.join(clipping)}", *CHAIN]
    found["clipping-tree"] = ["model=tree_rnn", "clipping=none,depth_detach,adjoint_norm,value", *TREE]
    for regularizer in options(project, "regularizer"):
        found[f"regularizer-{regularizer}"] = ["model=rnn", f"regularizer={regularizer}", *CHAIN]
    for init in options(project, "init"):
        model = "lstm" if init in ("forget_bias", "chrono") else "rnn"
        found[f"init-{init}"] = [f"model={model}", f"init=[{init}]", *CHAIN]
    for probe in options(project, "probe"):
        found[f"probe-{probe}"] = ["model=gru", f"probe=[{probe}]", "clipping=global_norm", *CHAIN]
    for optimizer in options(project, "optimizer"):
        found[f"optimizer-{optimizer}"] = ["model=rnn", f"optimizer={optimizer}", *CHAIN]
    for engine in ("reference", "torch", "native"):
        found[f"engine-{engine}"] = ["model=lstm,gru,rnn", f"engine={engine}", *CHAIN]
    found["deep"] = [
        "model=lstm",
        "model.num_layers=2",
        "model.dropout=0.2",
        "trainer.accumulate_grad_batches=2",
        *CHAIN,
    ]
    return found


def train(folder: Path, project: Path) -> None:
    treebank = folder / "treebank"
    treebank.mkdir(parents=True)
    trees = "(3 (2 It) (4 (4 's) (3 (2 a) (3 (4 lovely) (2 film)))))\n(1 (1 (0 dull) (2 film)) (2 .))\n(4 great)\n"
    for name in ("train", "dev", "test"):
        shift = {"train": "a", "dev": "b", "test": "c"}[name]
        (treebank / f"{name}.txt").write_text(trees.replace("film", f"film{shift}").replace("great", f"great{shift}"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name, given in sweeps(project, treebank).items():
        arguments = ["-m", *given, *SMALL, f"hydra.sweep.dir={folder / name}"]
        command = [sys.executable, "-c", ENTRY, str(project), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=folder)
        print(
            f"{name}: {done.returncode}, {done.stdout.count(': done')} runs", *done.stderr.splitlines()[:2], flush=True
        )


def compare(one: Path, other: Path) -> int:
    """How many files differ, or are in one alone."""
    found = [
        {path.relative_to(folder) for pattern in ("metrics.csv", "probes/*") for path in folder.glob(f"*/*/{pattern}")}
        for folder in (one, other)
    ]
    different = sorted(found[0] ^ found[1])
    for path in sorted(found[0] & found[1]):
        if (one / path).read_bytes() != (other / path).read_bytes():
            different.append(path)
    for path in different:
        print(f"differs: {path}")
    print(f"{len(found[0] & found[1])} files in both, {len(different)} differ")
    return len(different) + (not found[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "compare"))
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--project", type=Path, default=Path())
    given = parser.parse_args()
    folders = [folder.resolve() for folder in given.folders]
    if given.what == "train":
        train(folders[0], given.project.resolve())
    else:
        sys.exit(bool(compare(*folders)))


if __name__ == "__main__":
    main()
