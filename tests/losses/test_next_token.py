"""Losses for the next of many words against torch's own, direct loops, and expectations."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from danlu.losses import chunked_cross_entropy, noise_contrastive, sampled_softmax


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def head(n=7, d=4, v=13, dtype=torch.float64):
    features, weight, bias = (numbers(*shape, seed=s).to(dtype) for s, shape in enumerate([(n, d), (v, d), (v,)]))
    targets = torch.arange(n) * 5 % v
    return [x.requires_grad_() for x in (features, weight, bias)], targets


@pytest.mark.parametrize("rows", [1, 3, 7, None])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunked_cross_entropy_is_the_plain_one(rows, weighted):
    """Values and gradients, both with one upstream number for all rows and with one for each."""
    given, targets = head()
    weights = torch.linspace(0.1, 2, 7, dtype=torch.float64) if weighted else torch.tensor(0.3, dtype=torch.float64)
    losses = chunked_cross_entropy(*given, targets, rows)
    found = torch.autograd.grad((losses * weights).sum() if weighted else losses.sum() * weights, given)
    plain = F.cross_entropy(F.linear(*given), targets, reduction="none")
    expected = torch.autograd.grad((plain * weights).sum(), given)
    torch.testing.assert_close(losses, plain, rtol=1e-13, atol=1e-13)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_chunked_cross_entropy_in_float32_is_the_plain_one_to_a_millionth():
    given, targets = head(50, 20, 400, torch.float32)
    losses = chunked_cross_entropy(*given, targets, 8)
    plain = F.cross_entropy(F.linear(*given), targets, reduction="none")
    torch.testing.assert_close(losses, plain, rtol=1e-6, atol=1e-6)
    for a, b in zip(*(torch.autograd.grad(x.mean(), given) for x in (losses, plain)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_chunked_cross_entropy_in_half_precision_keeps_losses_and_gradients_whole():
    given, targets = head(20, 8, 60, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        losses = chunked_cross_entropy(*given, targets, 6)
    assert losses.dtype == torch.float32
    plain = F.cross_entropy(F.linear(*given), targets, reduction="none")
    for a, b in zip(*(torch.autograd.grad(x.mean(), given) for x in (losses, plain)), strict=True):
        assert a.dtype == torch.float32
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.999


def test_chunked_cross_entropy_has_few_logits_in_memory():
    """No tensor of n × v is made: the largest one has the size of the weights or of the rows."""
    given, targets = head(200, 4, 500)
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            largest = max([largest, *(x.numel() for x in torch.utils._pytree.tree_leaves(out) if torch.is_tensor(x))])
            return out

    with Watch():
        chunked_cross_entropy(*given, targets, 10).mean().backward()
    assert largest == 10 * 500
    with Watch():
        F.cross_entropy(F.linear(*given), targets)
    assert largest == 200 * 500


def test_chunked_cross_entropy_can_be_derived_twice():
    given, targets = head(3, 2, 4)
    assert torch.autograd.gradgradcheck(lambda *x: chunked_cross_entropy(*x, targets, 2), given)


def test_chunked_cross_entropy_in_half_precision_can_be_derived_twice():
    given, targets = head(20, 8, 60, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        losses = chunked_cross_entropy(*given, targets, 6)
    plain = F.cross_entropy(F.linear(*given), targets, reduction="none")
    slopes = [torch.autograd.grad(x.sum(), given[0], create_graph=True)[0] for x in (losses, plain)]
    for a, b in zip(*(torch.autograd.grad(x.square().sum(), given) for x in slopes), strict=True):
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_backward_pass_of_chunked_cross_entropy_inside_autocast(graph, weighted):
    """It has the precision of the forward pass, also where it computes the chunks again."""
    given, targets = head(20, 8, 60, torch.float32)
    upstream = torch.linspace(0.5, 2, 20) if weighted else torch.ones(20)
    found = []
    for enabled in (False, True):
        losses = chunked_cross_entropy(*given, targets, 6)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(losses, given, upstream, create_graph=graph))
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_a_small_cross_entropy_beside_large_logits_is_not_lost():
    features, weight = torch.tensor([[1e5]]), torch.ones(2, 1)
    found = chunked_cross_entropy(features, weight, torch.tensor([0.0, -8.0]), torch.tensor([0]))
    assert found.item() == pytest.approx(math.log1p(math.exp(-8)), rel=1e-3)


@pytest.mark.parametrize("twice", [False, True])
def test_no_rows_have_no_gradient(twice):
    given, targets = head(0)
    losses = chunked_cross_entropy(*given, targets)
    assert losses.shape == (0,)
    for slope, x in zip(torch.autograd.grad(losses.sum(), given, create_graph=twice), given, strict=True):
        assert torch.equal(slope, torch.zeros_like(x))


def noise(k=5, v=13):
    words = torch.arange(k) * 3 % v
    q = torch.linspace(1, 2, v, dtype=torch.float64)
    return words, (q / q.sum())


def test_noise_contrastive_is_a_loop_over_the_formula():
    logits, targets = numbers(4, 13), torch.tensor([3, 0, 12, 3])
    words, q = noise()
    losses = noise_contrastive(logits[torch.arange(4), targets], q.log()[targets], logits[:, words], q.log()[words])
    for i, y in enumerate(targets.tolist()):
        expected = 0.0
        for w, is_data in [(y, True), *((w, False) for w in words.tolist())]:
            u, kq = math.exp(logits[i, w]), len(words) * float(q[w])
            expected -= math.log(u / (u + kq) if is_data else kq / (u + kq))
        assert losses[i].item() == pytest.approx(expected, abs=1e-12)


def expected_nce(logits, target, counts):
    """The loss with each word as noise so often that this is exactly its expectation over k draws from q."""
    k, words = int(counts.sum()), torch.arange(len(counts)).repeat_interleave(counts)
    log_q = (counts.double() / k).log()
    return noise_contrastive(logits[target, None], log_q[target, None], logits[None, words], log_q[words])


def test_the_gradient_of_nce_tends_to_that_of_maximum_likelihood():
    """50 words, normalized scores, noise that is not uniform; the expectation over the noise is exact."""
    logits = numbers(50).requires_grad_()
    data = numbers(50, seed=1).softmax(0)
    (exact,) = torch.autograd.grad(-(data * logits.log_softmax(0)).sum(), logits)
    errors = []
    for k in (100, 1000):
        counts = torch.full((50,), k // 100) + torch.arange(50).eq(7) * (k // 2)
        assert counts.sum() == k
        loss = sum(data[w] * expected_nce(logits.log_softmax(0), w, counts) for w in range(50))
        (slope,) = torch.autograd.grad(loss, logits)
        errors.append(1 - F.cosine_similarity(slope, exact, dim=0).item())
    assert errors[1] < 0.001
    assert errors[0] > 5 * errors[1]


def test_the_least_nce_is_at_the_data_even_if_nothing_is_normalized():
    """Where u(w) = p(w) the gradient is 0 for any k: Gutmann and Hyvärinen's theorem 1."""
    data = numbers(6).softmax(0)
    scores = data.log().requires_grad_()
    counts = torch.tensor([1, 2, 1, 3, 1, 2])
    loss = sum(data[w] * expected_nce(scores, w, counts) for w in range(6))
    (slope,) = torch.autograd.grad(loss, scores)
    torch.testing.assert_close(slope, torch.zeros(6, dtype=torch.float64), atol=1e-14, rtol=0)


def test_sampled_softmax_is_a_loop_over_the_formula():
    logits, targets = numbers(3, 13), torch.tensor([3, 0, 11])
    words, q = noise()
    hits = words[None] == targets[:, None]
    assert hits.sum() == 2
    losses = sampled_softmax(logits[torch.arange(3), targets], logits[:, words], q.log()[words], hits)
    for i, y in enumerate(targets.tolist()):
        total = math.exp(logits[i, y])
        total += sum(math.exp(logits[i, w]) / (5 * float(q[w])) for w in words.tolist() if w != y)
        assert losses[i].item() == pytest.approx(math.log(total) - logits[i, y].item(), abs=1e-12)


def test_the_sum_of_a_sampled_softmax_is_that_of_all_words_in_expectation():
    """Every pair of two draws from four words, each with its probability."""
    logits, q = numbers(4), torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    for y in range(4):
        expected = 0.0
        for pair in torch.cartesian_prod(torch.arange(4), torch.arange(4)):
            loss = sampled_softmax(logits[y, None], logits[None, pair], q.log()[pair], (pair == y)[None])
            expected += float(q[pair].prod() * (loss + logits[y]).exp())
        assert expected == pytest.approx(logits.exp().sum().item(), rel=1e-12)


def test_torchs_adaptive_softmax_is_the_full_one_with_one_cluster_left_out():
    """What the models use as it is: its log-probabilities sum to one, and its losses are those of its own table."""
    torch.manual_seed(0)
    layer = nn.AdaptiveLogSoftmaxWithLoss(4, 13, [5, 9]).double()
    features, targets = numbers(6, 4), torch.tensor([0, 4, 5, 8, 9, 12])
    table = layer.log_prob(features)
    torch.testing.assert_close(table.exp().sum(1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(layer(features, targets).output, table[torch.arange(6), targets])
