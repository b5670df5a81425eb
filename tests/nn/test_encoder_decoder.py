"""Encoders and decoders: shapes for every size of picture, and the decoder the encoder's mirror image."""

import pytest
import torch
from torch import nn

from danlu.nn import Decoder, Encoder
from danlu.nn.encoder_decoder import halved_sizes


def convolutions(module):
    return [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)]


def linears(module):
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


@pytest.mark.parametrize("side", range(2, 34))
def test_pictures_of_every_size_come_back_in_their_size(side):
    most = side.bit_length() - 1  # halved_sizes until one pixel is left
    for depth in {1, most}:
        channels = (3, 4, 5, 6, 7)[:depth]
        shape = (2, side, side + 1)
        features = Encoder(shape, hidden=(6,), channels=channels)(torch.zeros(2, *shape))
        assert features.shape == (2, 6)
        assert Decoder(3, shape, hidden=(6,), channels=channels, outputs=2)(torch.zeros(2, 3)).shape == (2, 2, *shape)
    with pytest.raises(ValueError, match="with stride 2 are too many"):
        Encoder((2, side, side), channels=(1,) * (most + 1))


@pytest.mark.parametrize("channels", [(), (8,), (4, 8, 16)])
@pytest.mark.parametrize("hidden", [(32,), (32, 20)])
def test_the_decoder_is_the_encoders_mirror_image(channels, hidden):
    shape = (3, 13, 10)
    encoder, decoder = Encoder(shape, hidden, channels), Decoder(5, shape, hidden, channels)
    there = [(layer.in_channels, layer.out_channels) for layer in convolutions(encoder)]
    back = [(layer.out_channels, layer.in_channels) for layer in convolutions(decoder)]
    assert there == back[::-1]
    there = [(layer.in_features, layer.out_features) for layer in linears(encoder)]
    back = [(layer.out_features, layer.in_features) for layer in linears(decoder)]
    assert [*there, (hidden[-1], 5)] == back[::-1]


def test_each_convolution_halves_and_its_mirror_doubles():
    encoder, decoder = Encoder((1, 13, 10), (4,), (2, 3)), Decoder(4, (1, 13, 10), (4,), (2, 3))
    x, sizes = torch.zeros(1, 1, 13, 10), [(13, 10)]
    for layer in encoder.convolutions:
        x = layer(x)
        sizes.append(tuple(x.shape[2:]))
    assert sizes == halved_sizes((1, 13, 10), 2) == [(13, 10), (6, 5), (3, 2)]
    for layer, size in zip(decoder.convolutions, sizes[-2::-1], strict=True):
        x = layer(x)
        assert tuple(x.shape[2:]) == size


def test_convolutions_alone_need_no_fully_connected_layer():
    encoder = Encoder((1, 8, 8), hidden=(), channels=(4, 6))
    assert encoder.features == 6 * 2 * 2
    assert encoder(torch.zeros(3, 1, 8, 8)).shape == (3, 24)
    assert Decoder(5, (1, 8, 8), hidden=(), channels=(4, 6))(torch.zeros(3, 5)).shape == (3, 1, 1, 8, 8)


def test_a_label_is_a_column_of_the_first_layer():
    """As if the label were written behind the example."""
    torch.manual_seed(0)
    encoder = Encoder((6,), hidden=(5, 4), classes=3).double()
    assert encoder.first is not None
    assert encoder.label is not None
    x, label = torch.randn(7, 6, dtype=torch.float64), torch.eye(3, dtype=torch.float64)[torch.arange(7) % 3]
    both = torch.cat([encoder.first.weight, encoder.label.weight], dim=1)
    expected = encoder.rest(torch.cat([x, label], dim=1) @ both.T + encoder.first.bias)
    torch.testing.assert_close(encoder(x, label), expected)


def test_the_last_layers_have_no_activation():
    torch.manual_seed(0)
    for channels in ((), (4,)):
        outputs = Decoder(3, (1, 6, 6), (8,), channels)(torch.randn(50, 3))
        assert (outputs < 0).any()
        assert (outputs > 0).any()


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (4,), "hidden": ()}, "leaves no layer"),
        ({"shape": (1, 8, 8), "hidden": (), "channels": (4,), "classes": 3}, "leaves no layer"),
        ({"shape": (4,), "channels": (4,)}, r"shape=\(4,\) must be \(channels, height, width\)"),
        ({"shape": (4,), "hidden": (0,)}, "hidden"),
        ({"shape": (4,), "dropout": 1.0}, "dropout"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Encoder(**arguments)
