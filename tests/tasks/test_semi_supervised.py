"""The game of few labels and many examples."""

import math

import pytest
import torch

import danlu
from danlu.data import Part, Shuffled, join_streams
from danlu.data.base.batch_stream import Batch
from danlu.data.images.info import ImageInfo
from danlu.errors import UsageError
from danlu.models import VAE, SemiSupervisedVAE, StackedVAE
from danlu.nn import one_hot
from danlu.recipes import SemiVAERecipe, changed
from danlu.recipes.latent.semi_vae import balanced_subset
from danlu.tasks import Place, SemiSupervised, unlabeled_cost
from examined import tiny


def game(**settings):
    torch.manual_seed(0)
    model = SemiSupervisedVAE((6,), 3, latent=2, hidden=(8,), classifier_hidden=(8,), likelihood="gaussian")
    return SemiSupervised(model, **{"labeled_weight": 0.25, "classification": 2.0, "inputs": "x", **settings}).double()


def batch():
    source = torch.Generator().manual_seed(1)
    x = torch.rand(12, 6, generator=source, dtype=torch.float64)
    many = Shuffled(Part({"x": x, "label": torch.arange(12) % 3}, torch.float64), 8)
    few = Shuffled(Part({"x": x[:6], "label": torch.arange(6) % 3}, torch.float64), 4)
    return join_streams(unlabeled=many, labeled=few).batch(0, slice(0, 8))


def at(task):
    task.enter(Place(0, 0, 0, slice(0, 8), 8, torch.device("cpu"), torch.float64))
    return task


def test_the_terms_are_those_of_the_paper():
    task, seen = game(), batch()
    terms = at(task).fit(seen)
    many, few = seen.part("unlabeled"), seen.part("labeled")
    at(task)
    noise = [task.noise((2,), batch=part) for part in (many, few)]
    model = task.labeling
    u = torch.zeros(8, dtype=torch.float64)
    q = model.classify(many["x"])
    for y in range(3):
        cost = model(many["x"], noise[0], one_hot(torch.full((8,), y), 3, many["x"]))
        u += q[:, y] * (cost.reconstruction + cost.kl + math.log(3) + q[:, y].log())
    torch.testing.assert_close(terms["unlabeled"], 0.75 * u)
    cost = model(few["x"], noise[1], one_hot(few["label"], 3, few["x"]))
    labeled = (cost.reconstruction + cost.kl + math.log(3)).mean()
    torch.testing.assert_close(terms["labeled"], (0.25 * labeled).expand(8))
    wrong = -model.classify(few["x"]).gather(1, few["label"][:, None]).log().mean()
    torch.testing.assert_close(terms["cross_entropy"], (2.0 * wrong).expand(8))


def test_a_relaxed_draw_has_the_enumerations_cost_in_the_mean():
    """At a low temperature the Gumbel-softmax distribution is q(y | x) itself: Monte Carlo, four standard errors."""
    task, exact, few = game(relaxation="gumbel", temperature=1e-3), game(), batch().part("unlabeled")
    rows, copies = len(few), 3000
    whole = slice(0, rows * copies)  # each copy has noise of its own
    fields = {name: values.repeat(copies, *[1] * (values.dim() - 1)) for name, values in few.fields.items()}
    many = Batch(fields, whole, whole.stop, few.numbers.repeat(copies))
    for one in (task, exact):
        one.enter(Place(0, 0, 0, whole, whole.stop, torch.device("cpu"), torch.float64))
    with torch.no_grad():
        difference = (task._without_label(many) - exact._without_label(many)).view(copies, rows)
    error = difference.std(0) / math.sqrt(copies)
    assert (error > 0).all()
    assert ((difference.mean(0)).abs() < 4.5 * error).all()


def test_labels_of_the_unlabeled_are_not_looked_at():
    task, seen = game(), batch()
    before = at(task).fit(seen)
    seen.part("unlabeled").fields["label"] = torch.full((8,), 99)
    after = at(task).fit(seen)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_balanced_subsets_and_others_for_another_seed():
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 4)
    chosen = balanced_subset(labels, 12, seed=0)
    assert labels[chosen].bincount().tolist() == [4, 4, 4]
    assert len(set(chosen.tolist())) == 12
    assert labels[balanced_subset(labels, 20, seed=0)].bincount().tolist() == [8, 8, 4]
    assert torch.equal(chosen, balanced_subset(labels, 12, seed=0))
    assert not torch.equal(chosen, balanced_subset(labels, 12, seed=1))


def test_the_first_model_rests_when_the_second_learns():
    recipe = tiny("semi-vae", first_rounds=3)
    task = recipe.task(ImageInfo((1, 8, 8), 10))
    assert [task.turns(round)[0].player for round in range(5)] == ["first"] * 3 + ["second"] * 2


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": 5}, "labels=5 must be at least 10, one for each class of digits"),
        ({"labels": 5000}, "labels=5000 must be at most the number of training examples, 1258"),
        ({"labeled_batch_size": 60}, "labeled_batch_size=60 must be at most the number of labels, 50"),
        ({"epochs": 3}, "first_rounds is needed if the length is given in epochs"),
        (
            {"rounds": 10, "first_rounds": 20},
            "first_rounds=20 must be less than rounds=10, which include those of M2",
        ),
        ({"rounds": 10, "first_rounds": 10}, "first_rounds=10 must be less than rounds=10"),
        ({"epochs": 2, "first_rounds": 60}, "first_rounds=60 must be less than rounds=39"),  # 20 or so are an epoch
        ({"data": "moons"}, "use first.likelihood=gaussian for moons"),
        (
            {"stacked": False, "data": "moons", "model.likelihood": "bernoulli"},
            "use model.likelihood=gaussian",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(changes, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        danlu.train(changed(SemiVAERecipe(), changes), out=tmp_path / "run", quiet=True)


def test_a_dry_run_goes_through_both_models():
    recipe = changed(SemiVAERecipe(), {"rounds": 10, "first_rounds": 9})
    short = changed(recipe, recipe.two_rounds)
    assert [short.task(ImageInfo((1, 8, 8), 10)).turns(round)[0].player for round in range(2)] == [
        "first",
        "second",
    ]
    alone = changed(recipe, {"stacked": False, "first_rounds": 20})  # where there is no M1
    assert alone.length(1.0) == 10


def test_of_a_stack_the_score_is_the_bound_of_the_examples_and_not_of_their_codes():
    torch.manual_seed(0)
    first = VAE((6,), latent=2, hidden=(8,), likelihood="gaussian", spread=0.5)
    second = SemiSupervisedVAE((2,), 3, latent=2, hidden=(8,), classifier_hidden=(8,), likelihood="gaussian")
    task = SemiSupervised(StackedVAE(first, second), 0.5, first_rounds=1, inputs="x").double().eval()
    seen = batch().part("unlabeled")
    score = at(task).scores(seen)["elbo"]
    at(task)
    _, one, two = (task.noise((2,)) for _ in range(3))
    q = first.posterior(seen["x"])
    of_code = torch.distributions.Normal(q.mean, (0.5 * q.log_variance).exp())
    code = q.mean + of_code.scale * one
    cost = unlabeled_cost(second(code, two))
    of_x = torch.distributions.Normal(first.decode(code), 0.5)
    expected = of_x.log_prob(seen["x"]).sum(1) - of_code.log_prob(code).sum(1) - cost
    torch.testing.assert_close(score, expected)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"labeled_weight": 0.0}, "labeled_weight=0.0 must be greater than 0 and at most 1"),
        ({"labeled_weight": 1.5}, "labeled_weight=1.5 must be greater than 0 and at most 1"),
        ({"labeled_weight": math.nan}, "labeled_weight=nan"),
        ({"temperature": 0.0}, "temperature=0.0 must be greater than 0"),
        ({"temperature": math.nan}, "temperature=nan"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        game(**settings)


@pytest.mark.parametrize(("first_rounds", "players"), [({}, ["second"]), ({"first_rounds": 1}, ["first", "second"])])
def test_without_first_rounds_only_the_second_stage_is_trained(first_rounds, players):
    first = VAE((6,), latent=2, hidden=(8,), likelihood="gaussian")
    second = SemiSupervisedVAE((2,), 3, latent=2, hidden=(8,), classifier_hidden=(8,), likelihood="gaussian")
    task = SemiSupervised(StackedVAE(first, second), labeled_weight=0.25, inputs="x", **first_rounds)
    assert [turn.player for round in range(len(players)) for turn in task.turns(round)] == players
