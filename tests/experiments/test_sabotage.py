"""What the criteria of every experiment say of a large effect, of exchanged arms, and of no effect."""

import json
from pathlib import Path

import pytest

from danlu.catalogue import EXPERIMENTS, find_experiment
from danlu.experiments import Criteria
from danlu.experiments.harness.criteria import favorable
from danlu.experiments.harness.wording import findings_table

STORED = Path(__file__).parents[2] / "benchmarks" / "results" / "experiments"
JUDGED = list(EXPERIMENTS)
STORED_RUNS = [name for name in JUDGED if (STORED / f"{name}.json").is_file()]


def reversed_clauses(criteria):
    """The criteria with the arms of each clause exchanged; a clause beside a constant claims the other direction."""
    clauses = []
    for one in criteria.clauses:
        if isinstance(one.than, str):
            clauses.append(one.swapped(one.arm, one.than))
        else:
            clauses.append(type(one)(one.clause, one.arm, one.than, one.measure, one.margin, not one.lower, one.ratio))
    return Criteria(tuple(clauses), criteria.gates, criteria.limits)


@pytest.mark.parametrize("name", JUDGED)
def test_a_large_effect_holds_and_its_reverse_does_not(name):
    criteria = find_experiment(name).criteria
    best = favorable(criteria)
    assert criteria.judge(best).word == "holds"
    assert reversed_clauses(criteria).judge(best).word == "does not hold"


@pytest.mark.parametrize("name", JUDGED)
def test_two_exchanged_arms_are_noticed(name):
    """Each pair of arms that a clause compares, exchanged in the measured values."""
    criteria = find_experiment(name).criteria
    best = favorable(criteria)
    pairs = {(one.arm, one.than) for one in criteria.clauses if isinstance(one.than, str)}
    for a, b in pairs:
        exchanged = {**best, a: best[b], b: best[a]}
        complete = {arm: {**best[arm], **values} for arm, values in exchanged.items()}
        assert criteria.judge(complete).word != "holds"


@pytest.mark.parametrize("name", JUDGED)
def test_no_effect_never_holds(name):
    """All arms have the same values, up to noise that favors none of them."""
    criteria = find_experiment(name).criteria
    best = favorable(criteria)
    measures = {measure: values[0] for arm in best.values() for measure, values in arm.items()}
    noise = (1 + 1e-6, 1 - 1e-6, 1 + 1e-6, 1 - 1e-6)
    same = {arm: {m: [measures[m] * factor for factor in noise] for m in values} for arm, values in best.items()}
    two_arms = [one for one in criteria.clauses if isinstance(one.than, str)]
    if two_arms:
        assert Criteria(tuple(two_arms)).judge(same).word == "does not hold"


@pytest.mark.parametrize("name", STORED_RUNS)
def test_stored_runs_have_the_verdict_of_the_criteria(name):
    """Both sets of seeds, with the criteria of the code as it is now; every comparison has its direction and margin."""
    experiment = find_experiment(name)
    runs = json.loads((STORED / f"{name}.json").read_text(encoding="utf-8"))["runs"]
    assert len({run["seed"] for run in runs}) == len(runs) == 2
    for run in runs:
        judgment = experiment.criteria.judge(run["arms"])
        assert judgment.word == run["verdict"]
        assert [list(row) for row in findings_table(judgment)] == run["findings"]
    assert len({run["verdict"] for run in runs}) == 1


@pytest.mark.parametrize("name", STORED_RUNS)
def test_measured_values_with_exchanged_arms_do_not_hold(name):
    experiment = find_experiment(name)
    for run in json.loads((STORED / f"{name}.json").read_text(encoding="utf-8"))["runs"]:
        if run["verdict"].startswith("holds"):
            judgment = experiment.criteria.judge(run["arms"])
            reverse = reversed_clauses(experiment.criteria).judge(run["arms"])
            supported = {found.comparison.clause for found in judgment.findings if found.state == "supported"}
            refuted = {found.comparison.clause for found in reverse.findings if found.state == "refuted"}
            assert {one.clause for one in experiment.criteria.clauses} & supported <= refuted
