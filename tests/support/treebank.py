"""A tiny treebank."""

from __future__ import annotations

from pathlib import Path

TREEBANK = {
    "train.txt": [
        "(3 (2 It) (4 (4 's) (3 (2 a) (3 (4 lovely) (2 film)))))",
        "(1 (1 (0 dull) (2 film)) (2 .))",
        "(4 great)",
        "(0 (2 a) (0 (0 dull) (1 (1 weak) (2 plot))))",
        "(2 (2 It) (2 is))",
    ],
    "dev.txt": ["(3 (4 lovely) (2 plot))", "(1 weak)", "(0 (0 dull) (2 unseen))"],
    "test.txt": ["(4 (4 great) (2 film))", "(2 It)", "(1 (1 weak) (2 (2 a) (2 plot)))"],
}


def written(folder: Path) -> Path:
    """Write it to a folder, for dataset.root, and return the folder."""
    for name, trees in TREEBANK.items():
        (folder / name).write_text("\n".join(trees) + "\n", encoding="utf-8")
    return folder
