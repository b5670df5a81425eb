"""The model folder: the same outputs bit for bit after a round trip, and clear lines for everything that is wrong."""

import errno
import json
import os
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from danlu.catalogue import MODELS
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.errors import RunError, UsageError
from danlu.models import CNN, FORMAT, MLP, Model, load_model, save_model

INFO = ImageInfo((1, 8, 8), 3, ("a", "b", "c"), (0.0, 1.0))


class Tied(Model):
    """A model whose two layers share one matrix."""

    def __init__(self, width: int):
        super().__init__()
        self.into, self.back = nn.Linear(width, width), nn.Linear(width, width)
        self.back.weight = self.into.weight

    def forward(self, x):
        return self.back(self.into(x))


class Wrapper(Model):
    """A model that takes a network."""

    def __init__(self, network: nn.Module, factor: float = 1.0):
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x):
        return self.network(x) * self.factor


@pytest.fixture
def catalogued(monkeypatch):
    """The two models above, in the catalogue."""
    for cls in (Tied, Wrapper):
        monkeypatch.setitem(MODELS, cls.__name__, f"{cls.__module__}:{cls.__name__}")


@pytest.fixture
def folder(tmp_path):
    """A sound folder, to be damaged."""
    save_model(MLP((1, 8, 8), 3, hidden=(4,)), tmp_path / "model", INFO)
    return tmp_path / "model"


def edit(folder, **changes):
    page = folder / "model.json"
    page.write_text(json.dumps({**json.loads(page.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLP((1, 8, 8), 3, hidden=(6, 5), norm="batch", dropout=0.5),
        lambda: MLP([1, 8, 8], 3, (), "tanh"),
        lambda: CNN((1, 8, 8), 3, (4, 4), norm="layer", hidden=(7,)),
        lambda: CNN((1, 8, 8), 3, channels=[2], norm="batch"),
    ],
)
def test_a_round_trip_gives_equal_outputs_bit_for_bit(make, tmp_path):
    model = make()
    model(torch.randn(16, 1, 8, 8))  # running statistics that are not the first ones
    save_model(model, tmp_path / "deep" / "model", INFO, {"recipe": "mlp"})
    loaded = load_model(tmp_path / "deep" / "model")
    assert (type(loaded), loaded.info, loaded.training) == (type(model), INFO, False)
    x = torch.randn(5, 1, 8, 8)
    assert torch.equal(loaded(x), model.eval()(x))


def test_the_page_says_what_it_is_and_what_it_was_made_with(tmp_path):
    save_model(MLP((1, 8, 8), 3, hidden=(4,)), tmp_path, INFO, {"recipe": "mlp", "scores": {"accuracy": 0.5}})
    page = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert (page["format"], page["model"], page["arguments"]["hidden"]) == (FORMAT, "MLP", [4])
    assert page["made_with"] == {"recipe": "mlp", "scores": {"accuracy": 0.5}}


def test_weights_are_safetensors_under_their_state_dict_names(folder):
    assert set(load_file(folder / "model.safetensors")) == set(MLP((1, 8, 8), 3, hidden=(4,)).state_dict())


def test_a_model_inside_a_model(catalogued, tmp_path):
    model = Wrapper(MLP((4,), 2, hidden=(3,)), factor=2.0)
    save_model(model, tmp_path, INFO)
    x = torch.randn(5, 4)
    assert torch.equal(load_model(tmp_path)(x), model(x))


def test_tied_weights(catalogued, tmp_path):
    model = Tied(4)
    save_model(model, tmp_path, INFO)
    loaded = load_model(tmp_path)
    x = torch.randn(5, 4)
    assert torch.equal(loaded(x), model(x))
    assert loaded.into.weight is loaded.back.weight


@pytest.mark.unchecked
@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 2), lambda: Tied(4)])
def test_a_foreign_module_is_refused_and_nothing_is_written(make, tmp_path):
    with pytest.raises(UsageError, match=r"cannot be saved as a model, because it is not in the catalogue"):
        save_model(make(), tmp_path / "model", INFO)
    assert not (tmp_path / "model").exists()


@pytest.mark.unchecked
def test_a_foreign_network_inside_a_model_is_refused_and_nothing_is_written(catalogued, tmp_path):
    with pytest.raises(UsageError, match="Linear cannot be saved"):
        save_model(Wrapper(nn.Linear(2, 2)), tmp_path / "model", INFO)
    assert not (tmp_path / "model").exists()


@pytest.mark.unchecked
def test_an_argument_that_json_does_not_have_is_refused_and_nothing_is_written(tmp_path):
    model = MLP((4,), 2)
    model.arguments = {**model.arguments, "hidden": {3, 4}}
    with pytest.raises(UsageError, match=r"the arguments of this MLP cannot be saved: .*set is not JSON serializable"):
        save_model(model, tmp_path / "model", INFO)
    assert not (tmp_path / "model").exists()


def test_no_model_there(tmp_path):
    with pytest.raises(UsageError, match=r"has no model.json; give a run folder"):
        load_model(tmp_path)


@pytest.mark.unchecked
def test_a_newer_format_is_refused(folder):
    edit(folder, format=FORMAT + 1)
    with pytest.raises(
        UsageError,
        match=f"has format {FORMAT + 1}, but .* up to {FORMAT}; update danlu",
    ):
        load_model(folder)


@pytest.mark.unchecked
def test_an_unknown_model_is_refused_with_the_nearest_name(folder):
    edit(folder, model="MPL")
    with pytest.raises(UsageError, match="unknown model 'MPL'; did you mean 'MLP'"):
        load_model(folder)


@pytest.mark.parametrize("page", ["", "{", "\xff", "[1, 2]", "{}", '{"format": 1}', '{"format": "one"}'])
def test_a_damaged_page_is_a_clear_line(folder, page):
    (folder / "model.json").write_text(page, encoding="utf-8")
    with pytest.raises(RunError, match=r"model\.json"):
        load_model(folder)


@pytest.mark.parametrize("arguments", [{"shape": [1, 8, 8], "classes": 3, "depth": 4}, {"shape": [1, 8, 8]}])
def test_arguments_that_the_model_does_not_have_are_a_clear_line(folder, arguments):
    edit(folder, arguments=arguments)
    with pytest.raises((RunError, UsageError), match="MLP"):
        load_model(folder)


def test_missing_weights_are_a_clear_line(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"model.safetensors is missing"):
        load_model(folder)


@pytest.mark.parametrize("harm", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\xff" * 100, lambda b: b[1:]])
def test_damaged_weights_are_a_clear_line(folder, harm):
    file = folder / "model.safetensors"
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(RunError, match=r"model.safetensors is (damaged|empty|not a weights file).*SHA-256"):
        load_model(folder)


@pytest.mark.parametrize("weights", [{}, {"head.weight": torch.zeros(3, 4)}, {"other": torch.zeros(1)}])
def test_weights_of_another_model_are_a_clear_line(folder, weights):
    save_file(weights, folder / "model.safetensors")
    edit(folder, sha256=sha256((folder / "model.safetensors").read_bytes()).hexdigest())
    with pytest.raises(UsageError, match=r"model.safetensors is of another model: \d+ names differ"):
        load_model(folder)


def test_a_flipped_bit_in_the_weights_is_seen(folder):
    """The file stays a sound safetensors file; only its checksum tells."""
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"model.safetensors is damaged: its SHA-256 is"):
        load_model(folder)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html></html>", "not a weights file; it looks like a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a weights file; it looks like a Git LFS pointer"),
        (b"\x80\x02cos\nsystem\n", "a pickle file, which can run arbitrary code; use a safetensors file"),
        (b"PK\x03\x04", "a pickle file, which can run arbitrary code; use a safetensors file"),
        (b"hello\nworld\n", "not a weights file; it looks like text"),
        (b"", "empty"),
    ],
)
def test_what_is_no_weights_at_all_is_named(folder, content, kind):
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=f"model.safetensors is {kind}"):
        load_model(folder)


def test_a_full_disk_leaves_the_old_model(tmp_path, monkeypatch):
    info, old = TableInfo((4,), 2), MLP((4,), 2, hidden=(3,))
    save_model(old, tmp_path, info)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(MLP((4,), 2, hidden=(3,)), tmp_path, info)
    monkeypatch.undo()
    kept = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), old.parameters(), strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
