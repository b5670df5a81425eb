"""What the criteria of every experiment say of a large effect, of exchanged arms, and of no effect."""

import json
from pathlib import Path

import pytest

from danlu.catalogue import EXPERIMENTS, find_experiment
from danlu.experiments import Criteria
from danlu.experiments.adversarial import disjoint_supports, kl_directions, tug_of_war
from danlu.experiments.energy import boltzmann_gradient, hidden_units, hopfield_recall, rbm_parallel
from danlu.experiments.harness.criteria import favorable
from danlu.experiments.harness.wording import findings_table
from danlu.experiments.likelihood import distillation, mle_vs_sum
from danlu.experiments.networks import batchnorm, depth, linear_collapse
from danlu.experiments.sampling import gibbs, importance_sampling, metropolis_hastings
from danlu.experiments.sequences import nce_gradient, spectral_radius
from quick_runs import grouped, quick_run

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
    """Each clause alone: its arm has the value of the other arm, or the constant, up to noise that favors neither."""
    criteria = find_experiment(name).criteria
    best = favorable(criteria)
    noise = (1 + 1e-6, 1 - 1e-6, 1 + 1e-6, 1 - 1e-6)
    for one in criteria.clauses:
        two_arms = isinstance(one.than, str)
        value = best[one.than][one.measure][0] if two_arms else one.than
        values = [value * factor for factor in noise] if value else [one.margin * (factor - 1) for factor in noise]
        arms = {one.arm: {one.measure: values}}
        arms |= {one.than: {one.measure: values[::-1]}} if two_arms else {}
        assert Criteria((one,)).judge(arms).word == "does not hold"


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


NEED_MORE = {
    "sgd-noise", "linear-collapse", "line-detector", "mle-vs-sum", "fid-vs-is", "kl-directions", "tug-of-war",
    "disjoint-supports", "vanishing-gradient", "spectral-radius", "beam-search",
}  # fmt: skip
"""experiments whose conclusion also uses numbers that are not stored"""


@pytest.mark.parametrize("name", [name for name in STORED_RUNS if name not in NEED_MORE])
def test_stored_runs_have_the_conclusion_of_the_code(name):
    for run in json.loads((STORED / f"{name}.json").read_text(encoding="utf-8"))["runs"]:
        assert find_experiment(name).verdict({"arms": run["arms"]}).reason == run["reason"]


def exchanged(function, one, other):
    """A function in whose arguments two values are exchanged."""
    names = {one: other, other: one}
    return lambda *args: function(*(names.get(a, a) if isinstance(a, int | float | str) else a for a in args))


def arguments(name, one, other):
    """Exchange two values in the arguments of a function of a module."""
    return lambda patch, module: patch.setattr(module, name, exchanged(getattr(module, name), one, other))


def entries(name, one, other):
    """Exchange two entries of a table of a module: what each of two arms trains or computes."""

    def sabotage(patch, module):
        table = getattr(module, name)
        patch.setattr(module, name, {**table, one: table[other], other: table[one]})

    return sabotage


SABOTAGE = {
    "batchnorm": (batchnorm, arguments("_learn", "with", "without"), [*batchnorm.OUTPUTS, *batchnorm.GRADIENTS]),
    "depth": (depth, entries("NETWORKS", depth.PLAIN, depth.RESIDUAL_NOTES), [depth.VANISHES, *depth.KEPT]),
    "mle-vs-sum": (mle_vs_sum, arguments("gradient", mle_vs_sum.SUM, mle_vs_sum.LOG), [mle_vs_sum.VANISHES]),
    "kl-directions": (
        kl_directions,
        arguments("fitted", kl_directions.INCLUSIVE, kl_directions.EXCLUSIVE),
        [kl_directions.COVERS, kl_directions.SELECTS],
    ),
    "distillation": (
        distillation, arguments("sampling", distillation.TEACHER, distillation.STUDENT), [distillation.FAST]
    ),
    "distillation, steps": (
        distillation, arguments("stepping", distillation.FROM_DATA, distillation.DISTILLED), [distillation.STEP]
    ),
    "hopfield-recall": (
        hopfield_recall,
        entries("STORED", hopfield_recall.RANDOM, hopfield_recall.OTHER),
        [hopfield_recall.MINIMUM, hopfield_recall.FOUND],
    ),
    "boltzmann-gradient": (
        boltzmann_gradient,
        entries("ESTIMATES", boltzmann_gradient.PAIRS, boltzmann_gradient.DATA),
        [boltzmann_gradient.SAME, boltzmann_gradient.NEEDS_MODEL, boltzmann_gradient.RISES],
    ),
    "hidden-units": (
        hidden_units,
        entries("ARMS", hidden_units.ALL_PARITY.arm, hidden_units.ALL_PARITY.than),
        [hidden_units.ALL_PARITY],
    ),
    "rbm-parallel": (
        rbm_parallel,
        entries("SAMPLERS", rbm_parallel.SINGLE, rbm_parallel.RBM),
        [rbm_parallel.EACH, rbm_parallel.TWO, rbm_parallel.FASTER, rbm_parallel.GROWS],
    ),
    "gibbs": (gibbs, entries("COUPLINGS", gibbs.ONE, gibbs.TWO), [gibbs.CONVERGES, gibbs.FORGETS]),
    "importance-sampling": (
        importance_sampling,
        arguments("probabilities", importance_sampling.UNIFORM, importance_sampling.P),
        [importance_sampling.USEFUL, importance_sampling.NEARER],
    ),
    "metropolis-hastings": (
        metropolis_hastings,
        entries("ACCEPTANCE", metropolis_hastings.RIGHT, metropolis_hastings.WRONG),
        [
            metropolis_hastings.BALANCE, metropolis_hastings.STATIONARY, metropolis_hastings.ON_STATES,
            metropolis_hastings.NEEDS_Q, metropolis_hastings.LINE_NEEDS_Q,
        ],
    ),
    "tug-of-war": (
        tug_of_war, arguments("trajectory", "at the same time", "looking ahead"), [tug_of_war.SIMULTANEOUS]
    ),
    "disjoint-supports": (
        disjoint_supports,
        arguments("evaluate_critic", "minimax", "wasserstein"),
        [disjoint_supports.STEEPER],
    ),
    "spectral-radius": (
        spectral_radius, arguments("scale_radius", 0.8, 1.2), [*spectral_radius.LINEAR_CLAUSES]
    ),
    "nce-gradient": (
        nce_gradient,
        entries("CASES", nce_gradient.CLAIMED[0], nce_gradient.POOR),
        [nce_gradient.AGREE[nce_gradient.CLAIMED[0]]],
    ),
    "linear-collapse": (
        linear_collapse, arguments("_learn", *linear_collapse.KINDS), [linear_collapse.SAME_MAP, linear_collapse.RANK]
    ),
}  # fmt: skip
"""experiment: its module, the sabotage, and comparisons that the quick measurement supports without it"""


LONG = ("distillation", "distillation, steps")
"""those that train a teacher and a student for each seed, and compare times"""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) for name in LONG]
    + grouped(name for name in SABOTAGE if name not in LONG),
)
def test_a_measurement_in_which_two_arms_are_exchanged_supports_none_of_them(name, monkeypatch):
    """Not the values are exchanged, but what is trained or computed for each arm."""
    module, sabotage, comparisons = SABOTAGE[name]
    honest = (module.EXPERIMENT.run(quick=True) if name in LONG else quick_run(name)[0]).verdict.judgment
    assert {honest.finding(one.clause).state for one in comparisons} == {"supported"}
    sabotage(monkeypatch, module)
    wrong = module.EXPERIMENT.run(quick=True).verdict.judgment
    states = {wrong.finding(one.clause).state for one in comparisons}
    assert "refuted" in states
    assert "supported" not in states
