"""Files of public weights: every container is read, and everything else is a clear line that names what it is."""

import argparse
import errno
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.models import MLP, DenseNet, ResNet, looks_like, read_tensors, renamed, save_model, spread_channels
from danlu.models.saving.weights_file import own_arguments

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def same(found, expected=TENSORS):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


# What is read


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin", "weights"])
def test_safetensors_whatever_the_file_is_called(name, tmp_path):
    save_file(TENSORS, tmp_path / name)
    same(read_tensors(tmp_path / name))
    same(read_tensors(str(tmp_path / name)))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_state_dicts_of_either_torch_format(name, zipped, tmp_path):
    torch.save(TENSORS, tmp_path / name, _use_new_zipfile_serialization=zipped)
    same(read_tensors(tmp_path / name))


@pytest.mark.parametrize(
    "wrapped",
    [
        {"epoch": 3, "state_dict": TENSORS, "arch": "resnet"},
        {"model": TENSORS, "epoch": 3},
        {"state_dict": {f"module.{name}": tensor for name, tensor in TENSORS.items()}},
        {f"_orig_mod.{name}": tensor for name, tensor in TENSORS.items()},
        {f"module._orig_mod.{name}": tensor for name, tensor in TENSORS.items()},
        {f"_orig_mod.module.{name}": tensor for name, tensor in TENSORS.items()},
        {name.replace(".", "._orig_mod.", 1): tensor for name, tensor in TENSORS.items()},
    ],
)
def test_a_state_dict_inside_a_checkpoint(wrapped, tmp_path):
    torch.save(wrapped, tmp_path / "checkpoint.pth")
    same(read_tensors(tmp_path / "checkpoint.pth"))


def test_a_folder_prefers_safetensors(tmp_path):
    torch.save({"other": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    same(read_tensors(tmp_path), {"other": torch.zeros(1)})
    save_file(TENSORS, tmp_path / "model.safetensors")
    same(read_tensors(tmp_path))


# What is not


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.unchecked
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_nothing_runs(zipped, tmp_path):
    file = tmp_path / "evil.pth"
    torch.save({"a": Evil(tmp_path / "ran")}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        UsageError, match=r"evil.pth is a pickle with objects other than tensors.* use a safetensors file"
    ) as caught:
        read_tensors(file)
    assert not (tmp_path / "ran").exists()
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_that_torch_did_not_write(protocol, tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol))
    with pytest.raises(UsageError, match=r"evil.pth is .*a pickle.* use a safetensors file"):
        read_tensors(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.unchecked
@pytest.mark.parametrize("value", [argparse.Namespace(lr=0.1), nn.Linear(2, 2)])
def test_objects_beside_the_tensors_are_refused(value, tmp_path):
    torch.save({"model": TENSORS, "args": value}, tmp_path / "checkpoint.pth")
    with pytest.raises(UsageError, match=r"reading it would run code from the file; use a safetensors file"):
        read_tensors(tmp_path / "checkpoint.pth")


@pytest.mark.unchecked
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_is_refused(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "program.pt")
    with pytest.raises(UsageError, match=r"program.pt is a pickle with objects other than tensors"):
        read_tensors(tmp_path / "program.pt")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([torch.zeros(1)], "does not have a state dict, but a list"),
        (torch.zeros(1), "does not have a state dict, but a Tensor"),
        ({}, "does not have a state dict, but an empty dict"),
        ({"state_dict": {}}, "does not have a state dict, but an empty dict"),
        ({"lr": 0.1}, "'lr' is a float, not a tensor"),
        ({3: torch.zeros(1)}, "3 is a Tensor"),
        ({**TENSORS, "epoch": 3}, "'epoch' is a int, not a tensor"),
    ],
)
def test_no_state_dict(value, words, tmp_path):
    torch.save(value, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=f"other.pth {words}|other.pth does not have a state dict: {words}"):
        read_tensors(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "is not a weights file; it looks like a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "it looks like a Git LFS pointer",
        ),
        (b"", "is empty; give a safetensors file"),
        (b"hello\nworld\n", "is not a weights file; it looks like text"),
        (b"\xff" * 100, "is damaged; give a safetensors file, or a state dict"),
        (b"PK\x03\x04 and then no zip file", "is damaged, or a pickle that torch.save did not write"),
        (b"\x80\x02 and then no pickle", "is damaged, or a pickle that torch.save did not write"),
        (b"\x20\0\0\0\0\0\0\0{ and no header here", "is damaged, although it starts like a safetensors file"),
    ],
)
def test_no_weights_at_all(content, words, tmp_path):
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(UsageError, match=f"net.pth .*{words}"):
        read_tensors(tmp_path / "net.pth")


@pytest.mark.parametrize("form", ["safetensors", "zip", "older"])
@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off(form, fraction, tmp_path):
    file = tmp_path / "net"
    tensors = {"a": torch.randn(100, 100), "b": torch.randn(30)}
    if form == "safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file, _use_new_zipfile_serialization=form == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(UsageError, match=r"net is damaged"):
        read_tensors(file)


def test_nothing_there(tmp_path):
    with pytest.raises(
        UsageError, match=r"net.pth does not exist; give a file of weights, or a folder with model.safetens"
    ):
        read_tensors(tmp_path / "net.pth")
    with pytest.raises(UsageError, match=r"has no model.safetensors or pytorch_model.bin; give the file"):
        read_tensors(tmp_path)


# What does not fit


@pytest.fixture(scope="module")
def small():
    """The tensors of a small ResNet."""
    return ResNet((3, 16, 16), 5, blocks=(1, 1), width=4, shortcut="projection").state_dict()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("bn1.weight"), "does not match the network: missing 'bn1.weight'$"),
        (
            lambda t: t.pop("conv1.weight"),
            "is not a ResNet: it has no 'conv1.weight', but 'bn1.weight', .* and 34 more; it looks like a ResNet",
        ),
        (lambda t: t.pop("fc.bias"), "does not match the network: missing 'fc.bias'$"),
        (lambda t: t.update(more=torch.zeros(1)), "does not match the network: unexpected 'more'$"),
        (
            lambda t: t.update({"layer1.7.conv1.weight": torch.zeros(1)}),
            "missing 'layer1.1.conv1.weight', .*; unexpected",
        ),
        (
            lambda t: t.update({"layer9.0.conv1.weight": torch.zeros(1)}),
            "unexpected 'layer9.0.conv1.weight'",
        ),
        (
            lambda t: t.update({"conv1.weight": torch.zeros(4)}),
            r"'conv1.weight' has shape \(4,\), so it is not a convolution",
        ),
        (
            lambda t: t.update({"conv1.weight": torch.zeros(0, 3, 3, 3)}),
            r"shape \(0, 3, 3, 3\), so it is not a convolution",
        ),
        (
            lambda t: t.update({"conv1.weight": torch.zeros(4, 3, 5, 5)}),
            r"\(4, 3, 5, 5\), expected \(4, 3, 3, 3\)",
        ),
        (lambda t: t.update({"bn1.bias": torch.zeros(5)}), r"'bn1.bias' has shape \(5,\), expected \(4,\)"),
        (
            lambda t: t.update({"bn1.bias": torch.zeros(4).int()}),
            r"'bn1.bias' has dtype torch.int32, expected floating-point",
        ),
        (
            lambda t: t.update({"fc.weight": torch.zeros(5)}),
            r"shape \(5,\), so it is not a linear layer",
        ),
        (
            lambda t: t.update({"fc.weight": torch.zeros(5, 9)}),
            r"'fc.weight' has shape \(5, 9\), expected \(5, 8\)",
        ),
    ],
)
def test_tensors_of_another_network(small, change, words, tmp_path):
    tensors = dict(small)
    change(tensors)
    torch.save(tensors, tmp_path / "net.pth")
    with pytest.raises(UsageError, match=f"net.pth.*{words}"):
        ResNet.from_pretrained(tmp_path / "net.pth", (3, 16, 16))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("features.norm5.bias"), "does not match the network: missing 'features.norm5.bias'$"),
        (
            lambda t: t.update({"features.denseblock1.denselayer1.conv2.weight": torch.zeros(())}),
            r"has shape \(\), expected",
        ),
        (
            lambda t: t.pop("features.denseblock1.denselayer1.conv2.weight"),
            "missing 'features.denseblock1.denselayer1",
        ),
        (lambda t: t.pop("features.denseblock1.denselayer1.norm2.weight"), "unexpected"),
        (
            lambda t: t.update({"features.transition1.conv.weight": torch.zeros(99, 14, 1, 1)}),
            r"shape \(99, 14, 1, 1\)",
        ),
        (lambda t: t.update({"features.denseblock9.denselayer1.x": torch.zeros(1)}), "unexpected"),
    ],
)
def test_tensors_of_another_densenet(change, words, tmp_path):
    tensors = DenseNet((3, 16, 16), 5, blocks=(2, 2), growth=4, width=6).state_dict()
    change(tensors)
    torch.save(tensors, tmp_path / "net.pth")
    with pytest.raises(UsageError, match=f"net.pth.*{words}"):
        DenseNet.from_pretrained(tmp_path / "net.pth", (3, 16, 16))


def test_each_family_is_known_by_its_names(small, tmp_path):
    dense = DenseNet((3, 16, 16), 5, blocks=(1,), growth=4, width=6).state_dict()
    torch.save(dense, tmp_path / "dense.pth")
    torch.save(small, tmp_path / "residual.pth")
    with pytest.raises(UsageError, match=r"dense.pth is not a ResNet: .* it looks like a DenseNet of torchvision"):
        ResNet.from_pretrained(tmp_path / "dense.pth")
    with pytest.raises(UsageError, match=r"residual.pth is not a DenseNet: .* it looks like a ResNet of torchvision"):
        DenseNet.from_pretrained(tmp_path / "residual.pth")
    assert looks_like(["vit.encoder.layer.0.attention.attention.query.weight"]) == "it looks like a ViT"
    assert looks_like(["x"]) == "it is not a network that danlu recognizes"


def test_a_wide_network_is_not_taken_for_a_narrow_one(tmp_path):
    """Wide ResNets have the same names, and other shapes."""
    with torch.device("meta"):
        names = ResNet((3, 64, 64), 5, 50).state_dict()
    tensors = {name: torch.zeros(tensor.shape) for name, tensor in names.items()}
    for name in tensors:
        if "conv2.weight" in name:
            tensors[name] = torch.zeros(2 * tensors[name].shape[0], *tensors[name].shape[1:])
    torch.save(tensors, tmp_path / "wide.pth")
    with pytest.raises(UsageError, match=r"'layer1.0.conv2.weight' has shape .* so the widths of the network differ"):
        ResNet.from_pretrained(tmp_path / "wide.pth", (3, 64, 64))


def test_a_refusal_comes_before_the_model_is_changed(small):
    from danlu.models import fill

    net = ResNet((3, 16, 16), 5, blocks=(1, 1), width=4, shortcut="projection")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(UsageError, match="does not match the network"):
        fill(net, {**small, "fc.bias": torch.zeros(6)}, "net.pth", first="conv1.weight", head="fc")
    same(net.state_dict(), before)


# Parts


def test_spreading_over_channels_by_hand():
    weight = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[:, :, None, None]
    assert spread_channels(weight, 1).flatten().tolist() == [6, 15]
    assert spread_channels(weight, 2).flatten().tolist() == [3, 3, 7.5, 7.5]
    assert spread_channels(weight, 3) is weight


def test_half_precision_weights_become_the_networks(small, tmp_path):
    torch.save({name: t.half() if t.is_floating_point() else t for name, t in small.items()}, tmp_path / "half.pth")
    net = ResNet.from_pretrained(tmp_path / "half.pth", (3, 16, 16))
    for name, tensor in net.state_dict().items():
        assert tensor.dtype == small[name].dtype
        assert torch.equal(tensor, small[name].half().to(tensor.dtype) if tensor.is_floating_point() else small[name])


def test_renaming_by_groups():
    found = renamed(
        {"b.1.w": TENSORS["a.bias"], "c": TENSORS["a.bias"]}, {r"^b\.(\d)": lambda at: f"d{int(at[1]) + 1}"}
    )
    assert list(found) == ["d2.w", "c"]


def test_arguments_of_another_model_are_refused(tmp_path):
    save_model(MLP((4,), 2), tmp_path, TableInfo((4,), 2))
    assert own_arguments(tmp_path, "MLP")["classes"] == 2
    with pytest.raises(UsageError, match=f"{tmp_path} has a MLP, not a ResNet"):
        own_arguments(tmp_path, "ResNet")


def test_weights_that_the_system_does_not_open_are_named(tmp_path, monkeypatch):
    file = tmp_path / "w.safetensors"
    save_file(TENSORS, file)

    def denied(*given, **settings):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(UsageError, match=r"w\.safetensors cannot be read: permission denied"):
        read_tensors(file)
