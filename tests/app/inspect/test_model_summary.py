"""The summary of a model lists each layer once and leaves the model as it was."""

import pytest
import torch
from torch import nn

from commands import call_checked
from danlu.app.console.formatting import human
from danlu.app.inspect.model_summary import layer_lines, summarize
from danlu.app.runs.inspect_recipe import summary
from danlu.models import LanguageModel


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "convolution"])
def test_the_layers_of_a_language_model_have_all_its_parameters(kind):
    model = LanguageModel(vocabulary=9, width=8, layers=1, dropout=0.5, kind=kind)
    made = summarize(model, ())
    assert sum(layer.parameters for layer in made.layers if layer.kind != "Dropout") == made.parameters
    assert (made.layers[-1].name, made.layers[-1].shape, made.layers[-1].parameters) == ("softmax", (1, 9), 9 * 9)
    assert [layer.kind for layer in made.layers].count("Softmax") == 1
    assert made.unit == "token"


def test_summarizing_draws_no_random_numbers_and_leaves_mode_and_hooks():
    model = LanguageModel(vocabulary=9, width=8, dropout=0.5)
    state = torch.get_rng_state()
    first = layer_lines(summarize(model, ()))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert layer_lines(summarize(model, ())) == first


def test_output_bytes_are_those_of_the_layers():
    made = summarize(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double(), (4,))
    assert made.output_bytes == 8 * (8 + 8 + 2)
    assert (made.unit, made.memory) == ("example", None)


def test_the_summary_of_a_recipe_has_the_memory_of_its_training():
    memory = summary("mlp", model={"hidden": (16,), "dropout": 0.0}).memory
    assert memory.weights == 4 * (64 * 16 + 16 + 16 * 10 + 10)
    assert memory.training == pytest.approx(3 * memory.weights, rel=0.01)  # gradients and two moments of AdamW
    assert memory.per_example > 4 * (64 + 16 + 10)


def test_the_command_gives_weights_activations_and_receptive_field():
    out, _ = call_checked("summary", "cnn")
    layers = summary("cnn")
    assert f"{layers.parameters:,} parameters, {human(4 * layers.parameters)} of weights" in out
    assert layers.memory is not None
    assert f"  about {human(layers.memory.per_example)} of activations per example in a batch\n" in out
    assert "  receptive field of the last convolution: 10×10 pixels\n" in out
