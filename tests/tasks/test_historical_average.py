"""The mean of a player's weights against the weights themselves."""

import torch
from torch import nn

from danlu.nn import spectral_norm
from danlu.tasks import HistoricalAverage


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_the_mean_and_the_distance_from_it_by_hand():
    player = net()
    past, seen = HistoricalAverage(player), [flat(player)]
    assert past.distance(player) == 0
    for _ in range(7):
        with torch.no_grad():
            for parameter in player.parameters():
                parameter.add_(torch.randn_like(parameter))
        mean = torch.stack(seen).mean(0)
        torch.testing.assert_close(past.mean, mean)
        torch.testing.assert_close(past.distance(player), ((flat(player) - mean) ** 2).sum())
        past.remember(player)
        seen.append(flat(player))
    assert past.count == 8


def test_the_pull_is_twice_the_way_to_the_mean_which_is_a_constant():
    player = net()
    past = HistoricalAverage(player)
    with torch.no_grad():
        player[0].weight.add_(1.0)
    past.distance(player).backward()
    torch.testing.assert_close(player[0].weight.grad, torch.full_like(player[0].weight, 2.0))
    assert not player[2].weight.grad.any()
    assert not past.mean.requires_grad


def test_a_later_change_of_the_player_does_not_reach_the_mean():
    player = net()
    past, before = HistoricalAverage(player), flat(player)
    with torch.no_grad():
        player[0].weight.zero_()
    assert torch.equal(past.mean, before)


def test_of_a_normalized_weight_it_is_the_one_before_that_moves():
    player = spectral_norm(net())
    past = HistoricalAverage(player)
    with torch.no_grad():
        player[0].parametrizations.weight.original.mul_(3.0)  # the normalized weight is the same
    assert past.distance(player) > 1


def test_it_survives_a_state_dict():
    player = net()
    past = HistoricalAverage(player)
    past.remember(player)
    other = HistoricalAverage(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double())
    other.load_state_dict(past.state_dict())
    assert torch.equal(other.mean, past.mean)
    assert other.count == 2
