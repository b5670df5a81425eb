"""Experiments on sequences: what they rest on against something independent, and verdicts on numbers made by hand."""

import itertools
import math

import numpy as np
import pytest
import torch

from danlu.data import Part
from danlu.experiments.harness import two_character_models
from danlu.experiments.harness.criteria import favorable
from danlu.experiments.harness.recall_task import SYMBOLS, AnyLag, sequences
from danlu.experiments.sequences import beam_search, nce_gradient, nce_normalizer, spectral_radius, vanishing_gradient
from danlu.models import LanguageModel

HOLDS, LIMITS, NOT = "holds", "holds with limits", "does not hold"


def drawn(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# spectral radius


@pytest.mark.parametrize("scale", [1e-100, 1.0])
def test_gradients_are_products_of_slopes_and_matrices(scale):
    """Where states are tiny all slopes are 1, and the product is a power of the matrix."""
    weight, x, towards = drawn(5, 5), scale * drawn(3, 7, 5, seed=1), drawn(3, 5, seed=2)
    found = spectral_radius.gradients(weight, x, towards)
    w, logs = weight.numpy(), []
    for row, direction in zip(x.numpy(), towards.numpy(), strict=True):
        states, h = [], np.zeros(5)
        for entry in row:
            h = np.tanh(w @ h + entry)
            states.append(h)
        by_input, norms = (1 - states[-1] ** 2) * direction, []
        for state in [*states[-2::-1], None]:
            norms.append(np.log(np.linalg.norm(by_input)))
            if state is not None:
                by_input = (1 - state**2) * (w.T @ by_input)
        logs.append(norms)
    np.testing.assert_allclose(found, np.exp(np.mean(logs, 0)), rtol=1e-9)
    if scale < 1:
        power = np.linalg.matrix_power(w.T, 6) @ towards.numpy().T
        assert found[-1] == pytest.approx(np.exp(np.log(np.linalg.norm(power, axis=0)).mean()))


def test_states_without_inputs_are_powers_of_the_matrix():
    weight, start = drawn(4, 4), 1e-100 * drawn(2, 4, seed=1)
    ends = np.linalg.norm(np.linalg.matrix_power(weight.numpy(), 5) @ start.numpy().T, axis=0)
    lengths = np.linalg.norm(start.numpy(), axis=1)
    found = spectral_radius.states(weight, start, 5)
    assert (len(found), found[0]) == (6, 1.0)
    assert found[-1] == pytest.approx(np.exp(np.log(ends / lengths).mean()))


def test_matrices_made_by_hand_are_what_they_are_said_to_be():
    eigenvalues = np.linalg.eigvals(spectral_radius.chain().numpy())
    np.testing.assert_allclose(abs(eigenvalues), 0.9)
    weight, state, holding = spectral_radius.held_pair()
    assert abs(np.linalg.eigvals(weight.numpy())).max() == pytest.approx(0.9)
    torch.testing.assert_close(torch.tanh(weight @ state + holding), state)
    slopes = np.linalg.eigvals((1 - state.numpy() ** 2)[:, None] * weight.numpy())
    assert abs(slopes).max() > 1.2


# vanishing gradients


def test_the_symbol_that_is_asked_for_is_the_marked_one():
    part = sequences(50, 6, seed=3)
    tokens = part["token"]
    assert torch.equal(part["target"][:, -1], tokens[:, 0] - SYMBOLS)
    assert (tokens[:, 1:-1] < SYMBOLS).all()
    assert (tokens[:, -1] == 2 * SYMBOLS).all()
    assert part["valid"].sum(1).tolist() == [1] * 50
    assert part["valid"][:, -1].all()


def test_lags_of_a_stream_are_uniform_in_their_logarithm_and_functions_of_the_position():
    stream = AnyLag(100, 4, seed=0)
    lags = torch.tensor([stream.batch(p, slice(0, 4))["token"].shape[1] - 1 for p in range(400)]).double()
    assert (lags.min(), lags.max()) == (1, 100)
    assert (lags <= 10).double().mean().item() == pytest.approx(math.log(10.5) / math.log(100), abs=0.08)
    whole, half = AnyLag(100, 4, seed=0).batch(7, slice(0, 4)), stream.batch(7, slice(2, 4))
    assert torch.equal(whole["token"][2:], half["token"])


class Rememberer:
    """Names the first symbol, or always the same one."""

    def __init__(self, knows):
        self.knows = knows

    def __call__(self, tokens):
        answers = (tokens[:, :1] - SYMBOLS) * self.knows
        return torch.nn.functional.one_hot(answers, SYMBOLS).double().expand(-1, tokens.shape[1], -1), None

    def logits(self, features):
        return features


def test_recall_is_the_fraction_of_right_answers():
    assert vanishing_gradient.recall(Rememberer(1), 9, 0) == 1.0
    assert vanishing_gradient.recall(Rememberer(0), 9, 0) == pytest.approx(1 / SYMBOLS, abs=0.06)


def test_a_network_learns_a_short_lag_and_is_not_asked_for_longer_ones_once_it_fails():
    assert vanishing_gradient.recall_by_lag("RNN", 0, (1,), 120)[0] > vanishing_gradient.RIGHT
    assert len(vanishing_gradient.recall_by_lag("RNN", 0, (1, 2, 3), 1)) == 1


def test_gradients_of_an_rnn_are_products_of_its_slopes(monkeypatch):
    monkeypatch.setattr(vanishing_gradient, "BEFORE", 2)
    model = vanishing_gradient.network("RNN", 0)
    found = vanishing_gradient.gradients(model, 5, steps=4)
    layer = {name: value.detach().double().numpy() for name, value in model.layers.named_parameters()}
    into, w = layer["weight_ih_l0"], layer["weight_hh_l0"]
    bias = layer["bias_ih_l0"] + layer["bias_hh_l0"]
    tokens = sequences(32, 6, 5)["token"].numpy()
    towards = torch.randn(32, 32, dtype=torch.float64, generator=vanishing_gradient.generator("towards", 5)).numpy()
    logs = []
    for row, direction in zip(tokens, towards, strict=True):
        h, slopes = np.zeros(32), []
        for token in row:
            h = np.tanh(w @ h + into[:, token] + bias)
            slopes.append(1 - h**2)
        by_sum = slopes[-1] * direction
        norms = [np.log(np.linalg.norm(into.T @ by_sum))]
        for slope in slopes[-2::-1][:4]:
            by_sum = slope * (w.T @ by_sum)
            norms.append(np.log(np.linalg.norm(into.T @ by_sum)))
        logs.append(norms)
    expected = np.exp(np.mean(logs, 0))
    np.testing.assert_allclose(found, expected / expected[0], rtol=1e-8)


def test_lags_and_factors_by_hand():
    lags, recalls = (2, 4, 8, 16), [1.0, 0.95, 0.9, 0.2]
    assert vanishing_gradient.largest_lag(lags, recalls) == 8
    assert vanishing_gradient.largest_lag(lags, [0.3]) == 1
    assert vanishing_gradient.vanishing_lag([1.0, 0.1, 0.011, 0.001]) == 3
    assert vanishing_gradient.vanishing_lag([1.0, 0.1]) == 2
    curves = {"RNN": [[1.0, 0.1, 0.001]], "LSTM": [[1.0] * 50]}
    arms = vanishing_gradient._arms(lags, curves, {"RNN": [recalls], "LSTM": [[0.1]]})
    assert arms["RNN"]["learned, factor"] == [pytest.approx(8 / 7)]
    assert arms["RNN"]["gradient, factor"] == [3.5]
    assert arms["LSTM"]["gradient, factor"] == [2.0]
    assert [arms[name]["gradient later"] for name in curves] == [[0.001], [1.0]]


def spans(rnn, lstm, recall=0.1):
    """Made-up values of two seeds: lags that are learned and at which gradients vanish."""
    module = vanishing_gradient
    known = lambda steps, claimed: {  # noqa: E731
        "gradient": [steps] * 2, "learned": [steps] * 2, "shortest lag": [1.0, 1.0], "gradient later": [steps] * 2,
        "gradient, factor": [module.factor(steps, claimed)] * 2, "learned, factor": [module.factor(steps, claimed)] * 2,
    }  # fmt: skip
    arms = {module.RNN: known(rnn, module.OF_RNN), module.LSTM: known(lstm, module.OF_LSTM)}
    return {**arms, module.BIAS_1: known(lstm, module.OF_LSTM), module.RNN_MIXED: {"recall": [recall] * 2}}


@pytest.mark.parametrize(
    ("arms", "word"),
    [
        (spans(7, 100), HOLDS),
        (spans(14, 200), HOLDS),
        (spans(7, 100, recall=1.0), LIMITS),  # it learns no more, and forgets nothing
        (spans(7, 20), LIMITS),
        (spans(20, 200), LIMITS),
        (spans(100, 7), NOT),
        (spans(30, 30), NOT),
    ],
)
def test_about_7_and_about_100_are_within_a_factor_of_2(arms, word):
    assert vanishing_gradient.CRITERIA.judge(arms).word == word


# noise-contrastive estimation


@pytest.fixture(scope="module")
def known():
    return nce_gradient.language(0)


def by_words(known):
    """Gradient of every score by all parameters, (contexts, words, parameters)."""
    parameters, logits = list(known.model.parameters()), known.logits()
    found = [
        torch.cat([g.flatten() for g in torch.autograd.grad(score, parameters, retain_graph=True)])
        for score in logits.flatten()
    ]
    return torch.stack(found).view(*logits.shape, -1).numpy(), logits.detach().numpy()


@pytest.mark.parametrize(("noise", "k"), [("unigram", 1), ("uniform", 20), ("poor", 7)])
def test_the_expected_gradient_is_that_of_the_formula(known, noise, k):
    r"""Sum over words of kq / (kq + u) times (p - u) times the gradient of the score; of independent noise."""
    scores, logits = by_words(known)
    p, q, log_z = known.truth.numpy(), known.noise(noise).numpy(), np.array([0.0, 1.0, -0.5, 2.0])
    u = np.exp(logits - np.log(np.exp(logits).sum(1, keepdims=True)) + log_z[:, None])
    expected = np.einsum("cw,cwn->n", k * q / (k * q + u) * (p - u), scores) / len(p)
    found = nce_gradient.contrastive(known, known.noise(noise), k, torch.tensor(log_z, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), -expected, rtol=1e-8, atol=1e-12)


def test_the_gradient_of_the_likelihood_is_the_difference_of_two_means(known):
    scores, logits = by_words(known)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = np.einsum("cw,cwn->n", known.truth.numpy() - softmax, scores) / len(softmax)
    np.testing.assert_allclose(nce_gradient.likelihood(known).numpy(), -expected, rtol=1e-8, atol=1e-12)


def test_only_poor_noise_lacks_words(known):
    lacking = {kind: int((known.noise(kind) == 0).sum()) for kind in ("unigram", "uniform", "poor")}
    assert lacking == {"unigram": 0, "uniform": 0, "poor": nce_gradient.UNSEEN}


def test_normalizers_are_sums_over_the_vocabulary_after_every_word():
    torch.manual_seed(0)
    model = LanguageModel(vocabulary=7, width=6, layers=1).double()
    tokens = torch.randint(7, (16 * 130 + 1,))  # sixteen lanes of 130, in two batches
    found, loss = nce_normalizer.normalizers(model, Part({"token": tokens}))
    with torch.no_grad():
        logits = model.logits(model(tokens[:-1].view(16, 130))[0])
    sums = np.log(np.exp(logits.numpy()).sum(2))
    np.testing.assert_allclose(np.sort(found.numpy()), np.sort(sums.flatten()), rtol=1e-10)
    lanes = torch.stack([tokens[130 * lane : 130 * lane + 131] for lane in range(16)])
    assert loss == pytest.approx(-float(model.log_prob(lanes).detach().mean()) / 130)


@pytest.mark.parametrize("name", nce_normalizer.OBJECTIVES)
def test_a_model_begins_with_the_log_z_that_is_said(name):
    way = nce_normalizer.OBJECTIVES[name]
    model = nce_normalizer.task(way, 0).model
    found, _ = nce_normalizer.normalizers(model, Part({"token": torch.arange(100)}))
    assert found.mean().item() == pytest.approx(way.begin, abs=0.05)


def test_what_is_said_of_normalizers():
    log_z = torch.tensor([0.0, 0.5, -0.65, 0.75, 99.0])
    found = nce_normalizer.described(log_z)
    assert found["close"] == pytest.approx(3 / 5)
    assert found["size"] == pytest.approx((0.5 + 0.65 + 0.75 + 99) / 5)
    counts = nce_normalizer.histogram(log_z)
    assert (sum(counts), counts[-1]) == (pytest.approx(1.0), pytest.approx(1 / 5))


def test_the_loss_of_word_frequencies_by_hand():
    part, test = Part({"token": torch.tensor([0, 0, 0, 1])}), Part({"token": torch.tensor([5, 0, 1])})
    total = 4 + nce_normalizer.WORDS
    expected = -(math.log(4 / total) + math.log(2 / total)) / 2  # the first word of a text is never predicted
    assert nce_normalizer.unigram_loss(part, test) == pytest.approx(expected)


def normalized(close=1.0, few=1.0, size=0.1, loss=3.5):
    """Made-up values of two seeds."""
    arms = {
        name: {"close": [close] * 2, "size": [size] * 2, "cross-entropy": [loss] * 2}
        for name in nce_normalizer.OBJECTIVES
    }
    arms[nce_normalizer.FEW]["close"] = [few] * 2
    arms[nce_normalizer.LIKELIHOOD]["size"] = [2.0] * 2
    return {**arms, nce_normalizer.UNIGRAM: {"cross-entropy": [5.5] * 2}}


@pytest.mark.parametrize(
    ("arms", "word"),
    [
        (normalized(), HOLDS),
        (normalized(few=0.1), LIMITS),
        (normalized(size=1.5), LIMITS),  # cross-entropy comes as near
        (normalized(close=0.8, size=1.5), NOT),
        (normalized(loss=5.4), "not decided"),  # what has learned nothing may have any normalizer
    ],
)
def test_nce_normalizer(arms, word):
    assert nce_normalizer.CRITERIA.judge(arms).word == word


# searches


@pytest.mark.parametrize("chances", [two_character_models.NOTES, two_character_models.TRAP])
def test_words_of_two_characters_have_their_chances(chances):
    words = two_character_models.Words.of(chances)
    assert sum(chances.values()) == pytest.approx(1.0)
    start = torch.zeros(1, dtype=torch.long)
    for first, second in itertools.product(range(1, len(words.characters)), repeat=2):
        log_p = words.step(start, None)[0].log_softmax(1)[0, first]
        log_p = log_p + words.step(torch.tensor([first]), None)[0].log_softmax(1)[0, second]
        word = words.characters[first] + words.characters[second]
        if words.step(start, None)[0][0, first].isfinite():
            assert log_p.exp().item() == pytest.approx(chances.get(word, 0.0))


def test_the_notes_table_misleads_greedy_search_and_the_trap_two_beams():
    notes, trap = (
        two_character_models.Words.of(some) for some in (two_character_models.NOTES, two_character_models.TRAP)
    )
    assert [notes.search(beams)["word"] for beams in (1, 2)] == ["大妈", "苹果"]
    assert notes.search(1)["probability"] == 0.12
    assert [trap.search(beams)["word"] == "苹果" for beams in (1, 2, 3)] == [False, False, True]


@torch.no_grad()
def test_searches_on_a_model_against_all_its_sequences(monkeypatch):
    monkeypatch.setattr(beam_search, "LENGTH", 2)
    torch.manual_seed(0)
    model = LanguageModel(vocabulary=5, width=6, layers=1).double()
    for parameter in model.parameters():
        parameter.mul_(4.0)
    asked = torch.randint(5, (3, 4))
    found = beam_search.search_results(model, asked, (1, 5))
    for length, of in ((3, found["best"]), (2, found["long"]["5"])):  # five beams lose no beginning of two tokens
        every = torch.tensor(list(itertools.product(range(5), repeat=length)))
        for prompt, best in zip(asked, of, strict=True):
            rows = torch.cat([prompt.expand(len(every), -1), every], 1)
            after = model.log_prob(rows) - model.log_prob(rows[:, :4])
            assert best == pytest.approx(after.max().item())
    rows = asked
    for _ in range(2):
        rows = torch.cat([rows, model.logits(model(rows)[0][:, -1]).argmax(1, keepdim=True)], 1)
    greedy = model.log_prob(rows) - model.log_prob(asked)
    np.testing.assert_allclose(found["long"]["1"], greedy.numpy())


def test_prompts_are_pieces_of_the_text_from_beginning_to_end():
    found = beam_search.prompts(Part({"token": torch.arange(1000)}), 5)
    assert (found[:, 1:] - found[:, :-1] == 1).all()
    assert (found[0, 0], found[-1, -1]) == (0, 999)


def test_who_is_beaten():
    run = {"long": {"1": [-9.0, -5.0], "8": [-7.0, -5.0], "64": [-6.0, -6.0]}, "best": [-1.0, -2.0],
           "short": {"1": [-3.0, -2.0], "8": [-1.0, -2.0]}}  # fmt: skip
    assert [beam_search.beaten(run, beams, "long") for beams in (1, 8, 64)] == [0.5, 0.5, 0.5]
    assert [beam_search.beaten(run, beams, "short") for beams in (1, 8)] == [0.5, 0.0]
    assert beam_search.worse(run) == 0.5


def test_growth_is_the_weakest_above_radius_1_and_the_strongest_below():
    radii = [0.8, 0.9, 1.0, 1.05, 1.2]
    linear = {"0.8": 1e-5, "0.9": 1e-3, "1.0": 1.0, "1.05": 50.0, "1.2": 1e6}
    runs = {r: [[2.0, 2.0 * end]] for r, end in linear.items()}
    strong = {r: [[1.0, end / 100]] for r, end in linear.items()}
    gradients = {spectral_radius.LINEAR: runs, **dict(zip(spectral_radius.TANH, (runs, strong), strict=True))}
    grown = {"radii": radii, "gradients": gradients, "states": {"linear": runs, "tanh": runs}}
    chain = {"chain": {"gradient": [1.0, 8.0, 2.0]}, "pair": {"gradient": [2.0, 6.0]}}
    arms = spectral_radius._arms(grown, [chain])
    close = lambda *values: [pytest.approx(value) for value in values]  # noqa: E731
    assert list(arms["linear"].values()) == [close(1e-3), close(1.0), close(50.0)]
    assert list(arms["tanh"].values()) == [close(1e-3), close(1.0), close(0.5)]
    assert (arms["chain"], arms["pair"]) == ({"largest growth": [8.0]}, {"growth": [3.0]})


def test_a_gradient_of_other_scores_does_not_agree(monkeypatch):
    """Scores with log Z = 1 in place of those with Z = 1."""
    real = nce_gradient.contrastive
    monkeypatch.setattr(nce_gradient, "contrastive", lambda known, q, k, log_z: real(known, q, k, log_z + 1))
    monkeypatch.setattr(nce_gradient, "AMOUNTS", (100, 1000))
    judgment = nce_gradient.EXPERIMENT.run(quick=True).verdict.judgment
    assert {judgment.finding(nce_gradient.AGREE[name].clause).state for name in nce_gradient.CLAIMED} == {"refuted"}


@pytest.mark.parametrize(("loss", "learns"), [(4.6, False), (3.9, True)])
@pytest.mark.parametrize(("close", "is_close"), [(0.12, False), (0.99, True)])
def test_what_happens_with_ten_noise_words_is_said_first(loss, learns, close, is_close):
    module, arms = nce_normalizer, favorable(nce_normalizer.CRITERIA)
    arms[module.FEW] |= {"close": [close] * 5, "cross-entropy": [loss] * 5, "mean": [0.99] * 5}
    arms[module.UNIGRAM]["cross-entropy"] = [4.25] * 5
    arms[module.LIKELIHOOD] |= {"close": [0.25] * 5, "cross-entropy": [3.5] * 5}
    for name in module.CLOSE:
        arms[name]["cross-entropy"] = [3.6] * 5
    text = module.EXPERIMENT.verdict({"arms": arms}).reason
    assert "With cross-entropy from log Z = 2 it is in 25 % of them" in text
    few = text[text.index("with NCE") :].partition(". ")[2]
    failure = (
        "With 10 noise words the model does not learn: its cross-entropy is 4.6, that of the frequencies of words 4.25."
    )
    assert few.startswith(failure) == (not learns)
    subject = "With 10 noise words" if learns else "Its"
    assert (f"{subject} Z is not close to 1: it is between 1/2 and 2 in 12 % of the contexts" in few) == (not is_close)
