"""Studies by `hydra/sweeper=optuna`, over the queue of a sweep's folder."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from command import SMALL, last, rnn_train, started
from kept import kept_of_all

from hydra_plugins.rnn_research_optuna import OptunaSweeper
from rnn_research.cli.launchers import Job
from rnn_research.cli.study_options import Space, StudyOptions
from rnn_research.config.compose import Composer
from rnn_research.errors import UsageError
from rnn_research.records import runs
from rnn_research.sweeps import store
from rnn_research.training.spec import Pruning

FIXED = tuple(text for text in SMALL if not text.startswith("model.cell"))
SEARCHED = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "model=rnn,gru", "hidden_size=int(interval(2,6))")
PRUNED = ("hydra.sweeper.pruner=median", "hydra.sweeper.pruner_trials=3", "trainer.val_check_interval=1")
STUDY = ("-m", *FIXED, *SEARCHED, "hydra/sweeper=optuna", "workers=1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def optuna() -> Any:
    return pytest.importorskip("optuna", reason="pip install 'rnn_research[optuna]'")


def trials(optuna: Any, sweep: Path, storage: str = "journal") -> list[Any]:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    at: Any = f"sqlite:///{sweep / 'study/study.db'}"
    if storage == "journal":
        at = JournalStorage(JournalFileBackend(str(sweep / "study/journal.log")))
    return optuna.load_study(study_name="study", storage=at).trials


def finals(sweep: Path) -> list[float]:
    return sorted(runs.read(run).final["val_loss"] for run in runs.find([sweep]))


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_study_and_more_of_it(storage: str, optuna: Any, here: Path) -> None:
    typed = [*STUDY, f"hydra.sweeper.storage={storage}", "hydra.sweep.dir=s"]
    ended = rnn_train(*typed, "hydra.sweeper.n_trials=3")
    assert ended.code == 0, ended.err
    *lines, count, best = ended.out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["#1/3", "#2/3", "#3/3"]
    assert count == f"3 trials in {here / 's'}"
    assert best.startswith("best: #")
    assert best.endswith(f": val_loss {finals(here / 's')[0]:.4g}")
    ended = rnn_train(*typed, "hydra.sweeper.n_trials=4")
    assert ended.code == 0, ended.err
    assert [line.partition(" ")[0] for line in ended.out.splitlines()[:-2]] == ["#4/4"]
    assert rnn_train(*typed, "hydra.sweeper.n_trials=4").out.splitlines()[0] == f"4 trials in {here / 's'}"
    told = trials(optuna, here / "s", storage)
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 4
    assert sorted(trial.value for trial in told) == finals(here / "s")
    for trial in told:
        assert 1e-4 <= trial.params["optimizer.lr"] <= 1e-1
        assert trial.params["hidden_size"] in range(2, 7)
    for changed, said in (("optimizer.lr=0.1,0.2", "other keys or values to search"), ("seed=1", "other options")):
        refused = rnn_train(*typed, changed)
        assert (refused.code, refused.out) == (2, "")
        assert f"the study there was begun with {said}" in refused.err


def test_runs_that_fail_diverge_or_are_refused_are_told_as_failed(optuna: Any, here: Path) -> None:
    typed = ["-m", *SMALL, "optimizer=sgd", "optimizer.lr=0.01,1e30,-1", "hydra/sweeper=optuna", "workers=1"]
    ended = rnn_train(
        *typed, "hydra.sweeper.sampler=random", "hydra.sweeper.seed=1", "hydra.sweeper.n_trials=6", "hydra.sweep.dir=s"
    )
    told = trials(optuna, here / "s")
    states = {trial.params["optimizer.lr"]: trial.state.name for trial in told}
    assert states == {"0.01": "COMPLETE", "1e+30": "FAIL", "-1": "FAIL"}
    assert ended.code == 2
    good = sum(trial.state.name == "COMPLETE" for trial in told)
    assert f"6 trials in {here / 's'}: {good} done, {6 - good} failed, diverged or refused" in ended.out


def test_hydras_sweeper_interface(optuna: Any, here: Path) -> None:
    of_hydra = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra/launcher=basic", "hydra.sweep.dir=s"]
    composer = Composer()
    sweeper = OptunaSweeper(n_trials=2)
    context: Any = None
    sweeper.setup(hydra_context=context, task_function=Job(composer), config=composer.compose([*FIXED, *of_hydra]))
    assert sweeper.sweep([*FIXED, *SEARCHED]) == 0
    assert len(trials(optuna, here / "s")) == 2


def test_trials_are_pruned_as_optunas_own_pruner_would(optuna: Any, here: Path) -> None:
    ended = rnn_train(*STUDY, *PRUNED, "hydra.sweeper.n_trials=9", "hydra.sweep.dir=s")
    assert ended.code == 0, ended.err
    told = trials(optuna, here / "s")
    assert {trial.state.name for trial in told} == {"COMPLETE", "PRUNED"}
    again = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
    for trial in told:
        *before, last = sorted(trial.intermediate_values.items())
        same = again.ask()
        for step, value in before:
            same.report(value, step)
            assert not same.should_prune()
        same.report(last[1], last[0])
        assert same.should_prune() == (trial.state.name == "PRUNED")
        again.tell(same, None if same.should_prune() else last[1], state=trial.state)
    pruned = {runs.read(run).actual["pruned"] for run in runs.find([here / "s"]) if "pruned" in runs.read(run).actual}
    assert pruned == {trial.last_step for trial in told if trial.state.name == "PRUNED"}
    count = sum(trial.state.name == "PRUNED" for trial in told)
    assert f"9 trials in {here / 's'}: {9 - count} done, {count} pruned" in ended.out.splitlines()
    assert sum(": pruned after " in line for line in ended.out.splitlines()) == count


def test_where_a_trial_ends() -> None:
    less, more = Pruning("loss", {2: 0.5, 4: 0.3}), Pruning("accuracy", {2: 0.5}, maximised=True)
    assert not less.ends([])
    assert not less.ends([(1, 0.9)])  # others have no value there
    assert not less.ends([(1, 0.4), (2, 0.9)])  # it has been better before
    assert less.ends([(1, 0.6), (2, 0.51)])
    assert not less.ends([(2, 0.5)])
    assert more.ends([(1, 0.4), (2, 0.49)])
    assert not more.ends([(2, 0.5)])
    assert Pruning.of(None) is None
    assert Pruning.of({"metric": "loss", "maximised": False, "bounds": {2: 0.5, 4: 0.3}}) == less


def test_a_trial_in_the_queue_says_when_it_ends(tmp_path: Path) -> None:
    rule = {"metric": "loss", "maximised": False, "bounds": {2: 0.5}}
    run = store.QueuedRun(tmp_path, "ab", "run", 0, "lr=1", prune=rule)
    store.add(run, {})
    (found,) = store.listed(tmp_path)
    assert found.prune == rule
    for other in ('"x"', '{"metric": "loss", "maximised": false, "bounds": [1]}', '{"bounds": {"x": 1}}'):
        path = tmp_path / "queue/ab.json"
        head = json.loads(path.read_text().splitlines()[0]) | {"prune": json.loads(other)}
        path.write_text(f"{json.dumps(head)}\n{{}}\n")
        with pytest.raises(store.DamagedQueue, match=r"ab\.json: damaged"):
            store.listed(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("more", [(), PRUNED], ids=["to the end", "pruned"])
def test_a_study_that_is_killed_goes_on_to_its_number(more: tuple[str, ...], optuna: Any, here: Path) -> None:
    """Not to twice that; and with the trials that it would have had."""
    typed = [*STUDY, *more, "hydra.sweeper.n_trials=12"]
    assert rnn_train(*typed, "hydra.sweep.dir=undisturbed").code == 0
    for seconds in (1.5, 3.0, 5.0):
        with started(*last([*typed, "hydra.sweep.dir=s"]), folder=here, out=here / "out") as command:
            time.sleep(seconds)
            command.send_signal(signal.SIGKILL)
    assert rnn_train(*typed, "hydra.sweep.dir=s").code == 0
    wanted = [(trial.params, trial.value) for trial in trials(optuna, here / "undisturbed")]
    told = [trial for trial in trials(optuna, here / "s") if len(trial.params) == 3]
    assert [(trial.params, trial.value) for trial in told] == wanted
    assert len(wanted) == 12
    assert len(list(runs.find([here / "s"]))) == 12
    assert kept_of_all(here / "s") == kept_of_all(here / "undisturbed")


def test_the_space_is_hydras_syntax(optuna: Any) -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    typed = ["seed=3", "a=interval(1,8)", "b=int(interval(1,8))", "c=tag(log,int(interval(1,8)))", "d=range(1,9,2)"]
    typed += ["e=x,[y,z]", "f=tag(log,interval(0.1,1))", "g=choice(0.1,x)", "h=shuffle(range(1,9))"]
    typed += ["j=shuffle(p,q,r,s,t)"]
    space = Space.of(typed, {"i": "1,2", "a": "5"})
    assert space.fixed == ["seed=3"]
    assert space.distributions() == {
        "i": CategoricalDistribution(["1", "2"]),
        "a": FloatDistribution(1, 8),
        "b": IntDistribution(1, 8),
        "c": IntDistribution(1, 8, log=True),
        "d": IntDistribution(1, 7, step=2),
        "e": CategoricalDistribution(["x", "[y,z]"]),
        "f": FloatDistribution(0.1, 1, log=True),
        "g": CategoricalDistribution(["0.1", "x"]),
        "h": CategoricalDistribution(list("12345678")),
        "j": CategoricalDistribution(list("pqrst")),
    }
    assert space.overrides({"a": 1.5, "e": "[y,z]"}) == ["seed=3", "a=1.5", "e=[y,z]"]
    for text in ("a=tag(log,interval(0,1))", "a=tag(mine,interval(1,2))", "a=interval(2,1)"):
        with pytest.raises(UsageError, match=r"^a: given "):
            Space.of([text], {}).distributions()


def test_more_is_better_where_the_name_says_so() -> None:
    assert StudyOptions(metric="val_accuracy").maximised
    assert not StudyOptions(metric="test_mse").maximised
    assert StudyOptions(metric="val_loss", direction="maximize").maximised


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials: given 0, expected an integer >= 1"),
        (["hydra.sweeper.sampler=best"], "hydra.sweeper.sampler: given 'best', expected"),
        (["hydra.sweeper.metric=loss"], "hydra.sweeper.metric: given 'loss', expected <split>_<name>"),
        (["zip='a,b'"], "zip: given, but a study chooses its own runs"),
        (["hydra.sweeper.pruner=best"], "hydra.sweeper.pruner: given 'best', expected"),
        (
            ["hydra.sweeper.pruner=median", "hydra.sweeper.metric=test_loss"],
            "hydra.sweeper.pruner: looks at validations",
        ),
        (["workers=0"], "workers: given 0, but a study"),
    ],
)
def test_bad_input_is_one_line(typed: list[str], said: str, optuna: Any, here: Path) -> None:
    ended = rnn_train(*STUDY, *typed, "hydra.sweep.dir=s")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert said in ended.err
    assert not (here / "s").exists()


def test_nothing_to_search_and_a_metric_that_is_not_there(optuna: Any, here: Path) -> None:
    ended = rnn_train("-m", *SMALL, "hydra/sweeper=optuna", "hydra.sweep.dir=s")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert "hydra/sweeper=optuna: nothing is searched; expected keys with several values" in ended.err
    ended = rnn_train(*STUDY, "hydra.sweeper.metric=val_f1", "hydra.sweep.dir=s")
    assert ended.code == 2
    assert "hydra.sweeper.metric: given val_f1, which the runs do not have; expected one of" in ended.err
