"""The recipe deep-energy: which densities it recovers, and what it refuses."""

import math
import re

import pytest
import torch

import danlu
from danlu.data.datasets.energies_2d import ENERGIES
from danlu.errors import UsageError
from danlu.recipes import DeepEnergyRecipe, build, changed
from danlu.training import Runtime


def trained(recipe):
    built = build(recipe)
    for _ in built.trainer:
        pass
    built.task.model.eval()
    return built


def total_variation(model, log_prob, reach, side=300):
    """Of the model and a density in the plane, by sums over the cells of a square."""
    axis = (torch.arange(side) + 0.5) * (2 * reach / side) - reach
    x = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        return float((model.log_prob(x).exp() - log_prob(x).double().exp()).abs().sum()) / 2 * (2 * reach / side) ** 2


def test_a_density_in_the_plane_is_recovered_within_a_few_hundred_rounds():
    built = trained(DeepEnergyRecipe(data="u1", rounds=200, likelihood=False, evaluate_every=1000))
    untrained = build(DeepEnergyRecipe(data="u1", rounds=1)).task.model.eval()
    untrained.observe(built.data.train["x"])
    exact = ENERGIES["u1"].log_prob
    before, after = (total_variation(model, exact, 4.5, 150) for model in (untrained, built.task.model))
    assert after < before / 2


@pytest.mark.long
@pytest.mark.parametrize(("name", "largest"), [("u1", 0.1), ("u3", 0.15)])
def test_the_default_settings_recover_an_exact_density(name, largest):
    built = trained(DeepEnergyRecipe(data=name))
    model, exact, x = built.task.model, ENERGIES[name].log_prob, built.data.test["x"]
    assert total_variation(model, exact, 6) < largest
    with torch.no_grad():
        gap = float((exact(x).double() - model.log_prob(x)).mean())
    assert gap < 0.1
    assert model.log_normalizer().standard_error < 0.01


@pytest.mark.parametrize("sampler", ["mala", "langevin"])
@pytest.mark.parametrize("data", ["moons", "digits"])
def test_parts_of_a_batch_move_their_chains_as_the_whole(sampler, data):
    """Images are dequantized and reflected, and Langevin steps have another temperature; the terms have a penalty."""
    model = {"hidden": (8,), "sampler": sampler, "regularization": 0.1}
    recipe = changed(DeepEnergyRecipe(data=data), {**DeepEnergyRecipe.tiny, "rounds": 3, "model": model})
    recipe = changed(recipe, {"model.noise": 0.05}) if sampler == "langevin" else recipe
    double = Runtime(precision="float64")
    whole, parts = (build(changed(recipe, {"grad_accumulation": k}), double).trainer for k in (1, 4))
    for reports in zip(whole, parts, strict=True):
        one, other = (report.values() for report in reports)
        assert one["model/contrast"] == pytest.approx(other["model/contrast"], rel=1e-9)
    for key, value in whole.state().items():
        torch.testing.assert_close(parts.state()[key], value, rtol=1e-9, atol=1e-9)


def test_images_are_levels_in_a_box_and_rows_are_not_limited():
    model = build(DeepEnergyRecipe(data="digits")).task.model
    assert (model.space.range, model.space.gap) == ((0.0, 1.0), 1 / 16)
    assert model.space.base_log_z(64) == 64 * math.log(2)
    assert build(DeepEnergyRecipe()).task.model.space.base_log_z(2) == math.log(2 * math.pi)


def test_settings_that_are_not_possible_are_refused():
    with pytest.raises(UsageError, match=r"noise"):
        changed(DeepEnergyRecipe(), {"model.noise": 0.1})
    with pytest.raises(UsageError, match=r"channels=\(8,\) needs images"):
        build(changed(DeepEnergyRecipe(), {"model.channels": (8,)}))


def test_chains_that_do_not_follow_the_model_are_reported_early_and_once(tmp_path, capsys):
    settings = {
        "data": "digits",
        "likelihood": False,
        "rounds": 16,
        "evaluate_every": 16,
        "model": {"hidden": (64, 64)},
    }
    danlu.train("deep-energy", **settings, lr=0.01, out=tmp_path / "images")
    lines = [line for line in capsys.readouterr().out.splitlines() if "The chains do not follow the model" in line]
    assert len(lines) == 1
    assert re.search(r"round (\d+): .* is [\d.]+ nats below that of the chains", lines[0])
    assert "model.sampler=langevin, model.step_size=4.5" in lines[0]
    assert int(re.search(r"round (\d+)", lines[0])[1]) < 16


def test_the_report_of_chains_is_for_energies_far_below_those_of_the_chains():
    task = build(DeepEnergyRecipe(data="digits")).task
    for contrast, expected in ((-63.0, False), (-65.0, True), (500.0, False), (math.nan, False)):
        assert (task.diagnose_terms({"model/contrast": contrast}) is not None) == expected
    plane = build(DeepEnergyRecipe()).task
    assert plane.diagnose_terms({"model/contrast": -19.0}) is None
    assert "smaller lr or model.step_size" in plane.diagnose_terms({"model/contrast": -21.0})
    assert plane.diagnose_terms({}) is None
    assert "is 1e+30 nats below" in plane.diagnose_terms({"model/contrast": -1e30})


def test_chains_can_start_at_the_data_without_other_settings():
    task = build(changed(DeepEnergyRecipe(rounds=1), {"chains": "data"})).task
    assert (task.rule.start, task.rule.slots, task.rule.steps) == ("data", 1, 5)
    assert "chains" not in task.state_dict()
    with pytest.raises(UsageError, match="slots has no effect with chains=data"):
        changed(DeepEnergyRecipe(), {"chains": "data", "slots": 3})
