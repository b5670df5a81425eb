"""The residual network: the papers' counts, public names and weights, and each form computed once more by functions."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from danlu.app.export.export import export
from danlu.data.images.info import ImageInfo
from danlu.errors import UsageError
from danlu.models import DenseNet, ResNet, load_model, save_model
from danlu.models.classify.resnet import SIZES

SMALL = {"blocks": (2, 1, 2), "width": 4}


def count(net):
    return sum(p.numel() for p in net.parameters())


def stir(net):
    """Parameters and running statistics that are not the first ones."""
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point() and (tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5) if name.endswith(("weight", "var")) else tensor.normal_(0, 0.3)
    return net


# Counts and names


@pytest.mark.parametrize(("size", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_the_parameters_of_the_cifar_networks(size, millions):
    """By hand: convolutions, two numbers for each normalized channel, and the last layer; and the paper's table 6."""
    n = (size - 2) // 6
    convolutions = 9 * (3 * 16 + 2 * n * 16**2 + 16 * 32 + (2 * n - 1) * 32**2 + 32 * 64 + (2 * n - 1) * 64**2)
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    with torch.device("meta"):
        net = ResNet((3, 32, 32), 10, size)
    assert count(net) == convolutions + norms + 64 * 10 + 10
    assert count(net) / 1e6 == pytest.approx(millions, abs=0.05 if size == 110 else 0.006)


@pytest.mark.parametrize(
    ("size", "parameters"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)]
)
def test_the_parameters_of_the_imagenet_networks(size, parameters):
    with torch.device("meta"):
        assert count(ResNet((3, 224, 224), 1000, size)) == parameters


def test_the_parameters_of_the_deep_preactivation_network():
    """By hand, of 164 layers: 18 bottlenecks in each stage, whose projections have no norm."""
    norms, maps = 16 + 256, 3 * 9 * 16
    for width, inputs in ((16, 16), (32, 64), (64, 128)):
        first = inputs * width + 9 * width**2 + 4 * width**2 + inputs * 4 * width
        maps += first + 17 * (4 * width**2 + 9 * width**2 + 4 * width**2)
        norms += inputs + 2 * width + 17 * (4 * width + 2 * width)
    norms -= 16  # the first block begins with its convolution, since the stem is normalized
    with torch.device("meta"):
        assert count(ResNet((3, 32, 32), 10, 164, preactivation=True)) == maps + 2 * norms + 256 * 10 + 10


@pytest.mark.parametrize(
    ("size", "blocks", "convolutions", "projected"),
    [(18, (2, 2, 2, 2), 2, (2, 3, 4)), (50, (3, 4, 6, 3), 3, (1, 2, 3, 4))],
)
def test_the_names_are_the_public_ones(size, blocks, convolutions, projected):
    maps, norms = ["conv1"], ["bn1"]
    for stage, many in enumerate(blocks, 1):
        for block in range(many):
            maps += [f"layer{stage}.{block}.conv{k}" for k in range(1, convolutions + 1)]
            norms += [f"layer{stage}.{block}.bn{k}" for k in range(1, convolutions + 1)]
    maps += [f"layer{stage}.0.downsample.0" for stage in projected]
    norms += [f"layer{stage}.0.downsample.1" for stage in projected]
    buffers = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"{m}.weight" for m in maps} | {f"{n}.{b}" for n in norms for b in buffers} | {"fc.weight", "fc.bias"}
    with torch.device("meta"):
        assert set(ResNet((3, 224, 224), 1000, size).state_dict()) == expected


# The same numbers as somebody else's


BASIC = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
STRIDE_FIRST = {"downsample_in_bottleneck": True}


@pytest.mark.parametrize(
    ("size", "settings", "training"),
    [
        (18, BASIC, False),
        (18, BASIC, True),
        (50, {}, True),
        (50, STRIDE_FIRST, False),
        pytest.param(50, {}, False, marks=pytest.mark.long),
        pytest.param(50, STRIDE_FIRST, True, marks=pytest.mark.long),
    ],
)
def test_logits_and_gradients_equal_those_of_transformers(size, settings, training, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers, the other implementation, is not there")
    torch.manual_seed(0)
    theirs = stir(transformers.ResNetForImageClassification(transformers.ResNetConfig(num_labels=7, **settings)))
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    first = settings.get("downsample_in_bottleneck", False)
    ours = ResNet.from_pretrained(tmp_path, (3, 64, 64), stride_first=first)
    assert (ours.arguments["size"], ours.arguments["classes"], ours.fresh) == (size, 7, ())
    theirs.train(training)
    ours.train(training)
    x = torch.randn(3, 3, 64, 64)
    (logits, slope), (their_logits, their_slope) = (
        with_gradient(call, x) for call in (ours, lambda x: theirs(x).logits)
    )
    assert torch.allclose(logits, their_logits, rtol=1e-5, atol=1e-5)
    assert torch.allclose(slope, their_slope, rtol=1e-4, atol=1e-5 * their_slope.abs().max())


@pytest.mark.parametrize("layer", ["basic", "bottleneck"])
def test_a_body_of_transformers_in_a_pickle_of_a_size_without_a_name(layer, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers, the other implementation, is not there")
    widths = [4, 8, 16] if layer == "basic" else [16, 32, 64]
    form = {"embedding_size": 4, "hidden_sizes": widths, "depths": [1, 2, 1], "layer_type": layer, "num_channels": 1}
    theirs = stir(transformers.ResNetModel(transformers.ResNetConfig(**form))).eval()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    ours = ResNet.from_pretrained(tmp_path, (1, 32, 32), classes=3)
    assert (ours.arguments["blocks"], ours.fresh) == ((1, 2, 1), ("fc.weight", "fc.bias"))
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(ours.encode(x), theirs(x).pooler_output.flatten(1), rtol=1e-5, atol=1e-5)


def with_gradient(call, x):
    x = x.clone().requires_grad_()
    logits = call(x)
    logits.square().sum().backward()
    return logits.detach(), x.grad


def by_functions(net, x, projects, preactivation=False, plain=False, stride_first=False):
    """The papers' networks without a module, from the tensors by their public names; 7×7 stems have a pooling."""
    state = net.state_dict()

    def norm(name, x):
        if net.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        else:
            mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / (var + 1e-5).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + state[f"{name}.bias"][:, None, None]

    def around(at, x, activated, outputs, stride):
        if plain:
            return 0
        if stride == 1 and x.shape[1] == outputs:
            return x
        if not projects:
            zeros = torch.zeros(len(x), outputs - x.shape[1], *x[:, :, ::stride, ::stride].shape[2:], dtype=x.dtype)
            return torch.cat([x[:, :, ::stride, ::stride], zeros], 1)
        y = F.conv2d(activated if preactivation else x, state[f"{at}.downsample.0.weight"], stride=stride)
        return y if preactivation else norm(f"{at}.downsample.1", y)

    kernel = state["conv1.weight"].shape[-1]
    x = F.conv2d(x, state["conv1.weight"], stride=2 if kernel == 7 else 1, padding=kernel // 2)
    x = norm("bn1", x).relu()
    x = F.max_pool2d(x, 3, 2, 1) if kernel == 7 else x
    blocks = dict.fromkeys(".".join(name.split(".")[:2]) for name in state if name.startswith("layer"))
    for at in blocks:
        stage, block = at.removeprefix("layer").split(".")
        step = 2 if block == "0" and stage != "1" else 1
        maps = [state[f"{at}.conv{k}.weight"] for k in (1, 2, 3) if f"{at}.conv{k}.weight" in state]
        stepping = 1 if len(maps) == 3 and not stride_first else 0
        y = activated = x
        for k, weight in enumerate(maps):
            if preactivation and at + str(k) != "layer1.00":
                y = norm(f"{at}.bn{k + 1}", y).relu()
            activated = y if k == 0 else activated
            y = F.conv2d(y, weight, stride=step if k == stepping else 1, padding=weight.shape[-1] // 2)
            if not preactivation:
                y = norm(f"{at}.bn{k + 1}", y)
                y = y.relu() if k + 1 < len(maps) else y
        x = y + around(at, x, activated, y.shape[1], step)
        x = x if preactivation else x.relu()
    x = norm("norm", x).relu() if preactivation else x
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize("shortcut", ["padding", "projection", "none"])
@pytest.mark.parametrize("form", [{}, {"block": "bottleneck"}, {"block": "bottleneck", "stride_first": True}])
@pytest.mark.parametrize("stem", ["3x3", "7x7"])
def test_logits_and_gradients_equal_the_papers_written_out(stem, form, shortcut, preactivation, training):
    torch.manual_seed(0)
    net = ResNet((2, 17, 19), 3, **SMALL, **form, stem=stem, shortcut=shortcut, preactivation=preactivation)
    net = stir(net.double()).train(training)
    x = torch.randn(4, 2, 17, 19, dtype=torch.float64)
    more = {"preactivation": preactivation, "plain": shortcut == "none", "stride_first": "stride_first" in form}
    expected = with_gradient(lambda x: by_functions(net, x, shortcut == "projection", **more), x)
    torch.testing.assert_close(with_gradient(net, x), expected)


def test_the_notes_network_equals_the_notes_code():
    """Two blocks x + relu(conv(relu(conv x))) of 32 channels, and a last layer that sees every position."""
    torch.manual_seed(0)
    net = ResNet((1, 28, 28), 10, "notes").double()
    assert count(net) == 10 * 32 + 4 * (9 * 32 * 32 + 32) + (28 * 28 * 32 + 1) * 10
    weights = list(net.parameters())

    def notes(x):
        def convolution(x, k):
            return F.conv2d(x, weights[2 * k], weights[2 * k + 1], padding=1).relu()

        x = convolution(x, 0)
        x = x + convolution(convolution(x, 1), 2)
        x = x + convolution(convolution(x, 3), 4)
        return F.linear(x.reshape(-1, 28 * 28 * 32), *weights[-2:])

    x = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(with_gradient(net, x), with_gradient(notes, x))


@pytest.mark.parametrize("activation", ["gelu", "silu", "tanh", "leaky_relu", "identity"])
@pytest.mark.parametrize("form", [{}, {"preactivation": True}, {"block": "notes"}])
def test_gradients_are_right_with_every_activation(activation, form):
    """Finite differences: nothing is overwritten that the way back needs."""
    torch.manual_seed(0)
    net = stir(ResNet((1, 6, 6), 2, blocks=(1, 1), width=2, activation=activation, **form).double().eval())
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,))


# What the arguments do


def test_with_zero_init_a_block_passes_on_its_input():
    net = ResNet((3, 16, 16), 5, **SMALL, block="bottleneck", zero_init=True)
    x = torch.randn(4, 4, 16, 16).relu()
    torch.testing.assert_close(net.layer1(x), F.pad(x, (0, 0, 0, 0, 0, 12)))


def test_probabilities_and_codes():
    net = stir(ResNet((1, 8, 8), 10, **SMALL)).eval()
    x = torch.randn(3, 1, 8, 8)
    assert net.encode(x).shape == (3, 16)
    torch.testing.assert_close(net.fc(net.encode(x)), net(x))
    torch.testing.assert_close(net.classify(x), net(x).exp() / net(x).exp().sum(1, keepdim=True))


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("stem", ["3x3", "7x7"])
def test_the_features_are_as_large_as_they_come_out(stem, stages):
    halved_sizes = stages - 1 + 2 * (stem == "7x7")
    least = 2 ** (halved_sizes - 1) + 1 if halved_sizes else 1  # each step meets at least two positions
    form = {"blocks": (1,) * stages, "width": 2, "stem": stem, "pool": False}
    for n in range(1, least):
        with pytest.raises(ValueError, match=f"{n}×21 is too small: .* at least {least}×{least}"):
            ResNet((1, n, 21), 2, **form)
    for n in (*range(least, least + 9), 33):
        net = ResNet((1, n, 21), 2, **form).eval()
        out = net.maxpool(net.activation(net.bn1(net.conv1(torch.zeros(1, 1, n, 21)))))
        for name in net.stages:
            out = getattr(net, name)(out)
        assert net.features_shape == tuple(out.shape[1:])
        assert net(torch.zeros(2, 1, n, 21)).shape == (2, 2)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"shape": (8, 8)}, r"shape=\(8, 8\) must be \(channels, height, width\)"),
        ({"shape": (0, 8, 8)}, "shape="),
        ({"size": 18}, r"8×8 is too small: .* at least 17×17; resize the images, or use stem='3x3'"),
        ({"shape": (1, 2, 8)}, "2×8 is too small: .* at least 3×3"),
        ({"size": 19}, "size=19 must be one of 18, 34"),
        ({"classes": 0}, "classes="),
        ({"blocks": (2, 0)}, r"blocks=\(2, 0\)"),
        ({"width": 0}, "width=0 must be an integer >= 1"),
        ({"block": "wide"}, "block='wide' is unknown; choose one of basic, bottleneck, notes"),
        ({"stem": "5x5"}, "stem='5x5' is unknown; choose one of 7x7, 3x3"),
        ({"shortcut": "C"}, "shortcut='C' is unknown; choose one of padding, projection, none"),
        ({"activation": "rely"}, "activation='rely' is unknown"),
        ({"stride_first": True}, "stride_first is for block='bottleneck', got block='basic'"),
        ({"size": "notes", "preactivation": True}, "preactivation needs blocks with normalization"),
        ({"zero_init": True, "preactivation": True}, "leave it out with preactivation"),
        ({"zero_init": True, "shortcut": "none"}, "zero_init is for blocks"),
    ],
)
def test_what_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        ResNet(**{"shape": (1, 8, 8), "classes": 3, **wrong})


# Files


@pytest.mark.parametrize(
    "form",
    [
        {"size": 18},
        {"size": 20},
        {**SMALL},
        {**SMALL, "shortcut": "projection", "stem": "7x7"},
        {**SMALL, "block": "bottleneck", "preactivation": True},
    ],
)
def test_a_state_dict_makes_the_round_trip(form, tmp_path):
    net = stir(ResNet((3, 32, 32), 5, **form)).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    back = ResNet.from_pretrained(tmp_path / "net.pth", (3, 32, 32))
    assert not back.training
    assert back.arguments["size"] == form.get("size", 20)
    assert back.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in net.state_dict().items())
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(back(x), net(x))


@pytest.mark.parametrize("form", [{"size": "notes"}, {**SMALL, "preactivation": True}])
def test_a_model_folder_holds_it(form, tmp_path):
    net = stir(ResNet((1, 8, 8), 3, **form)).eval()
    save_model(net, tmp_path, ImageInfo((1, 8, 8), 3))
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(load_model(tmp_path)(x), net(x))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_gray_picture_looks_the_same_in_any_number_of_channels(channels, tmp_path):
    color = stir(ResNet((3, 16, 16), 5, **SMALL).double()).eval()
    save_file(color.state_dict(), tmp_path / "net.safetensors")
    other = ResNet.from_pretrained(tmp_path / "net.safetensors", (channels, 16, 16)).double()
    gray = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(
        other(gray.expand(-1, channels, -1, -1)), color(gray.expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5
    )


def test_public_weights_are_for_images_of_224_pixels(tmp_path):
    torch.save(ResNet((3, 224, 224), 5, **SMALL).state_dict(), tmp_path / "net.pth")
    assert tuple(ResNet.from_pretrained(tmp_path / "net.pth").arguments["shape"]) == (3, 224, 224)


def test_for_other_classes_the_last_layer_is_new_and_the_rest_is_not(tmp_path):
    net = stir(ResNet((3, 16, 16), 5, **SMALL)).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    other = ResNet.from_pretrained(tmp_path / "net.pth", (3, 16, 16), classes=7)
    x = torch.randn(2, 3, 16, 16)
    assert other(x).shape == (2, 7)
    assert other.fresh == ("fc.weight", "fc.bias")
    assert torch.equal(other.encode(x), net.encode(x))
    assert ResNet.from_pretrained(tmp_path / "net.pth", (3, 16, 16), classes=5).fresh == ()


def test_a_body_without_a_last_layer_gets_a_new_one(tmp_path):
    net = stir(ResNet((3, 16, 16), 5, **SMALL)).eval()
    torch.save({name: t for name, t in net.state_dict().items() if "fc" not in name}, tmp_path / "body.pth")
    with pytest.raises(ValueError, match=r"has no last layer 'fc.weight', so the number of classes is unknown"):
        ResNet.from_pretrained(tmp_path / "body.pth", (3, 16, 16))
    body = ResNet.from_pretrained(tmp_path / "body.pth", (3, 16, 16), classes=2)
    assert body.fresh == ("fc.weight", "fc.bias")
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(body.encode(x), net.encode(x))


def test_old_files_do_not_count_batches(tmp_path):
    net = stir(ResNet((3, 16, 16), 5, **SMALL)).eval()
    torch.save({name: t for name, t in net.state_dict().items() if "num_batches" not in name}, tmp_path / "old.pth")
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(ResNet.from_pretrained(tmp_path / "old.pth", (3, 16, 16))(x), net(x))


def test_every_size_is_a_form_with_its_number_of_layers():
    for size, form in SIZES.items():
        if size != "notes":
            assert size == sum(form.blocks) * (3 if form.block == "bottleneck" else 2) + 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": None, "blocks": (1, 1), "width": 8, "stem": "3x3 pool", "shortcut": "projection"},
        {"size": None, "blocks": (1, 1), "width": 8, "shortcut": "none"},
        {"size": 20, "activation": "tanh"},
        {"size": "notes"},
        {"size": None, "blocks": (2,), "width": 8},
        {
            "size": None,
            "blocks": (1, 1),
            "width": 8,
            "block": "bottleneck",
            "stride_first": True,
            "preactivation": True,
        },
    ],
)
def test_what_danlu_has_written_comes_back_whole(arguments, tmp_path):
    """Also what has no weights by which it could be told."""
    net = stir(ResNet((3, 16, 16), 4, **arguments)).eval()
    net.info = ImageInfo((3, 16, 16), 4)
    x = torch.randn(2, 3, 16, 16)
    save_model(net, tmp_path / "model", net.info)
    export(tmp_path / "model", tmp_path / "w.safetensors")
    for path in (tmp_path / "model", tmp_path / "w.safetensors"):
        back = ResNet.from_pretrained(path, shape=(3, 16, 16))
        assert torch.equal(back(x), net(x)), path
        assert len(ResNet.from_pretrained(path, shape=(1, 16, 16), classes=7)(x[:, :1])[0]) == 7


@pytest.mark.unchecked
def test_another_model_of_danlu_is_refused_by_its_name(tmp_path):
    net = DenseNet((3, 16, 16), 4, blocks=(2, 2), growth=4, width=8)
    save_model(net, tmp_path, ImageInfo((3, 16, 16), 4))
    with pytest.raises(UsageError, match=r"is not a ResNet: .* a DenseNet"):
        ResNet.from_pretrained(tmp_path)
