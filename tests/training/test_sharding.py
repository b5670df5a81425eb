"""Players that are split over two processes end where whole ones end, and what cannot be split is refused."""

import copy

import pytest
import torch
from torch import nn

from danlu.errors import UsageError
from danlu.training import Checkpoint, OptimizerSettings, Runtime
from danlu.training.checkpoint import newest, write
from danlu.training.sharding import units
from games import GAMES
from rank_jobs import (
    game_of,
    go_on_split,
    looked_at,
    play,
    play_split_game,
    refused,
    refused_in_a_method,
    save_split_game,
    split_stack,
    write_with_a_full_disk,
)

DOUBLE = Runtime(precision="float64")
FIRST_DERIVATIVES = [name for name in GAMES if name != "penalized"]


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-10, atol=1e-10, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.xdist_group("two ranks")
@pytest.mark.parametrize("grad_accumulation", [1, 2])
@pytest.mark.parametrize("name", FIRST_DERIVATIVES)
def test_split_over_two_ranks_a_game_equals_one_process(name, grad_accumulation, two_ranks):
    (first, count), (second, _) = two_ranks.run(play_split_game, name, grad_accumulation)
    assert count > 0 or name == "closed-form"
    assert all(torch.equal(first[key], second[key]) for key in first)
    close(first, play(game_of(name, DOUBLE, dropout=False)))


@pytest.mark.xdist_group("two ranks")
@pytest.mark.parametrize("name", FIRST_DERIVATIVES)
def test_a_checkpoint_in_parts_is_gone_on_with_by_two_ranks_and_by_one(name, two_ranks, tmp_path):
    two_ranks.run(save_split_game, name, str(tmp_path))
    whole = play(game_of(name, DOUBLE, dropout=False))
    split, _ = two_ranks.run(go_on_split, name, str(tmp_path))
    close(split, whole)
    close(go_on_split(DOUBLE, name, str(tmp_path)), whole)


@pytest.mark.xdist_group("two ranks")
def test_a_checkpoint_of_one_process_is_gone_on_with_in_parts(two_ranks, tmp_path):
    trainer = game_of("adversarial", DOUBLE, dropout=False)
    for _ in range(3):
        trainer.run_round()
    write(tmp_path, Checkpoint(trainer.round, trainer.state(), {"drawn": trainer.drawn}))
    split, _ = two_ranks.run(go_on_split, "adversarial", str(tmp_path))
    close(split, play(game_of("adversarial", DOUBLE, dropout=False)))


@pytest.mark.xdist_group("two ranks")
def test_each_rank_writes_its_own_part_and_a_damaged_one_is_noticed(two_ranks, tmp_path):
    two_ranks.run(save_split_game, "supervised", str(tmp_path))
    (folder,) = tmp_path.glob("round-*")
    parts = sorted(folder.glob("part-*"))
    assert [part.name for part in parts] == [f"part-{n:05d}-of-00002.safetensors" for n in (1, 2)]
    content = bytearray(parts[1].read_bytes())
    content[-1] ^= 1
    parts[1].write_bytes(content)
    said = []
    assert newest(tmp_path, said.append) is None
    assert "part-00002-of-00002.safetensors does not match its checksum" in said[0]


@pytest.mark.xdist_group("two ranks")
@pytest.mark.parametrize("failing", [0, 1])
def test_a_disk_that_is_full_for_one_rank_stops_both_and_loses_nothing(failing, two_ranks, tmp_path):
    for said in two_ranks.run(write_with_a_full_disk, str(tmp_path), failing):
        assert said.startswith("1: cannot write the checkpoint")
    assert [path.name for path in tmp_path.iterdir()] == ["round-000000001"]


@pytest.mark.unchecked
@pytest.mark.xdist_group("two ranks")
def test_second_derivatives_are_refused(two_ranks):
    for said in two_ranks.run(refused, "penalized"):
        assert "second derivatives" in said
        assert "set shard=False" in said


@pytest.mark.unchecked
@pytest.mark.xdist_group("two ranks")
def test_second_derivatives_are_refused_in_methods_too(two_ranks):
    for said in two_ranks.run(refused_in_a_method):
        assert "second derivatives" in said


@pytest.mark.xdist_group("two ranks")
def test_state_and_scores_are_whole_though_somebody_has_run_the_player_between_rounds(two_ranks):
    alone = looked_at(DOUBLE)
    assert not alone["split"]
    close(alone["states"][2], alone["states"][0])
    for found in two_ranks.run(looked_at):
        assert any(name.startswith("task/") for name in found["split"])
        assert any(name.startswith("player/classifier/average/") for name in found["split"])
        for state, expected in zip(found["states"], alone["states"], strict=True):
            close(state, expected)
        for scores, expected in zip(found["scores"], alone["scores"], strict=True):
            assert scores == pytest.approx(expected, rel=1e-10)


@pytest.mark.xdist_group("two ranks")
def test_layers_methods_and_what_is_written_meanwhile(two_ranks):
    for found in two_ranks.run(split_stack):
        assert found["layers"] == 3
        assert found["dropped"]  # after forward each layer is, for what it takes of memory
        assert found["kind"] == "Stack"
        close(*found["gradients"])
        close(*found["before"])
        answers, expected = found["answers"]
        for answer in answers:
            torch.testing.assert_close(answer, expected)
        before, _ = found["before"]
        changed = {**before, "shift": before["shift"] + 1, "layers.1.weight": before["layers.1.weight"] * 2}
        close(found["after"], changed)


@pytest.mark.unchecked
@pytest.mark.parametrize("settings", [{"optimizer": "muon"}, {"l1": 0.1}, {"l2": 0.1}])
def test_what_needs_whole_weights_is_refused_with_shard(settings):
    with pytest.raises(ValueError, match="needs unsharded weights"):
        OptimizerSettings(shard=True, **settings)


def test_all_players_that_share_weights_are_split_or_none():
    encoder = nn.Linear(2, 2)
    players = {"a": nn.Sequential(encoder, nn.Linear(2, 1)), "b": nn.Sequential(encoder, nn.Linear(2, 3))}
    with pytest.raises(UsageError, match="a, b share weights"):
        units(players, {"a"})


@pytest.mark.unchecked
def test_a_weight_outside_of_what_runs_is_refused():
    player = nn.ModuleList([nn.Linear(2, 2)])
    player.register_parameter("alone", nn.Parameter(torch.zeros(2)))
    with pytest.raises(UsageError, match="alone of ModuleList"):
        units({"player": player}, {"player"})


@pytest.mark.unchecked
def test_parts_that_share_weights_are_refused():
    player = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    player[1].weight = player[0].weight
    with pytest.raises(UsageError, match="share weights"):
        units({"player": player}, {"player"})
    whole = nn.Sequential(*copy.deepcopy(player))
    assert units({"player": whole}, {"player"}) == [whole]


def test_a_weight_that_is_a_single_number_cannot_be_sharded():
    net = nn.Sequential(nn.Linear(2, 1))
    net.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(UsageError, match="player 'net' has a weight that is a single number, which cannot be sharded"):
        units({"net": net}, {"net"})
