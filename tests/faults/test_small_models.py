"""Descriptions and weights of models that are larger than their files: refused before memory is allocated."""

import json
import os
import zipfile
from hashlib import sha256

import pytest
import torch
from safetensors.torch import save_file

from danlu.catalogue import RECIPES
from danlu.data.images.info import ImageInfo
from danlu.data.tables.info import TableInfo
from danlu.data.text.info import TextInfo
from danlu.errors import RunError, UsageError
from danlu.limits import HEADER_BYTES
from danlu.models import MLP, LanguageModel, ResNet, build, describe, load_model, read_tensors, save_model
from danlu.models.saving import shape_check
from danlu.models.saving.shape_check import build_without_memory
from danlu.nn.state_dict import named_tensors
from danlu.recipes import as_recipe
from danlu.recipes.config.build import build_task
from examined import tiny, trainer_of


@pytest.fixture
def model(tmp_path):
    """A sound model folder, to be edited."""
    save_model(MLP((4,), 2, hidden=(3,)), tmp_path / "model", TableInfo((4,), 2, ("a", "b")))
    return tmp_path / "model"


def edit(folder, key, **changes):
    page = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    page[key].update(changes)
    (folder / "model.json").write_text(json.dumps(page), encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "changes", "line"),
    [
        (
            "arguments",
            {"hidden": [10**12]},
            r"model: 'body.0.linear.weight' has shape \(3, 4\), expected \(10{12}, 4\)",
        ),
        ("arguments", {"classes": 10**12}, r"model: 'head.weight' has shape \(2, 3\), expected \(10{12}, 3\)"),
        ("arguments", {"shape": [10**12]}, r"has shape \(3, 4\), expected \(3, 10{12}\)"),
        ("arguments", {"hidden": [10**18, 10**18]}, "does not describe a valid MLP: "),
        ("arguments", {"hidden": [10**30]}, "does not describe a valid MLP: "),
        ("arguments", {"hidden": [1] * 300}, "valid MLP: the model has more than 500 modules, parameters and"),
        ("arguments", {"dropout": "much"}, "does not describe a valid MLP: "),
        ("data", {"classes": 10**12, "class_names": []}, "1,000,000,000,000 classes exceed the limit of 1,000,000"),
        ("data", {"class_names": ["a"] * 3}, "2 classes have 3 names"),
        ("data", {"shape": [10**12]}, "examples of 1,000,000,000,000 numbers exceed the limit of 100,000,000"),
    ],
)
def test_a_model_whose_description_is_larger_than_its_weights(model, key, changes, line, monkeypatch):
    monkeypatch.setattr(shape_check, "MODEL_PARTS", 500)  # the limit takes seconds
    edit(model, key, **changes)
    with pytest.raises((RunError, UsageError), match=line):
        load_model(model)


def test_a_language_model_of_very_many_layers(tmp_path):
    save_model(LanguageModel(5, "convolution", width=4, layers=1), tmp_path, TextInfo((), vocabulary=5))
    edit(tmp_path, "arguments", layers=300_000, dilated=True)
    with pytest.raises(RunError, match="valid LanguageModel: layers=300000 exceeds the limit of 10,000"):
        load_model(tmp_path)


def test_the_check_without_memory_builds_the_model_of_every_recipe():
    for name in RECIPES:
        model = trainer_of(tiny(name)).task.model
        state = torch.get_rng_state()
        without_memory = build_without_memory(lambda model=model: build(describe(model)))
        assert torch.equal(torch.get_rng_state(), state)
        shapes, expected = (
            {key: (x.shape, x.dtype) for key, x in named_tensors(m).items()} for m in (without_memory, model)
        )
        assert shapes == expected
        assert all(x.is_meta for x in named_tensors(without_memory).values())


@pytest.mark.skipif("sys.platform != 'linux'")
def test_weights_larger_than_memory(model):
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 43)
    with pytest.raises(RunError, match=r"cannot be read: it has 8,796,093,022,208 bytes, and .* are available"):
        load_model(model)
    with pytest.raises(UsageError, match=r"has 8,796,093,022,208 bytes, and [0-9,]+ bytes of memory are available"):
        read_tensors(model)


def test_weights_that_are_a_pipe(model, tmp_path):
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    with pytest.raises(UsageError, match=r"model\.safetensors is a pipe; .*; it was not opened. Remove it"):
        load_model(model)
    with pytest.raises(UsageError, match=r"cannot be read: it is a pipe, not a regular file"):
        read_tensors(model / "model.safetensors")


def test_weights_with_a_very_large_header(model):
    content = (HEADER_BYTES + 1).to_bytes(8, "little") + b"{" + bytes(1000)
    (model / "model.safetensors").write_bytes(content)
    page = model / "model.json"
    changed = {**json.loads(page.read_text(encoding="utf-8")), "sha256": sha256(content).hexdigest()}
    page.write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(RunError, match="its header has 16,777,217 bytes, and at most 16,777,216 are allowed"):
        load_model(model)


def test_a_compressed_archive_of_weights(tmp_path):
    state = {"conv1.weight": torch.zeros(1_000_000)}
    torch.save(state, tmp_path / "net.pth")
    with (
        zipfile.ZipFile(tmp_path / "net.pth") as stored,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    assert read_tensors(tmp_path / "net.pth").keys() == state.keys()
    assert (tmp_path / "bomb.pth").stat().st_size < 10_000
    with pytest.raises(UsageError, match=r"bomb\.pth is compressed: it has [0-9,]+ bytes, and its content 4,00"):
        read_tensors(tmp_path / "bomb.pth")


@pytest.mark.parametrize("archive", [True, False])
def test_a_very_long_name_in_weights_is_refused_before_torch_searches_it(archive, tmp_path):
    """Also in the format before torch 1.6, which is not an archive. Torch would take minutes for an unknown name."""
    file = tmp_path / "net.pth"
    torch.save({"weight": torch.zeros(2)}, file, _use_new_zipfile_serialization=archive)
    assert read_tensors(file).keys() == {"weight"}
    torch.save({"a" * 100_000: torch.zeros(2)}, file, _use_new_zipfile_serialization=archive)
    with pytest.raises(UsageError, match=r"net.pth has a name of 100,000 characters; at most 4,096 are read"):
        read_tensors(file)


def test_weights_that_repeat_a_number(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "net.pth")
    with pytest.raises(UsageError, match=r"its tensors 4,000,000,000,000 bytes, because they repeat the same numbers"):
        read_tensors(tmp_path / "net.pth")
    tied = torch.zeros(1000)
    torch.save({"into.weight": tied, "out.weight": tied}, tmp_path / "tied.pth")
    assert len(read_tensors(tmp_path / "tied.pth")) == 2


def test_public_weights_whose_sizes_are_larger_than_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(shape_check, "MODEL_PARTS", 500)
    weights = ResNet((3, 32, 32), 10, size=20).state_dict()
    save_file(
        {**weights, "fc.weight": torch.zeros(10**12, 0)},
        tmp_path / "net.safetensors",
    )
    with pytest.raises(UsageError, match=r"'fc\..*' has shape .*, expected \(10{12},"):
        ResNet.from_pretrained(tmp_path / "net.safetensors", shape=(3, 32, 32))
    page = {"model": "ResNet", "arguments": {"blocks": [10**6, 1], "width": 4}}
    save_file(weights, tmp_path / "net.safetensors", {"danlu": json.dumps(page)})
    with pytest.raises(UsageError, match=r"cannot be built: the model has more than 500 modules, parameters and"):
        ResNet.from_pretrained(tmp_path / "net.safetensors", shape=(3, 32, 32))


def test_an_argument_that_cannot_initialize_a_tensor(tmp_path):
    save_model(LanguageModel(5, width=4), tmp_path, TextInfo((), vocabulary=5))
    edit(tmp_path, "arguments", forget_bias=1e300)
    with pytest.raises(RunError, match="valid LanguageModel: value cannot be converted to type float"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "line"),
    [
        ("mlp", {"model.hidden": (10**7, 10**7)}, "the weights need 400,00[0-9,]+ bytes, and [0-9,]+ bytes of memory"),
        ("gan", {"generator.hidden": (10**7, 10**7)}, "the weights need 400,00[0-9,]+ bytes, and "),
        ("mlp", {"model.hidden": (1,) * 10_000}, "the model has more than 500 modules, parameters and buffers"),
        ("lstm-lm", {"model.layers": 10_001}, "layers=10001 exceeds the limit of 10,000"),
    ],
)
def test_a_recipe_whose_networks_are_larger_than_memory(name, changes, line, monkeypatch):
    if "more than 500" in line:
        monkeypatch.setattr(shape_check, "MODEL_PARTS", 500)
    recipe = as_recipe(name, changes)
    with pytest.raises(UsageError, match=line):
        build_task(recipe, TextInfo((), vocabulary=9) if name == "lstm-lm" else ImageInfo((1, 8, 8), 2))
