"""Each filter against a direct loop and against the package transformers."""

import random
from fractions import Fraction

import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from danlu.sampling import SamplingOptions, min_p, repetition_penalty, top_k, top_p

LOGITS = 3 * torch.randn(40, 12, generator=torch.Generator().manual_seed(0)).double()


def kept(logits):
    return [set(row.isfinite().nonzero().flatten().tolist()) for row in logits]


@pytest.mark.parametrize("k", [1, 2, 5, 12, 99])
def test_top_k_is_a_loop(k):
    for row, found in zip(LOGITS, kept(top_k(LOGITS, k)), strict=True):
        assert found == set(sorted(range(12), key=lambda i: -row[i])[:k])
    assert torch.equal(top_k(LOGITS, k), TopKLogitsWarper(k)(None, LOGITS))


@pytest.mark.parametrize("p", [0.01, 0.3, 0.7, 0.9, 0.999])
def test_top_p_is_a_loop(p):
    for row, found in zip(LOGITS.softmax(1), kept(top_p(LOGITS, p)), strict=True):
        nucleus, total = set(), 0.0
        for i in sorted(range(12), key=lambda i: -row[i]):
            nucleus.add(i)
            total += row[i]
            if total >= p:
                break
        assert found == nucleus
    assert torch.equal(top_p(LOGITS, p), TopPLogitsWarper(p)(None, LOGITS))


@pytest.mark.parametrize("p", [0.0, 0.05, 0.3, 1.0])
def test_min_p_is_a_loop(p):
    for row, found in zip(LOGITS.softmax(1), kept(min_p(LOGITS, p)), strict=True):
        assert found == {i for i in range(12) if row[i] >= p * max(row)}
    assert torch.equal(min_p(LOGITS, p), MinPLogitsWarper(p)(None, LOGITS))


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.2, 3.0])
def test_repetition_penalty_is_a_loop(penalty):
    generator = torch.Generator().manual_seed(1)
    before = torch.randint(12, (40, 6), generator=generator)
    seen = torch.zeros(40, 12, dtype=torch.bool).scatter(1, before, True)
    found = repetition_penalty(LOGITS, seen, penalty)
    for row in range(40):
        for i in range(12):
            x = LOGITS[row, i]
            expected = x if i not in before[row] else x / penalty if x > 0 else x * penalty
            assert float(found[row, i]) == float(expected)
    torch.testing.assert_close(found, RepetitionPenaltyLogitsProcessor(penalty)(before, LOGITS))


def test_what_remains_is_untouched_and_rows_do_not_see_each_other():
    for change in (lambda x: top_k(x, 3), lambda x: top_p(x, 0.6), lambda x: min_p(x, 0.2)):
        whole = change(LOGITS)
        assert torch.equal(whole[whole.isfinite()], LOGITS[whole.isfinite()])
        assert torch.equal(torch.cat([change(row[None]) for row in LOGITS]), whole)
        assert whole.isfinite().any(1).all()


def test_all_at_once_are_done_in_the_usual_order():
    choice = SamplingOptions(temperature=1.7, top_k=8, top_p=0.95, min_p=0.04, repetition_penalty=1.3)
    before = torch.randint(12, (40, 3), generator=torch.Generator().manual_seed(2))
    seen = torch.zeros(40, 12, dtype=torch.bool).scatter(1, before, True)
    expected = LOGITS
    steps = (RepetitionPenaltyLogitsProcessor(1.3), TemperatureLogitsWarper(1.7), TopKLogitsWarper(8))
    for change in (*steps, TopPLogitsWarper(0.95), MinPLogitsWarper(0.04)):
        expected = change(before, expected)
    torch.testing.assert_close(choice.filtered(LOGITS, seen), expected)


# --- exact probabilities ----------------------------------------------------------------------------------------------


def rational_cases(count=400):
    """Probabilities that are fractions with a small denominator, with a sum or a ratio of them as the threshold."""
    generator = random.Random(0)
    for _ in range(count):
        weights = sorted((generator.randint(1, 9) for _ in range(generator.randint(2, 8))), reverse=True)
        probabilities = [Fraction(weight, sum(weights)) for weight in weights]
        yield probabilities, generator.randint(1, len(weights))


def logits_of(probabilities, dtype, offset=0.0):
    return torch.tensor([[float(p) for p in probabilities]], dtype=torch.float64).log().to(dtype) + offset


@pytest.mark.parametrize("offset", [0.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_top_p_keeps_the_tokens_of_exact_arithmetic(dtype, offset):
    """The threshold is the exact sum of the first probabilities, so that one token more would be one too many."""
    assert kept(top_p(logits_of([Fraction(1, 2), Fraction(3, 10), *2 * [Fraction(1, 10)]], dtype), 0.8)) == [{0, 1}]
    for probabilities, count in rational_cases():
        p = float(sum(probabilities[:count]))
        assert kept(top_p(logits_of(probabilities, dtype, offset), p)) == [set(range(count))], (probabilities, count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_top_p_needs_one_more_token_just_above_the_exact_sum(dtype):
    above = 1e-5 if dtype == torch.float32 else 1e-13
    for probabilities, count in rational_cases():
        if count < len(probabilities):
            p = float(sum(probabilities[:count])) + above
            assert kept(top_p(logits_of(probabilities, dtype), p)) == [set(range(count + 1))], (probabilities, count)


@pytest.mark.parametrize("offset", [0.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_min_p_keeps_the_tokens_of_exact_arithmetic(dtype, offset):
    """The threshold is the exact ratio of a probability and the largest one, so that this token is just kept."""
    for probabilities, count in rational_cases():
        ratio = probabilities[count - 1] / probabilities[0]
        expected = {i for i, p in enumerate(probabilities) if p >= ratio * probabilities[0]}
        logits = logits_of(probabilities, dtype, offset)
        assert kept(min_p(logits, float(ratio))) == [expected], (probabilities, count)
        above = float(ratio) * (1 + (1e-5 if dtype == torch.float32 else 1e-13))
        if above <= 1:
            fewer = {i for i in expected if probabilities[i] > probabilities[count - 1]}
            assert kept(min_p(logits, above)) == [fewer], (probabilities, count)


def test_the_nucleus_of_a_large_vocabulary_is_summed_exactly():
    """Of 200,000 equal tokens, half have half of the probability; a sum in float32 is wrong by several tokens."""
    logits = torch.zeros(1, 200_000)
    assert len(kept(top_p(logits, 0.5))[0]) == 100_000


@pytest.mark.parametrize("p", [1.0, 0.9999999])
def test_the_whole_nucleus_has_all_tokens_that_are_needed(p):
    """The two small probabilities are 8.3e-7 and 3.1e-7; without them the total is below p."""
    logits = torch.tensor([[0.0, -14.0, -15.0]])
    assert kept(top_p(logits, p)) == [{0, 1, 2}]
    assert kept(top_p(logits.double(), p)) == [{0, 1, 2}]
