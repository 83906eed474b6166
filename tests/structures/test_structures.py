"""Laws of trees, forests, chains and layouts, against plain recursive references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnn_research.structures import (
    BalancedTreeLayout,
    Chain,
    ChainLayout,
    Forest,
    LeftBranchingLayout,
    ParseTreeLayout,
    RightBranchingLayout,
    Sample,
    SampleArrays,
    Tree,
    balanced,
    left_branching,
    right_branching,
)
from rnn_research.structures.layouts import NO_INPUT, NO_TARGET
from rnn_research.structures.tree import unary

Nested = list  # a node is the list of its children


def random_nested(random: np.random.Generator, nodes: int, arity: int) -> Nested:
    """A tree of `nodes` nodes, none with more than `arity` children."""
    root: Nested = []
    open_nodes = [root]
    for _ in range(nodes - 1):
        place = int(random.integers(len(open_nodes)))
        child: Nested = []
        open_nodes[place].append(child)
        if len(open_nodes[place]) == arity:
            open_nodes.pop(place)
        open_nodes.append(child)
    return root


def written(nested: Nested) -> tuple[list[int], list[Nested]]:
    """Parents and nodes, numbered as the tree is written: each node before its children."""
    parents, nodes = [], []

    def write(node: Nested, parent: int) -> None:
        number = len(nodes)
        parents.append(parent)
        nodes.append(node)
        for child in node:
            write(child, number)

    write(nested, -1)
    return parents, nodes


def shuffled(random: np.random.Generator, parents: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The same tree in another numbering, siblings still in order, and the old number of each new one."""
    old = random.permutation(len(parents))
    for parent in set(parents):
        places = np.flatnonzero(np.isin(old, [v for v, above in enumerate(parents) if above == parent]))
        old[places] = np.sort(old[places])
    new = np.argsort(old)
    return np.array([-1 if parents[v] < 0 else new[parents[v]] for v in old]), old


def nested_of(tree: Tree, node: int = 0) -> Nested:
    return [nested_of(tree, int(child)) for child in np.flatnonzero(tree.parent == node)]


def depths(nested: Nested, depth: int = 0) -> list[tuple[int, Nested]]:
    return [(depth, nested), *(pair for child in nested for pair in depths(child, depth + 1))]


def bracketed(tree: Tree) -> str:
    """The tree as brackets around its leaves, numbered from left to right."""
    names = {int(leaf): str(number) for number, leaf in enumerate(tree.leaves, start=1)}

    def write(node: int) -> str:
        children = np.flatnonzero(tree.parent == node)
        return names[node] if len(children) == 0 else f"({' '.join(write(int(v)) for v in children)})"

    return write(0)


SHAPES = [(1, 1), (2, 1), (5, 1), (9, 2), (30, 2), (31, 3), (40, 7), (60, 60), (80, 2)]


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape[0]}-nodes-{shape[1]}-ary")
def nested(request) -> Nested:
    nodes, arity = request.param
    return random_nested(np.random.default_rng(nodes), nodes, arity)


# Trees


def test_tree_of_any_numbering_is_the_same_tree(nested):
    parents, nodes = written(nested)
    random = np.random.default_rng(0)
    for _ in range(3):
        renumbered, old = shuffled(random, parents)
        tree, order = Tree.of(renumbered)
        assert nested_of(tree) == nested
        assert sorted(order) == list(range(len(parents)))
        # Node v of the tree is node order[v] of the numbering given: the same children, and the same parent.
        found = [nodes[old[given]] for given in order]
        assert [len(node) for node in found] == tree.arity.tolist()
        assert all(any(child is found[v] for child in found[tree.parent[v]]) for v in range(1, len(tree)))


def test_tree_sizes_depths_and_leaves_equal_the_recursive_ones(nested):
    parents, nodes = written(nested)
    tree, order = Tree.of(parents)
    reference = depths(nested)
    assert len(tree) == len(reference)
    assert tree.depth.tolist() == sorted(depth for depth, _ in reference)
    assert tree.depth.tolist() == [reference[given][0] for given in order]
    assert [nodes[given] for given in order[tree.leaves]] == [[]] * len(tree.leaves)
    assert order[tree.leaves].tolist() == [number for number, node in enumerate(nodes) if not node]


def test_a_tree_is_numbered_breadth_first():
    # Written (a (b d e) (c f)): the numbering given is depth-first.
    tree, order = Tree.of([-1, 0, 1, 1, 0, 4])
    assert tree.parent.tolist() == [-1, 0, 0, 1, 1, 2]
    assert order.tolist() == [0, 1, 4, 2, 3, 5]
    assert tree.leaves.tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ([], "0 roots"),
        ([-1, -1], "2 roots"),
        ([0], "0 roots"),
        ([-1, 2, 1], "cycle"),
        ([-1, 1], "cycle"),
        ([-1, 5], "outside"),
        ([-1, -2], "outside"),
    ],
)
def test_tree_of_refuses_what_is_not_a_tree(parent, message):
    with pytest.raises(ValueError, match=message):
        Tree.of(parent)


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ([], "at least one node"),
        ([[-1]], "vector"),
        ([0, 0], "-1 at node 0"),
        ([-1, -1], "earlier node"),
        ([-1, 1], "earlier node"),
        ([-1, 0, 0, 2, 1], "breadth-first"),
    ],
)
def test_tree_refuses_other_numberings(parent, message):
    with pytest.raises(ValueError, match=message):
        Tree(np.array(parent, dtype=np.int64))


# Trees made from a sequence

LENGTHS = [*range(1, 20), 31, 32, 33, 100]


@pytest.mark.parametrize("make", [left_branching, right_branching, balanced])
def test_binary_trees_have_a_leaf_a_step_and_two_children_inside(make):
    for length in LENGTHS:
        tree = make(length)
        assert len(tree) == 2 * length - 1
        assert len(tree.leaves) == length
        assert set(tree.arity.tolist()) == ({0, 2} if length > 1 else {0})


def test_depths_of_made_trees():
    for length in LENGTHS:
        assert balanced(length).depth.max() == math.ceil(math.log2(length))
        spine = [length - 1, *range(length - 1, 0, -1)] if length > 1 else [0]
        left, right = left_branching(length), right_branching(length)
        assert left.depth[left.leaves].tolist() == spine
        assert right.depth[right.leaves].tolist() == spine[::-1]
        assert unary(length).depth.tolist() == list(range(length))


def test_shapes_of_made_trees():
    assert bracketed(left_branching(4)) == "(((1 2) 3) 4)"
    assert bracketed(right_branching(4)) == "(1 (2 (3 4)))"
    assert bracketed(balanced(4)) == "((1 2) (3 4))"
    assert bracketed(balanced(5)) == "(((1 2) 3) (4 5))"
    assert bracketed(unary(3)) == "((1))"


@pytest.mark.parametrize("make", [left_branching, right_branching, balanced, unary])
@pytest.mark.parametrize("length", [0, -1])
def test_zero_length_is_refused(make, length):
    with pytest.raises(ValueError, match=f"given {length}, expected at least 1"):
        make(length)


# Forests


@pytest.fixture(scope="module")
def forests() -> list[tuple[Forest, list[Tree]]]:
    random = np.random.default_rng(0)
    made = []
    for sizes in ([1], [1, 1, 1], [7], [1, 30, 4, 1, 12], [20] * 9):
        trees = [Tree.of(written(random_nested(random, nodes, 4))[0])[0] for nodes in sizes]
        made.append((Forest.of(trees), trees))
    return made


def test_a_forest_holds_each_node_of_each_tree_once(forests):
    for forest, trees in forests:
        assert len(forest) == len(trees)
        assert forest.nodes == sum(len(tree) for tree in trees)
        assert sorted(forest.order.tolist()) == list(range(forest.nodes))
        whose = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
        assert forest.sample.tolist() == whose[forest.order.numpy()].tolist()
        depth = np.concatenate([tree.depth for tree in trees])
        assert forest.distance.tolist() == depth[forest.order.numpy()].tolist()
        assert forest.max_children == max(tree.arity.max() for tree in trees)
        assert forest.mask.all()
        assert forest.mask.shape == (forest.nodes,)


def test_children_at_one_depth_are_the_next_depth_in_order(forests):
    for forest, trees in forests:
        offsets = np.cumsum([0, *(len(tree) for tree in trees)])
        parent = np.concatenate([tree.parent + start for tree, start in zip(trees, offsets, strict=False)])
        place = np.argsort(forest.order.numpy())  # where each node of the trees stands in the forest
        for level, (start, stop) in enumerate(zip(forest.levels[:-1], forest.levels[1:], strict=True)):
            assert set(forest.distance[start:stop].tolist()) == {level}
            if level:
                above = place[parent[forest.order[start:stop].numpy()]]
                assert (np.diff(above) >= 0).all()
                assert set(above) <= set(range(forest.levels[level - 1], start))


def test_groups_hold_every_node_with_its_own_children(forests):
    for forest, trees in forests:
        offsets = np.cumsum([0, *(len(tree) for tree in trees)])
        place = np.argsort(forest.order.numpy())
        expected, found = {}, {}
        for tree, offset in zip(trees, offsets, strict=False):
            for node in range(len(tree)):
                children = np.flatnonzero(tree.parent == node) + offset
                expected[int(place[node + offset])] = place[children].tolist()
        for groups, start, stop in zip(forest.groups, forest.levels[:-1], forest.levels[1:], strict=True):
            for group in groups:
                assert group.children.shape == (len(group.rows), group.arity)
                for row, children in zip(group.rows.tolist(), group.children.tolist(), strict=True):
                    assert start + row not in found
                    found[start + row] = [stop + child for child in children]
        assert found == expected


def test_a_forest_of_no_trees_is_refused():
    with pytest.raises(ValueError, match="given none"):
        Forest.of([])


def test_terminal_of_a_forest_is_the_roots_in_order(forests):
    for forest, trees in forests:
        values = forest.order[:, None].double()
        roots = np.cumsum([0, *(len(tree) for tree in trees)])[:-1]
        assert forest.terminal(values)[:, 0].tolist() == roots.tolist()


def test_a_moved_forest_is_the_same(forests):
    for forest, _ in forests:
        assert forest.to("cpu") is forest
        moved = forest.to("cpu", copy=True)
        assert moved is not forest
        assert moved.levels == forest.levels
        for level, other in zip(moved.groups, forest.groups, strict=True):
            for group, same in zip(level, other, strict=True):
                assert torch.equal(group.rows, same.rows)
                assert torch.equal(group.children, same.children)
        for name in ("sample", "distance", "order"):
            assert torch.equal(getattr(moved, name), getattr(forest, name))


# Chains


def test_chain_distance_mask_and_terminal():
    chain = Chain(torch.tensor([3, 1, 4]))
    assert (len(chain), chain.time, chain.max_children) == (3, 4, 1)
    assert chain.distance.tolist() == [[2, 1, 0, -1], [0, -1, -2, -3], [3, 2, 1, 0]]
    assert chain.mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert chain.sample.tolist() == [[0] * 4, [1] * 4, [2] * 4]
    values = torch.arange(24.0).reshape(3, 4, 2)
    assert chain.terminal(values).tolist() == [[4, 5], [8, 9], [22, 23]]
    assert torch.equal(chain.to("cpu").distance, chain.distance)


@pytest.mark.parametrize("lengths", [[], [[1]], [1.0]])
def test_chain_refuses_what_are_not_lengths(lengths):
    chain = object.__new__(Chain)  # in tests the annotations would refuse it before the check that users meet
    object.__setattr__(chain, "lengths", torch.tensor(lengths))
    with pytest.raises(ValueError, match="expected a non-empty vector of integers"):
        chain.__post_init__()


def test_chain_refuses_an_empty_sequence_by_its_number():
    with pytest.raises(ValueError, match="sample 1 has length 0"):
        Chain(torch.tensor([2, 0]))


# Layouts


def samples() -> list[Sample]:
    random = np.random.default_rng(1)
    made = []
    for length in (3, 1, 5):
        tree = left_branching(length)
        tokens = random.integers(1, 9, size=length)
        at_nodes = np.zeros(len(tree), dtype=np.int64)
        at_nodes[tree.leaves] = tokens
        labels = np.arange(len(tree))
        made.append(Sample(tokens, length, random.integers(2, size=length), tree, at_nodes, labels))
    return made


def test_a_chain_batch_is_padded_with_nothing():
    batch = ChainLayout().collate(samples())
    for row, sample in enumerate(samples()):
        length = len(sample.inputs)
        assert batch.inputs[row, :length].tolist() == sample.inputs.tolist()
        assert (batch.inputs[row, length:] == NO_INPUT).all()
        assert batch.position_targets[row, :length].tolist() == sample.step_targets.tolist()
        assert (batch.position_targets[row, length:] == NO_TARGET).all()
    assert batch.target.tolist() == [3, 1, 5]
    assert batch.structure.lengths.tolist() == [3, 1, 5]


@pytest.mark.parametrize("steps", [True, False])
def test_a_stack_is_the_samples_taken_one_by_one(steps):
    random, lengths = np.random.default_rng(2), [3, 1, 5, 5, 2, 4]
    inputs, labels = random.random((6, 9, 2), dtype=np.float32), random.integers(3, size=(6, 9))
    for row, length in enumerate(lengths):  # the longest row is shorter than the array
        inputs[row, length:], labels[row, length:] = NO_INPUT, NO_TARGET
    stack = SampleArrays(inputs, np.array(lengths), np.arange(6), labels if steps else None)
    assert [len(sample.inputs) for sample in stack] == lengths
    for chosen in ([0, 1, 2, 3, 4, 5], [4, 1], [1], [2, 3], [5, 0, 0]):
        one_by_one = [stack[index] for index in chosen]
        for layout in (ChainLayout(), BalancedTreeLayout()):
            batch, expected = layout.collate(stack.take(chosen)), layout.collate(one_by_one)
            for name in ("inputs", "target", "position_targets"):
                found, wanted = getattr(batch, name), getattr(expected, name)
                assert (found is None) == (wanted is None)
                assert found is None or (found.dtype == wanted.dtype and torch.equal(found, wanted))
            assert torch.equal(batch.structure.distance, expected.structure.distance)
            assert torch.equal(batch.structure.mask, expected.structure.mask)
    whole = ChainLayout().collate(stack)
    assert torch.equal(whole.inputs, ChainLayout().collate(list(stack)).inputs)
    assert whole.structure.time == 5
    with pytest.raises(IndexError):
        stack[6]


def test_a_batch_moves_nowhere_where_it_is():
    for layout in (ChainLayout(), BalancedTreeLayout(), ParseTreeLayout()):
        batch = layout.collate(samples())
        assert batch.to("cpu").structure is batch.structure
        moved = batch.to("cpu", copy=True)
        assert moved.structure is not batch.structure
        assert torch.equal(moved.structure.distance, batch.structure.distance)


SHAPED = {"balanced": balanced, "left": left_branching, "right": right_branching}


@pytest.mark.parametrize(
    "layout",
    [BalancedTreeLayout(), LeftBranchingLayout(), RightBranchingLayout(), ParseTreeLayout()],
    ids=lambda layout: layout.name,
)
def test_a_forest_batch_has_each_samples_tokens_at_its_leaves(layout):
    batch = layout.collate(samples())
    for row, sample in enumerate(samples()):
        tree = sample.tree if layout.name == "parse" else SHAPED[layout.name](len(sample.inputs))
        at_nodes = np.zeros(len(tree), dtype=np.int64)
        at_nodes[tree.leaves] = sample.inputs
        # Within a sample a forest keeps the tree's own order: both are breadth-first.
        assert batch.inputs[batch.structure.sample == row].tolist() == at_nodes.tolist()
        if layout.name == "parse":
            assert batch.position_targets[batch.structure.sample == row].tolist() == list(range(len(tree)))
        assert layout.size(sample) == len(tree)
    assert batch.target.tolist() == [3, 1, 5]
    assert len(batch) == 3


def test_vector_inputs_keep_their_features_in_every_layout():
    inputs = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    sample = Sample(inputs, np.array([0.5], dtype=np.float32))
    chain, tree = ChainLayout().collate([sample] * 2), BalancedTreeLayout().collate([sample] * 2)
    assert chain.inputs.shape == (2, 5, 3)
    assert tree.inputs.shape == (18, 3)
    assert chain.inputs.dtype == tree.inputs.dtype == torch.float32
    assert chain.target.shape == tree.target.shape == (2, 1)
    assert torch.allclose(tree.inputs.sum(0), chain.inputs.sum((0, 1)))


@pytest.mark.parametrize(("layout", "first"), [(LeftBranchingLayout(), True), (RightBranchingLayout(), False)])
def test_a_branching_layout_puts_one_end_of_the_sequence_far_from_the_root(layout, first):
    """Distances of the leaves, in the order of the sequence: a chain's, but for the two deepest leaves."""
    batch = layout.collate([Sample(np.arange(1, 6), 0)])
    leaf = batch.inputs != NO_INPUT
    distances = dict(zip(batch.inputs[leaf].tolist(), batch.structure.distance[leaf].tolist(), strict=True))
    found = [distances[token] for token in range(1, 6)]
    assert (found if first else found[::-1]) == [4, 4, 3, 2, 1]


def test_max_children_of_layouts():
    assert ChainLayout().max_children(None) == 1
    for layout in (BalancedTreeLayout(), LeftBranchingLayout(), RightBranchingLayout()):
        assert layout.max_children(None) == 2
    assert ParseTreeLayout().max_children(7) == 7
    with pytest.raises(ValueError, match="structure=chain"):
        ParseTreeLayout().max_children(None)


def test_position_targets_follow_what_the_data_label():
    assert ChainLayout().position_targets(of_steps=True, of_nodes=False)
    assert not ChainLayout().position_targets(of_steps=False, of_nodes=True)
    assert ParseTreeLayout().position_targets(of_steps=False, of_nodes=True)
    assert not BalancedTreeLayout().position_targets(of_steps=True, of_nodes=True)
