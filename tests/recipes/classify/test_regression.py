"""Regression with the recipes of classifiers: scores, predictions, refused settings, resuming, export."""

import csv
import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score

import danlu
from danlu.app.cli import main
from danlu.data.tables.info import TableInfo
from danlu.errors import UsageError
from danlu.models import MLP, Regressor
from danlu.recipes import as_recipe
from danlu.recipes.class_labels import check_classes
from danlu.recipes.config.build import build

TINY = {"model": {"hidden": (16,)}, "epochs": 8}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Rows whose target is a known function of two columns, far from 0, and its numbers."""
    x = np.random.default_rng(0).normal(size=(300, 2))
    y = 500 + 40 * x[:, 0] - 20 * np.abs(x[:, 1])
    path = tmp_path_factory.mktemp("data") / "t.csv"
    path.write_text("a,b,y\n" + "".join(f"{a:.6f},{b:.6f},{t:.6f}\n" for (a, b), t in zip(x, y, strict=True)))
    return path


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main.main([str(word) for word in words])
    return int(ended.value.code or 0)


def settings(path, **changes):
    return {"data": f"table:{path}", "table": {"target": "y"}, **TINY, **changes}


@pytest.fixture(scope="module", params=["squared", "huber", "gaussian"])
def run(request, table, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / request.param
    danlu.train("mlp", out=path, quiet=True, **settings(table, loss=request.param, lr=0.02))
    return path


def test_predictions_and_scores_are_in_the_units_of_the_target(run, table, tmp_path):
    scores = danlu.evaluate(run)["scores"]
    recipe = as_recipe("mlp", settings(table))
    data = recipe.load()
    number = data.info.target
    true = data.test["target"].double().numpy() * number.scale + number.shift
    rows = np.array([[float(v) for v in row] for row in list(csv.reader(table.open()))[1:]])
    predicted = {round(row[2], 3): one.value for row, one in zip(rows, danlu.predict(run, table), strict=True)}
    guess = [predicted[round(float(value), 3)] for value in true]
    assert scores["r2"] == pytest.approx(r2_score(true, guess), abs=1e-5)
    assert scores["mae"] == pytest.approx(mean_absolute_error(true, guess), rel=1e-4)
    assert scores["baseline_mae"] == pytest.approx(np.abs(true - number.median).mean(), rel=1e-6)
    assert scores["r2"] > 0.8
    assert ("coverage_95" in scores) == (run.name == "gaussian")
    report = (run / "report.html").read_text(encoding="utf-8")
    for title in ("Predicted and true numbers", "Compared with a constant", "Largest errors"):
        assert title in report


def test_the_command_writes_a_table_and_names_the_verb_that_fits(run, table, tmp_path, capsys):
    assert command("predict", run, table, "-o", tmp_path / "p.csv") == 0
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    assert len(rows) == 300
    assert float(rows[0]["predicted"]) == pytest.approx(danlu.predict(run, table)[0].value)
    assert ("deviation" in rows[0]) == (run.name == "gaussian")
    capsys.readouterr()
    assert command("predict", run, table, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["predictions"]) == 300
    with pytest.raises(UsageError, match="predicts a number, not a class; use predict in place of classify"):
        danlu.classify(run, table)


def test_the_onnx_file_predicts_the_same(run, table, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    exported = danlu.export(run, tmp_path / "model.onnx")
    assert exported.verb == "predict"
    assert exported.difference is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smoothing": 0.1}, "smoothing has no effect on the numeric target 'y'"),
        ({"class_weights": (1.0, 2.0)}, "class_weights has no effect on the numeric target 'y'"),
        ({"data": "digits", "table": {}, "loss": "huber"}, "loss has no effect on the classes of digits"),
        ({"augment": {"mixup": 0.5}}, "augment.mixup has no effect on"),
    ],
)
def test_settings_without_effect_are_refused(table, changes, message):
    with pytest.raises(UsageError, match=message):
        build(as_recipe("mlp", settings(table, **changes)))


def test_delta_needs_the_huber_loss(table):
    with pytest.raises(UsageError, match="delta has no effect with loss=squared"):
        build(as_recipe("mlp", settings(table, delta=2.0)))


def test_a_recipe_that_needs_classes_says_what_the_target_is(table):
    info = as_recipe("mlp", settings(table)).load().info
    with pytest.raises(UsageError, match=r"table\.target_kind=classes takes its values as classes"):
        check_classes(info, f"table:{table}", "this recipe")


def test_the_first_prediction_is_the_mean(table):
    built = build(as_recipe("mlp", settings(table)))
    predicted = built.task.model.predict(built.data.test["x"])
    assert predicted[:, 0].tolist() == pytest.approx([built.data.info.target.shift] * len(built.data.test))


def test_a_large_log_variance_stays_finite():
    network = MLP((2,), 2, hidden=())
    model = Regressor(network, deviation=True)
    torch.nn.init.constant_(network.head.bias, 1e4)
    assert bool(model.predict(torch.zeros(1, 2)).isfinite().all())


def test_a_model_without_its_run_predicts(run, table, tmp_path):
    model = danlu.load(run / "model")
    assert isinstance(model.info, TableInfo)
    assert model.info.target.name == "y"
    assert model.predict(torch.zeros(2, 2)).shape == (2, 2 if run.name == "gaussian" else 1)


@pytest.mark.long
def test_diabetes_is_predicted_as_well_as_by_ridge(tmp_path):
    rows = load_diabetes(scaled=False)
    lines = [",".join([*rows.feature_names, "progress"])]
    lines += [",".join(f"{v:.10g}" for v in (*x, y)) for x, y in zip(rows.data, rows.target, strict=True)]
    path = tmp_path / "diabetes.csv"
    path.write_text("\n".join(lines) + "\n")
    own, ridge = [], []
    for seed in range(5):
        page = {"data": f"table:{path}", "table": {"target": "progress"}, "seed": seed, "split": {"seed": seed}}
        danlu.train("mlp", out=tmp_path / str(seed), quiet=True, **page)
        own.append(danlu.evaluate(tmp_path / str(seed))["scores"]["r2"])
        data = as_recipe("mlp", page).load()
        linear = Ridge().fit(data.train["x"].numpy(), data.train["target"].numpy())
        ridge.append(r2_score(data.test["target"].numpy(), linear.predict(data.test["x"].numpy())))
    assert np.mean(own) >= np.mean(ridge) - 0.02
