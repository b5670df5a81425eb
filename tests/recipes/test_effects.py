"""A setting that cannot act is refused if it was changed, and numbers that float32 cannot represent are refused."""

import pytest

from danlu.catalogue.recipes import RECIPES, all_recipes, find_recipe
from danlu.data import Augment, TrainingData
from danlu.errors import UsageError
from danlu.models import MLP
from danlu.recipes import as_recipe, changed
from danlu.recipes.config.build import build
from danlu.tasks import Supervised
from random_recipes import leaves

WITHOUT = {
    "capacity without its rise": ("vae", {"capacity_rounds": 5}, "capacity_rounds has no effect without capacity"),
    "warm-up of nothing": ("vae", {"beta": 0, "beta_warmup": 5}, "beta_warmup has no effect with beta=0; change beta"),
    "spread of bernoulli": ("vae", {"model.spread": 0.1}, "model.spread has no effect with model.likelihood=bernoulli"),
    "decay of nothing": ("vae", {"decay_all": True}, "decay_all has no effect without weight_decay or l1 or l2"),
    "padding of nothing": ("cnn", {"augment.pad_mode": "reflect"}, "augment.pad_mode has no effect without augment.cr"),
    "one side of no penalty": ("gan", {"one_sided": True}, "one_sided has no effect without penalty"),
    "rounds of no noise": ("gan", {"noise_rounds": 5}, "noise_rounds has no effect without instance_noise"),
    "no reference": ("dcgan", {"critic.reference": 5}, "critic.reference has no effect with critic.norm=batch"),
    "no hidden layer": (
        "mlp",
        {"model.hidden": (), "model.norm": "batch"},
        r"model.norm has no effect with model.hidden=\[\]",
    ),
    "codes of no M1": ("semi-vae", {"stacked": False, "codes": "mean"}, "codes has no effect with stacked=False"),
    "no relaxation": ("semi-vae", {"temperature": 0.1}, "temperature has no effect with relaxation=enumerate"),
}
WITHOUT |= {
    "capacity of nothing": (
        "vae",
        {"capacity": 0.0, "capacity_rounds": 5},
        "capacity_rounds has no effect with capacity=0; cha",
    ),
    "kernel of no convolution": (
        "cnn",
        {"model.channels": (), "model.kernel": 5},
        r"model.kernel has no effect with model.channels=\[\]",
    ),
    "factor at no milestone": (
        "mlp",
        {"schedule": "step", "milestones": (), "gamma": 0.5},
        "gamma has no effect without milestones",
    ),
    "constant under a softmax": (
        "lstm-lm",
        {"model.learn_normalizer": True},
        "learn_normalizer has no effect with a softmax",
    ),
}
WITH = {
    "capacity": ("vae", {"capacity": 5.0, "capacity_rounds": 5}),
    "spread": ("vae", {"model.likelihood": "gaussian", "model.spread": 0.1}),
    "spread of the recipe": ("beta-vae", {"model.likelihood": "bernoulli"}),
    "decay": ("vae", {"decay_all": True, "l2": 1e-4}),
    "the paper's decay": ("resnet", {"size": 20, "weight_decay": 0}),
    "padding": ("cnn", {"augment.pad_mode": "reflect", "augment.scale": (0.9, 1.1)}),
    "factor": ("mlp", {"schedule": "step", "gamma": 0.5}),
    "constant": ("nce-lm", {"model.learn_normalizer": True}),
    "dropout before the last layer": ("cnn", {"model.hidden": (), "model.dropout": 0.5}),
    "reference": ("dcgan", {"critic.norm": "virtual", "critic.reference": 5}),
    "relaxation": ("semi-vae", {"temperature": 0.1, "relaxation": "gumbel"}),
}


@pytest.mark.parametrize(("recipe", "changes", "message"), WITHOUT.values(), ids=WITHOUT)
def test_a_change_without_effect_is_refused(recipe, changes, message):
    with pytest.raises(UsageError, match=message):
        as_recipe(recipe, changes)


@pytest.mark.parametrize(("recipe", "changes"), WITH.values(), ids=WITH)
def test_a_change_with_an_effect_and_a_default_without_one_are_valid(recipe, changes):
    as_recipe(recipe, changes)


def test_all_settings_without_effect_are_reported_at_once():
    with pytest.raises(UsageError) as refused:
        as_recipe("vae", {"capacity_rounds": 5, "decay_all": True, "model.spread": 0.5})
    lines = str(refused.value).splitlines()
    assert [line.split()[0] for line in lines] == ["capacity_rounds", "decay_all", "model.spread"]


def test_a_number_out_of_range_names_0_only_where_it_is_allowed():
    with pytest.raises(UsageError, match=r"lr=1e-40 must be from 1.2e-38"):
        as_recipe("mlp", {"lr": 1e-40})
    with pytest.raises(UsageError, match=r"l1=1e-40 must be 0, or from 1.2e-38"):
        as_recipe("mlp", {"l1": 1e-40})


EMPTY = {"hidden": (), "channels": (), "levels": 1}
"""values with which a network lacks a kind of layer"""


def other_value(schema, value):
    """A valid value that differs from this one; None if there is none."""
    options = schema.get("anyOf", [schema])
    for option in options:
        for choice in [*option.get("enum", ()), *((not value,) if option.get("type") == "boolean" else ())]:
            if choice != value:
                return choice
        if option.get("type") == "integer" and isinstance(value, int | None):
            return max(option.get("minimum", 1), (value or 1) + 1)
        if option.get("type") == "number":
            return 0.25 if value != 0.25 else 0.5
    return None


def after_two_rounds(recipe, data):
    """Weights and scores, which every setting with an effect changes."""
    trainer = build(recipe, data=data).trainer
    reports = [report.values() for report in trainer]
    return reports, {name: value.tolist() for name, value in trainer.task.state_dict().items()}


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_a_network_without_some_layers_changes_it_or_is_refused(name):
    cls = find_recipe(name)
    schemas, small = leaves(cls), changed(cls(), {**cls.tiny, **cls.two_rounds})
    data = small.load()
    for empty in (path for path in schemas if path[-1] in EMPTY and path[0] not in small.unused_on(data.info)):
        try:
            base = changed(small, {".".join(empty): EMPTY[empty[-1]]})
            before = after_two_rounds(base, data)
        except UsageError:
            continue
        for path in (path for path in schemas if path[:-1] == empty[:-1] and path != empty):
            value = other_value(schemas[path], value_at(base, path))
            try:
                other = None if value is None else changed(base, {".".join(path): value})
                if other is None or ".".join(path) in other.unused_on(data.info):  # the training says so
                    continue
                after = after_two_rounds(other, data)
            except (UsageError, ValueError):
                continue
            assert after != before, f"{'.'.join(path)}={value} has no effect with {'.'.join(empty)}={EMPTY[empty[-1]]}"


def value_at(page, path):
    for step in path:
        page = getattr(page, step)
    return page


def test_data_settings_alone_are_checked():
    with pytest.raises(ValueError, match=r"augment.pad_mode has no effect without augment.crop"):
        TrainingData(data="digits", augment=Augment(pad_mode="reflect"))


@pytest.mark.parametrize("recipe", all_recipes())
def test_declared_names_are_settings(recipe):
    """Every setting of a declared relation exists, and so does each value that it is compared with."""
    page = find_recipe(recipe)()
    for one in [page, *(value for _, value in page if hasattr(value, "needs"))]:
        for needs in (needs for base in type(one).__mro__ for needs in vars(base).get("needs", ())):
            for name in (needs.setting, *needs.on):
                assert name in type(one).model_fields
            for value in needs.values:
                assert type(one).model_validate(dict(one) | {needs.on[0]: value})


@pytest.mark.parametrize(
    ("data", "changes", "unused"),
    [
        ("ring", {"generator.width": 8, "points.hidden": (8,), "critic.minibatch": 4}, ["generator.width"]),
        ("digits", {"generator.width": 8, "points.hidden": (8,)}, ["points.hidden"]),
        ("digits", {}, []),
    ],
)
def test_networks_for_other_examples_are_named(data, changes, unused):
    recipe = as_recipe("dcgan", {"data": data, **changes})
    assert recipe.unused_on(recipe.load().info) == unused


def test_settings_of_m1_are_named_if_m2_is_alone():
    recipe = as_recipe("semi-vae", {"stacked": False, "model.likelihood": "bernoulli", "first.latent": 3})
    assert recipe.unused_on(recipe.load().info) == ["first.latent"]


def test_gray_levels_of_binary_images_are_refused():
    with pytest.raises(UsageError, match="likelihood logistic is for gray values, and binarize leaves only 0 and 1"):
        build(as_recipe("vae", {"binarize": "static", "model.likelihood": "logistic"}))


def test_class_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="class_weights are all 0, so no example has an effect"):
        Supervised(MLP((4,), 2), class_weights=(0.0, 0.0))
    with pytest.raises(UsageError, match="class_weights are all 0"):
        build(as_recipe("mlp", {"class_weights": (0.0,) * 10}))


@pytest.mark.parametrize("value", [1e300, -1e300, 1e-300, 3.5e38, 1e-38, float("nan"), float("inf")])
@pytest.mark.parametrize("setting", ["lr", "augment.noise", "augment.mixup", "l2", "class_weights", "model.dropout"])
def test_numbers_that_float32_cannot_represent_are_refused(setting, value):
    with pytest.raises(UsageError):
        as_recipe("mlp", {setting: (value,) * 10 if setting == "class_weights" else value})
