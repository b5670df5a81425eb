"""The laws of the loop, for every kind of game: resume, micro-batches, ranks."""

import pytest
import torch

from danlu.training import Runtime
from examined import go_on
from games import GAMES
from outcomes import assert_close_tensors, assert_same_tensors
from rank_jobs import game_of, play, play_game

pytestmark = pytest.mark.parametrize("name", GAMES)
DOUBLE = Runtime(precision="float64")


def test_something_moves(name):
    before, after = game_of(name, Runtime()).state(), play(game_of(name, Runtime()))
    assert any(not torch.equal(before[key], value) for key, value in after.items() if key in before)
    assert all(value.isfinite().all() for value in after.values())


@pytest.mark.parametrize("stop", range(1, 7))
def test_stopped_at_any_round_and_resumed_it_ends_bit_for_bit_the_same(name, stop, tmp_path):
    whole = play(game_of(name, Runtime()))
    first = game_of(name, Runtime())
    for report in first:
        if report.round == stop:
            break
    assert_same_tensors(play(go_on(first, game_of(name, Runtime()), tmp_path)), whole)


def test_a_round_can_be_played_alone(name, tmp_path):
    """From the state before round 4, that round alone gives the state after it."""
    trainer = game_of(name, Runtime())
    for _ in range(4):
        trainer.run_round()
    alone = go_on(trainer, game_of(name, Runtime()), tmp_path)
    trainer.run_round()
    alone.run_round()
    assert_same_tensors(alone.state(), trainer.state())


@pytest.mark.parametrize("grad_accumulation", [2, 4])
def test_micro_batches_make_no_difference(name, grad_accumulation):
    whole, parts = (play(game_of(name, DOUBLE, dropout=False, grad_accumulation=k)) for k in (1, grad_accumulation))
    assert_close_tensors(whole, parts, 1e-10)


@pytest.mark.xdist_group("two ranks")
def test_two_ranks_equal_one(name, two_ranks):
    first, second = two_ranks.run(play_game, name)
    assert_same_tensors(first, second)
    assert_close_tensors(play(game_of(name, DOUBLE, dropout=False)), first, 1e-10)
