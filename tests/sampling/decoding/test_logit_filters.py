"""Each filter against a direct loop and against the package transformers."""

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
