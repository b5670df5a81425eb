"""Drawing tokens: by the right probabilities, each row by itself, whatever the model carries."""

import pytest
import torch
from scipy.stats import chisquare
from torch import nn

from danlu.errors import RunError
from danlu.sampling import SamplingOptions, draw, generate, read, repeat_rows, take_rows

CHAIN = torch.tensor([[0.1, 0.6, 0.3, 0.0], [0.4, 0.3, 0.2, 0.1], [0.05, 0.05, 0.8, 0.1], [0.25, 0.25, 0.25, 0.25]])


def markov(tokens, state):
    return CHAIN.log()[tokens], state


def drawn(*asked, **settings):
    return torch.stack(list(generate(*asked, **settings)), 1)


# --- what is chosen ---------------------------------------------------------------------------------------------------


def test_greedy_takes_the_most_probable_token():
    greedy = drawn(markov, torch.tensor([0, 1, 2]), options=SamplingOptions(temperature=0.0), length=3)
    assert greedy.tolist() == [[1, 0, 1], [0, 1, 0], [2, 2, 2]]


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-300])
def test_however_low_a_temperature_is_it_draws_what_is_likeliest(temperature):
    start = torch.arange(3)
    assert drawn(markov, start, options=SamplingOptions(temperature), length=3).tolist() == [
        [1, 0, 1],
        [0, 1, 0],
        [2, 2, 2],
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_come_as_often_as_they_are_probable(temperature):
    start = torch.arange(4).repeat_interleave(20_000)
    (first,) = generate(markov, start, options=SamplingOptions(temperature=temperature), length=1, seed=3)
    for token in range(4):
        expected = CHAIN[token] ** (1 / temperature)
        counts = first[start == token].bincount(minlength=4)
        possible = expected > 0
        assert int(counts[~possible].sum()) == 0
        wanted = (expected / expected.sum() * 20_000)[possible].double()
        assert chisquare(counts[possible], wanted * 20_000 / wanted.sum()).pvalue > 1e-4


def test_the_second_token_follows_the_first():
    both = drawn(markov, torch.zeros(40_000, dtype=torch.long), length=2, seed=1)
    for token in (1, 2):
        counts = both[both[:, 0] == token, 1].bincount(minlength=4)
        assert chisquare(counts, CHAIN[token].double() / CHAIN[token].double().sum() * counts.sum()).pvalue > 1e-4
    joint = (both[:, 0] * 4 + both[:, 1]).bincount(minlength=16).view(4, 4)
    expected = (CHAIN[0][:, None] * CHAIN).double()
    assert chisquare(joint[expected > 0], expected[expected > 0] / expected.sum() * 40_000).pvalue > 1e-4


def test_filters_leave_the_proportions_of_what_remains():
    start = torch.ones(40_000, dtype=torch.long)
    (first,) = generate(markov, start, options=SamplingOptions(top_k=2), length=1)
    counts = first.bincount(minlength=4)
    assert counts[2:].tolist() == [0, 0]
    assert chisquare(counts[:2], torch.tensor([4 / 7, 3 / 7], dtype=torch.float64) * 40_000).pvalue > 1e-4


def test_draw_shares_the_interval_out_by_probability():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 7, generator=generator).double()
    logits[logits < -1] = -torch.inf
    uniform = torch.rand(50, generator=generator).double()
    for row, u, token in zip(logits.softmax(1), uniform, draw(logits, uniform), strict=True):
        below, chosen = 0.0, None
        for number, fraction in enumerate(row.tolist()):
            if below <= u < below + fraction:
                chosen = number
            below += fraction
        assert chosen == int(token)
    edge = torch.tensor([[0.0, 0.5, 0.5, 0.0]]).log().expand(2, 4)
    assert draw(edge, torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist() == [1, 2]  # never what is impossible


def test_an_impossible_token_is_never_drawn():
    logits = torch.full((1000, 5), -torch.inf)
    logits[:, 2] = 0
    assert set(draw(logits, torch.rand(1000)).tolist()) == {2}


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": -1.0}, "temperature=-1.0 must be a finite number >= 0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_k": 0}, "top_k=0 must be at least 1"),
        ({"top_p": 0.0}, "top_p=0.0 must be greater than 0"),
        ({"min_p": 2.0, "repetition_penalty": 0.0}, "min_p=2.0 .*; repetition_penalty=0.0 must be a finite number > 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        SamplingOptions(**settings)


@pytest.mark.unchecked
@pytest.mark.parametrize("options", [SamplingOptions(), SamplingOptions(0.0), SamplingOptions(top_p=0.9, min_p=0.1)])
@pytest.mark.parametrize(
    ("value", "said"), [(-torch.inf, "all logits are -inf"), (torch.nan, "contain NaN"), (torch.inf, r"contain \+inf")]
)
def test_a_row_without_a_next_token_is_an_error(options, value, said):
    """The second token of row 1; a row that has ended needs no next token."""
    table = torch.zeros(4, 4).fill_diagonal_(50.0)[[1, 2, 3, 0]]  # 0 → 1 → 2 → 3 → 0
    table[3] = value

    def step(tokens, state):
        return table[tokens], state

    with pytest.raises(RunError, match=f"token 2 of row 1 cannot be sampled: .*{said}"):
        drawn(step, torch.tensor([0, 2]), options=options, length=3)
    rows = drawn(step, torch.tensor([0, 2]), options=options, length=3, end=3)
    assert rows.tolist() == [[1, 2, 3], [3, 3, 3]]
    with pytest.raises(RunError, match=said):
        draw(table, torch.zeros(4))


@pytest.mark.parametrize("options", [SamplingOptions(), SamplingOptions(0.0), SamplingOptions(top_p=0.9, top_k=2)])
def test_an_empty_batch_gives_empty_tokens(options):
    none = torch.empty(0, dtype=torch.long)
    steps = list(generate(markov, none, options=options, length=3))
    assert [tuple(tokens.shape) for tokens in steps] == [(0,)] * 3
    assert draw(torch.zeros(0, 4), torch.zeros(0)).shape == (0,)


@pytest.mark.unchecked
@pytest.mark.parametrize("end", [-1, 4, 99])
def test_an_end_outside_the_vocabulary_is_an_error(end):
    with pytest.raises(ValueError, match=f"end={end} is not a token of the vocabulary; give a number from 0 to 3"):
        drawn(markov, torch.tensor([0]), length=2, end=end)


@pytest.mark.parametrize("temperature", [1e-2, 1e-4, 1e-5, 1e-7])
def test_low_temperatures_do_not_overflow_in_float16(temperature):
    logits = torch.tensor([[200.0, 400.0, 100.0]]).half()
    options = SamplingOptions(temperature=temperature)
    (first,) = generate(
        lambda tokens, state: (logits.expand(len(tokens), 3), state), torch.zeros(4).long(), None, options, 1
    )
    assert first.tolist() == [1] * 4


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_does_not_depend_on_others():
    start = torch.tensor([0, 1, 2, 3, 1, 0, 2])
    together = drawn(markov, start, length=20, seed=5)
    for count in (1, 3):
        assert torch.equal(drawn(markov, start[:count], length=20, seed=5), together[:count])
    changed = start.clone()
    changed[1] = 3
    others = [0, 2, 3, 4, 5, 6]
    assert torch.equal(drawn(markov, changed, length=20, seed=5)[others], together[others])
    assert not torch.equal(drawn(markov, start, length=20, seed=6), together)


def test_equal_prompts_draw_different_continuations():
    rows = drawn(markov, torch.zeros(8, dtype=torch.long), length=20)
    assert len(set(map(tuple, rows.tolist()))) == 8


def test_tokens_come_as_soon_as_they_are_known_and_rows_end():
    calls = []

    def counting(tokens, state):
        calls.append(tokens.tolist())
        return nn.functional.one_hot((tokens + 1).clamp_max(5), 6).float() * 99, state

    stream = generate(counting, torch.tensor([1, 3]), options=SamplingOptions(temperature=0.0), end=5)
    assert next(stream).tolist() == [2, 4]
    assert len(calls) == 1  # nothing is computed ahead
    assert [tokens.tolist() for tokens in stream] == [[3, 5], [4, 5], [5, 5]]
    assert not torch.is_inference_mode_enabled()


def test_nothing_is_remembered_for_gradients_and_the_caller_keeps_his_own():
    weight = torch.ones(4, requires_grad=True)
    stream = generate(lambda tokens, state: (CHAIN[tokens] * weight, state), torch.tensor([0]), length=2)
    next(stream)
    assert torch.is_grad_enabled()


def test_the_repetition_penalty_counts_prompt_and_what_was_drawn():
    from transformers import RepetitionPenaltyLogitsProcessor

    generator = torch.Generator().manual_seed(1)
    table = torch.randn(9, 9, generator=generator)
    prompt = torch.tensor([[4, 4, 7], [0, 1, 2]])
    processor = RepetitionPenaltyLogitsProcessor(5.0)
    ids, expected = prompt, []
    for _ in range(6):
        ids = torch.cat([ids, processor(ids, table[ids[:, -1]]).argmax(1, keepdim=True)], 1)
        expected.append(ids[:, -1])
    choice = SamplingOptions(temperature=0.0, repetition_penalty=5.0)
    ours = drawn(lambda t, s: (table[t], s), prompt[:, -1], options=choice, length=6, seen=prompt)
    assert torch.equal(ours, torch.stack(expected, 1))
    plain = drawn(lambda t, s: (table[t], s), prompt[:, -1], options=SamplingOptions(temperature=0.0), length=6)
    assert not torch.equal(ours, plain)


# --- what a model carries ---------------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    """An LSTM, whose state is (layers, n, h) twice."""

    def __init__(self):
        super().__init__()
        self.embed, self.lstm, self.head = nn.Embedding(6, 8), nn.LSTM(8, 8, 2, batch_first=True), nn.Linear(8, 6)

    def forward(self, tokens, state):
        h, state = self.lstm(self.embed(tokens)[:, None], state)
        return 5 * self.head(h[:, 0]), state


def attending(table):
    """A cache that grows along time, in a dictionary: each logit is a mean over all tokens so far, weighted by age."""

    def step(tokens, state):
        seen = torch.cat([state["seen"], tokens[:, None]], 1)
        weights = 0.5 ** torch.arange(seen.shape[1] - 1, -1, -1.0)
        return (table[seen] * weights[:, None]).sum(1), {"seen": seen, "nothing": None}

    return step


def test_a_prompt_is_read_to_its_last_token():
    torch.manual_seed(0)
    model = Recurrent().double()
    prompt = torch.tensor([[1, 2, 3, 4], [5, 0, 0, 1]])
    last, state = read(model, prompt)
    logits, _ = model(last, state)
    whole, _ = model.lstm(model.embed(prompt))
    torch.testing.assert_close(logits, 5 * model.head(whole[:, -1]))
    with pytest.raises(ValueError, match="at least one token"):
        read(model, prompt[:, :0])


def test_rows_of_any_state_are_taken_alike():
    rows = torch.tensor([2, 0, 0])
    h, c = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    taken = take_rows((h, [c, None]), rows, dim=1)
    assert isinstance(taken, tuple)
    assert torch.equal(taken[0], h[:, rows])
    assert torch.equal(taken[1][0], c[:, rows])
    assert torch.equal(take_rows({"k": c}, torch.tensor([1, 1]))["k"], c[[1, 1]])
    assert torch.equal(repeat_rows(h, 2, 3, dim=1), h[:, [0, 0, 1, 1, 2, 2]])
    with pytest.raises(TypeError, match="got str"):
        take_rows(("x",), rows)


@pytest.mark.parametrize(
    "choice", [SamplingOptions(temperature=0.0), SamplingOptions(), SamplingOptions(top_p=0.8, temperature=1.3)]
)
def test_a_cache_gives_what_the_whole_text_gives(choice):
    table = torch.randn(6, 6, generator=torch.Generator().manual_seed(2)).double()
    step = attending(table)
    start = torch.tensor([0, 3, 5])
    cached = drawn(step, start, {"seen": torch.empty(3, 0, dtype=torch.long)}, choice, length=10, seed=2)
    ids = start[:, None]
    for position in range(10):
        logits, _ = step(ids[:, -1], {"seen": ids[:, :-1]})
        torch.manual_seed(0)  # which must not matter
        fixed = drawn(step, start, {"seen": torch.empty(3, 0, dtype=torch.long)}, choice, length=position + 1, seed=2)
        assert bool(choice.filtered(logits).gather(1, fixed[:, -1:]).isfinite().all())
        ids = torch.cat([ids, fixed[:, -1:]], 1)
    assert torch.equal(ids[:, 1:], cached)
