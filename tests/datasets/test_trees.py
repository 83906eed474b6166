"""A user's own trees: brackets, JSON and programs, read, refused, split and encoded; SST with pretrained vectors."""

from __future__ import annotations

import ast
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from files_trees import source
from small import model_of

from rnn_research.cells import ChildSumTreeLSTM
from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.own.parts import part_of_name
from rnn_research.datasets.sst import SST
from rnn_research.datasets.task import SPLITS
from rnn_research.datasets.trees import reading
from rnn_research.datasets.trees.brackets import read_brackets
from rnn_research.datasets.trees.deep_json import _read_deep
from rnn_research.datasets.trees.json_trees import JSONTrees
from rnn_research.datasets.trees.programs import ends, first_word, functions, nested_loops
from rnn_research.datasets.trees.ptb_trees import PTBTrees
from rnn_research.datasets.trees.python_ast import PythonAST
from rnn_research.datasets.trees.written import WrittenTree
from rnn_research.structures import ParseTreeLayout
from rnn_research.structures.layouts import NO_TARGET


def refuse(found: str, line: int) -> ValueError:
    return ValueError(f"line {line}: {found}")


def brackets(text: str) -> list[WrittenTree]:
    return list(read_brackets(text, refuse))


def shape(tree: WrittenTree, node: int = 0) -> Any:
    """A leaf is `label:word`, a node (label, children)."""
    below = [shape(tree, child) for child, above in enumerate(tree.parents) if above == node]
    label = tree.labels[node] or ""
    return (label, *below) if below else f"{label}:{tree.words[node]}"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines_of(count: int, label: Callable[[int], object] = lambda number: number % 2) -> list[str]:
    """Different trees of three words."""
    return [f"({label(n)} (a w{n % 7}) (b (x w{n // 7}) (y z{n})))" for n in range(count)]


DEEP = 3000


# Brackets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(3 (2 Good) (2 film))", ("3", "2:Good", "2:film")),
        ("(3 word)", "3:word"),
        ("(pos\n  (NP (D The)\n\n      (N film))\n  (V works)\n)", ("pos", ("NP", "D:The", "N:film"), "V:works")),
        ("(pos ((2 Good) (2 film)) .)", ("pos", ("", "2:Good", "2:film"), ":.")),
        ("(pos ( ( The film ) works ))", ("pos", ("", ("", ":The", ":film"), ":works"))),
        ("(pos The film works)", ("pos", ":The", ":film", ":works")),
        ("(pos The (2 film))", ("pos", ":The", "2:film")),
        ("(pos (2 film) works)", ("pos", "2:film", ":works")),
        ("(a (b (c (d x))))", ("a", ("b", ("c", "d:x")))),
        ("(a x\u00a0y)", "a:x\u00a0y"),
    ],
)
def test_brackets_are_read(text: str, expected: Any) -> None:
    (tree,) = brackets(text)
    assert shape(tree) == expected
    assert all(above < node for node, above in enumerate(tree.parents))


def test_trees_follow_each_other_on_a_line_and_over_lines() -> None:
    found = brackets("(a x)(b y)\n\n(c\n(d\nz)\n) (e u)\n")
    assert [shape(tree) for tree in found] == ["a:x", "b:y", ("c", "d:z"), "e:u"]
    assert [(tree.line, tree.lines) for tree in found] == [(1, 1), (1, 1), (3, 4), (6, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(a x)\n(b (c y)\n(d z)\n", "line 2: found 1 brackets left open at the file's end"),
        ("(a x)\n(b y))\n", "line 2: found a closing bracket without"),
        ("(a x)\ny\n(b z)", "line 2: found 'y' outside the tree"),
        ("(a x)\n\n(b (c y) ())", "line 3: found a node that has neither a word nor children, expected"),
        ("(a\n(b x)\n(c))", "line 3: found a node that has neither a word nor children but its label 'c'"),
    ],
)
def test_unbalanced_and_empty_brackets_are_refused_with_their_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^line") as error:
        brackets(text)
    assert str(error.value).startswith(message)


def test_a_tree_of_any_depth_is_read_without_recursion() -> None:
    (tree,) = brackets("(a (b x) " * DEEP + "(c y)" + ")" * DEEP)
    assert len(tree.parents) == 2 * DEEP + 1


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train.txt", "train"),
        ("sst-dev.ptb", "val"),
        ("VALID.trees", "val"),
        ("my.test.txt", "test"),
        ("contest.txt", ""),
        ("trees.txt", ""),
        ("train_test.txt", ""),
    ],
)
def test_a_files_name_says_its_part(name: str, part: str) -> None:
    assert part_of_name(Path(name)) == part


# Trees of one's own in brackets


def test_own_trees_are_split_counted_and_encoded(tmp_path: Path) -> None:
    path = write(tmp_path / "trees.txt", "\r\n".join(["\ufeff" + lines_of(1)[0], "", *lines_of(60)]) + "\r\n")
    data = PTBTrees(str(path))
    assert {split: len(data.samples(split)) for split in SPLITS} == {"train": 48, "val": 6, "test": 6}
    assert data.read_report["dropped"] == {"equal to an earlier sample": 1}
    assert data.task.tree_targets  # nodes are labelled
    assert data.task.classes == ("0", "1", "a", "b", "x", "y")
    roots = PTBTrees(str(path), labels="root")
    assert not roots.task.tree_targets
    assert roots.task.classes == ("0", "1")


def test_files_of_a_folder_are_the_parts_that_they_name(tmp_path: Path) -> None:
    for name, part in (("train", lines_of(30)), ("dev", lines_of(36)[30:]), ("test", lines_of(41)[35:])):
        write(tmp_path / f"{name}.ptb", "\n".join(part))
    data = PTBTrees(str(tmp_path))
    # One tree is in dev and in test: the official test part stays whole.
    assert {split: len(data.samples(split)) for split in SPLITS} == {"train": 30, "val": 5, "test": 6}
    assert data.read_report["dropped"] == {"of val, equal to one of test": 1}
    assert data.shared() == ""


def test_a_word_of_test_alone_is_unknown_and_changes_nothing(tmp_path: Path) -> None:
    """A planted word, in val and in test."""
    for name, part in (
        ("train", lines_of(30)),
        ("dev", ["(0 (a planted) (b w1))"]),
        ("test", ["(1 (a planted) (b w2))"]),
    ):
        write(tmp_path / "with" / f"{name}.txt", "\n".join(part))
        write(tmp_path / "without" / f"{name}.txt", "\n".join(part).replace("planted", "another"))
    planted, other = PTBTrees(str(tmp_path / "with")), PTBTrees(str(tmp_path / "without"))
    assert planted.encoder is not None
    assert "planted" not in planted.encoder.plain()["vocabulary"]
    assert planted.encoder.plain() == other.encoder.plain()  # type: ignore[union-attr]
    assert planted.samples("test")[0].inputs[0] == 1
    assert planted.fingerprint == other.fingerprint


def test_merged_labels_make_the_task_binary(tmp_path: Path) -> None:
    lines = [f"({n % 5} (2 w{n % 3}) (4 v{n}))" for n in range(50)]
    merge = {0: "neg", 1: "neg", 3: "pos", 4: "pos"}
    data = PTBTrees(str(write(tmp_path / "x.txt", "\n".join(lines))), merge=merge)
    assert data.task.classes == ("neg", "pos")
    assert sum(len(data.samples(split)) for split in SPLITS) == 40
    assert data.read_report["dropped"] == {"whose root's label, 2, is not in dataset.merge": 10}
    assert all(sample.tree_targets[1:].tolist() == [NO_TARGET, 1] for sample in data.samples("train"))  # type: ignore[index]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"(0 x)\n(1 y)\n( (a x) (b y))\n", "x.txt, line 3: found a tree whose root has no label"),
        (b"(0 x)\n(1 (a y)\n", "x.txt, line 2: found 1 brackets left open"),
        (b"(0 x)\n(1 caf\xe9)\n", "x.txt, line 2: found bytes that are not utf-8"),
        (b"(0 x)\n\x00\n", "x.txt, line 2: found a NUL byte"),
        (b"\n \n", "has no sample"),
        (b"(0 x)\n(0 y)\n(0 z)\n", "has the one class '0'"),
        (b"(0 x)\n", "which leaves none for"),
    ],
)
def test_malformed_trees_are_refused_in_one_line(content: bytes, found: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path") as error:
        PTBTrees(str(write(tmp_path / "x.txt", content))).task  # noqa: B018
    assert found in str(error.value)
    assert "\n" not in str(error.value)


def test_odd_trees_train(tmp_path: Path) -> None:
    """A tree over ten lines, one of 3,000 levels, one of 300 children, unlabelled nodes and a wrapper."""
    odd = [
        "(1\n" + "\n".join(f"(2 w{n})" for n in range(8)) + "\n)",
        "(0 (1 u) " * DEEP + "(1 v)" + ")" * DEEP,
        f"(1 {' '.join(f'(0 k{n})' for n in range(300))})",
        "( (1 ((0 a) (b)) .) )".replace("(b)", "b"),
    ]
    data = PTBTrees(str(write(tmp_path / "odd.txt", "\n".join([*odd, *lines_of(6)]))), split_seed=3, labels="root")
    assert sum(len(data.samples(split)) for split in SPLITS) == 10
    assert data.task.max_children == 300
    notes = " ".join(data.read_report["notes"])
    assert "1 trees run over several lines, 10 at most" in notes
    samples = [data.samples(split)[number] for split in SPLITS for number in range(len(data.samples(split)))]
    assert max(sample.tree.depth.max() for sample in samples) == DEEP  # type: ignore[union-attr]
    data.layout = ParseTreeLayout()
    model = model_of(data, ChildSumTreeLSTM)
    loss = model.training_step(data.layout.collate(samples), 0)
    loss.backward()
    assert all(np.isfinite(one.grad.norm().item()) for one in model.parameters() if one.grad is not None)


# What is stored with a run


def encoded(sample: Any) -> tuple[Any, ...]:
    parts = (sample.inputs, sample.tree.parent, sample.tree_inputs, sample.tree_targets)
    return tuple(None if part is None else part.tolist() for part in parts)


def own_data(kind: str, folder: Path) -> Any:
    if kind == "ptb":
        return PTBTrees(str(write(folder / "x.txt", "\n".join(lines_of(30)))), merge={"0": "no", "1": "yes", "a": "no"})
    if kind == "json":
        lines = [json.dumps({"s": n % 2, "kids": [{"w": f"w{n % 5}"}, ["x", f"y{n}"]]}) for n in range(30)]
        return JSONTrees(str(write(folder / "x.jsonl", "\n".join(lines))), "s", "w", "kids")
    for number in range(6):
        body = "    x += 1\n" * number
        write(
            folder / f"{number}.py", f"def f(x):\n{body}    return x\n\ndef g(x):\n{body}    if x:\n        return 1\n"
        )
    return PythonAST(str(folder))


@pytest.mark.parametrize("kind", ["ptb", "json", "python"])
def test_an_encoder_is_itself_after_json_and_reads_what_the_data_read(kind: str, tmp_path: Path) -> None:
    data = own_data(kind, tmp_path)
    plain = json.loads(json.dumps(data.encoder.plain()))
    again = encoder_of(plain)
    assert again.plain() == data.encoder.plain()
    items = list(again.items(data.path))
    known = {json.dumps(encoded(data.samples(split)[n])) for split in SPLITS for n in range(len(data.samples(split)))}
    found = {json.dumps(encoded(again.encode(item.raw))) for item in items if item.label is not None}
    assert found == known
    assert {item.label for item in items} <= {*data.task.classes, None}
    assert all(str(tmp_path) in item.where and ", line " in item.where for item in items)


def test_a_damaged_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="expected what a run of trees stored"):
        encoder_of({"kind": "trees"})
    with pytest.raises(ValueError, match="format"):
        encoder_of({"kind": "trees", "format": {"name": "os"}, "lower": True, "merge": None})


# JSON


def json_data(path: Path, **options: Any) -> list[Any]:
    data = JSONTrees(str(path), **options)
    return [shape(tree) for tree in data.read().items]


def test_json_trees_are_objects_lists_and_texts(tmp_path: Path) -> None:
    trees = [
        {"label": "pos", "children": [{"token": "good", "label": 3}, {"token": "film"}]},
        {"label": True, "children": [["a", ["b", 2]], "c"]},
        {"label": 0, "token": "x"},
        {"label": "op", "token": "+", "children": ["1", "2", "3"]},
        {"label": "wrapped", "children": {"children": ["a", "b"]}},
    ]
    expected = [
        ("pos", "3:good", ":film"),
        ("true", ("", ":a", ("", ":b", ":2")), ":c"),
        "0:x",
        ("op", ":1", ":2", ":3"),
        ("wrapped", ("", ":a", ":b")),
    ]
    text = json.dumps(trees)
    for name, content in (
        ("list.json", text),
        ("pretty.json", json.dumps(trees, indent=2)),
        ("lines.jsonl", "\n\n".join(map(json.dumps, trees))),
        ("values.json", "\n".join(json.dumps(tree, indent=1) for tree in trees)),
    ):
        assert json_data(write(tmp_path / name, content)) == expected, name


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("x.jsonl", '{"label": 1, "token": "x"}\n{"label": 1\n', "line 2: found what is not JSON"),
        ("x.jsonl", '{"label": 1, "token": "x"} 3\n', "line 1: found '3' after the tree"),
        (
            "x.jsonl",
            '{"label": 1, "text": "x"}\n',
            "line 1: found a node with neither 'token' nor 'children', but the keys",
        ),
        ("x.json", '[\n{"label": 1, "token": "x"}\n{"label": 1}]', "line 3: found '{' between two trees"),
        (
            "x.json",
            '[\n{"label": 1, "token": "x"},\n\n{"label": 1, "children": []}]',
            "line 4: found a node with neither",
        ),
        ("x.json", '[{"label": 1, "token": "x"}', "line 1: found no end of the list"),
        ("x.json", '{"label": 1, "children": [[]]}', "line 1: found an empty list"),
        ("x.json", '{"label": [1], "token": "x"}', "line 1: found a list for 'label'"),
        ("x.json", '{"label": NaN, "token": "x"}', "line 1: found nan for 'label', expected a text or a number"),
        ("x.json", '{"label": "", "token": "x"}', "line 1: found a tree whose root has no label"),
        ("x.json", '["a", "b"]', "line 1: found a tree whose root has no label, expected one (in an object, under the"),
    ],
)
def test_malformed_json_is_refused_with_its_line(name: str, content: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dataset.path") as error:
        JSONTrees(str(write(tmp_path / name, content))).read()
    assert f"{name}, {found}" in str(error.value)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        [[]],
        {"a": {}},
        [1, -2.5e3, "x\u00e9\n", None, True, False],
        {"a": [{"b": [1, {"c": "}"}]}], "d": ""},
        "s",
        0,
    ],
)
def test_the_reader_of_deep_json_reads_as_pythons(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=2), json.dumps(value, ensure_ascii=False)):
        assert _read_deep(text, 0) == (value, len(text))


@pytest.mark.parametrize(
    "text", ["", "[", "[1", "[1 2]", '{"a"', '{"a" 1}', "{1: 2}", "[1,]", '{"a": 1,}', "nul", '"x']
)
def test_the_reader_of_deep_json_refuses_what_pythons_refuses(text: str) -> None:
    for read in (_read_deep, json.JSONDecoder().raw_decode):
        with pytest.raises(json.JSONDecodeError):
            read(text, 0)


def test_json_of_three_thousand_levels_is_read(tmp_path: Path) -> None:
    deep = '{"label": 1, "children": [' * DEEP + '"x"' + "]}" * DEEP
    (tree,) = JSONTrees(str(write(tmp_path / "x.jsonl", deep))).read().items
    assert tree.parents == list(range(-1, DEEP))


# Programs


def function(source: str) -> Any:
    return ast.parse(textwrap.dedent(source)).body[0]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 1", "always"),
        ("if x: return 1", "not always"),
        ("if x: return 1\n    return 2", "always"),
        ("if x: return 1\n    else: raise E", "always"),
        ("if x: return 1\n    elif y: return 2", "not always"),
        ("if x: return 1\n    elif y: return 2\n    else: return 3", "always"),
        ("for a in x: return a", "not always"),
        ("while True:\n        if x: return 1", "always"),
        ("while True:\n        if x: break\n        return 1", "not always"),
        ("while True:\n        for a in x: break\n        return 1", "always"),
        ("while x: return 1", "not always"),
        ("with x: return 1", "always"),
        ("try: return 1\n    except E: pass", "not always"),
        ("try: return 1\n    except E: raise", "always"),
        ("try: x()\n    finally: return 1", "always"),
        ("try: x()\n    except E: raise\n    else: return 1", "always"),
        ("match x:\n        case 1: return 1\n        case _: return 2", "always"),
        ("match x:\n        case 1: return 1", "not always"),
        ("x()", None),
        ("def g(): return 1", None),
    ],
)
def test_whether_every_way_ends(body: str, expected: str | None) -> None:
    assert ends(function(f"def f(x):\n    {body}\n")) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("for a in x: pass", None),
        ("for a in x: pass\n    for b in x: pass", "apart"),
        ("for a in x:\n        while b: pass", "nested"),
        ("for a in x:\n        if a:\n            for b in a: pass", "nested"),
        ("for a in x:\n        def g():\n            for b in a: pass", None),
        ("for a in x: pass\n    else:\n        for b in x: pass", "apart"),
    ],
)
def test_whether_loops_are_nested(body: str, expected: str | None) -> None:
    assert nested_loops(function(f"def f(x):\n    {body}\n")) == expected


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("read_file", "read"),
        ("_readFile", "read"),
        ("HTTPServer", "http"),
        ("__init__", None),
        ("_", None),
        ("x2y", "x"),
    ],
)
def test_the_first_word_of_a_name(name: str, word: str | None) -> None:
    assert first_word(function(f"def {name}(): pass")) == word


def test_a_function_is_its_syntax_tree() -> None:
    (tree,) = functions(b"class C:\n    def f(self):\n        return g(self)\n", lambda _: "yes")
    assert shape(tree) == ("yes", ("", ":arg"), ("", ("", ":Name", ":Name")))
    assert tree.words == ["FunctionDef", "arguments", "arg", "Return", "Call", "Name", "Name"]
    assert (tree.line, tree.lines) == (2, 2)


def test_sources_are_never_run_and_what_does_not_parse_is_said(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for number in range(6):
        body = "    x += 1\n" * number
        text = f"open({str(mark)!r}, 'w')\ndef f(x):\n{body}    return x\ndef g(x):\n{body}    if x: return x\n"
        write(tmp_path / "src" / f"{number}.py", text)
    write(tmp_path / "src" / "broken.py", "def f(:\n")
    write(tmp_path / "src" / "nul.py", b"x = 1\0\n")
    write(tmp_path / "src" / "deep.py", "x = " + "(" * 5000 + ")" * 5000)
    data = PythonAST(str(tmp_path / "src"))
    assert data.read_report["dropped"] == {"files that do not parse": 3}
    assert sum("does not parse: " in note for note in data.read_report["notes"]) == 3
    assert {split: len(data.samples(split)) for split in SPLITS} == {"train": 8, "val": 2, "test": 2}
    assert not mark.exists()


def test_functions_of_a_file_are_in_one_part(tmp_path: Path) -> None:
    data = own_data("python", tmp_path)
    for split in SPLITS:
        assert len(data.samples(split)) % 2 == 0
    assert len(PythonAST(str(tmp_path), split_by="function").samples("val")) == 1


@pytest.mark.parametrize("predict", ["ends", "name"])
def test_folders_of_sources_are_the_parts_where_one_is_train(predict: str, tmp_path: Path) -> None:
    """What a module is called says nothing, nor do folders `test` of a project."""
    for number, name in enumerate(("train/a", "train/test_b", "train/deep/test/c", "valid/d", "test/e", "test/train")):
        write(tmp_path / f"{name}.py", source(number))
    data = PythonAST(str(tmp_path), predict=predict)
    assert {split: len(data.samples(split)) for split in SPLITS} == {"train": 6, "val": 2, "test": 4}
    drawn = dict.fromkeys(SPLITS, 2) | {"train": 8}
    for number in (0, 1, 2):
        write(tmp_path / "project" / ("package/a", "package/test_b", "package/c")[number] / "x.py", source(number))
    for number in (3, 4, 5):
        write(tmp_path / "project" / "test" / f"test_{number}.py", source(number))
    project = PythonAST(str(tmp_path / "project"), predict=predict)
    assert {split: len(project.samples(split)) for split in SPLITS} == drawn


def test_folders_of_trees_are_the_parts_that_they_name(tmp_path: Path) -> None:
    for name, part in (("train/a", lines_of(30)), ("train/b", lines_of(36)[30:]), ("test/a", lines_of(41)[36:])):
        write(tmp_path / f"{name}.ptb", "\n".join(part))
    data = PTBTrees(str(tmp_path))
    assert {split: len(data.samples(split)) for split in SPLITS} == {"train": 32, "val": 4, "test": 5}


def test_the_most_frequent_names_are_classes(tmp_path: Path) -> None:
    words = ["get"] * 8 + ["set"] * 6 + ["is"] * 3
    for number, word in enumerate(words):
        write(tmp_path / f"{number}.py", f"def {word}_{number}(x):\n" + "    x += 1\n" * (number + 1))
    data = PythonAST(str(tmp_path), predict="name", names=2)
    assert data.task.classes == ("get", "set")
    assert data.read_report["dropped"] == {"functions of other names than the 2 most frequent": 3}


# A second start


@pytest.mark.parametrize("kind", ["ptb", "json", "python"])
def test_what_is_kept_is_what_was_read(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    first = own_data(kind, folder)
    plain, report = first.encoder.plain(), first.read_report
    assert not (tmp_path / "cache").exists()  # so few are read again
    monkeypatch.setattr(reading, "LEAST", 0)
    made, again = own_data(kind, folder), own_data(kind, folder)
    assert made.encoder.plain() == plain
    assert len(list((tmp_path / "cache" / "trees").iterdir())) == 1
    monkeypatch.setattr(reading, "_parsed", None)
    assert (again.encoder.plain(), again.read_report, again.fingerprint) == (plain, report, first.fingerprint)
    for split in SPLITS:
        assert list(map(encoded, again.samples(split))) == list(map(encoded, first.samples(split)))


# SST


def test_sst_takes_pretrained_vectors(treebank: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "film 1 2 3\ngreat 4 5 6\nunseen 7 8 9\n")
    data = SST(str(treebank), vectors=str(path), freeze_vectors=True)
    vectors = data.task.vectors
    assert vectors is not None
    assert vectors.shape == (data.task.input_size, 3)
    assert vectors[data.vocabulary["film"]].tolist() == [1, 2, 3]
    assert np.isnan(vectors).all(1).sum() == data.task.input_size - 2  # `unseen` is in dev alone
    assert data.task.vectors_frozen
    assert data.read_report["notes"][0].startswith("vectors: 2 of ")
    assert data.fingerprint != SST(str(treebank)).fingerprint
    assert data.task.classes == ("very negative", "negative", "neutral", "positive", "very positive")
    with pytest.raises(ValueError, match="freeze_vectors: given true without vectors"):
        SST(str(treebank), freeze_vectors=True)


@pytest.mark.parametrize("classes", [2, 5])
def test_ssts_encoder_reads_its_files_as_it_did(classes: int, treebank: Path) -> None:
    data = SST(str(treebank), classes=classes)
    assert data.encoder is not None
    again = encoder_of(json.loads(json.dumps(data.encoder.plain())))
    items = [item for item in again.items(treebank / "test.txt") if item.label is not None]
    samples = data.samples("test")
    assert len(items) == len(samples)
    for item, sample in zip(items, samples, strict=True):
        assert encoded(again.encode(item.raw)) == encoded(sample)
        assert data.task.classes is not None
        assert data.task.classes[sample.target] == item.label


def test_halves_of_surrogate_pairs_in_json_trees_are_no_text(tmp_path: Path) -> None:
    """UTF-8 has none: a vocabulary of them could not be written."""
    lines = [f'{{"label": {n % 2}, "children": ["\\ud800{n}", "\\ud83d\\ude00"]}}' for n in range(30)]
    data = JSONTrees(str(write(tmp_path / "x.jsonl", "\n".join(lines))))
    json.dumps(data.encoder.plain(), ensure_ascii=False).encode()
    assert "\U0001f600" in data.encoder.plain()["vocabulary"]
