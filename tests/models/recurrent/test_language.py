"""Language models: probabilities sum to one, nothing sees what comes later, and a text may be cut anywhere."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.models import LanguageModel, build, describe
from danlu.sampling import SamplingOptions

KINDS = ["rnn", "lstm", "peephole", "coupled", "gru", "convolution"]
V = 7


def model_of(kind="lstm", **changes):
    torch.manual_seed(0)
    return LanguageModel(**{"vocabulary": V, "kind": kind, "width": 6, "layers": 2, **changes}).double()


def text(n=2, t=9):
    return torch.randint(V, (n, t), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
def test_all_continuations_of_two_tokens_sum_to_one(kind):
    every = torch.cartesian_prod(torch.tensor([3]), *[torch.arange(V)] * 3)
    assert model_of(kind).log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cuts", [[1] * 9, [4, 5], [2, 7]])
def test_a_text_in_pieces_is_what_it_is_as_a_whole(kind, cuts):
    model, tokens = model_of(kind), text()
    whole, state = model(tokens)
    pieces, carried = [], None
    for piece in tokens.split(cuts, 1):
        features, carried = model(piece, carried)
        pieces.append(features)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(carried, state)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_depends_on_a_later_token(kind):
    model = model_of(kind, layers=3, dilated=True) if kind == "convolution" else model_of(kind)
    x = model.embedding(text(1)).detach().requires_grad_()
    outputs, _ = model.layers(x)
    for t in range(9):
        (slope,) = torch.autograd.grad(outputs[0, t].sum(), x, retain_graph=True)
        reached = slope[0].abs().sum(1).nonzero().flatten().tolist()
        assert reached == list(range(max(0, t + 1 - (model.window or 9)), t + 1))


def test_an_lstm_is_torchs_between_two_tables():
    model, tokens = model_of("lstm"), text()
    layers = nn.LSTM(6, 6, 2, batch_first=True).double()
    layers.load_state_dict(model.layers.state_dict())
    logits = F.linear(layers(model.embedding(tokens))[0], model.weight, model.bias)
    torch.testing.assert_close(model.logits(model(tokens)[0]), logits)
    expected = logits[:, :-1].log_softmax(2).gather(2, tokens[:, 1:, None]).sum((1, 2))
    torch.testing.assert_close(model.log_prob(tokens), expected)


def test_one_hot_vectors_pick_columns_of_the_first_matrix():
    model, tokens = model_of("rnn", embedding=0, layers=1), text(1, 4)
    own = dict(model.layers.named_parameters())
    h = torch.zeros(6, dtype=torch.float64)
    for token in tokens[0]:
        inside = own["weight_ih_l0"][:, token] + own["bias_ih_l0"] + own["weight_hh_l0"] @ h + own["bias_hh_l0"]
        h = inside.tanh()
    torch.testing.assert_close(model(tokens)[0][0, -1], h)


@pytest.mark.parametrize("changes", [{}, {"tied": True}, {"cutoffs": (2, 4), "width": 16}, {"learn_normalizer": True}])
def test_log_probs_are_those_of_the_logits(changes):
    model, tokens = model_of(**changes), text()
    if model.log_z is not None:
        nn.init.constant_(model.log_z, 0.7)
    features, _ = model(tokens)
    table = model.logits(features).log_softmax(2)
    found, _ = model.log_probs(tokens[:, :-1], tokens[:, 1:])
    torch.testing.assert_close(found, table[:, :-1].gather(2, tokens[:, 1:, None]).squeeze(2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"cutoffs": (2, 4), "width": 16}])
def test_in_half_precision_losses_stay_whole(kind, changes):
    model, tokens = model_of(kind, **changes), text()
    exact = model.log_probs(tokens, tokens)[0].detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        found, state = model.float().log_probs(tokens, tokens)
        again, _ = model.log_probs(tokens, tokens, state.detach())
        (found + again).sum().backward()
        model.step(tokens[:, 0], state)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("changes", [{}, {"tied": True}, {"learn_normalizer": True}])
def test_single_scores_are_entries_of_the_logits(changes):
    model = model_of(**changes)
    features = model(text())[0].flatten(0, 1)
    logits, right, few = model.logits(features), text().flatten(), torch.tensor([[5, 0, 5]])
    torch.testing.assert_close(model.scores(features, right), logits.gather(1, right[:, None]).squeeze(1))
    torch.testing.assert_close(model.scores(features, few), logits[:, few[0]])


def test_a_tied_softmax_has_the_embedding_and_a_bias_alone():
    names = [name for name, _ in model_of(tied=True).named_parameters() if not name.startswith("layers")]
    assert sorted(names) == ["bias", "embedding.weight"]


def test_dropout_is_on_all_connections_but_the_recurrent_ones():
    """With a single layer and all zeroed the state still moves; with two, nothing of the embedding reaches the end."""
    model = model_of("rnn", layers=1, dropout=0.999999)
    torch.manual_seed(0)
    features, state = model(text())
    assert features.count_nonzero() == 0
    own = dict(model.layers.named_parameters())
    h = torch.zeros(6, dtype=torch.float64)
    for _ in range(9):  # of biases and its own past alone
        h = (own["bias_ih_l0"] + own["bias_hh_l0"] + own["weight_hh_l0"] @ h).tanh()
    torch.testing.assert_close(state[0, 0, 0], h)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_completion_is_a_loop_over_the_whole_text(kind):
    model, tokens = model_of(kind).eval(), text(2, 3)
    found = model.complete(tokens, 5, SamplingOptions(temperature=0.0))
    for _ in range(5):
        tokens = torch.cat([tokens, model.logits(model(tokens)[0][:, -1]).argmax(1, keepdim=True)], 1)
    assert found.equal(tokens)


def test_a_beam_as_wide_as_all_sequences_finds_the_most_probable():
    model, prompt = model_of().eval(), text(1, 2)
    every = torch.cartesian_prod(*[torch.arange(V)] * 2)
    whole = torch.cat([prompt.expand(len(every), -1), every], 1)
    assert model.complete(prompt, 2, beams=V**2).equal(whole[model.log_prob(whole).argmax(), None])


def test_completion_draws_by_the_seed_and_a_single_token_is_a_prompt():
    model, prompt = model_of().eval(), torch.tensor([[3]])
    assert model.complete(prompt, 9, seed=1).equal(model.complete(prompt, 9, seed=1))
    assert not model.complete(prompt, 9, seed=1).equal(model.complete(prompt, 9, seed=2))
    assert model.complete(prompt, 0).equal(prompt)


def test_a_scale_draws_everything():
    model = LanguageModel(50, width=30, scale=0.05)
    for name, parameter in model.named_parameters():
        assert 0.04 < parameter.abs().max() <= 0.05, name


def test_it_is_built_again_from_its_description():
    page = describe(model_of("convolution", cutoffs=(2, 4), width=16, dilated=True))
    assert build(page).arguments["cutoffs"] == [2, 4]


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tied": True, "embedding": 3}, "differ"),
        ({"tied": True, "embedding": 0}, "one-hot"),
        ({"tied": True, "cutoffs": (2,)}, "tied"),
        ({"cutoffs": (4, 2)}, "must increase"),
        ({"cutoffs": (2, 7)}, "less than vocabulary=7"),
        ({"cutoffs": (2, 4)}, "a width of at least 16"),
        ({"kernel": 5}, "kernel"),
        ({"scale": 0.1, "forget_bias": 1.0}, "scale"),
        ({"kind": "convolution", "forget_bias": 1.0}, "forget_bias=1.0 is for recurrent .* use forget_bias=None"),
        ({"embedding": -1}, "embedding"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        model_of(**changes)


def test_a_prompt_and_a_likelihood_need_tokens():
    with pytest.raises(ValueError, match="prompt is empty"):
        model_of().complete(torch.empty(1, 0, dtype=torch.long), 3)
    with pytest.raises(ValueError, match="use at least 2 tokens"):
        model_of().log_prob(text(1, 1))
