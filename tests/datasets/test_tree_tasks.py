"""Tasks on trees: keyword, ListOps and propositional logic, against plain recursion, published counts and files."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from small import model_of
from test_chain_tasks import everything

from rnn_research.cells import LSTM, ChildSumTreeLSTM, NaryTreeLSTM
from rnn_research.datasets import listops_expressions, logic_statements
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.listops import ListOps
from rnn_research.datasets.propositional_logic import PropositionalLogic
from rnn_research.datasets.tree_keyword import TreeKeyword
from rnn_research.structures import ChainLayout, ParseTreeLayout, Sample

Nested = str | tuple["Nested", ...]


def nested(sample: Sample, words: tuple[str, ...], node: int = 0) -> Nested:
    """The parse as tuples: a leaf is its word, a node is its own word, where it reads one, and its children."""
    children = [nested(sample, words, int(child)) for child in np.flatnonzero(sample.tree.parent == node)]
    word = words[sample.tree_inputs[node]]
    return (*([word] if word else []), *children) if children else word


def flat(tree: Nested) -> list[str]:
    return [tree] if isinstance(tree, str) else [word for part in tree for word in flat(part)]


# keyword


@pytest.mark.parametrize(("fewest", "most"), [(1, 10), (25, 25)])
def test_the_class_is_that_of_the_one_keyword_wherever_it_stands(fewest, most):
    data = TreeKeyword(min_leaves=fewest, max_leaves=most, train_size=700)
    places, leaves = Counter(), set()
    depths = data.features("train")["keyword_depth"]
    for sample, depth in zip(everything(data), depths.tolist(), strict=True):
        (place,) = (place for place, token in enumerate(sample.inputs.tolist()) if token <= 100)
        assert sample.target == (sample.inputs[place] - 1) // 10
        assert sample.inputs.max() <= 1100
        count = len(sample.inputs)
        assert len(sample.tree) == 2 * count - 1
        assert np.array_equal(sample.tree_inputs[sample.tree.leaves], sample.inputs)
        assert (sample.tree_inputs[sample.tree.arity > 0] == 0).all()
        assert set(sample.tree.arity.tolist()) <= {0, 2}
        node, edges = int(sample.tree.leaves[place]), 0
        while node:
            node, edges = int(sample.tree.parent[node]), edges + 1
        assert depth == edges
        leaves.add(count)
        places[place] += count == 25
    assert leaves == set(range(fewest, most + 1))
    if fewest == 25:
        assert max(abs(places[place] / 700 - 1 / 25) for place in range(25)) < 0.037  # five standard errors


def merged(random: np.random.Generator, leaves: int) -> Nested:
    """A tree as Le & Zuidema make it: two random neighbours become one node, until one is left."""
    parts: list[Nested] = [str(leaf) for leaf in range(leaves)]
    while len(parts) > 1:
        place = int(random.integers(len(parts) - 1))
        parts[place : place + 2] = [(parts[place], parts[place + 1])]
    return parts[0]


def test_trees_are_those_that_random_merges_make():
    """Of five leaves there are 14 trees: each as often as by merging."""
    data, random = TreeKeyword(min_leaves=5, max_leaves=5, train_size=3000), np.random.default_rng(0)
    words = ("", *("x" for _ in range(1100)))
    shapes = Counter(str(nested(sample, words)) for sample in everything(data))
    expected = Counter(str(merged(random, 5)) for _ in range(3000))
    expected = Counter({shape.translate(str.maketrans("01234", "xxxxx")): n for shape, n in expected.items()})
    assert set(shapes) == set(expected)
    assert len(shapes) == 14
    for shape, count in expected.items():
        assert abs(shapes[shape] - count) < 5 * np.sqrt(2 * count)


# ListOps


def evaluate(words: Iterator[str]) -> int:
    """The value of the next expression, by reading tokens from the left."""
    word = next(words)
    if not word.startswith("["):
        return int(word)
    arguments = []
    rest = words
    while (token := next(rest)) != "]":
        arguments.append(evaluate(itertools.chain([token], rest)))
    if word == "[MED":
        return int(np.median(arguments))
    return {"[MIN": min(arguments), "[MAX": max(arguments), "[SM": sum(arguments) % 10}[word]


def tree_of(words: list[str], form: str) -> Nested:
    """The parse of an expression, whose words are used up."""
    word = words.pop(0)
    if not word.startswith("["):
        return word
    arguments = []
    while words[0] != "]":
        arguments.append(tree_of(words, form))
    words.pop(0)
    if form == "nary":
        return (word, *arguments)
    return (functools.reduce(lambda left, right: (left, right), arguments, word), "]")


def official(tree: Nested) -> str:
    """In the brackets of the published files."""
    return tree if isinstance(tree, str) else f"( {' '.join(map(official, tree))} )"


LISTS = listops_expressions.VOCABULARY


def text_of(sample: Sample) -> list[str]:
    return [LISTS[token] for token in sample.inputs]


@pytest.mark.parametrize("form", ["binary", "nary"])
@pytest.mark.parametrize("keys", [{}, {"max_args": 2, "max_depth": 7}, {"max_args": 9, "max_depth": 3}])
def test_listops_values_and_parses_are_right(form, keys):
    data = ListOps(parse=form, train_size=200, **keys)
    counts, operators, arity = set(), data.features("train")["operators"].tolist(), keys.get("max_args", 5)
    for sample, count in zip(everything(data), operators, strict=True):
        words = text_of(sample)
        assert sample.target == evaluate(iter(words))
        assert nested(sample, LISTS) == tree_of(list(words), form)
        assert count == sum(word.startswith("[") for word in words)
        lists = sample.tree.arity[sample.tree.arity > 0]
        counts |= set(lists.tolist())
        if form == "nary":
            assert sample.tree.depth.max() < keys.get("max_depth", 20)
    assert counts == ({2} if form == "binary" else set(range(2, arity + 1)))
    assert data.task.max_children == max(counts)


def test_listops_has_the_statistics_of_the_published_test_set():
    """42.8 tokens on average, median 16, at most 939; depth 16.6, at most 84; 89% below 100 tokens; values 9 to 11%."""
    data = ListOps(val_size=4000)
    samples = everything(data, "val")
    lengths = np.array([len(sample.inputs) for sample in samples])
    assert lengths.mean() == pytest.approx(42.8, abs=5 * lengths.std() / np.sqrt(len(lengths)))
    assert lengths.std() / np.sqrt(len(lengths)) < 1.4
    assert 15 <= np.median(lengths) <= 17
    assert np.mean(lengths < 100) == pytest.approx(0.89, abs=0.02)
    assert 400 < lengths.max() < 2000
    depths = np.array([sample.tree.depth.max() for sample in samples])
    assert depths.mean() == pytest.approx(16.6, abs=1)
    assert 60 <= depths.max() <= 114
    shares = np.bincount([sample.target for sample in samples]) / len(samples)
    assert shares.min() > 0.09 - 0.019
    assert shares.max() < 0.114 + 0.021


def test_listops_draws_are_as_many_as_make_the_published_number_of_expressions():
    """Counted in one set of that many draws, none of them twice, which has the distribution that thinning gives."""
    random = np.random.default_rng(0)
    drawn = listops_expressions.draw(random, listops_expressions.DRAWS, 5, 20)
    written = listops_expressions.write(drawn)
    starts = np.cumsum(written.lengths) - written.lengths
    data = written.text.astype(np.uint8).tobytes()
    found = {data[at : at + size] for at, size in zip(starts.tolist(), written.lengths.tolist(), strict=True)}
    assert len(found) == pytest.approx(100_000, rel=0.005)
    kept = listops_expressions.as_if_distinct(random, drawn, 5, 20)
    shares = Counter(map(len, found)), Counter(written.lengths[kept].tolist())
    for length in (4, 5, 6, 7, 8, 12):
        one, other = (count[length] / sum(count.values()) for count in shares)
        assert one == pytest.approx(other, abs=0.004)


def write_listops(folder: Path, **lines: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    given = {"train": ["3\t( ( ( [MAX 3 ) 1 ) ] )", "7\t7", "9\t( ( ( [SM 4 ) 5 ) ] )"], "test": ["0\t0"], **lines}
    for name, content in given.items():
        (folder / f"{name}_d20s.tsv").write_text("\n".join(content) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", ["binary", "nary"])
def test_listops_written_in_the_published_format_is_read_back(tmp_path, form):
    made = ListOps(parse=form, train_size=60, test_size=40, max_args=4)
    lines = {
        split: [f"{one.target}\t{official(tree_of(text_of(one), 'binary'))}" for one in everything(made, split)]
        for split in ("train", "test")
    }
    read = ListOps(root=str(write_listops(tmp_path, **lines)), parse=form, val_size=20, test_depths=[1, 2])
    assert read.task == made.task
    for split, expected in {
        "train": everything(made)[:40],
        "val": everything(made)[40:],
        "test": everything(made, "test"),
    }.items():
        found = everything(read, split)
        assert [text_of(one) for one in found] == [text_of(one) for one in expected]
        assert [nested(one, LISTS) for one in found] == [nested(one, LISTS) for one in expected]
        assert [one.target for one in found] == [one.target for one in expected]
    for depth in (1, 2):
        of_depth = [one for one in everything(made, "test") if lists_deep(text_of(one)) == depth]
        assert [text_of(one) for one in everything(read, f"depth_{depth}")] == [text_of(one) for one in of_depth]


def lists_deep(words: list[str]) -> int:
    return max(itertools.accumulate(word.startswith("[") - (word == "]") for word in words))


BAD_LISTS = {
    "no tab": ("3 ( ( [MAX 3 ) ] )", "1 columns, expected 2"),
    "three columns": ("3\t3\t3", "3 columns"),
    "label 10": ("10\t3", "label '10'"),
    "no label": ("\t3", "label ''"),
    "a word": ("3\t( ( ( [MAX 3 ) x ) ] )", "'x', expected one of 0"),
    "another operator": ("3\t( ( ( [PM 3 ) 1 ) ] )", "'[PM'"),
    "bare": ("3\t[MAX 3 1 ]", "'1', expected a closing"),
    "right-branching": ("3\t( [MAX ( 3 ( 1 ] ) ) )", "a bracket before '3'"),
    "bracket missing": ("3\t( ( ( [MAX 3 ) 1 ) ]", "line's end"),
    "bracket too many": ("3\t( ( ( [MAX 3 ) 1 ) ] ) )", "no closing bracket"),
    "opened once too often": ("3\t( ( ( ( [MAX 3 ) 1 ) ] )", "other brackets than published"),
    "no argument": ("3\t( [MAX ] )", "is empty"),
    "end alone": ("3\t]", "not open"),
    "two expressions": ("3\t3 4", "'4' after the expression"),
    "no expression": ("3\t ", "line's end"),
    "left open": ("3\t( ( ( [MAX 3 ) 1 )", "line's end"),
    "another value": ("1\t( ( ( [MAX 3 ) 1 ) ] )", "the label 1, expected the expression's value, 3;"),
}


@pytest.mark.parametrize("name", BAD_LISTS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_listops_names_the_file_and_line_of_what_is_malformed(tmp_path, name, split):
    line, message = BAD_LISTS[name]
    folder = write_listops(tmp_path, **{split: ["3\t3", "", line, "1\t1"]})
    with pytest.raises(ValueError, match=r"^dataset.root: ") as error:
        ListOps(root=str(folder), val_size=1).load()
    assert f"{folder / split}_d20s.tsv, line 3: found" in str(error.value)
    assert message in str(error.value)
    assert str(error.value).endswith("mend or delete the line, or fetch the file again")


def test_listops_says_what_else_is_wrong_with_files(tmp_path):
    folder = write_listops(tmp_path)
    assert len(ListOps(root=str(folder), val_size=1).samples("train")) == 2
    with pytest.raises(ValueError, match=r"^dataset.val_size: given 3, expected fewer than the 3 .*train_d20s"):
        ListOps(root=str(folder), val_size=3).load()
    with pytest.raises(ValueError, match=r"^dataset.test_depths: given 4, expected a depth of the test set"):
        ListOps(root=str(folder), val_size=1, test_depths=[4]).load()
    with pytest.raises(ValueError, match=r"^dataset.root: can't read .*train_d20s.tsv .*generated"):
        ListOps(root=str(tmp_path / "nowhere")).load()
    with pytest.raises(ValueError, match=r"^dataset.root: .*test_d20s.tsv has no sample"):
        ListOps(root=str(write_listops(tmp_path / "empty", test=[])), val_size=1).load()
    (folder / "test_d20s.tsv").write_bytes(b"3\t3\n\xe9")
    with pytest.raises(ValueError, match=r"test_d20s.tsv, line 2: found bytes that are not UTF-8"):
        ListOps(root=str(folder), val_size=1).load()


def test_listops_gives_up_on_what_is_too_rare(monkeypatch):
    monkeypatch.setattr("rnn_research.datasets.listops.TRIES", 3)
    with pytest.raises(ValueError, match=r"^dataset.test_depths: given 19, expected .*max_args=2"):
        ListOps(max_args=2, test_depths=[19]).load()


# Propositional logic

WORDS = logic_statements.VOCABULARY
PUBLISHED = [36, 2729, 14649, 27356, 35734, 40179, 38768, 31378, 22309, 14864, 9625, 5758]
"""Pairs by operators of the longer statement, train and test together; then 5,684 with twelve or more."""


def sides(sample: Sample) -> tuple[str, str]:
    left, right = " ".join(WORDS[token] for token in sample.inputs).split(" <sep> ")
    return left, right


def relation(left: str, right: str) -> str:
    """By brute force: Python's own operators in each of the 64 worlds."""
    worlds = [dict(zip("abcdef", world, strict=True)) for world in itertools.product([False, True], repeat=6)]
    codes = (compile(python(side), "side", "eval") for side in (left, right))
    first, second = ([eval(code, {}, world) for world in worlds] for code in codes)
    pairs = set(zip(first, second, strict=True))
    assert len(set(first)) == len(set(second)) == 2  # neither always nor never true
    both, one, other, none = ((v, w) in pairs for v, w in itertools.product([True, False], repeat=2))
    return {
        (True, False, False, True): "=",
        (True, False, True, True): "<",
        (True, True, False, True): ">",
        (False, True, True, False): "^",
        (False, True, True, True): "|",
        (True, True, True, False): "v",
        (True, True, True, True): "#",
    }[both, one, other, none]


def python(statement: str) -> str:
    """`( a ( and b ) )` -> `( a and b )`: the brackets around an operator with its second operand go."""
    return str(statement_of(statement.split()))


def statement_of(words: list[str]) -> str:
    word = words.pop(0)
    if word != "(":
        return word
    if words[0] == "not":
        words.pop(0)
        inside = f"(not {statement_of(words)})"
    else:
        first = statement_of(words)
        assert words.pop(0) == "("
        inside = f"({first} {words.pop(0)} {statement_of(words)})"
        assert words.pop(0) == ")"
    assert words.pop(0) == ")"
    return inside


def bracketed(tree: Nested) -> str:
    return tree if isinstance(tree, str) else f"( {' '.join(map(bracketed, tree))} )"


@pytest.mark.parametrize("most", [2, 6, 12])
def test_logic_relations_hold_in_every_world_and_parses_are_the_brackets(most):
    data = PropositionalLogic(max_operators=most, train_size=150)
    counts = data.features("train")["operators"].tolist()
    for sample, count in zip(everything(data), counts, strict=True):
        left, right = sides(sample)
        assert logic_statements.RELATIONS[sample.target] == relation(left, right)
        assert bracketed(nested(sample, WORDS)) == f"( {left} ( <sep> {right} ) )"
        assert count == max(sum(side.split().count(word) for word in ("and", "or", "not")) for side in (left, right))
        assert count <= most
        assert len({*left.split(), *right.split()} & set("abcdef")) <= 4


def test_logic_classes_of_pairs_that_are_known():
    a, b = logic_statements.TABLE[:2]
    known = {
        ("a", "a", "="): (a, a),
        ("a", "( a ( or b ) )", "<"): (a, a | b),
        ("b", "( a ( and b ) )", ">"): (b, a & b),
        ("a", "( not a )", "^"): (a, ~a),
        ("( a ( and b ) )", "( not a )", "|"): (a & b, ~a),
        ("( a ( or b ) )", "( not a )", "v"): (a | b, ~a),
        ("a", "b", "#"): (a, b),
    }
    found = [logic_statements.RELATIONS[label] for label in logic_statements.relations(np.array(list(known.values())))]
    assert found == [expected for _, _, expected in known]
    assert [relation(left, right) for left, right, _ in known] == found


def test_logic_has_the_published_number_of_pairs_of_each_size():
    """The published 249,069 pairs, by the operators of the longer statement: so are ours distributed."""
    random, total = np.random.default_rng(0), sum(PUBLISHED) + 5684
    pairs = logic_statements.draw(random, 40_000)
    truth = logic_statements.truths(pairs)
    kept = logic_statements.sound(truth)
    assert len(kept) / 40_000 == pytest.approx(logic_statements.SOUND, abs=0.009)
    sizes = pairs.chosen(kept).operators()
    distinct = logic_statements.as_if_distinct(random, pairs.chosen(kept))
    assert len(distinct) / len(kept) * 500_000 == pytest.approx(total, rel=0.02)
    shares = np.bincount(np.minimum(sizes[distinct], 12), minlength=13) / len(distinct)
    expected = np.array([*PUBLISHED, 5684]) / total
    errors = 5 * np.sqrt(expected / len(distinct)) + 0.0005
    assert (np.abs(shares - expected) < errors).all()


def logic_line(sample: Sample) -> str:
    left, right = sides(sample)
    return f"{logic_statements.RELATIONS[sample.target]}\t{left}\t{right}"


def write_logic(folder: Path, **lines: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    plain = {"train0": ["#\ta\tb"] * 20, "test0": ["=\ta\ta"]}
    for name, content in {**plain, **lines}.items():
        (folder / name).write_text("\n".join(content) + "\n", encoding="utf-8")
    return folder


def test_logic_written_in_the_published_format_is_read_back(tmp_path):
    made = PropositionalLogic(train_size=120, test_size=60, max_operators=12)
    sizes = {split: made.features(split)["operators"].tolist() for split in ("train", "test")}
    files, order = {}, {}
    for split, size in itertools.product(("train", "test"), range(13)):
        chosen = [one for one, own in zip(everything(made, split), sizes[split], strict=True) if own == size]
        order.setdefault(split, []).append(chosen)
        files[f"{split}{size}"] = [logic_line(one) for one in chosen] or ["#\ta\tb"] * 0
    folder = write_logic(tmp_path, **{name: lines for name, lines in files.items() if lines})
    for name in ("train0", "test0"):
        if not files[name]:
            (folder / name).unlink()
    read = PropositionalLogic(root=str(folder), test_operators=[7, 8])
    assert read.task == made.task
    train = [one for chosen in order["train"][:7] for one in chosen]
    expected = {
        "train": [one for place, one in enumerate(train, start=1) if place % 10],
        "val": train[9::10],
        "test": [one for chosen in order["test"][:7] for one in chosen],
        "operators_7": order["test"][7],
        "operators_8": order["test"][8],
    }
    assert set(read.load()[1]) == set(expected)
    for name, wanted in expected.items():
        found = everything(read, name)
        assert [logic_line(one) for one in found] == [logic_line(one) for one in wanted]
        assert [nested(one, WORDS) for one in found] == [nested(one, WORDS) for one in wanted]
    assert set(read.features("operators_8")["operators"]) == {8}


BAD_LOGIC = {
    "one column": ("# a b", "1 columns, expected 3"),
    "a relation that does not hold": ("=\ta\t( a ( or ( not b ) ) )", "relation '=', expected the one that holds, '<'"),
    "another relation": ("~\ta\tb", "relation '~'"),
    "two relations": ("<>\ta\tb", "relation '<>'"),
    "no relation": ("\ta\tb", "relation ''"),
    "another variable": ("#\ta\tg", "'g', expected one of"),
    "separator": ("#\ta\t<sep>", "'<sep>', expected one of"),
    "not in two": ("#\t( a and b )\tb", "around other things than"),
    "right of an operator": ("#\t( ( and a ) b )\tb", "around other things than"),
    "not of two": ("#\t( not a b )\tb", "around other things than"),
    "not after": ("#\t( a not )\tb", "around other things than"),
    "in brackets alone": ("#\t( a )\tb", "around other things than"),
    "nothing": ("#\t( )\tb", "around other things than"),
    "left open": ("#\ta\t( not b", "expected one statement"),
    "closed twice": ("#\ta\t( not b ) )", "around other things than"),
    "an operator alone": ("#\tand\tb", "expected one statement"),
    "two statements": ("#\ta a\tb", "expected one statement"),
    "no statement": ("#\t \tb", "expected one statement"),
}


@pytest.mark.parametrize("name", BAD_LOGIC)
@pytest.mark.parametrize("file", ["train3", "test12"])
def test_logic_names_the_file_and_line_of_what_is_malformed(tmp_path, name, file):
    line, message = BAD_LOGIC[name]
    folder = write_logic(tmp_path, **{file: ["#\ta\tb", "", line]})
    with pytest.raises(ValueError, match=r"^dataset.root: ") as error:
        PropositionalLogic(root=str(folder)).load()
    assert f"{folder / file}, line 3: found" in str(error.value)
    assert message in str(error.value)
    assert str(error.value).endswith("mend or delete the line, or fetch the file again")


def test_logic_says_what_else_is_wrong_with_files(tmp_path):
    folder = write_logic(tmp_path / "plain")
    assert [len(PropositionalLogic(root=str(folder)).samples(split)) for split in ("train", "val", "test")] == [
        18,
        2,
        1,
    ]
    with pytest.raises(ValueError, match=r"^dataset.test_operators: given 7, expected a number"):
        PropositionalLogic(root=str(folder), test_operators=[7]).load()
    with pytest.raises(ValueError, match=r"^dataset.root: can't read .*nowhere"):
        PropositionalLogic(root=str(tmp_path / "nowhere")).load()
    few = write_logic(tmp_path / "few", train0=["#\ta\tb"] * 9)
    with pytest.raises(ValueError, match=r"^dataset.root: .* has 9 pairs to train on, expected 10"):
        PropositionalLogic(root=str(few)).load()
    (folder / "test0").unlink()
    with pytest.raises(ValueError, match=r"^dataset.root: .* has no file test0"):
        PropositionalLogic(root=str(folder)).load()


# Cells on both readings


@functools.cache
def eight(make: Callable[..., DataModule]) -> DataModule:
    return make(train_size=8, val_size=4, test_size=4, batch_size=8)


@pytest.mark.parametrize("make", [TreeKeyword, ListOps, functools.partial(ListOps, parse="nary"), PropositionalLogic])
@pytest.mark.parametrize(
    ("cell", "layout"),
    [(NaryTreeLSTM, ParseTreeLayout()), (ChildSumTreeLSTM, ParseTreeLayout()), (LSTM, ChainLayout())],
)
def test_any_cell_folds_the_parse_and_the_sequence(make: Callable[..., DataModule], cell, layout):
    data = eight(make)
    data.layout = layout
    model = model_of(data, cell, embedding_size=5)
    batch = next(iter(data.train_dataloader()))
    loss = model.training_step(batch, 0)
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is not None for parameter in model.cells.parameters())


def test_a_child_sum_cell_tells_left_from_right(tmp_path):
    """`a < b` must not look like `b < a`, though such a cell adds up its children."""
    lines = ["<\ta\t( a ( or b ) )", ">\t( a ( or b ) )\ta"] * 10
    data = PropositionalLogic(root=str(write_logic(tmp_path, train0=lines)))
    data.layout = ParseTreeLayout()
    model = model_of(data, ChildSumTreeLSTM, embedding_size=5)
    one, other = model(ParseTreeLayout().collate(everything(data)[:2])).detach()
    assert (one - other).abs().max() > 1e-4
