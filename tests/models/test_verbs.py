"""Every verb is found by its method alone, and a missing one is an error that names those that are there."""

import inspect

import pytest
import torch
from torch import nn

from danlu.catalogue import MODELS
from danlu.errors import UsageError
from danlu.models import CNN, MLP
from danlu.verbs import CAPABILITIES, VERBS, can, has, need, verbs_of
from small_models import every_model


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


@pytest.mark.unchecked
def test_a_missing_verb_is_refused_with_those_that_are_there():
    with pytest.raises(UsageError, match=r"Thing has no verb 'translate'; its verbs: energy, sample$"):
        need(having("sample", "energy"), "translate")
    with pytest.raises(UsageError, match=r"Thing has no verb 'sample'; its verbs: none$"):
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


def test_every_model_of_the_catalogue_is_among_them():
    assert {type(model).__name__ for model in every_model()} == {*MODELS}


def takes(model, verb, name):
    return can(model, verb) and name in inspect.signature(getattr(model, verb)).parameters


@pytest.mark.parametrize("model", every_model(), ids=lambda model: type(model).__name__)
def test_a_model_declares_exactly_what_its_methods_can_do(model):
    """The declarations against the signatures of the methods, and against calls of them."""
    assert model.capabilities <= CAPABILITIES.keys()
    conditional = takes(model, "sample", "labels") and model.classes > 0
    assert has(model, "class_conditional") == conditional
    draws = [verb for verb in ("sample", "prior", "log_prob_bound") if can(model, verb)]
    assert all(takes(model, verb, "generator") for verb in draws) or not draws
    assert has(model, "generator") == bool(draws)
    assert has(model, "value_sampling") == takes(model, "sample", "values")
    assert has(model, "temperature") == takes(model, "sample", "temperature")
    assert not has(model, "temperature") or not can(model, "inpaint") or takes(model, "inpaint", "temperature")
    assert not has(model, "class_conditional") or not can(model, "inpaint") or takes(model, "inpaint", "labels")
    assert has(model, "masks") == (can(model, "inpaint") and model.arguments.get("masks", False))
    assert has(model, "token_log_probs") == hasattr(model, "log_probs")
    assert has(model, "token_stream") == all(hasattr(model, name) for name in ("read", "step", "window"))
    assert has(model, "receptive_field") == (hasattr(model, "receptive_field") and not has(model, "token_stream"))
    assert has(model, "unit_kl") == (hasattr(model, "posterior") and model.arguments["posterior"] == "gaussian")
    assert has(model, "onnx_graph") == hasattr(model, "onnx_graph")
    assert has(model, "recall_trace") == (hasattr(model, "recall_trace") and hasattr(model, "patterns"))
    options = inspect.signature(model.recall).parameters.keys() if can(model, "recall") else set()
    assert has(model, "recall_trace") == {"steps", "synchronous", "seed"}.issubset(options)


@pytest.mark.parametrize("model", every_model(), ids=lambda model: type(model).__name__)
def test_what_a_model_declares_can_be_called(model):
    model.eval()
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # some depend on the class only after training
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=source))
    if has(model, "generator"):
        assert len(model.sample(3, generator=source)) == 3
    if has(model, "class_conditional"):
        labels = torch.tensor([0, 1, 1])
        first = model.sample(3, labels, generator=torch.Generator().manual_seed(0))
        other = model.sample(3, 1 - labels, generator=torch.Generator().manual_seed(0))
        assert not torch.equal(first, other)
        if can(model, "prior") and can(model, "decode"):
            assert model.decode(model.prior(3, generator=source), labels).shape == first.shape
    if has(model, "value_sampling"):
        assert len(model.sample(3, generator=source, values=True)) == 3
    if has(model, "temperature"):
        hot, cold = (model.sample(3, generator=torch.Generator().manual_seed(0), temperature=t) for t in (2.0, 0.1))
        assert not torch.equal(hot, cold)
    if has(model, "unit_kl"):
        x = torch.rand(3, *model.arguments["shape"])
        assert model.posterior(x).kl().shape == (3, model.latent)
    if has(model, "token_log_probs"):
        tokens = torch.zeros(2, 3, dtype=torch.long)
        assert model.log_probs(tokens, tokens, None)[0].shape == (2, 3)
    if has(model, "token_stream"):
        last, state = model.read(torch.zeros(2, 3, dtype=torch.long))
        assert model.step(last, state)[0].shape == (2, model.vocabulary)
        assert model.window is None or model.window > 0
    if has(model, "receptive_field"):
        assert model.receptive_field > 1
    if has(model, "recall_trace"):
        x = torch.ones(2, *model.arguments["shape"])
        model.store(x[:1])
        trace = model.recall_trace(x, steps=3, seed=1)
        assert torch.equal(trace.states[-1], model.recall(x, steps=3, seed=1))
        assert torch.equal(model.patterns.to(x.dtype), x[:1])


@pytest.mark.unchecked
def test_a_capability_that_does_not_exist_is_refused():
    with pytest.raises(KeyError, match="unknown capability 'generators'"):
        has(MLP((4,), 2), "generators")
