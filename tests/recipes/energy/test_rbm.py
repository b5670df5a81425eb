"""The recipes rbm and gaussian-rbm: what they learn, and what they refuse."""

import pytest
import torch

import danlu
from danlu.errors import UsageError
from danlu.recipes import GaussianRBMRecipe, RBMRecipe, as_recipe, build


def trained(recipe):
    built = build(recipe)
    for _ in built.trainer:
        pass
    return built


def test_the_log_likelihood_of_digits_rises_far_above_that_of_independent_pixels():
    built = trained(RBMRecipe(rounds=1500, model={"hidden": 16}, evaluate_every=5000, likelihood=False))
    x = built.data.test["image"]
    rates = built.data.train["image"].mean(0).clamp(1e-3, 1 - 1e-3)
    independent = (x * rates.log() + (1 - x) * (-rates).log1p()).flatten(1).sum(1).mean()
    model = built.task.model.eval()
    assert model.log_normalizer().kind == "exact"
    with torch.no_grad():
        assert float(model.log_prob(x).mean()) > float(independent) + 1.0


def test_reconstructions_of_held_out_examples_are_as_good_as_those_of_training_examples():
    built = trained(GaussianRBMRecipe(epochs=25, evaluate_every=1000, likelihood=False))
    model = built.task.model.eval()
    with torch.no_grad():
        errors = [
            float((model.reconstruct(x) - x).square().mean())
            for x in (built.data.train["image"], built.data.test["image"])
        ]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    assert errors[1] < 1.2 * errors[0]
    assert errors[1] < 0.8 * float(built.data.test["image"].var(0).mean())


def test_gray_images_are_refused_by_binary_units():
    recipe = RBMRecipe(binarize="none")
    with pytest.raises(UsageError, match=r"need images with the values 0 and 1, and digits has 17 levels") as refused:
        build(recipe)
    assert refused.value.settings == ("binarize=dynamic",)


def test_rows_must_be_zero_or_one(tmp_path):
    file = tmp_path / "votes.csv"
    file.write_text("a,b\n" + "0,1\n1,0\n" * 20 + "0,2\n")
    with pytest.raises(
        UsageError,
        match=r"(train|validation|test) row \d+, counted .* has the value 2 in column 'b'; a binary RBM takes",
    ):
        RBMRecipe(data=f"table:{file}").load()
    with pytest.raises(UsageError, match=r"set table\.standardize=False"):
        RBMRecipe(data=f"table:{file}", table={"standardize": True}).load()
    file.write_text("a,b\n" + "0,1\n1,0\n" * 20)
    assert set(RBMRecipe(data=f"table:{file}").load().train["x"].unique().tolist()) == {0.0, 1.0}


def test_settings_without_an_effect_are_refused():
    for values, message in (
        ({"chains": "data", "slots": 3}, "slots has no effect with chains=data"),
        ({"chains": "data", "restart": 0.1}, "restart has no effect with chains=data"),
        ({"batch_size": "full"}, "batch_size"),
    ):
        with pytest.raises(UsageError, match=message):
            as_recipe("rbm", values)


def test_a_monitored_score_that_does_not_exist_is_an_error_and_one_that_is_missing_is_skipped(tmp_path):
    settings = {"rounds": 4, "evaluate_every": 2, "batch_size": 16, "sample_grids": 0, "model.hidden": 4}
    message = r"there is no score log_prob_estimate; this evaluation has: squared_error, log_prob"
    with pytest.raises(UsageError, match=message):
        danlu.train("rbm", out=tmp_path / "missing", monitor="log_prob_estimate", quiet=True, **settings)
    danlu.train("rbm", out=tmp_path / "there", monitor="log_prob", quiet=True, **settings)
