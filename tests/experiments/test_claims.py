"""Every experiment of the catalogue, small: it runs, repeats, judges and draws."""

import ast
import importlib
import inspect
import json
from contextlib import suppress

import matplotlib
import pytest
from matplotlib.figure import Figure

from danlu.catalogue import CHAPTERS, EXPERIMENTS, find_experiment
from danlu.errors import UsageError
from danlu.experiments.harness.criteria import WORDS, favorable
from quick_runs import grouped, quick_run

JUDGED = list(EXPERIMENTS)


@pytest.fixture(params=grouped(EXPERIMENTS))
def outcome(request):
    return request.param, *quick_run(request.param)


def test_it_gives_numbers_a_verdict_a_table_and_a_figure(outcome):
    _, found, told = outcome
    assert json.loads(json.dumps(found.numbers, allow_nan=False))
    assert found.verdict.word in WORDS
    assert found.verdict.reason.endswith((".", ")"))
    assert len({len(row) for row in found.table}) == 1
    assert len(found.table) > 1
    assert all(0 <= done <= total for _, done, total in told)
    figure = found.plot()
    assert isinstance(figure, Figure)
    assert all(axes.get_xlabel() or not len(axes.get_xticks()) for axes in figure.axes[-1:])


def test_its_figure_can_be_drawn_from_numbers_that_were_written_down(outcome):
    name, found, _ = outcome
    again = json.loads(json.dumps(found.numbers))
    experiment = find_experiment(name)
    assert experiment.verdict(again) == found.verdict
    assert experiment.table(again) == found.table
    with matplotlib.rc_context({"text.parse_math": False}):
        experiment.plot(again).canvas.draw()


ONLY_IF_REFUTED = {
    "nce-normalizer": "Z is not close to 1",
    "one-sided-smoothing": "does not harm",
    "mode-collapse": "does not drop modes in every setting",
    "vanishing-gradient": "The limit is learning, not memory",
    "blind-spot": "is not learned",
    "hopfield-recall": "is not the unique minimum",
    "hopfield-capacity": "The load does not grow",
    "boltzmann-gradient": "If all entries of W are parameters",
    "hidden-units": "need no hidden units",
    "gibbs": "The distribution converges, not the chain",
    "importance-sampling": "The mean of the opened crates is biased",
    "metropolis-hastings": "Chains do not converge to p",
}
"""experiment: words of its conclusion that need a refuted comparison"""


def test_what_is_undecided_is_not_said_to_be_refuted(outcome):
    """With the measured numbers, and each comparison first undecided, then refuted."""
    name, found, _ = outcome
    experiment, judgment = find_experiment(name), found.verdict.judgment
    texts = {}
    for state in ("undecided", "refuted"):
        findings = tuple(one._replace(state=state) for one in judgment.findings)
        texts[state] = experiment.conclude(found.numbers, judgment._replace(findings=findings))
    words = ONLY_IF_REFUTED.get(name, "")
    assert (words in texts["undecided"]) == (not words)
    assert words in texts["refuted"]


def without_effect(criteria, failing, seeds):
    """Values with a large effect in all comparisons except those with some words, in which it is almost none."""
    values = favorable(criteria, seeds)
    for one in criteria.comparisons:
        if one.clause in failing:
            base = values[one.than][one.measure] if isinstance(one.than, str) else [one.than] * seeds
            tiny = 0.0 if one.ratio else one.margin * (-0.01 if one.lower else 0.01)
            values[one.arm][one.measure] = [value + tiny for value in base]
    return values


def conclusion(name, *failing):
    """The verdict on a quick run's numbers, with made-up arms."""
    experiment, numbers = find_experiment(name), quick_run(name)[0].numbers
    made_up = without_effect(experiment.criteria, failing, len(_values(numbers["arms"])[0]))
    arms = {arm: {**values, **made_up.get(arm, {})} for arm, values in numbers["arms"].items()}
    return experiment.verdict({**numbers, "arms": arms})


def _values(arms):
    return [values for measures in arms.values() for values in measures.values()]


@pytest.mark.parametrize("name", grouped(JUDGED))
def test_its_conclusion_and_table_are_of_the_arms(name):
    """Without an effect in any one comparison, or in all, the verdict is another word, and the conclusion another."""
    experiment = find_experiment(name)
    best = conclusion(name)
    assert best.word == "holds"
    every = [one.clause for one in experiment.criteria.comparisons]
    assert len(set(every)) == len(every)
    gates = {one.clause for one in experiment.criteria.gates}
    for failing in [[one] for one in every] + [every, [one.clause for one in experiment.criteria.clauses]]:
        found = conclusion(name, *failing)
        assert found.word != "holds"
        assert found.reason != best.reason
        assert found.reason.endswith((".", ")"))
        if gates & set(failing):
            assert (found.word, "cannot be tested" in found.reason) == ("not decided", True)
    assert len(set(map(len, _values(quick_run(name)[0].numbers["arms"])))) == 1


def size_of(value):
    """The number itself, or the number of elements."""
    return value if isinstance(value, int | float) else len(value)


def amounts(module):
    """Pairs of a quick and a full amount: the two values of each ``A if quick else B`` in a module.

    Values that depend on local variables are left out.
    """
    names = {**vars(module), "seed": 0}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.IfExp) and isinstance(node.test, ast.Name) and node.test.id == "quick":
            with suppress(NameError):
                quick, full = (eval(ast.unparse(side), names) for side in (node.body, node.orelse))
                paired = isinstance(node.body, ast.Tuple) and isinstance(node.orelse, ast.Tuple)
                yield from zip(quick, full, strict=True) if paired else [(quick, full)]


DIVISORS = {"momentum": 2, "wgan-architectures": 1, "mode-collapse": 1, "sgd-noise": 1}
"""experiment: how many of its pairs divide an amount, or stop earlier if they are larger"""


@pytest.mark.parametrize("name", JUDGED)
def test_a_quick_run_has_fewer_seeds_rounds_and_settings(name):
    module = importlib.import_module(find_experiment(name).measure.__module__)
    pairs = [tuple(map(size_of, pair)) for pair in amounts(module)]
    assert len([quick for quick, full in pairs if quick > full]) == DIVISORS.get(name, 0)


@pytest.mark.parametrize(
    "name",
    [
        *grouped(["line-detector", "linear-collapse"]),
        *(pytest.param(n, marks=pytest.mark.long) for n in ("momentum", "batchnorm")),
    ],
)
def test_the_same_seed_gives_the_same_numbers_and_another_others(name):
    experiment = find_experiment(name)
    again, other = (experiment.run(seed, quick=True).numbers for seed in (0, 1))
    first = quick_run(name)[0].numbers
    assert first == again
    assert first != other


def test_every_claim_has_a_chapter_and_they_come_in_the_order_of_the_notes():
    sections = [[int(part) for part in entry.section.split(".")] for entry in EXPERIMENTS.values()]
    assert sections == sorted(sections)
    assert {entry.group for entry in EXPERIMENTS.values()} == set(CHAPTERS.values())


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'momentum'"):
        find_experiment("momentun")
