"""Every verb is found by its method alone, and a missing one is an error that names those that are there."""

import inspect

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.models.classify.cnn import CNN
from danlu.models.classify.mlp import MLP
from danlu.verbs import VERBS, need, verbs_of


def having(*names):
    """An object with methods of these names."""
    return type("Thing", (), {name: lambda self, *args: None for name in names})()


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_found_by_its_method(verb):
    thing = having(verb)
    assert verbs_of(thing) == [verb]
    assert need(thing, verb) is thing


@pytest.mark.parametrize("verb", VERBS)
def test_a_protocol_has_the_one_method_of_its_name(verb):
    own = [n for n, v in vars(VERBS[verb]).items() if inspect.isfunction(v) and not n.startswith("_")]
    assert own == [verb]
    assert inspect.getdoc(VERBS[verb])


def test_a_missing_verb_is_refused_with_those_that_are_there():
    with pytest.raises(UsageError, match=r"Thing cannot translate; it can energy, sample$"):
        need(having("sample", "energy"), "translate")
    with pytest.raises(UsageError, match=r"Thing cannot sample; it has no verbs$"):
        need(having(), "sample")


def test_a_submodule_of_that_name_is_no_verb():
    """A network that is called ``embed`` is a part of a model and not what the model can do."""
    model = nn.Module()
    model.embed = nn.Embedding(3, 2)
    assert verbs_of(model) == []


@pytest.mark.parametrize("model", [MLP((1, 8, 8), 3), CNN((1, 8, 8), 3)])
def test_the_classifiers_classify(model):
    assert verbs_of(model) == ["classify"]
    rows = need(model, "classify").classify(torch.rand(4, 1, 8, 8)).sum(1)
    torch.testing.assert_close(rows, torch.ones(4))
