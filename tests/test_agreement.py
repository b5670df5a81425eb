"""``check``, a dry run and a training accept and refuse the same recipes, and accepted recipes train.

A recipe that passes the check may still diverge; no other error is allowed after the check.
"""

import random
import re

import pytest

import danlu
from danlu.app.runs.session import Session
from danlu.catalogue import RECIPES, find_recipe
from danlu.errors import RunError, UsageError
from danlu.recipes import Recipe, as_recipe, changed
from danlu.training.validation import evaluate
from random_recipes import crafted, random_changes

TOO_SMALL = re.compile(r"needs at least two|must be whole numbers")
"""refusals of the check that come from the small step or from the rows of a batch, which training would notice too"""


def made(name: str, changes: dict) -> Recipe | None:
    """The recipe at a small size with these changes; None if its settings are refused."""
    cls = find_recipe(name)
    try:
        small = changed(cls(), {**cls.tiny, **cls.two_rounds, "rounds": 3, "split.validation": 0.02})
        return as_recipe(small, changes)
    except (UsageError, ValueError):
        return None


def refusal(recipe: Recipe) -> str | None:
    """The message with which the check refuses a recipe."""
    try:
        Session.start(recipe).check_processes(1)
    except UsageError as error:
        return str(error)
    return None


def error_of_training(recipe: Recipe) -> Exception | None:
    """The error of the rounds and of an evaluation, without any check before them. A divergence is none."""
    try:
        session = Session.start(recipe)
        for _ in session.trainer:
            pass
        evaluate(session.trainer, session.validation)
    except RunError:
        return None
    except Exception as error:
        return error
    return None


def assert_agreement(name: str, changes: dict, dry_run: bool) -> bool:
    """Whether the settings were valid, so that the check was compared with training."""
    recipe = made(name, changes)
    if recipe is None:
        return False
    refused = refusal(recipe)
    if dry_run:
        outcome = None
        try:
            danlu.train(recipe, dry_run=True, quiet=True)
        except UsageError as error:
            outcome = str(error)
        except RunError:
            pass  # diverged
        assert outcome == refused, (name, changes)
    elif refused is None or TOO_SMALL.search(refused):
        error = error_of_training(recipe)
        assert (error is None) == (refused is None), f"{name} {changes}: {refused!r}, but training: {error!r}"
    return True


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_passes_the_check_trains(name):
    source = random.Random(name)
    cls = find_recipe(name)
    assert any(assert_agreement(name, random_changes(cls, source), dry_run=False) for _ in range(10))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("absurd", [False, True])
def test_random_recipes(seed, absurd):
    """A thousand recipes with up to four random settings; every tenth is a dry run."""
    source = random.Random(seed)
    names, compared = list(RECIPES), 0
    for number in range(50):
        name = source.choice(names)
        changes = random_changes(find_recipe(name), source, absurd)
        compared += assert_agreement(name, changes, dry_run=number % 10 == 0)
    assert compared > 15


@pytest.mark.long
@pytest.mark.parametrize("name", RECIPES)
def test_crafted_recipes(name):
    compared = [assert_agreement(name, changes, dry_run=False) for of, changes in crafted() if of == name]
    assert sum(compared) > len(compared) / 5


def test_a_dry_run_checks_the_whole_length_of_the_training():
    """It trains two rounds, with which this recipe would be valid."""
    length = {"rounds": None, "epochs": 0.05, "first_rounds": None}
    recipe = as_recipe("semi-vae", {**find_recipe("semi-vae").tiny, **length})
    refused = refusal(recipe)
    assert refused is not None
    assert "first_rounds is needed" in refused
    with pytest.raises(UsageError) as error:
        danlu.train(recipe, dry_run=True, quiet=True)
    assert str(error.value) == refused
