"""The processes of the other tests: a rank that fails, dies or waits for ever makes its test fail, and no later one."""

import pytest
import torch

from danlu.training import Runtime
from examined import play, tiny, trainer_of, without_dropout
from rank_jobs import die_before_a_sum, fail_before_a_sum, own_rank, play_without_dropout, wait_for_ever
from ranks import started


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Forked, because a new Python takes seconds to import torch."""
    with started(tmp_path_factory.mktemp("ranks"), method="fork", limit=5.0, grace=0.5) as ranks:
        yield ranks


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("job", "said"), [(fail_before_a_sum, "rank {} failed:.*ValueError: error of rank {}"), (die_before_a_sum, "is 3")]
)
def test_a_rank_that_does_not_come_to_a_collective_is_named(ranks, job, said, rank):
    with pytest.raises(AssertionError, match=f"(?s){said.format(rank, rank)}"):
        ranks.run(job, rank)
    assert ranks.run(own_rank) == [0, 1]


def test_ranks_that_wait_for_ever_are_killed(ranks):
    with pytest.raises(AssertionError, match=r"rank 0 gave no answer.*\nrank 1 gave no answer"):
        ranks.run(wait_for_ever)
    assert ranks.run(own_rank) == [0, 1]


@pytest.mark.xdist_group("two ranks")
@pytest.mark.parametrize("name", ["mlp", "gan", "conditional-vae"])
def test_averaged_weights_of_two_ranks_equal_those_of_one(name, two_ranks):
    (first, coupled), (second, _) = two_ranks.run(play_without_dropout, name, {"ema": 0.9})
    alone = play(without_dropout(trainer_of(tiny(name, ema=0.9), Runtime(precision="float64"))))
    averages = [key for key in alone if "average" in key]
    assert averages
    assert coupled is None
    for key in averages:
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], alone[key], rtol=1e-10, atol=1e-10)


@pytest.mark.xdist_group("two ranks")
def test_convolutions_that_are_sharded_equal_those_of_one_process(two_ranks):
    (first, coupled), (second, _) = two_ranks.run(play_without_dropout, "cnn", {"shard": True})
    alone = play(without_dropout(trainer_of(tiny("cnn"), Runtime(precision="float64"))))
    assert coupled is None
    assert first.keys() == alone.keys()
    for key, value in alone.items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], value, rtol=1e-10, atol=1e-10)
