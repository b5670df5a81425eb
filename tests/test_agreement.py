"""``check``, a dry run and a training accept and refuse the same recipes, and accepted recipes train.

A recipe that passes the check may still diverge; no other error is allowed after the check.
"""

import random

import pytest

import danlu
from danlu.app.runs.session import Session
from danlu.catalogue import RECIPES, find_recipe
from danlu.errors import RunError, UsageError
from danlu.recipes import Recipe, as_recipe, changed
from danlu.training.validation import evaluate
from random_recipes import crafted, random_changes


def made(name: str, changes: dict) -> Recipe | None:
    """The recipe at a small size with these changes; None if its settings are refused."""
    cls = find_recipe(name)
    try:
        small = changed(cls(), {**cls.tiny, **cls.two_rounds, "split.validation": 0.02})
        return as_recipe(small, changes)
    except (UsageError, ValueError):
        return None


def refusal(recipe: Recipe) -> str | None:
    """The message with which the check refuses a recipe."""
    try:
        session = Session.start(recipe)
        session.check_processes(1)
    except UsageError as error:
        return str(error)
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
    elif refused is None:
        session = Session.start(recipe)
        try:
            for _ in session.trainer:
                pass
            evaluate(session.trainer, session.validation)
        except RunError:
            pass  # diverged
        except Exception as error:
            raise AssertionError(f"{name} {changes}: {type(error).__name__}: {error}") from error
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
    assert compared > 5


@pytest.mark.long
@pytest.mark.parametrize("name", RECIPES)
def test_crafted_recipes(name):
    compared = [assert_agreement(name, changes, dry_run=False) for of, changes in crafted() if of == name]
    assert sum(compared) > len(compared) / 5
