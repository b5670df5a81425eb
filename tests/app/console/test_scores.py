"""The table of scores agrees with the tasks, which say themselves which values are better."""

import pkgutil
import re
from importlib import import_module

import pytest

import danlu.tasks
from danlu.app.console.formatting import score_value
from danlu.app.console.scores import SCORES, find_score
from danlu.tasks.task import Task


def directions() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module in pkgutil.iter_modules(danlu.tasks.__path__):
        for value in vars(import_module(f"danlu.tasks.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Task) and isinstance(getattr(value, "better", None), dict):
                for name, direction in value.better.items():
                    found.setdefault(name, set()).add(direction)
    return found


def test_the_directions_are_those_of_the_tasks():
    found = directions()
    assert {"accuracy", "elbo", "perplexity", "overlap"} <= found.keys()
    table = {name: score and {score.better} for name, score in ((name, find_score(name)) for name in found)}
    assert table == found


def test_every_score_has_one_sentence():
    for name, score in SCORES.items():
        assert re.fullmatch(r"[A-Z].*[^.]\.", score.meaning), name
        assert ". " not in score.meaning, name


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.98321, "0.9832"),
        ("perplexity", 12.58012, "12.58"),
        ("elbo", -26.6084, "-26.61"),
        ("FID[digits-cnn, 300 vs train]", 256.4852, "256.5"),
        ("active_units", 8.0, "8"),
        ("active_units", 7.5, "7.5"),
        ("not_finite", float("nan"), "nan"),
        ("log_prob", float("-inf"), "-inf"),
    ],
)
def test_values_have_about_four_digits(name, value, text):
    assert score_value(name, value) == text
