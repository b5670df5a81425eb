"""The network of published Fréchet distances: counts, public names, each block computed once more by functions."""

import hashlib
import pickle

import pytest
import torch
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.models import WEIGHTS, InceptionFID
from danlu.storage import File


@pytest.fixture(scope="module")
def net():
    """Weights that keep the scale, and running statistics that are not the first ones; float64."""
    source = torch.Generator().manual_seed(0)
    net = InceptionFID()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.ndim == 4:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=source)
            elif name.endswith(("bn.weight", "var")):
                tensor.uniform_(0.5, 1.5, generator=source)
            elif tensor.ndim == 1:
                tensor.normal_(0, 0.3, generator=source)
    return net.double()


class ByFunctions:
    """The layers whose names in the state dict begin so, written down one after another as in the public code."""

    def __init__(self, net, start):
        self.state, self.start = net.state_dict(), start

    def __call__(self, name, x, stride=1, padding=0):
        x = F.conv2d(x, self.state[f"{self.start}{name}.conv.weight"], stride=stride, padding=padding)
        mean, variance, scale, shift = (
            self.state[f"{self.start}{name}.bn.{part}"].view(1, -1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (variance + 0.001).sqrt() * scale + shift).clamp_min(0)

    def chain(self, way, x, *paddings):
        """Convolutions …_1, …_2, … that keep the size."""
        for number, padding in enumerate(paddings, start=1):
            x = self(f"{way}_{number}", x, padding=padding)
        return x


def mean_within(x):
    """The mean over windows of 3×3, of what lies within the border alone."""
    return F.avg_pool2d(x, 3, 1, 1, divisor_override=1) / F.avg_pool2d(torch.ones_like(x), 3, 1, 1, divisor_override=1)


def fine(f, x):
    pooled = f("branch_pool", mean_within(x))
    return [f("branch1x1", x), f.chain("branch5x5", x, 0, 2), f.chain("branch3x3dbl", x, 0, 1, 1), pooled]


def to_17(f, x):
    twice = f("branch3x3dbl_3", f.chain("branch3x3dbl", x, 0, 1), stride=2)
    return [f("branch3x3", x, stride=2), twice, F.max_pool2d(x, 3, 2)]


def long(f, x):
    across, down = (0, 3), (3, 0)
    twice = f.chain("branch7x7dbl", x, 0, down, across, down, across)
    return [f("branch1x1", x), f.chain("branch7x7", x, 0, across, down), twice, f("branch_pool", mean_within(x))]


def to_8(f, x):
    once = f("branch3x3_2", f("branch3x3_1", x), stride=2)
    seven = f("branch7x7x3_4", f.chain("branch7x7x3", x, 0, (0, 3), (3, 0)), stride=2)
    return [once, seven, F.max_pool2d(x, 3, 2)]


def wide(pool):
    def block(f, x):
        once, twice = f("branch3x3_1", x), f.chain("branch3x3dbl", x, 0, 1)
        return [
            f("branch1x1", x),
            f("branch3x3_2a", once, padding=(0, 1)),
            f("branch3x3_2b", once, padding=(1, 0)),
            f("branch3x3dbl_3a", twice, padding=(0, 1)),
            f("branch3x3dbl_3b", twice, padding=(1, 0)),
            f("branch_pool", pool(x)),
        ]

    return block


BLOCKS = {
    "Mixed_5b": (fine, 192, 256),
    "Mixed_5c": (fine, 256, 288),
    "Mixed_5d": (fine, 288, 288),
    "Mixed_6a": (to_17, 288, 768),
    "Mixed_6b": (long, 768, 768),
    "Mixed_6c": (long, 768, 768),
    "Mixed_6d": (long, 768, 768),
    "Mixed_6e": (long, 768, 768),
    "Mixed_7a": (to_8, 768, 1280),
    "Mixed_7b": (wide(mean_within), 1280, 2048),
    "Mixed_7c": (wide(lambda x: F.max_pool2d(x, 3, 1, 1)), 2048, 2048),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_each_block_equals_its_functions(net, name):
    block, inputs, outputs = BLOCKS[name]
    x = torch.rand(2, inputs, 9, 8, dtype=torch.float64)
    expected = torch.cat(block(ByFunctions(net, f"{name}."), x), dim=1)
    assert expected.shape[1] == outputs
    torch.testing.assert_close(getattr(net, name)(x), expected, rtol=1e-9, atol=1e-9)


def stem(f, x):
    x = f("2b_3x3", f("2a_3x3", f("1a_3x3", x, stride=2)), padding=1)
    return F.max_pool2d(f("4a_3x3", f("3b_1x1", F.max_pool2d(x, 3, 2))), 3, 2)


def test_the_whole_network_from_pictures_to_features(net):
    """Resized, brought to -1 to 1, then stem, blocks and the mean over positions."""
    x = torch.rand(1, 3, 40, 30, dtype=torch.float64)
    h = stem(ByFunctions(net, "Conv2d_"), 2 * F.interpolate(x, (299, 299), mode="bilinear") - 1)
    assert h.shape == (1, 192, 35, 35)
    for name in BLOCKS:
        h = getattr(net, name)(h)
    assert h.shape == (1, 2048, 8, 8)
    features = net.features(x)
    torch.testing.assert_close(features, h.mean((2, 3)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(net.classify(x), (features @ net.fc.weight.T + net.fc.bias).softmax(1))


def test_a_picture_of_the_right_size_is_not_resized(net):
    x = torch.rand(1, 3, 299, 299, dtype=torch.float64)
    expected = stem(ByFunctions(net, "Conv2d_"), 2 * x - 1)
    for name in BLOCKS:
        expected = getattr(net, name)(expected)
    torch.testing.assert_close(net.features(x), expected.mean((2, 3)), rtol=1e-9, atol=1e-9)


def test_a_gray_picture_is_one_of_three_equal_colors(net):
    x = torch.rand(1, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(net.features(x), net.features(x.repeat(1, 3, 1, 1)), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="1 or 3"):
        net.features(torch.rand(1, 2, 28, 28))


def test_parameters_by_the_published_count():
    """Torch's Inception-v3 has 27 161 264 with its auxiliary classifier, which is left out; here are 8 more classes."""
    auxiliary = (768 * 128 + 2 * 128) + (128 * 768 * 25 + 2 * 768) + (768 * 1000 + 1000)
    with torch.device("meta"):
        net = InceptionFID()
    assert sum(p.numel() for p in net.parameters()) == 27_161_264 - auxiliary + 8 * (2048 + 1)
    assert len(net.state_dict()) == 566  # as in the public file: 94 convolutions with five tensors of a norm, and fc


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Conv2d_1a_3x3.conv.weight", (32, 3, 3, 3)),
        ("Conv2d_4a_3x3.bn.running_var", (192,)),
        ("Mixed_5b.branch5x5_2.conv.weight", (64, 48, 5, 5)),
        ("Mixed_5d.branch_pool.conv.weight", (64, 288, 1, 1)),
        ("Mixed_6a.branch3x3.conv.weight", (384, 288, 3, 3)),
        ("Mixed_6b.branch7x7_2.conv.weight", (128, 128, 1, 7)),
        ("Mixed_6e.branch7x7dbl_4.conv.weight", (192, 192, 7, 1)),
        ("Mixed_7a.branch7x7x3_4.conv.weight", (192, 192, 3, 3)),
        ("Mixed_7b.branch3x3_2a.conv.weight", (384, 384, 1, 3)),
        ("Mixed_7c.branch3x3dbl_3b.conv.weight", (384, 384, 3, 1)),
        ("fc.weight", (1008, 2048)),
        ("fc.bias", (1008,)),
    ],
)
def test_names_and_shapes_are_the_public_ones(net, name, shape):
    assert net.state_dict()[name].shape == shape


# Reading the file


def described(path):
    content = path.read_bytes()
    return File(path.name, len(content), hashlib.sha256(content).hexdigest())


def test_the_file_is_read_back(net, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({name: tensor for name, tensor in net.float().state_dict().items() if "num_batches" not in name}, path)
    net.double()
    back = InceptionFID.from_pretrained(path, described(path))
    assert not back.training
    x = torch.rand(1, 3, 20, 20)
    torch.testing.assert_close(back.features(x).double(), net.features(x.double()), rtol=1e-3, atol=1e-3)


@pytest.mark.unchecked
def test_another_file_is_refused(tmp_path):
    """Whose numbers could be compared with nobody's."""
    assert WEIGHTS.sha256.startswith("6726825d")
    path = tmp_path / WEIGHTS.name
    with pytest.raises(UsageError, match="does not exist; download pt_inception"):
        InceptionFID.from_pretrained(path)
    path.write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"is not the public .*: 2 bytes, expected"):
        InceptionFID.from_pretrained(path)
    with pytest.raises(UsageError, match=r"SHA-256 [0-9a-f]{12}…, expected 6726825d0af5…"):
        InceptionFID.from_pretrained(path, File(path.name, 2, WEIGHTS.sha256))


class Bomb:
    def __reduce__(self):
        return (print, ("it ran",))


def test_no_code_of_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"fc.weight": Bomb()}))
    with pytest.raises(UsageError, match="pickle"):
        InceptionFID.from_pretrained(path, described(path))
    assert "it ran" not in capsys.readouterr().out


@pytest.mark.unchecked
def test_weights_of_another_network_are_refused(tmp_path):
    path, state = tmp_path / "weights.pth", InceptionFID().state_dict()
    state["fc.weight"], state["fc.bias"] = state["fc.weight"][:1000].clone(), state["fc.bias"][:1000].clone()
    torch.save(state, path)
    with pytest.raises(UsageError, match=r"has no fc\.weight and no fc\.bias for 1008 classes"):
        InceptionFID.from_pretrained(path, described(path))
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match="is not an Inception-v3"):
        InceptionFID.from_pretrained(path, described(path))
