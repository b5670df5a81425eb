"""Models that cannot continue a prompt, from the command line: one line, and exit code 1."""

import pytest
import torch
from torch import nn

from commands import call
from danlu.app.inference.beam_search import Search, search_continuations
from danlu.data import Characters
from danlu.data.text.info import TextInfo
from danlu.errors import RunError
from danlu.models import LanguageModel, save_model


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("options", [(), ("--temperature", "0"), ("--beam", "2"), ("--beam", "4", "--groups", "2")])
def test_weights_that_are_not_finite_are_an_error(tmp_path, options, value):
    model = LanguageModel(4, "rnn", width=3, layers=1)
    model.tokenizer = Characters("abcd")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    save_model(model, tmp_path, TextInfo(vocabulary=4, tokens="characters"))
    code, out, err = call("complete", tmp_path, "ab", "--tokens", 3, *options)
    assert code == 1
    assert out in ("", "ab")  # a prompt is printed before the first token is sampled
    assert "the logits contain NaN; check that the weights of the model are finite" in err
    assert err.strip().count("\n") == 0


class NoContinuation(nn.Module):
    """A model with a grammar: after every token, nothing is allowed."""

    def read(self, prompt):
        return prompt[:, -1], None

    def step(self, tokens, state):
        return torch.full((len(tokens), 4), -torch.inf), state


def test_a_search_without_any_sequence_is_an_error():
    with pytest.raises(RunError, match="no continuation with a probability above 0 among the 3 most probable"):
        search_continuations(NoContinuation(), Characters("abcd"), torch.tensor([0]), 2, None, Search(3))
