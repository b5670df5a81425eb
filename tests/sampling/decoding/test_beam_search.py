"""Beam search: exhaustive when it may be, equal to transformers' on the same scores, and the notes' example."""

import itertools
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from danlu.errors import RunError
from danlu.sampling import Penalty, SamplingOptions, beam_search, generate, read, take_rows

V = 4


def with_memory(seed=0, v=V):
    """Logits that depend on the last two tokens; the state is a tuple, or a cache that grows."""
    table = 2 * torch.randn(v, v, v, generator=torch.Generator().manual_seed(seed)).double()

    def recurrent(tokens, state):
        (before,) = state
        return table[before, tokens], (tokens,)

    def cached(tokens, state):
        seen = torch.cat([state["seen"], tokens[:, None]], 1)
        return table[seen[:, -2], seen[:, -1]], {"seen": seen}

    return table, recurrent, cached


def exhaustive(table, before, token, length, end, penalty):
    """Every sequence with its log-probability and score, the best first."""
    found = []

    def go_on(before, token, sequence, total):
        if len(sequence) == length or (sequence and sequence[-1] == end):
            found.append((total / penalty(len(sequence)), total, sequence))
            return
        log_probs = table[before, token].log_softmax(0)
        for k, value in enumerate(log_probs.tolist()):
            go_on(token, k, [*sequence, k], total + value)

    go_on(before, token, [], 0.0)
    return sorted(found, reverse=True)


PENALTIES = [Penalty(), Penalty(0.6), Penalty(1.0, "power"), Penalty(-0.5, "power"), Penalty(2.0)]


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("end", [None, 0, 2])
def test_as_many_beams_as_sequences_are_exhaustive(penalty, end):
    table, recurrent, _ = with_memory()
    length, prompts = 4, torch.tensor([[0, 1], [3, 2], [1, 1]])
    found = beam_search(recurrent, prompts[:, 1], (prompts[:, 0],), V**length, length, end, best=40, penalty=penalty)
    for row, (before, token) in enumerate(prompts.tolist()):
        expected = exhaustive(table, before, token, length, end, penalty)[:40]
        torch.testing.assert_close(found.score[row], torch.tensor([e[0] for e in expected], dtype=torch.double))
        torch.testing.assert_close(found.log_prob[row], torch.tensor([e[1] for e in expected], dtype=torch.double))
        for k, (_, _, sequence) in enumerate(expected):
            assert found.tokens[row, k, : found.lengths[row, k]].tolist() == sequence


def test_the_example_of_the_notes():
    """Section 3.4.3.2: after 我爱 greedy takes 大 (0.55) and says 我爱大妈; the most probable is 我爱苹果 (0.45)."""
    words = {"苹果": 45, "大象": 10, "大人": 8, "大妈": 12, "大便": 5, "大军": 5, "大米": 8, "大姐": 7}
    signs = ["我爱", *dict.fromkeys("".join(words))]
    chain = torch.full((len(signs), len(signs)), -torch.inf).double()
    for word, percent in words.items():
        first, second = map(signs.index, word)
        chain[0, first] = torch.logaddexp(chain[0, first], torch.tensor(percent / 100).double().log())
        chain[first, second] = math.log(percent)

    def step(tokens, state):
        return chain[tokens], state

    def said(tokens):
        return "我爱" + "".join(signs[token] for token in tokens)

    start = torch.tensor([0])
    greedy = torch.cat(list(generate(step, start, options=SamplingOptions(temperature=0.0), length=2)))
    one = beam_search(step, start, beams=1, length=2)
    two = beam_search(step, start, beams=2, length=2, best=2)
    assert said(greedy) == said(one.tokens[0, 0]) == "我爱大妈"
    assert one.log_prob.exp().item() == pytest.approx(0.12)
    assert [said(sequence) for sequence in two.tokens[0]] == ["我爱苹果", "我爱大妈"]
    torch.testing.assert_close(two.log_prob[0].exp(), torch.tensor([0.45, 0.12]).double())


# --- against transformers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=13, n_positions=64, n_embd=16, n_layer=2, n_head=2, initializer_range=0.6)
    return GPT2LMHeadModel(config).eval()


def reading_all(model):
    def step(tokens, state):
        ids = torch.cat([state["ids"], tokens[:, None]], 1)
        return model(ids).logits[:, -1], {"ids": ids}

    return step


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, -1.0, 0.6])
@pytest.mark.parametrize(("beams", "best"), [(2, 1), (3, 3), (6, 4)])
@pytest.mark.parametrize("end", [0, 5, None])
def test_the_best_are_those_of_transformers(gpt2, alpha, beams, best, end):
    prompt = torch.tensor([[1, 2, 3], [9, 9, 4], [7, 11, 6], [2, 0, 8]])
    theirs = gpt2.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        num_beams=beams,
        num_return_sequences=best,
        max_new_tokens=9,
        do_sample=False,
        length_penalty=alpha,
        early_stopping="never",
        eos_token_id=end,
        pad_token_id=12,
        return_dict_in_generate=True,
        output_scores=True,
    )
    state = {"ids": prompt[:, :-1]}
    ours = beam_search(reading_all(gpt2), prompt[:, -1], state, beams, 9, end, best, Penalty(alpha, "power"))
    sequences = theirs.sequences[:, 3:].view(4, best, -1)
    torch.testing.assert_close(ours.score, theirs.sequences_scores.view(4, best), rtol=1e-5, atol=1e-5)
    for row, k in itertools.product(range(4), range(best)):
        length = int(ours.lengths[row, k])
        assert ours.tokens[row, k, :length].tolist() == sequences[row, k, :length].tolist()
        assert (sequences[row, k, length:] == 12).all() or length == sequences.shape[2]


def test_one_beam_is_greedy():
    _, recurrent, _ = with_memory(8)
    prompts = torch.tensor([[0, 1], [3, 2], [2, 2]])
    found = beam_search(recurrent, prompts[:, 1], (prompts[:, 0],), 1, 9, end=0)
    choice = SamplingOptions(temperature=0.0)
    greedy = torch.stack(list(generate(recurrent, prompts[:, 1], (prompts[:, 0],), choice, 9, end=0)), 1)
    assert torch.equal(found.tokens[:, 0], greedy)


# --- ends, prefixes, states, rows -------------------------------------------------------------------------------------


def test_recurrent_and_growing_states_are_reordered_alike():
    _, recurrent, cached = with_memory(3)
    prompts = torch.tensor([[0, 1], [3, 2]])
    one = beam_search(recurrent, prompts[:, 1], (prompts[:, 0],), 5, 7, end=0, best=5)
    other = beam_search(cached, prompts[:, 1], {"seen": prompts[:, :1]}, 5, 7, end=0, best=5)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


def test_states_may_have_their_rows_elsewhere():
    torch.manual_seed(0)
    lstm, embed, head = (
        torch.nn.LSTM(8, 8, 2).double(),
        torch.nn.Embedding(5, 8).double(),
        torch.nn.Linear(8, 5).double(),
    )

    def step(tokens, state):
        h, state = lstm(embed(tokens)[None], state)
        return 9 * head(h[0]), state

    def whole(tokens, state):
        h, _ = lstm(embed(torch.cat([state, tokens[:, None]], 1)).transpose(0, 1))
        return 9 * head(h[-1]), torch.cat([state, tokens[:, None]], 1)

    prompt = torch.tensor([[1, 2, 3], [4, 0, 1]])
    last, state = read(step, prompt)
    one = beam_search(step, last, state, 4, 6, best=4, dim=1)
    other = beam_search(whole, last, prompt[:, :-1], 4, 6, best=4)
    assert torch.equal(one.tokens, other.tokens)
    torch.testing.assert_close(one.score, other.score)


def test_log_probabilities_are_those_of_the_sequences():
    table, recurrent, _ = with_memory(4)
    found = beam_search(
        recurrent, torch.tensor([1]), (torch.tensor([0]),), 6, 8, end=3, best=6, groups=3, diversity=0.7
    )
    for sequence, length, log_prob in zip(found.tokens[0], found.lengths[0], found.log_prob[0], strict=True):
        seen = [0, 1, *sequence[:length].tolist()]
        steps = [table[a, b].log_softmax(0)[c] for a, b, c in zip(seen, seen[1:], seen[2:], strict=False)]
        torch.testing.assert_close(log_prob, torch.stack(steps).sum())


def test_a_row_does_not_depend_on_others():
    _, recurrent, _ = with_memory(5)
    prompts = torch.tensor([[0, 1], [3, 2], [2, 2], [1, 0]])
    together = beam_search(recurrent, prompts[:, 1], (prompts[:, 0],), 4, 12, end=0, best=4, penalty=Penalty(1.0))
    for row in range(4):
        alone = beam_search(
            recurrent, prompts[row, 1:], (prompts[row, :1],), 4, 12, end=0, best=4, penalty=Penalty(1.0)
        )
        assert torch.equal(alone.lengths[0], together.lengths[row])
        torch.testing.assert_close(alone.score[0], together.score[row])
        for k, length in enumerate(alone.lengths[0]):
            assert torch.equal(alone.tokens[0, k, :length], together.tokens[row, k, :length])


def test_a_prefix_is_forced_and_counts():
    table, recurrent, _ = with_memory(6)
    prefix = torch.tensor([[2, 3], [0, 0]])
    tokens, before = torch.tensor([1, 1]), torch.tensor([0, 3])
    found = beam_search(recurrent, tokens, (before,), V**4, 4, best=V**2, prefix=prefix, penalty=Penalty(0.7))
    for row in range(2):
        expected = exhaustive(table, int(before[row]), 1, 4, None, Penalty(0.7))
        expected = [e for e in expected if e[2][:2] == prefix[row].tolist()]
        assert found.tokens[row].tolist() == [e[2] for e in expected]
        torch.testing.assert_close(found.log_prob[row], torch.tensor([e[1] for e in expected], dtype=torch.double))


def test_it_stops_when_nothing_can_become_better():
    calls = []

    def step(tokens, state):
        calls.append(len(tokens))
        return torch.tensor([0.98, 0.01, 0.01]).log().expand(len(tokens), 3), state

    found = beam_search(step, torch.tensor([1]), beams=2, length=100, end=0, best=2)
    assert len(calls) < 5
    assert found.tokens[0, 0, 0] == 0
    assert found.lengths[0].tolist() == [1, 2]


def test_fewer_sequences_than_wanted_are_told_by_their_length():
    def step(tokens, state):
        return torch.tensor([0.0, -torch.inf, 0.0]).expand(len(tokens), 3), state

    found = beam_search(step, torch.tensor([0]), beams=8, length=2, best=8, end=2)
    assert sorted(found.lengths[0].tolist()) == [0, 0, 0, 0, 0, 1, 2, 2]
    assert (found.score[0].isneginf() == (found.lengths[0] == 0)).all()
    assert not found.score.isnan().any()


# --- impossible tokens ------------------------------------------------------------------------------------------------


def with_impossible_tokens(seed, v):
    """Logits of which about a third are −∞; some contexts have no token at all."""
    generator = torch.Generator().manual_seed(seed)
    table = 2 * torch.randn(v, v, v, generator=generator).double()
    table[torch.rand(v, v, v, generator=generator) < 0.35] = -torch.inf
    table[torch.rand(v, v, generator=generator) < 0.2] = -torch.inf
    return table


def possible(table, before, token, length, end):
    """Every sequence with a probability above 0 and its log-probability, the most probable first."""
    results = []
    for sequence in itertools.chain(*(itertools.product(range(len(table)), repeat=k) for k in range(1, length + 1))):
        ends = [k for k, x in enumerate(sequence) if x == end]
        if ends != [len(sequence) - 1] and (ends or len(sequence) < length):
            continue
        seen, probability = (before, token, *sequence), 1.0
        for a, b, c in zip(seen, seen[1:], seen[2:], strict=False):
            weights = table[a, b].exp()
            probability *= float(weights[c] / weights.sum()) if weights.sum() > 0 else 0.0
        if probability > 0:
            results.append((math.log(probability), list(sequence)))
    return sorted(results, reverse=True)


@pytest.mark.parametrize("end", [None, 0])
@pytest.mark.parametrize(("v", "length"), [(1, 3), (2, 4), (3, 4)])
def test_impossible_tokens_and_contexts_equal_an_enumeration(v, length, end):
    tables = [with_impossible_tokens(seed, v) for seed in range(6)]
    found_none = 0
    for table in tables:

        def step(tokens, state, table=table):
            return table[state[0], tokens], (tokens,)

        pairs = torch.cartesian_prod(torch.arange(v), torch.arange(v)).view(-1, 2)
        beams = v**length
        found = beam_search(step, pairs[:, 1], (pairs[:, 0],), beams, length, end, best=beams)
        assert not found.score.isnan().any()
        for row, (before, token) in enumerate(pairs.tolist()):
            expected = possible(table, before, token, length, end)
            found_none += not expected
            count = int(found.lengths[row].gt(0).sum())
            assert count == len(expected)
            sequences = [found.tokens[row, k, : found.lengths[row, k]].tolist() for k in range(count)]
            assert sorted(sequences) == sorted(sequence for _, sequence in expected)
            log_probs = torch.tensor([log_prob for log_prob, _ in expected]).double()
            torch.testing.assert_close(found.log_prob[row, :count], log_probs)
            assert found.log_prob[row, count:].isneginf().all()
    assert found_none  # some contexts have no continuation


@pytest.mark.parametrize("groups", [1, 2])
def test_a_dead_end_does_not_hide_other_sequences(groups):
    """After token 1, the most probable one, nothing is possible: the best sequence is 2, 0."""
    table = torch.tensor([[0.1, 0.6, 0.3], [0.0, 0.0, 0.0], [0.5, 0.3, 0.2]]).double().log()
    found = beam_search(lambda t, s: (table[t], s), torch.tensor([0]), None, 4, 2, best=1, groups=groups)
    assert found.tokens.tolist() == [[[2, 0]]]
    assert found.log_prob.item() == pytest.approx(math.log(0.3 * 0.5))
    prefix = torch.tensor([[1, 0]])  # impossible
    none = beam_search(lambda t, s: (table[t], s), torch.tensor([0]), None, 4, 3, best=2, groups=groups, prefix=prefix)
    assert none.lengths.tolist() == [[0, 0]]
    assert none.score.isneginf().all()


@pytest.mark.parametrize(("value", "name"), [(torch.nan, "NaN"), (torch.inf, r"\+inf")])
@pytest.mark.parametrize("at", [(0, 2), (1, 0)])
def test_logits_that_are_no_distribution_are_an_error(value, name, at):
    table = torch.zeros(3, 3)
    table[at] = value
    said = f"beam search stopped at token {at[0] + 1}: the logits contain {name}"
    for settings in ({"beams": 3}, {"beams": 4, "groups": 2}, {"beams": 1, "prefix": torch.tensor([[1]])}):
        with pytest.raises(RunError, match=said):
            beam_search(lambda tokens, state: (table[tokens], state), torch.tensor([0]), length=3, **settings)


def test_nan_after_an_impossible_token_does_not_matter():
    table = torch.tensor([[0.4, 0.0, 0.6], [torch.nan] * 3, [0.5, 0.0, 0.5]]).log()
    found = beam_search(lambda tokens, state: (table[tokens], state), torch.tensor([0]), beams=9, length=2, best=5)
    torch.testing.assert_close(found.log_prob.exp(), torch.tensor([[0.3, 0.3, 0.24, 0.16, 0.0]]))


@pytest.mark.parametrize("end", [None, 1])
@pytest.mark.parametrize("prefix", [None, torch.empty(0, 1, dtype=torch.long)])
def test_an_empty_batch_gives_an_empty_result(end, prefix):
    _, recurrent, _ = with_memory()
    none = torch.empty(0, dtype=torch.long)
    found = beam_search(recurrent, none, (none,), 4, 5, end, best=3, groups=2, prefix=prefix)
    assert found.tokens.shape == (0, 3, 5)
    assert found.lengths.shape == found.score.shape == found.log_prob.shape == (0, 3)


# --- groups -----------------------------------------------------------------------------------------------------------


def diverse(table, before, token, beams, groups, length, strength):
    """Vijayakumar et al. 2016, algorithm 1, with the Hamming diversity, as a direct loop; nothing ends."""
    width = beams // groups
    running = [[([before, token], 0.0, 0.0)] for _ in range(groups)]
    for _ in range(length):
        taken = [0] * len(table)
        for g in range(groups):
            candidates = []
            for seen, score, plain in running[g]:
                log_probs = table[seen[-2], seen[-1]].log_softmax(0).tolist()
                for k, value in enumerate(log_probs):
                    candidates.append(([*seen, k], score + value - strength * taken[k], plain + value))
            running[g] = sorted(candidates, key=lambda c: -c[1])[:width]
            for seen, _, _ in running[g]:
                taken[seen[-1]] += 1
    return sorted((c for group in running for c in group), key=lambda c: -c[1])


@pytest.mark.parametrize("strength", [0.0, 0.4, 2.0])
@pytest.mark.parametrize(("beams", "groups"), [(4, 2), (6, 3), (3, 3)])
def test_groups_are_a_loop(beams, groups, strength):
    for seed in range(5):
        table, recurrent, _ = with_memory(seed, 6)
        found = beam_search(
            recurrent, torch.tensor([1]), (torch.tensor([0]),), beams, 5, best=beams, groups=groups, diversity=strength
        )
        expected = diverse(table, 0, 1, beams, groups, 5, strength)
        torch.testing.assert_close(found.score[0], torch.tensor([e[1] for e in expected], dtype=torch.double))
        torch.testing.assert_close(
            found.log_prob[0].sort().values, torch.tensor(sorted(e[2] for e in expected), dtype=torch.double)
        )
        assert sorted(found.tokens[0].tolist()) == sorted(e[0][2:] for e in expected)


@pytest.mark.parametrize("strength", [0.0, 0.4])
@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize(("v", "beams", "groups"), [(1, 4, 2), (2, 6, 2), (2, 8, 2), (3, 8, 2), (2, 5, 1)])
def test_a_vocabulary_smaller_than_a_group(v, beams, groups, length, strength):
    """A group has as many sequences as there are, each once; the others are missing."""
    for seed in range(3):
        table, recurrent, _ = with_memory(seed, v)
        start = torch.tensor([v - 1]), (torch.tensor([0]),)
        found = beam_search(recurrent, *start, beams, length, best=beams, groups=groups, diversity=strength)
        expected = diverse(table, 0, v - 1, beams, groups, length, strength)
        count = int(found.lengths[0].gt(0).sum())
        assert count == len(expected) == groups * min(beams // groups, v**length)
        torch.testing.assert_close(found.score[0, :count], torch.tensor([e[1] for e in expected], dtype=torch.double))
        assert sorted(found.tokens[0, :count].tolist()) == sorted(e[0][2:] for e in expected)
        assert found.score[0, count:].isneginf().all()
        assert found.log_prob[0, count:].isneginf().all()


def test_groups_differ_more_the_more_it_costs_to_agree():
    differing = []
    for strength in (0.0, 5.0):
        count = 0
        for seed in range(10):
            _, recurrent, _ = with_memory(seed, 6)
            start = torch.tensor([1]), (torch.tensor([0]),)
            found = beam_search(recurrent, *start, 3, 5, best=3, groups=3, diversity=strength)
            count += len(set(map(tuple, found.tokens[0].tolist())))
        differing.append(count)
    assert differing == [10, 30]


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"beams": 0}, "beams=0 must be at least 1"),
        ({"beams": 2, "best": 3}, "best=3 must be from 1 to beams"),
        ({"beams": 4, "groups": 3}, "groups=3 must divide beams=4"),
        ({"groups": 2, "diversity": math.nan}, "diversity=nan must be a finite number"),
        ({"groups": 2, "diversity": -1.0}, "diversity=-1.0 must be a finite number of at least 0"),
        ({"end": V}, "end=4 is not a token of the vocabulary; give a number from 0 to 3"),
        ({"end": -1}, "end=-1 is not a token"),
        ({"prefix": torch.tensor([[1, V]])}, "prefix: 4 is not a token of the vocabulary; give numbers from 0 to 3"),
        ({"prefix": torch.tensor([[-1]])}, "prefix: -1 is not a token"),
        ({"length": 0}, "length=0 must be more than the 0 tokens"),
        ({"length": 2, "prefix": torch.tensor([[1, 2]])}, "length=2 must be more than the 2 tokens"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(settings, said):
    _, recurrent, _ = with_memory()
    with pytest.raises(ValueError, match=said):
        beam_search(recurrent, torch.tensor([1]), (torch.tensor([0]),), **settings)


def test_penalties_are_the_formulas():
    for length, alpha in itertools.product((1, 3, 20), (0.0, 0.6, 1.5)):
        assert Penalty(alpha)(length) == pytest.approx((5 + length) ** alpha / (5 + 1) ** alpha)
        assert Penalty(alpha, "power")(length) == pytest.approx(length**alpha)


def test_rows_of_a_state_follow_their_sequences():
    """A state that is the sequence itself must always be the one that its tokens say."""
    _, recurrent, _ = with_memory(7)

    def watching(tokens, state):
        (before,), history = state
        logits, inner = recurrent(tokens, (before,))
        assert torch.equal(history[:, -1], before)
        return logits, (inner, torch.cat([history, tokens[:, None]], 1))

    start = torch.tensor([1, 2]), ((torch.tensor([0, 3]),), torch.tensor([[0], [3]]))
    beam_search(watching, *start, 6, 6, end=0, best=6, groups=2)
    assert torch.equal(take_rows(start[1], torch.tensor([1]))[1], torch.tensor([[3]]))
