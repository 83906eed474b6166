"""`python -m benchmarks.leaf_to_root FOLDER`: how much of the root's gradient reaches the keyword, by its depth.

The ratio ||dL/dh|| at the keyword's leaf to ||dL/dh|| at the root of Le and Zuidema (2016), of the runs of
`experiment=tree_keyword_depth`: read from the probe `adjoint` at the steps of the last third of training.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from rnn_research.datasets.tree_keyword import KEYWORDS
from rnn_research.records import runs

DEPTHS = ((0, 3), (4, 7), (8, 11), (12, 99))


def ratios(table: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The depth of each tree's keyword, and the ratio there. A gradient of zero at the root gives NaN."""
    table = table[table["step"] >= steps * 2 // 3]
    key = table["step"].astype(np.int64) << 32 | table["sample"]
    root = dict(zip(key[table["distance"] == 0].tolist(), table["hidden"][table["distance"] == 0], strict=True))
    word = (table["token"] > 0) & (table["token"] <= KEYWORDS)
    below = np.array([root[one] for one in key[word].tolist()])
    with np.errstate(divide="ignore", invalid="ignore"):
        return table["distance"][word], table["hidden"][word] / below


def main() -> None:
    """Print a line a condition: the median over trees of log10 of the ratio, and how many trees, by depth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="+")
    conditions: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for folder in runs.find(parser.parse_args().folder):
        record, table = runs.read(folder), runs.read_table(folder, "adjoint")
        if table is not None and record.choices.get("dataset") == "tree_keyword":
            named = record.choices["model"], str(record.config["dataset"]["max_leaves"])
            conditions[named].append(ratios(table, record.steps))
    heads = [f"{low}-{high}" if high < DEPTHS[-1][1] else f"{low}+" for low, high in DEPTHS]
    print(f"{'model':20}{'leaves up to':>13}" + "".join(f"{'depth ' + head:>20}" for head in heads))
    for named, found in conditions.items():
        depth, ratio = (np.concatenate(parts) for parts in zip(*found, strict=True))
        print(f"{named[0]:20}{named[1]:>13}" + "".join(f"{_cell(depth, ratio, *bounds):>20}" for bounds in DEPTHS))


def _cell(depth: np.ndarray, ratio: np.ndarray, low: int, high: int) -> str:
    logs = np.log10(np.maximum(ratio[(depth >= low) & (depth <= high) & np.isfinite(ratio)], 1e-300))
    return f"{np.median(logs):.2f} ({len(logs)} trees)" if len(logs) else "-"


if __name__ == "__main__":
    main()
