"""The recipes of the planar flow and of RealNVP: targets, data of every kind, and settings without effect."""

import pytest

from danlu.data import ENERGIES
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.models import MultiScale
from danlu.recipes import as_recipe, build
from danlu.tasks import Likelihood, Variational

IMAGES, ROWS = ImageInfo((1, 8, 8), 10, levels=17), TableInfo((5,), 3)


def test_a_target_is_fitted_by_variational_inference_and_scored_with_its_samples():
    recipe = as_recipe("planar", {"target": "u3", "annealing": 7})
    assert recipe.data == "u3"
    task = recipe.task(TableInfo((2,)))
    assert isinstance(task, Variational)
    assert task.energy is ENERGIES["u3"].energy
    assert (task.log_z, task.annealing) == (ENERGIES["u3"].log_z, 7)


def test_without_a_target_it_is_fitted_to_data():
    recipe = as_recipe("planar", {})
    assert recipe.data == "moons"
    assert isinstance(recipe.task(ROWS), Likelihood)


def test_the_data_of_a_target_may_have_another_size():
    assert as_recipe("planar", {"target": "u1", "data": "u1:500"}).data == "u1:500"


def test_a_target_makes_training_independent_of_the_data():
    """Only the scores depend on it."""
    ends = []
    for data in ("u1:500", "u1:600"):
        recipe = as_recipe("planar", {"target": "u1", "data": data, "rounds": 3, "model.layers": 2, "batch_size": 8})
        trainer = build(recipe).trainer
        for _ in trainer:
            pass
        ends.append(trainer.task.model.state_dict())
    assert all(ends[0][name].equal(ends[1][name]) for name in ends[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "u1", "data": "moons"}, "target u1 is fitted without data, and scored with the data set u1"),
        ({"target": "u1", "conditional": True}, "conditional needs labels, which target u1 does not have"),
        ({"annealing": 5}, "annealing has no effect without target"),
    ],
)
def test_settings_that_contradict_a_target_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        as_recipe("planar", changes)


@pytest.mark.parametrize("name", ["planar", "realnvp"])
@pytest.mark.parametrize("info", [IMAGES, ROWS], ids=["images", "rows"])
@pytest.mark.parametrize("conditional", [False, True])
def test_the_network_fits_the_data(name, info, conditional):
    network = as_recipe(name, {"conditional": conditional}).task(info).model
    assert network.shape == info.shape
    assert network.classes == (info.classes if conditional else 0)
    assert network.levels == (17 if info is IMAGES else 0)
    assert isinstance(network.transform, MultiScale) == (name == "realnvp" and info is IMAGES)


def test_settings_of_the_other_kind_of_data_have_no_effect():
    recipe = as_recipe("realnvp", {"model.hidden": (5,), "model.width": 9, "model.alpha": 0.1, "model.couplings": 4})
    assert recipe.unused_on(ROWS) == ["model.width", "model.alpha"]
    assert recipe.unused_on(IMAGES) == ["model.hidden"]
    assert as_recipe("planar", {"model.alpha": 0.1}).unused_on(ROWS) == ["model.alpha"]
    assert as_recipe("planar", {"model.alpha": 0.1}).unused_on(IMAGES) == []


def test_an_image_that_cannot_be_halved_is_refused_in_one_line():
    with pytest.raises(UsageError, match=r"multiples of 8 and at least 16; got 8×8: use 16×16, or scales=3"):
        build(as_recipe("realnvp", {"model.scales": 4}))


@pytest.mark.parametrize("name", ["planar", "realnvp"])
def test_a_constant_column_is_refused_by_name(name, tmp_path):
    rows = [f"{k / 7:.3f},5,{k % 3}" for k in range(40)]
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(["length,unit,kind", *rows]))
    with pytest.raises(UsageError, match=r"rows\.csv: column 'unit' has the same value in all training rows"):
        as_recipe(name, {"data": f"table:{table}"}).load()
    chosen = as_recipe(name, {"data": f"table:{table}", "table.columns": ("length", "kind")}).load()
    assert chosen.info.shape == (2,)
