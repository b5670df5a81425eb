"""Players that are split over two processes end where whole ones end."""

import pytest
import torch

from danlu.training.runtime import Runtime
from games import GAMES
from rank_jobs import game_of, play, play_split_game

pytestmark = pytest.mark.xdist_group("two ranks")
DOUBLE = Runtime(precision="float64")


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", [name for name in GAMES if name != "penalised"])
def test_split_over_two_ranks_a_game_equals_one_process(name, accumulate, two_ranks):
    (first, count), (second, _) = two_ranks.run(play_split_game, name, accumulate)
    alone = play(game_of(name, DOUBLE, dropout=False))
    assert first.keys() == alone.keys()
    assert count > 0 or name == "closed-form"
    for key, value in alone.items():
        assert torch.equal(first[key], second[key]), key
        torch.testing.assert_close(first[key], value, rtol=1e-10, atol=1e-10, msg=lambda m, key=key: f"{key}: {m}")
