"""The processes of the other tests: a rank that fails, dies or waits for ever makes its test fail, and no later one."""

import pytest

from rank_jobs import die_before_a_sum, fail_before_a_sum, own_rank, wait_for_ever
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
