"""A model in the formats of others says what it says here."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from danlu.app.cli import main
from danlu.app.export.check_onnx import checked
from danlu.app.export.export import export
from danlu.app.inference.load import load
from danlu.data import Characters, from_json
from danlu.data.images.info import ImageInfo
from danlu.data.kinds import info_from_json
from danlu.data.tables.info import TableInfo
from danlu.data.text.info import TextInfo
from danlu.errors import RunError, UsageError
from danlu.models import (
    CNN,
    MLP,
    VAE,
    ConditionalVAE,
    LanguageModel,
    MLPGenerator,
    SemiSupervisedVAE,
    StackedVAE,
    save_model,
)
from danlu.models.onnx import OnnxCase, OnnxGraph

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

INFO = ImageInfo((3, 12, 12), 4, ("a", "b", "c", "日"))


pytestmark = pytest.mark.xdist_group("export")  # in one process, which traces the model of `exported` once


def save_cnn(folder):
    torch.manual_seed(0)
    save_model(CNN(INFO.shape, INFO.classes, channels=(4, 8), hidden=(16,), norm="batch", dropout=0.5), folder, INFO)
    return folder


@pytest.fixture
def folder(tmp_path):
    return save_cnn(tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with the model of `folder`, and with its graph."""
    folder = save_cnn(tmp_path_factory.mktemp("exported"))
    assert export(folder, folder / "model.onnx").verb == "classify"
    return folder


@pytest.fixture
def traced_before(exported, monkeypatch):
    """The model of `folder` is not traced again."""

    def read(*_):
        graph = onnx.load(exported / "model.onnx")
        del graph.metadata_props[:]
        return graph

    monkeypatch.setattr("danlu.app.export.traced_onnx._traced", read)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_onnxruntime_gives_the_models_answers_for_batches_of_any_size(exported, n):
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    x = torch.rand(n, *INFO.shape)
    (answer,) = session.run(["classify"], {"image": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), load(exported).classify(x), rtol=0, atol=1e-6)


def latent_models():
    cvae = ConditionalVAE((1, 8, 8), 3, latent=2, hidden=(8,), channels=(4,))
    m2 = SemiSupervisedVAE((1, 8, 8), 3, latent=2, hidden=(8,), classifier_hidden=(8,))
    stack = StackedVAE(
        VAE((1, 8, 8), latent=4, hidden=(8,)),
        SemiSupervisedVAE((4,), 3, latent=2, hidden=(8,), classifier_hidden=(8,), likelihood="gaussian"),
    )
    told = VAE((1, 8, 8), latent=2, hidden=(8,), masks=True, likelihood="gaussian")
    planar = VAE((1, 8, 8), latent=2, hidden=(8,), posterior="planar", posterior_layers=3)
    iaf = ConditionalVAE((1, 8, 8), 3, latent=3, hidden=(8,), posterior="iaf", posterior_layers=2)
    return {"cvae": cvae, "m2": m2, "stack": stack, "told": told, "planar": planar, "iaf": iaf}


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("cvae", "classify"),
        pytest.param("cvae", "reconstruct", marks=pytest.mark.long),
        ("m2", "encode"),
        ("stack", "reconstruct"),
        ("told", "reconstruct"),
        ("planar", "encode"),
        pytest.param("planar", "reconstruct", marks=pytest.mark.long),
        ("iaf", "encode"),
        pytest.param("iaf", "classify", marks=pytest.mark.long),
    ],
)
def test_autoencoders_too_guessing_labels_where_they_need_them(name, verb, tmp_path):
    torch.manual_seed(0)
    save_model(latent_models()[name], tmp_path, ImageInfo((1, 8, 8), 3))
    export(tmp_path, tmp_path / "model.onnx", verb)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for n in (1, 3):
        x = torch.rand(n, 1, 8, 8)
        (answer,) = session.run([verb], {"image": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(answer), getattr(load(tmp_path), verb)(x), rtol=0, atol=1e-5)


def test_what_torch_cannot_export_is_said_in_a_line(folder, monkeypatch, capsys):
    monkeypatch.setattr(CNN, "classify", lambda self, x: x if int(x.sum()) > 0 else -x)
    with pytest.raises(SystemExit) as ended:
        main.main(["export", str(folder), "-o", str(folder / "model.onnx")])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert "cannot export classify of this model to ONNX" in error
    assert error.count("\n") == 1
    assert not (folder / "model.onnx").exists()


def test_the_file_says_what_its_inputs_and_classes_are(exported):
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    words = session.get_modelmeta().custom_metadata_map
    assert info_from_json(json.loads(words["data"])) == INFO
    assert json.loads(words["danlu"])["model"] == "CNN"


def test_answers_that_differ_are_not_written(folder, traced_before, monkeypatch, capsys):
    monkeypatch.setattr("danlu.app.export.check_onnx.difference", lambda *_: 0.5)
    (folder / "model.onnx").write_bytes(b"the old one")
    with pytest.raises(SystemExit) as ended:
        main.main(["export", str(folder), "-o", str(folder / "model.onnx")])
    assert ended.value.code == 1
    assert "differ from the model's by 0.5" in capsys.readouterr().err
    assert (folder / "model.onnx").read_bytes() == b"the old one"
    assert not list(folder.glob(".*making"))


def test_weights_alone_are_the_state_dict(folder):
    export(folder, folder / "weights.safetensors")
    state = load(folder).state_dict()
    back = load_file(folder / "weights.safetensors")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    with safe_open(folder / "weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["danlu"])["arguments"]["classes"] == 4


def test_a_table_model_too(tmp_path):
    info = TableInfo((5,), 3, columns=tuple("abcde"), shift=(0.0,) * 5, scale=(1.0,) * 5)
    save_model(MLP((5,), 3, hidden=(4,)), tmp_path, info)
    export(tmp_path, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    x = torch.randn(3, 5)
    (answer,) = session.run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), load(tmp_path).classify(x), rtol=0, atol=1e-6)


LANGUAGE = [
    {"kind": "rnn", "nonlinearity": "relu"},
    {"kind": "lstm", "tied": True},
    {"kind": "lstm", "embedding": 0, "learn_normalizer": True},
    {"kind": "lstm", "cutoffs": (5, 10), "width": 16},
    {"kind": "peephole"},
    {"kind": "coupled", "layers": 3},
    {"kind": "gru"},
    {"kind": "gru", "reset": "before"},
    {"kind": "convolution", "dilated": True, "layers": 3, "embedding": 5},
]


def language_folder(folder, **settings):
    torch.manual_seed(0)
    model = LanguageModel(20, **{"width": 8, "layers": 2, **settings})
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    model.tokenizer = Characters([chr(ord("a") + k) for k in range(20)])
    save_model(model, folder, TextInfo((), vocabulary=20, tokens="characters"))
    return folder


def test_the_gru_of_the_lecture_notes_has_no_operator(tmp_path):
    folder = language_folder(tmp_path, kind="gru", reset="notes")
    with pytest.raises(UsageError, match="ONNX has no GRU with this position of the reset gate; train with another"):
        export(folder, folder / "model.onnx")
    assert not (folder / "model.onnx").exists()


@pytest.mark.parametrize("settings", LANGUAGE, ids=lambda settings: " ".join(map(str, settings.values())))
def test_a_language_model_reads_texts_of_any_number_and_length_piece_by_piece(settings, tmp_path):
    folder = language_folder(tmp_path, **settings)
    assert export(folder, folder / "model.onnx").difference < 1e-6
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = from_json(session.get_modelmeta().custom_metadata_map["tokenizer"])
    model, tokens = load(folder), tokenizer.encode("agoodbeginningis")
    for n in (1, 3):
        rows, state = tokens.roll(n).expand(n, -1).contiguous(), model.zero_state(n)
        expected = model.logits(model(rows)[0]).detach()
        for piece in (slice(0, 1), slice(1, 7), slice(7, 16)):
            logits, state = session.run(None, {"token": rows[:, piece].numpy(), "state": np.asarray(state)})
            torch.testing.assert_close(torch.from_numpy(logits), expected[:, piece], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "verb", "words"),
    [
        ({"kind": "gru", "reset": "notes"}, None, "ONNX has no GRU"),
        ({}, "log_prob", "exports complete only, got log_prob"),
    ],
)
def test_what_onnx_has_not_of_a_language_model(settings, verb, words, tmp_path):
    folder = language_folder(tmp_path, **settings)
    with pytest.raises(UsageError, match=words):
        export(folder, folder / "model.onnx", verb)
    assert not (folder / "model.onnx").exists()


@pytest.mark.parametrize(
    ("name", "verb", "said"),
    [
        ("model.pt", None, r"the name must end in \.onnx or \.safetensors"),
        ("nowhere/model.onnx", None, "does not exist"),
        ("model.onnx", "sample", "CNN has no verb 'sample'; its verbs: classify"),
        ("model.onnx", "sing", "there is no verb 'sing'"),
        ("model.safetensors", "classify", "weights only; remove verb"),
        ("folder.onnx", None, "folder.onnx is a folder; give the name of a file"),
    ],
)
def test_what_cannot_be_written(folder, name, verb, said):
    (folder / "folder.onnx").mkdir()
    with pytest.raises(UsageError, match=said):
        export(folder, folder / name, verb)


def test_verbs_that_draw_random_numbers_are_not_exported(tmp_path):
    save_model(latent_models()["told"], tmp_path, ImageInfo((1, 8, 8)))
    with pytest.raises(UsageError, match=r"sample cannot be exported to ONNX: it uses random .*; available: encode, "):
        export(tmp_path, tmp_path / "model.onnx", "sample")


def test_a_model_with_such_verbs_only_is_not_exported(tmp_path):
    save_model(MLPGenerator((1, 8, 8), 0, (0.0, 1.0), latent=2, hidden=(4,)), tmp_path, ImageInfo((1, 8, 8)))
    with pytest.raises(UsageError, match=r"MLPGenerator cannot be exported to ONNX: it has .*; its verbs: sample"):
        export(tmp_path, tmp_path / "model.onnx")
    with pytest.raises(UsageError, match=r"sample cannot be exported .*; this model has no verb that can be exported"):
        export(tmp_path, tmp_path / "model.onnx", "sample")


def test_a_graph_that_does_not_run_is_not_written(folder, traced_before, monkeypatch):
    """onnxruntime gets images with a channel too many."""
    right = OnnxGraph.cases

    def with_a_channel_more(graph):
        def cases():
            for case in right.__get__(graph)():
                yield case._replace(inputs={name: values[:, :1] for name, values in case.inputs.items()})

        return cases

    monkeypatch.setattr(OnnxGraph, "cases", property(with_a_channel_more))
    with pytest.raises(RunError, match=r"(?s)the ONNX graph does not run on image \(.*nothing was written"):
        export(folder, folder / "model.onnx")
    assert not (folder / "model.onnx").exists()


@pytest.mark.parametrize(
    ("options", "allowed"), [({}, False), ({"relative": False}, False), ({"relative": True}, True)]
)
def test_differences_are_absolute_unless_the_graph_says_relative(options, allowed):
    """Outputs of 1000 that differ by 0.01: more than the limit of 1e-4, and less than 1e-4 of the output."""
    make = onnx.helper
    x, y = (make.make_tensor_value_info(name, 1, ["n"]) for name in "xy")
    graph = make.make_graph([make.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
    proto = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    values = torch.tensor([1000.0, 10.0])
    cases = lambda: iter([OnnxCase({"x": values}, (values + torch.tensor([0.01, 0.0]),))])  # noqa: E731
    made = OnnxGraph(proto, "log_prob", ("y",), {}, cases, **options)
    if allowed:
        assert checked(made, {}).difference == pytest.approx(1e-5, rel=0.01)
    else:
        with pytest.raises(RunError, match=r"onnxruntime differ from the model's by 0\.01; nothing was written"):
            checked(made, {})


def test_what_is_not_installed_is_named(folder, monkeypatch):
    monkeypatch.setattr("danlu.app.export.check_onnx.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"onnx and onnxscript must be installed.*pip install 'danlu\[export\]'"):
        export(folder, folder / "model.onnx")
