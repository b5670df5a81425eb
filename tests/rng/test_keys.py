"""Keys name places: no two alike, bits without bias, and a generator that starts anew at the same place."""

from itertools import product

import pytest
import torch

from danlu.rng import generator, key, seeded


def test_no_two_places_of_a_grid_share_a_key():
    """2^17 keys of 63 bits: a chance collision has probability 2^34 / 2^64, below 1e-8."""
    places = [(a, b, c) for a, b, c in product(range(64), range(32), range(32))]
    places += [("order", a, b) for a, b in product(range(64), range(512))]
    places += [("noise", a, b) for a, b in product(range(64), range(512))]
    assert len({key(*place) for place in places}) == len(places)


def test_order_length_sign_and_words_all_count():
    places = [(), (0,), (0, 0), (1, 0), (0, 1), (-1,), (1,), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",)]
    assert len({key(*place) for place in places}) == len(places)


def test_a_key_has_63_bits():
    assert all(0 <= key("noise", n) < 2**63 for n in range(1000))


@pytest.mark.parametrize("places", [lambda n: (n,), lambda n: ("noise", 0, n, 2), lambda n: (n, 1, 1)])
def test_each_bit_is_set_half_the_time_and_flips_half_the_time(places):
    """Over n keys a bit's mean has standard error 1/(2√n); the largest of 2·63 such errors stays below 5 of them.

    A normal variable leaves ±5 with probability 6e-7, so any of them does with less than 1e-4.
    """
    n = 20_000
    keys = torch.tensor([key(*places(i)) for i in range(n)])
    bits = (keys[:, None] >> torch.arange(63)) & 1
    flips = bits[1:] ^ bits[:-1]  # between neighboring places
    bound = 5 * 0.5 / n**0.5
    assert ((bits.double().mean(0) - 0.5).abs() < bound).all()
    assert ((flips.double().mean(0) - 0.5).abs() < bound).all()


def test_a_generator_is_reproducible_and_differs_from_place_to_place():
    draws = {place: torch.rand(8, generator=generator("noise", *place)) for place in product(range(3), range(3))}
    for place, numbers in draws.items():
        assert torch.equal(numbers, torch.rand(8, generator=generator("noise", *place)))
    assert len({tuple(numbers.tolist()) for numbers in draws.values()}) == len(draws)


def test_a_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    torch.rand(3, generator=generator("order", 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_of_neighboring_places_are_uncorrelated():
    """The correlation of two independent rows of n numbers has standard error 1/√n."""
    n = 40_000
    a, b = (torch.randn(n, generator=generator("noise", 0, round, 0)) for round in (6, 7))
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1].item()) < 5 / n**0.5


def test_a_seeded_context_has_the_numbers_of_its_key_and_restores_the_state_also_after_an_error():
    before, drawn = torch.get_rng_state(), []

    @seeded("weights", 3)
    def fail():
        drawn.append(torch.randn(3))
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert torch.equal(drawn[0], torch.randn(3, generator=generator("weights", 3)))
    assert torch.equal(torch.get_rng_state(), before)


def test_only_the_generators_of_the_cpu_and_of_the_device_are_seeded(monkeypatch):
    """torch.manual_seed would also seed all other devices, whose states are not restored."""
    seen = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: seen.append(seed))
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: False)
    with seeded("weights", 3):
        drawn = torch.randn(3)
    assert seen == []
    assert torch.equal(drawn, torch.randn(3, generator=generator("weights", 3)))


@pytest.fixture
def gpus(monkeypatch):
    """Generators that stand in for those of two GPUs, of which the second is the current one."""
    generators = tuple(torch.Generator().manual_seed(seed) for seed in (11, 12))
    current = [1]
    for module in (torch.cuda, torch.cuda.random):
        monkeypatch.setattr(module, "current_device", lambda: current[0])
        monkeypatch.setattr(module, "is_initialized", lambda: True)
        monkeypatch.setattr(module, "_lazy_init", lambda: None)
        monkeypatch.setattr(module, "_lazy_call", lambda call, **_: call())
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "default_generators", generators)
    return generators, current


@pytest.mark.parametrize(("device", "index"), [("cuda", 1), ("cuda:0", 0), ("cuda:1", 1)])
@pytest.mark.parametrize("other_current", [False, True])
def test_the_generator_of_a_gpu_is_seeded_and_restored_also_after_an_error(gpus, device, index, other_current):
    """Also if the current device changes inside. The other GPU keeps its state, and the CPU gets its own back."""
    generators, current = gpus
    before = [torch.get_rng_state(), *(one.get_state() for one in generators)]

    def fail():
        with seeded("weights", 3, device=device):
            assert torch.initial_seed() == generators[index].initial_seed() == key("weights", 3)
            assert torch.equal(generators[1 - index].get_state(), before[2 - index])
            torch.rand(3, generator=generators[index])
            if other_current:
                current[0] = 1 - current[0]
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    after = [torch.get_rng_state(), *(one.get_state() for one in generators)]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True] * 3


def test_the_generator_of_mps_is_seeded_and_restored_also_after_an_error(monkeypatch):
    mps = torch.Generator().manual_seed(11)
    for name, method in {
        "get_rng_state": mps.get_state,
        "set_rng_state": mps.set_state,
        "manual_seed": mps.manual_seed,
    }.items():
        monkeypatch.setattr(torch.mps, name, method)
    before = mps.get_state()

    def fail():
        with seeded("weights", 3, device="mps"):
            assert mps.initial_seed() == key("weights", 3)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert torch.equal(mps.get_state(), before)
