"""The densely connected network: the paper's counts, public names, each form by functions, and checkpointing."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from danlu.data.images.info import ImageInfo
from danlu.models import DenseNet, load_model, save_model
from danlu.models.classify.densenet_sizes import SIZES

SMALL = {"blocks": (3, 2), "growth": 4, "width": 6}


def count(net):
    return sum(p.numel() for p in net.parameters())


def stir(net):
    """Norms and biases that are not the first ones."""
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5) if name.endswith(("weight", "var")) else tensor.normal_(0, 0.3)
    return net


def with_gradient(call, x):
    x = x.clone().requires_grad_()
    logits = call(x)
    logits.square().sum().backward()
    return logits.detach(), x.grad


# Counts and names


@pytest.mark.parametrize(
    ("size", "parameters"), [(121, 7_978_856), (161, 28_681_000), (169, 14_149_480), (201, 20_013_928)]
)
def test_the_parameters_of_the_imagenet_networks(size, parameters):
    with torch.device("meta"):
        assert count(DenseNet((3, 224, 224), 1000, size)) == parameters


@pytest.mark.parametrize(("size", "millions"), [(40, 1.0), (100, 0.8), (250, 15.3), (190, 25.6)])
def test_the_parameters_of_the_cifar_networks(size, millions):
    """By hand, and the paper's table 2."""
    growth = {40: 12, 100: 12, 250: 24, 190: 40}[size]
    layers = (size - 4) // (3 if size == 40 else 6)
    depth = 16 if size == 40 else 2 * growth
    total = 27 * depth
    for block in range(3):
        for _ in range(layers):
            inner = 4 * growth
            total += 2 * depth + (9 * depth * growth if size == 40 else depth * inner + 2 * inner + 9 * inner * growth)
            depth += growth
        if block < 2:
            kept = depth if size == 40 else depth // 2
            total += 2 * depth + depth * kept
            depth = kept
    total += 2 * depth + depth * 10 + 10
    with torch.device("meta"):
        net = DenseNet((3, 32, 32), 10, size)
    assert count(net) == total
    assert count(net) / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_parameters_of_bc_with_100_layers():
    assert count(DenseNet((3, 32, 32), 10)) == 769_162


def test_the_names_are_the_public_ones():
    maps, norms = ["conv0"], ["norm0", "norm5"]
    for block, layers in enumerate((6, 12, 24, 16), 1):
        for layer in range(1, layers + 1):
            maps += [f"denseblock{block}.denselayer{layer}.conv{k}" for k in (1, 2)]
            norms += [f"denseblock{block}.denselayer{layer}.norm{k}" for k in (1, 2)]
    maps += [f"transition{block}.conv" for block in (1, 2, 3)]
    norms += [f"transition{block}.norm" for block in (1, 2, 3)]
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"features.{m}.weight" for m in maps} | {f"features.{n}.{p}" for n in norms for p in parts}
    with torch.device("meta"):
        names = set(DenseNet((3, 224, 224), 1000, 121).state_dict())
    assert names == expected | {"classifier.weight", "classifier.bias"}


# The same numbers, from the formula


def by_functions(net, x):
    """The paper's network without a module, from the tensors by their public names: concatenate all, everywhere."""
    state = net.state_dict()

    def norm(name, x):
        if net.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        else:
            mean, var = state[f"features.{name}.running_mean"], state[f"features.{name}.running_var"]
        scale = state[f"features.{name}.weight"] / (var + 1e-5).sqrt()
        return (x - mean[:, None, None]) * scale[:, None, None] + state[f"features.{name}.bias"][:, None, None]

    def convolution(name, x, stride=1):
        weight = state[f"features.{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    if "features.norm0.weight" in state:
        x = F.max_pool2d(norm("norm0", convolution("conv0", x, 2)).relu(), 3, 2, 1)
    else:
        x = convolution("conv0", x)
    parts = dict.fromkeys(name.split(".")[1] for name in state if name.startswith(("features.dense", "features.trans")))
    for part in parts:
        if part.startswith("transition"):
            x = F.avg_pool2d(convolution(f"{part}.conv", norm(f"{part}.norm", x).relu()), 2)
            continue
        for layer in dict.fromkeys(name.split(".")[2] for name in state if f".{part}." in name):
            y = convolution(f"{part}.{layer}.conv1", norm(f"{part}.{layer}.norm1", x).relu())
            if f"features.{part}.{layer}.conv2.weight" in state:
                y = convolution(f"{part}.{layer}.conv2", norm(f"{part}.{layer}.norm2", y).relu())
            x = torch.cat([x, y], 1)
    return norm("norm5", x).relu().mean((2, 3)) @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        SMALL,
        {**SMALL, "layer": "basic", "compression": 1.0},
        {**SMALL, "compression": 0.3, "bottleneck": 2},
        {"size": 121, "blocks": (2, 1, 2), "growth": 4, "width": 6},
    ],
)
def test_logits_and_gradients_equal_the_paper_written_out(form, checkpoint, training):
    torch.manual_seed(0)
    net = stir(DenseNet((2, 18, 19), 3, checkpoint=checkpoint, **form).double()).train(training)
    x = torch.randn(4, 2, 18, 19, dtype=torch.float64)
    torch.testing.assert_close(with_gradient(net, x), with_gradient(lambda x: by_functions(net, x), x))


def test_the_notes_network_equals_the_notes_code():
    """Blocks of two layers with 32 channels more each, and transitions to 64; the second begins with 128."""
    torch.manual_seed(0)
    net = DenseNet((1, 28, 28), 10, "notes").double()
    weights = list(net.parameters())
    assert [tuple(w.shape[:2]) for w in weights if w.ndim == 4] == [
        *((32, 1), (32, 32), (32, 64), (64, 96)),
        *((32, 64), (32, 96), (64, 128)),
    ]

    def notes(x):
        given = iter(weights)

        def convolution(x, padding=1):
            return F.conv2d(x, next(given), next(given), padding=padding).relu()

        x = convolution(x)
        for _ in range(2):
            first = convolution(x)
            second = convolution(torch.cat([x, first], 1))
            x = F.avg_pool2d(convolution(torch.cat([x, first, second], 1), padding=0), 2)
        return F.linear(x.reshape(-1, 7 * 7 * 64), next(given), next(given))

    x = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(with_gradient(net, x), with_gradient(notes, x))


@pytest.mark.parametrize("activation", ["gelu", "silu", "tanh", "leaky_relu", "identity"])
@pytest.mark.parametrize("form", [SMALL, {"size": "notes", "growth": 2, "width": 2}])
def test_gradients_are_right_with_every_activation(activation, form):
    """Finite differences: nothing is overwritten that the way back needs."""
    torch.manual_seed(0)
    net = stir(DenseNet((1, 5, 5), 2, activation=activation, **form).double().eval())
    x = torch.randn(2, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(net, (x,))


# Checkpointing


def twins(**more):
    torch.manual_seed(0)
    plain = stir(DenseNet((3, 16, 16), 5, **{**SMALL, **more}))
    kept = DenseNet((3, 16, 16), 5, **{**SMALL, **more}, checkpoint=True)
    kept.load_state_dict(plain.state_dict())
    return plain, kept


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_checkpointing_changes_no_gradient_and_no_running_statistic(dropout):
    nets = twins(dropout=dropout)
    x = torch.randn(4, 3, 16, 16)
    for net in nets:
        torch.manual_seed(1)
        net(x).square().sum().backward()
    for (name, a), b in zip(nets[0].named_parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(nets[0].named_buffers(), nets[1].buffers(), strict=True):
        assert torch.equal(a, b), name
        assert not name.endswith("num_batches_tracked") or a == 1
    assert [name for name, _ in nets[0].named_buffers()] == [name for name, _ in nets[1].named_buffers()]


@pytest.mark.unchecked
def test_checkpointing_survives_compilation():
    plain, kept = twins(blocks=(2,))
    compiled = torch.compile(kept, backend="aot_eager")
    x = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(with_gradient(compiled, x), with_gradient(plain, x), rtol=1e-4, atol=1e-5)
    for a, b in zip(kept.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_checkpointing_keeps_less_for_the_way_back():
    """Without it what is kept grows with the square of the layers, with it in proportion."""

    def kept(layers, checkpoint):
        net = DenseNet((3, 16, 16), 5, blocks=(layers,), growth=4, checkpoint=checkpoint)
        own = {p.untyped_storage().data_ptr() for p in net.state_dict().values()}
        found = {}

        def note(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                found[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address comes twice
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            net(torch.randn(2, 3, 16, 16))
        return sum(size for size, _ in found.values())

    assert kept(40, True) < 0.5 * kept(40, False)
    assert kept(40, True) < 2.2 * kept(20, True)
    assert kept(40, False) > 2.7 * kept(20, False)


# What the arguments do


def test_dropout_is_for_training_only():
    net = DenseNet((3, 16, 16), 5, **SMALL, dropout=0.5)
    x = torch.randn(2, 3, 16, 16)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_probabilities_and_codes():
    net = stir(DenseNet((1, 8, 8), 10, **SMALL)).eval()
    x = torch.randn(3, 1, 8, 8)
    assert net.encode(x).shape == (3, (6 + 3 * 4) // 2 + 2 * 4)
    torch.testing.assert_close(net.classifier(net.encode(x)), net(x))
    torch.testing.assert_close(net.classify(x), net(x).exp() / net(x).exp().sum(1, keepdim=True))


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
@pytest.mark.parametrize("stem", ["3x3", "7x7"])
@pytest.mark.parametrize("layer", ["basic", "notes"])
def test_the_features_are_as_large_as_they_come_out(layer, stem, blocks):
    least = 2 ** (blocks - (layer != "notes"))
    least = 4 * (least - 1) + 1 if stem == "7x7" else least
    form = {"blocks": (1,) * blocks, "growth": 2, "width": 2, "stem": stem, "pool": False, "layer": layer}
    for n in range(1, least):
        with pytest.raises(ValueError, match=f"{n}×70 is too small: .* at least {least}×{least}"):
            DenseNet((1, n, 70), 2, **form)
    for n in range(least, least + 9):
        net = DenseNet((1, n, 70), 2, **form).eval()
        assert net.features_shape == tuple(net.features(torch.zeros(1, 1, n, 70)).shape[1:])
        assert net(torch.zeros(2, 1, n, 70)).shape == (2, 2)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"shape": (8, 8)}, r"shape=\(8, 8\) must be \(channels, height, width\)"),
        ({"size": 121}, r"8×8 is too small: .* at least 29×29; resize the images, or use stem='3x3'"),
        ({"shape": (1, 3, 8)}, "3×8 is too small: .* at least 4×4; resize the images, or use fewer blocks"),
        ({"size": 99}, "size=99 must be one of 40, 100"),
        ({"classes": 0}, "classes="),
        ({"blocks": (2, 0)}, r"blocks=\(2, 0\)"),
        ({"growth": 0}, "growth=0 must be an integer >= 1"),
        ({"width": 0}, "width=0 must be"),
        ({"bottleneck": 0}, "bottleneck=0 must be"),
        ({"layer": "wide"}, "layer='wide' is unknown; choose one of bottleneck, basic, notes"),
        ({"stem": "5x5"}, "stem='5x5' is unknown; choose one of 7x7, 3x3"),
        ({"activation": "rely"}, "activation='rely' is unknown"),
        ({"compression": 0.0}, "compression=0.0 must be greater than 0 and at most 1"),
        ({"compression": 1.5}, "compression=1.5 must be greater than 0 and at most 1"),
        ({"compression": 0.001}, "compression=0.001 leaves no channel"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_what_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        DenseNet(**{"shape": (1, 8, 8), "classes": 3, **wrong})


# Files


@pytest.mark.parametrize(
    "form",
    [
        {"size": 121},
        SMALL,
        {**SMALL, "compression": 0.7, "bottleneck": 2},
        {**SMALL, "layer": "basic", "compression": 1.0},
        {"size": 121, "blocks": (2, 1, 3), "growth": 4, "width": 8},
    ],
)
@pytest.mark.parametrize("older", [False, True])
def test_a_state_dict_makes_the_round_trip(form, older, tmp_path):
    net = stir(DenseNet((3, 32, 32), 5, **form)).eval()
    tensors = net.state_dict()
    if older:  # as published before torch 0.4.1
        for k in "12":
            tensors = {
                n.replace(f".norm{k}.", f".norm.{k}.").replace(f".conv{k}.", f".conv.{k}."): t
                for n, t in tensors.items()
            }
        tensors = {name: t for name, t in tensors.items() if "num_batches" not in name}
        assert "features.denseblock1.denselayer1.norm.1.weight" in tensors
    save_file(tensors, tmp_path / "net.safetensors")
    back = DenseNet.from_pretrained(tmp_path / "net.safetensors", (3, 32, 32))
    assert back.arguments["size"] == (121 if form == {"size": 121} else 100)
    assert (back.training, back.fresh) == (False, ())
    assert back.state_dict().keys() == net.state_dict().keys()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(back(x), net(x))


def test_public_weights_are_for_images_of_224_pixels(tmp_path):
    torch.save(DenseNet((3, 224, 224), 5, **SMALL).state_dict(), tmp_path / "net.pth")
    assert tuple(DenseNet.from_pretrained(tmp_path / "net.pth").arguments["shape"]) == (3, 224, 224)


def test_for_other_classes_and_channels(tmp_path):
    net = stir(DenseNet((3, 16, 16), 5, **SMALL)).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    other = DenseNet.from_pretrained(tmp_path / "net.pth", (1, 16, 16), classes=7)
    assert other.fresh == ("classifier.weight", "classifier.bias")
    gray = torch.randn(2, 1, 16, 16)
    assert other(gray).shape == (2, 7)
    torch.testing.assert_close(other.encode(gray), net.encode(gray.expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", [{"size": "notes"}, SMALL])
def test_a_model_folder_holds_it(form, tmp_path):
    net = stir(DenseNet((1, 8, 8), 3, **form)).eval()
    save_model(net, tmp_path, ImageInfo((1, 8, 8), 3))
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(load_model(tmp_path)(x), net(x))


def test_every_size_is_a_form_with_its_number_of_layers():
    for size, form in SIZES.items():
        if size != "notes":
            assert size == sum(form.blocks) * (2 if form.layer == "bottleneck" else 1) + len(form.blocks) + 1
