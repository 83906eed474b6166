"""Users' cells of many forms, on every engine: right, or refused with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from equations import inputs_for
from forms import (
    FEATURES,
    FORMS,
    Form,
    Given,
    Gradients,
    Pair,
    by_sample,
    loop,
    random_form,
    samples_for,
    unrolled,
    weights_of,
)
from odd_forms import ODD_FORMS
from torch import Tensor, nn

from rnn_research.cells import GRU, LSTM, RNN, Cell, Hidden
from rnn_research.structures import Chain
from rnn_research.unroll import Intervention, unroll

ENGINES = ("auto", "native", "torch", "reference")
ALL = FORMS | ODD_FORMS
RATE = 0.5
HOLDER = SimpleNamespace(rates={"slow": [0.5]})


def check(form: str | Form, kind: str, seed: int, engines: Sequence[str], **more: Any) -> None:
    """The adjoints and both parts of them against the loop; or an engine says that it can't, as auto never does."""
    form = ALL[form] if isinstance(form, str) else form
    cell, samples = Given(form, seed), samples_for(kind, seed)
    inputs, weights = inputs_for(samples, 3, seed), weights_of(samples, len(cell.state_names), seed)
    full, direct = loop(cell, samples, inputs, weights), loop(cell, samples, inputs, weights, cut=True)
    expected = {"adjoints": full, "direct": direct, "recurrent": {key: full[key] - direct[key] for key in full}}
    for engine in engines:
        try:
            result = unrolled(Given(form, seed), samples, inputs, weights, engine, **more)
        except ValueError as error:
            if engine not in ("native", "torch") or not str(error).startswith(f"engine: given {engine}, but "):
                raise
        else:
            compare(result, expected)


def compare(result: Any, expected: dict[str, Gradients]) -> None:
    """Adjoints and their parts, and the norms of each."""
    for which, grads in expected.items():
        found = by_sample(result, which)
        norms = dict(zip(range(9), result.top.norms(which), strict=False))
        for key, grad in grads.items():
            torch.testing.assert_close(found[key], grad, rtol=1e-12, atol=1e-12, msg=lambda m, w=which: f"{w}: {m}")
        for part, values in norms.items():
            torch.testing.assert_close(
                values, getattr(result, which)[part].norm(dim=-1), rtol=1e-12, atol=1e-12, check_dtype=False
            )


@pytest.mark.parametrize("kind", ["chain", "forest"])
@pytest.mark.parametrize("form", ALL)
def test_adjoints_and_their_parts_of_any_form_are_a_loops(form: str, kind: str) -> None:
    check(form, kind, 1, ("auto", "reference"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("form", ALL)
def test_random_cases_of_every_form_are_right_or_refused_on_every_engine(form: str, seed: int) -> None:
    """Each with another structure, losses at every node, and norms taken in passing or not."""
    for kind in ("chain", "forest"):
        check(form, kind, 10 + seed, ENGINES, record="parts" if seed % 2 else True)


@pytest.mark.parametrize(
    ("seed", "kind"),
    [
        pytest.param(seed, kind, marks=pytest.mark.slow if seed < 12 and seed % 2 == number else ())
        for seed in (*range(12), 128, 146, 235)
        for number, kind in enumerate(["chain", "forest"])
    ],
)
def test_adjoints_and_their_parts_of_a_form_at_random_are_a_loops(seed: int, kind: str) -> None:
    check(random_form(seed), kind, seed, ("auto", "reference"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 250))
def test_150_forms_at_random_are_right_or_refused_on_every_engine(seed: int) -> None:
    for kind in ("chain", "forest"):
        check(random_form(seed), kind, seed, ENGINES, record="parts" if seed % 2 else True)


@pytest.mark.parametrize("form", ["zero at first"])
def test_what_acts_inside_and_does_nothing_leaves_the_parts_as_they_are(form: str) -> None:
    """A norm that no adjoint has, on both engines that take one."""
    check(form, "chain", 1, ("native", "reference"), interventions=[Intervention(max_norm=1e9)])


# What an update looks at


class Looking(Given):
    """`update` says what it does."""

    def __init__(self, update: Callable[..., Any]) -> None:
        super().__init__(FORMS["a peephole"])
        self.form = self.form._replace(step=update)


def _alone(cell: Any, x: Tensor, *previous: Any) -> Pair:
    state = cell.summed(x, previous)
    gate = torch.sigmoid if len(x) == 1 else torch.tanh
    return Pair(gate(x + cell.recur(state.hidden)), torch.tanh(state.other + x))


def _resetting(cell: Any, x: Tensor, *previous: Any) -> Pair:
    """Part 1 counts; at 3 it is a number anew."""
    count = cell.summed(x, previous).other + 1.0
    if float(count.detach().mean()) == count.detach().numpy().max() == 3.0:
        count = torch.full_like(x, 0.3)
    return Pair(torch.tanh(x + 1.5 * count + cell.recur(cell.summed(x, previous).hidden)), count)


def _one_row(cell: Any, x: Tensor, *previous: Any) -> Pair:
    return Pair(torch.tanh(x + cell.recur(cell.summed(x, previous).hidden)), cell.peephole[None])


def test_a_branch_for_the_number_of_nodes_is_not_compiled() -> None:
    cell, inputs = Looking(_alone), torch.randn(1, 4, FEATURES, dtype=torch.float64)
    result = unroll(cell, Chain(torch.tensor([4])), inputs)
    assert result.top.engine.used == "reference"
    assert "the update of numbers is another one" in result.top.engine.why


def test_a_number_that_a_later_update_makes_is_a_variable_too() -> None:
    """Its adjoint counts what the other part reads of it."""
    cell, inputs = Looking(_resetting), torch.randn(1, 6, FEATURES, dtype=torch.float64)
    result = unroll(cell, Chain(torch.tensor([6])), inputs)
    result.hidden.sum().backward()
    states, adjoints = result.states, result.adjoints
    local = 1.5 * (1 - states.hidden[0, 2].square()) * adjoints.hidden[0, 2]  # through the h of the same step
    later = adjoints.other[0, 3]  # and through the next count
    torch.testing.assert_close(adjoints.other[0, 2], local + later, rtol=1e-12, atol=1e-12)


def test_a_part_of_another_shape_is_refused() -> None:
    inputs = torch.randn(2, 4, FEATURES, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"Looking.step: returned parts of shapes .*, expected \(2, 4\) each"):
        unroll(Looking(_one_row), Chain(torch.tensor([4, 4])), inputs)


# Random numbers, buffers and counters


class Masked(Given):
    """An LSTM-like update with dropout on a gate."""

    drop: Callable[[Tensor], Tensor] = staticmethod(lambda gate: nn.functional.dropout(gate, 0.5))

    def __init__(self, seed: int = 0) -> None:
        super().__init__(FORMS["a peephole"], seed)

    def step(self, projected: Tensor, *previous: Any) -> Any:
        state = self.summed(projected, previous)
        gate = self.drop(torch.sigmoid(projected + self.recur(state.hidden)))
        c = gate * state.other + torch.tanh(projected - state.hidden)
        return Pair(gate * torch.tanh(c), c)


DRAWS = {
    "dropout": lambda gate: nn.functional.dropout(gate, 0.5),
    "rand_like": lambda gate: gate * (torch.rand_like(gate) > 0.5),
    "rand": lambda gate: gate * torch.rand(len(gate), 1, dtype=gate.dtype),
    "bernoulli": lambda gate: gate * torch.bernoulli(torch.full_like(gate, 0.5)),
    "randn": lambda gate: gate + 0.3 * torch.randn(gate.shape, dtype=gate.dtype),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_cell_that_draws_random_numbers_is_replayed_with_the_same_draws(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts add up, are the same each time they are read, and reading them draws nothing."""
    monkeypatch.setattr(Masked, "drop", staticmethod(DRAWS[name]))
    cell, inputs = Masked(), torch.randn(2, 5, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="given native, but"):
        unroll(cell, Chain(torch.tensor([5, 3])), inputs, engine="native")
    torch.manual_seed(3)
    result = unroll(cell, Chain(torch.tensor([5, 3])), inputs)
    sum(part.square().sum() for part in result.states).backward()  # type: ignore[union-attr]
    drawn = torch.get_rng_state()
    for k, total in enumerate(result.adjoints):
        torch.testing.assert_close(result.direct[k] + result.recurrent[k], total, rtol=1e-12, atol=1e-12)
    again = result.top._unfolding.direct()
    assert all(torch.equal(one, other) for one, other in zip(again, result.direct, strict=True))
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize("source", ["python", "numpy", "own"])
def test_random_numbers_that_can_not_be_drawn_again_are_refused(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    import numpy as np

    own = np.random.default_rng(0)
    draw = {"python": random.random, "numpy": np.random.rand, "own": own.random}[source]
    monkeypatch.setattr(Masked, "drop", staticmethod(lambda gate: gate * draw()))
    cell, inputs = Masked(), torch.randn(2, 5, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"random numbers|another one each time"):
        unroll(cell, Chain(torch.tensor([5, 3])), inputs, engine="native")
    result = unroll(cell, Chain(torch.tensor([5, 3])), inputs)
    result.hidden.sum().backward()
    for which in ("direct", "recurrent"):
        with pytest.raises(RuntimeError, match="draws random numbers"):
            getattr(result, which)


def test_a_replay_counts_nothing_and_changes_no_running_statistics() -> None:
    for form in ("calls counted", "running statistics"):
        cell = Given(FORMS[form])
        result = unroll(cell, Chain(torch.tensor([4, 2])), torch.randn(2, 4, 3, dtype=torch.float64))
        result.hidden.sum().backward()
        calls, running = cell.calls, cell.running.clone()
        assert (calls, bool(running.any())) in ((4, False), (0, True))
        _ = result.direct, result.recurrent
        assert cell.calls == calls
        assert torch.equal(cell.running, running)


# What is read twice


@pytest.mark.parametrize("engine", ["native", "torch", "reference"])
@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_after_a_second_backward_pass_everything_is_the_sum(make: Any, engine: str) -> None:
    torch.manual_seed(0)
    cell, inputs = make(3, 5).double(), torch.randn(2, 4, 3, dtype=torch.float64)
    result = unroll(cell, Chain(torch.tensor([4, 2])), inputs, engine=engine, record="parts")
    loss = result.hidden.square().sum()
    loss.backward(retain_graph=True)
    once = {which: getattr(result, which) for which in ("adjoints", "direct", "recurrent")}
    loss.backward()
    for which, before in once.items():
        for k, part in enumerate(getattr(result, which)):
            torch.testing.assert_close(part, 2 * before[k], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(result.top.norms(which)[k], part.norm(dim=-1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ["native", "torch", "reference"])
@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_what_is_changed_in_place_is_noticed_or_makes_no_difference(make: Any, engine: str) -> None:
    """Inputs, initial states, states and adjoints, after the backward pass."""
    for what in ("inputs", "initial", "states", "lengths", "adjoints"):
        torch.manual_seed(0)
        cell, inputs, lengths = make(3, 5).double(), torch.randn(2, 4, 3, dtype=torch.float64), torch.tensor([4, 2])
        initial = [cell.state_type(*(torch.randn(2, 5, dtype=torch.float64) for _ in cell.state_names))]

        def run(given: Tensor, of: Any = cell, first: Any = initial, sizes: Tensor = lengths) -> Any:
            result = unroll(of, Chain(sizes), given, initial=first, engine=engine)
            result.hidden[:, :2].square().sum().backward()
            return result

        whole = {which: getattr(run(inputs), which) for which in ("adjoints", "direct", "recurrent")}
        result = run(inputs)
        changed = {"inputs": [inputs], "initial": initial[0], "lengths": [lengths]}.get(what)
        with torch.no_grad():
            for one in changed if changed is not None else getattr(result, what):
                one.mul_(2)
        for which, expected in whole.items():
            if (what, which) == ("adjoints", "adjoints"):
                continue
            try:
                found = getattr(result, which)
            except RuntimeError as error:
                if "have been changed in place since" not in str(error):
                    raise
                continue
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ["native", "torch", "reference"])
@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_states_doubled_in_place_before_the_loss_have_twice_the_direct_part(make: Any, engine: str) -> None:
    torch.manual_seed(0)
    cell, inputs = make(3, 5).double(), torch.randn(2, 4, 3, dtype=torch.float64)
    result = unroll(cell, Chain(torch.tensor([4, 2])), inputs, engine=engine)
    try:
        result.hidden.mul_(2)
    except RuntimeError as error:
        if "modified inplace" not in str(error):  # torch refuses it of a view
            raise
        return
    result.hidden.sum().backward()
    assert torch.equal(result.direct.hidden[result.mask], torch.full_like(result.hidden, 2.0)[result.mask])
    assert torch.equal(result.top.norms("direct").hidden, result.direct.hidden.norm(dim=-1))


@pytest.mark.parametrize("engine", ["native", "torch", "reference"])
@pytest.mark.parametrize("make", [RNN, LSTM, GRU])
def test_nothing_is_direct_at_padding_even_where_a_loss_reads_it(make: Any, engine: str) -> None:
    torch.manual_seed(0)
    cell, inputs = make(3, 5).double(), torch.randn(2, 4, 3, dtype=torch.float64)
    result = unroll(cell, Chain(torch.tensor([4, 2])), inputs, engine=engine)
    result.hidden.sum().backward()
    for which in ("adjoints", "direct", "recurrent"):
        for part in getattr(result, which):
            assert not part[~result.mask].any()


# A trace outlives nothing that it read


def scaled(read: Callable[[Any], float]) -> Form:
    def step(cell: Any, x: Tensor, *previous: Any) -> Any:
        return Hidden(read(cell) * torch.tanh(x + cell.recur(cell.summed(x, previous).hidden)))

    return Form(Hidden, step, lambda *_: None)


def of_holder(cell: Any) -> float:
    return HOLDER.rates["slow"][0]


def of_global(cell: Any) -> float:
    return RATE


def through_another(cell: Any) -> float:
    return of_global(cell)


class Settings:
    __slots__ = ("rate",)


def change(where: str, cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    if where == "class":
        monkeypatch.setattr(Given, "gain", 0.25)
    elif where in ("global", "through"):
        monkeypatch.setitem(globals(), "RATE", 0.25)
    elif where == "holder":
        monkeypatch.setitem(HOLDER.rates, "slow", [0.25])
    elif where == "array":
        cell.kept[...] = 0.25
    elif where == "underscore":
        cell._rate = 0.25
    elif where == "set":
        cell.kept.remove(0.5)
        cell.kept.add(0.25)
    elif where == "slots":
        cell.kept.rate = 0.25
    elif where == "default":
        monkeypatch.setattr(with_default, "__defaults__", (0.25,))
    else:
        cell.kept = np.float64(0.25)


def with_default(cell: Any, rate: float = 0.5) -> float:
    return rate


def settings() -> Settings:
    made = Settings()
    made.rate = 0.5
    return made


def read_of(where: str) -> tuple[Callable[[Any], float], Any]:
    import numpy as np

    return {
        "class": (lambda cell: type(cell).gain, None),
        "global": (of_global, None),
        "through": (through_another, None),
        "holder": (of_holder, None),
        "array": (lambda cell: float(cell.kept), np.array(0.5)),
        "underscore": (lambda cell: cell._rate, None),
        "set": (lambda cell: max(cell.kept), {0.5}),
        "slots": (lambda cell: cell.kept.rate, settings()),
        "default": (with_default, None),
        "numpy's number": (lambda cell: cell.kept, np.float64(0.5)),
    }[where]


@pytest.mark.parametrize(
    "where",
    ["class", "global", "through", "holder", "array", "underscore", "set", "slots", "default", "numpy's number"],
)
def test_a_change_of_anything_that_a_trace_read_is_noticed(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, kept = read_of(where)
    cell: Any = Given(scaled(read))
    cell.kept, cell._rate = kept, 0.5
    monkeypatch.setattr(Given, "gain", 0.5)
    inputs = torch.randn(2, 4, 3, dtype=torch.float64)

    def states(engine: str) -> Tensor:
        result = unroll(cell, Chain(torch.tensor([4, 4])), inputs, engine=engine)
        assert result.top.engine.used == {"auto": "native"}.get(engine, engine)
        return result.hidden

    before = states("auto")
    torch.testing.assert_close(before, states("reference"), rtol=1e-12, atol=1e-12)
    change(where, cell, monkeypatch)
    after = states("auto")
    torch.testing.assert_close(after, states("reference"), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(after, before)


def made(rate: Callable[[], float]) -> Any:
    """A cell of a class that `type` makes, which says that it is of the module `abc`."""

    def step(self: Any, x: Tensor, *previous: Any) -> Hidden:
        return Hidden(rate() * torch.tanh(x + self.recur(self.summed(x, previous).hidden)))

    return type("Made", (Cell,), {"step": step})(3, 4).double()


def of_function() -> float:
    return of_function.rate  # type: ignore[attr-defined]


def of_environment() -> float:
    return float(os.environ.get("RATE", "0.5"))


@pytest.mark.parametrize("where", ["global", "function", "environment"])
def test_a_change_is_noticed_too_by_a_class_made_by_type(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_function, "rate", 0.5, raising=False)
    cell = made({"global": lambda: RATE, "function": of_function, "environment": of_environment}[where])
    inputs = torch.randn(2, 4, 3, dtype=torch.float64)
    before = unroll(cell, Chain(torch.tensor([4, 4])), inputs, engine="native").hidden
    monkeypatch.setitem(globals(), "RATE", 0.25)
    monkeypatch.setattr(of_function, "rate", 0.25)
    monkeypatch.setenv("RATE", "0.25")
    after = unroll(cell, Chain(torch.tensor([4, 4])), inputs, engine="native").hidden
    assert not torch.allclose(after, before)
    torch.testing.assert_close(
        after, unroll(cell, Chain(torch.tensor([4, 4])), inputs, engine="reference").hidden, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("on", ["the pre-activation", "a part"])
def test_a_hook_that_the_update_registers_acts_on_the_gradient(on: str) -> None:
    """The native engine would leave it out: it refuses."""

    def step(self: Any, x: Tensor, *previous: Any) -> Hidden:
        z = x + self.recur(self.summed(x, previous).hidden)
        h = torch.tanh(z)
        hooked = z if on == "the pre-activation" else h
        if hooked.requires_grad:
            hooked.register_hook(lambda grad: 0.5 * grad)
        return Hidden(h)

    torch.manual_seed(0)
    cell = type("Hooked", (Cell,), {"step": step})(3, 4).double()
    inputs = torch.randn(1, 4, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="given native, but the update asks for `requires_grad`"):
        unroll(cell, Chain(torch.tensor([4])), inputs, engine="native")
    result = unroll(cell, Chain(torch.tensor([4])), inputs)
    result.hidden[:, -1].sum().backward()
    h, states = torch.zeros(1, 4, dtype=torch.float64), []
    for x in inputs.unbind(1):
        h = step(cell, cell.project(x), Hidden(h)).hidden
        h.retain_grad()
        states.append(h)
    h.sum().backward()
    for k, state in enumerate(states):
        torch.testing.assert_close(result.adjoints.hidden[:, k], state.grad, rtol=1e-12, atol=1e-12)
    if on == "a part":
        with pytest.raises(RuntimeError, match="puts a hook on a part of its state"):
            _ = result.direct
