"""`python -m benchmarks.gallery`: run the studies of docs/gallery.md, and make its figures and its text anew.

Each study is an experiment of this project, cut down where it says so. A study whose folder holds runs already is not
run again. The picture of a figure is its SVG, or its PNG where that is smaller; more than 150 KB is refused.

    python -m benchmarks.gallery --runs outputs/gallery --sst FOLDER
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnn_research.compare import Comparison, compare
from rnn_research.compare.page_data import page_data
from rnn_research.report import figures
from rnn_research.report.figures import Drawing

DOCS = Path(__file__).parents[1] / "docs"
MOST = 150_000
"""Bytes of a picture."""
MOST_IN_ALL = 1_500_000
SST = "dataset.root="
HEAD = """# Gallery

The figures that `rnn-compare` draws, made by this project's own experiments. Each is in the page, and an SVG, a PNG and
a PDF beside it; with `--look paper` for print. `python -m benchmarks.gallery` runs the studies (a few minutes on two
cores) and makes this page anew; `--sst FOLDER` says where the treebank lies, else it is downloaded. A figure is drawn
where runs recorded what it shows: saturation and other strategies need `probe=[adjoint,saturation,counterfactual]`.
"""


@dataclass(frozen=True)
class Shown:
    """A figure of a study: its name, what it is for, and which runs it is of."""

    name: str
    about: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """An experiment with what is typed after its name, and the figures that are shown of it."""

    experiment: str
    question: str
    typed: tuple[str, ...]
    shown: tuple[Shown, ...]


STUDIES = (
    Study(
        "digits_vanishing",
        "Does the gradient vanish over 64 pixels of real digits, in which cell, and what does clipping do about it?",
        ("probe=[adjoint,gradient_norm,saturation,counterfactual]", "probe.saturation.every_n_steps=25"),
        (
            Shown("vanishing", "The vanishing curve, with its interval over seeds, at the last step and at the first."),
            Shown("map", "The same over training."),
            Shown("norm_map", "The norm of the adjoint itself over training.", ("clipping=none",)),
            Shown("rates", "The decay rate over training."),
            Shown("saturation", "Saturated gates and states.", ("model!=gru", "clipping=none")),
            Shown("clipping", "Norms before and after clipping, and when it fired.", ("model!=gru",)),
            Shown("foreseen", "What other strategies would have done to the same gradients.", ("clipping=none",)),
            Shown("learning", "The task over training."),
            Shown("beside_task", "The task beside the decay rate, a point a run."),
            Shown("confusion", "Which class is taken for which.", ("clipping=none",)),
        ),
    ),
    Study(
        "pascanu_temporal_order",
        "How long a memory does plain SGD learn: alone, clipped, and with the Omega regularizer?",
        (),
        (Shown("success", "The share of runs that solved the task by each step (Kaplan and Meier)."),),
    ),
    Study(
        "forget_bias",
        "For how long does an LSTM keep its gradient, by its forget bias?",
        (),
        (
            Shown("vanishing", "Many conditions in one panel: colours and markers tell one factor, dashes the other."),
            Shown("phases", "A phase diagram over two numeric factors."),
        ),
    ),
    Study(
        "tree_keyword_depth",
        "How deep in a tree can a keyword stand, for a recursive net and for a Tree-LSTM?",
        ("seed=0,1,2", "trainer.max_steps=400"),
        (
            Shown("vanishing", "Small multiples: a panel a kind of data."),
            Shown("nodes", "What arrives at a depth of a tree in all."),
            Shown("answers", "Accuracy by what is known of a sample."),
        ),
    ),
    Study(
        "sst_tree_or_sequence",
        "Does the gradient reach the words better along a parse tree than along the sentence?",
        (
            "trainer.max_epochs=-1",
            "trainer.max_steps=200",
            "trainer.check_val_every_n_epoch=null",
            "trainer.val_check_interval=50",
            "probe.adjoint.every_n_steps=50",
        ),
        (Shown("vanishing", "Chains and trees on one axis, real sentences."),),
    ),
)


def train_command(study: Study, folder: str, root: str | None = None) -> list[str]:
    """What is typed after `rnn-train`; `root` is where the treebank lies."""
    data = [f"{SST}{root}"] if root and study.experiment.startswith("sst") else []
    return [f"experiment={study.experiment}", *study.typed, *data, f"hydra.sweep.dir={folder}"]


def compare_command(shown: Shown, folder: str) -> list[str]:
    """The command that draws a figure among others, into the folder `comparison` of the study's."""
    return ["rnn-compare", folder, *(("--where", *shown.where) if shown.where else ())]


def picture(drawing: Drawing) -> tuple[str, bytes]:
    """(suffix, content) of the smaller one of its SVG and its PNG.

    Raises:
        ValueError: it has more than 150 KB.
    """
    suffix, content = min((("svg", drawing.svg.encode()), ("png", drawing.png)), key=lambda pair: len(pair[1]))
    if len(content) > MOST:
        raise ValueError(f"{drawing.name}: the picture has {len(content):,} bytes, expected at most {MOST:,}")
    return suffix, content


def text(drawn: Sequence[tuple[Study, Sequence[tuple[Shown, Drawing, str]]]]) -> str:
    """docs/gallery.md: a part a study, with its commands, each figure with its caption and the name of its file."""
    parts = [HEAD]
    for study, figures_of in drawn:
        folder = f"outputs/gallery/{study.experiment}"
        train = shlex.join(["rnn-train", *train_command(study, folder)])
        parts.append(f"## {study.question}\n\n```sh\n{train}\n```\n")
        for shown, drawing, file in figures_of:
            command = shlex.join(compare_command(shown, folder))
            parts.append(
                f"### {drawing.title}\n\n{shown.about}\n\n![{drawing.title}](figures/{file})\n\n{drawing.caption}\n\n"
                f"`{command}` writes it as `{folder}/comparison/{drawing.name}.svg`.\n"
            )
    return "\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not there, draw, and write docs/gallery.md and docs/figures/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("outputs/gallery"), help="the folder of the studies' runs")
    parser.add_argument("--sst", help="the folder of the treebank's three files; without it they are downloaded")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where gallery.md and figures/ are written")
    given = parser.parse_args(arguments)
    drawn = [(study, _figures(study, given.runs / study.experiment, given.sst, given.docs)) for study in STUDIES]
    total = sum((given.docs / "figures" / file).stat().st_size for _, found in drawn for _, _, file in found)
    if total > MOST_IN_ALL:
        raise ValueError(f"the pictures have {total:,} bytes, expected at most {MOST_IN_ALL:,}")
    (given.docs / "gallery.md").write_text(text(drawn), encoding="utf-8")
    print(f"{given.docs / 'gallery.md'}: {sum(len(found) for _, found in drawn)} figures, {total:,} bytes")


def _figures(study: Study, folder: Path, root: str | None, docs: Path) -> list[tuple[Shown, Drawing, str]]:
    _train(study, folder, root)
    (docs / "figures").mkdir(parents=True, exist_ok=True)
    known: dict[tuple[str, ...], dict[str, Drawing]] = {}
    found = []
    for shown in study.shown:
        if shown.where not in known:
            known[shown.where] = _drawn(compare([folder], where=shown.where))
        drawing = known[shown.where][shown.name]
        suffix, content = picture(drawing)
        file = f"{study.experiment}_{shown.name}.{suffix}"
        (docs / "figures" / file).write_bytes(content)
        found.append((shown, drawing, file))
    return found


def _drawn(comparison: Comparison) -> dict[str, Drawing]:
    return {drawing.name: drawing for drawing in figures.draw(comparison, data=page_data(comparison))}


def _train(study: Study, folder: Path, root: str | None) -> None:
    """Run the study where its folder holds no run."""
    if not any(folder.glob("*/run.json")):
        from rnn_research.cli.train import main as train

        try:
            train(train_command(study, str(folder), root))
        except SystemExit as ended:
            if ended.code:
                raise


if __name__ == "__main__":
    main()
