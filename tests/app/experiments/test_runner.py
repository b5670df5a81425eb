"""Experiments as a user meets them: the list, one object for --json, the page, and one that fails."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import danlu
import experiment_jobs
from commands import call, call_checked
from danlu.app.experiments import runner as app
from danlu.catalogue import EXPERIMENTS, Claim
from danlu.errors import RunError
from danlu.experiments import Comparison, Criteria, Experiment
from danlu.experiments.harness.parallel import process_count, run_each


def draw(numbers):
    from danlu.experiments.harness.plots import line, panels

    figure, (axes,) = panels(1)
    line(axes, [1, 2], [[1.0, numbers["x"]]], 0, "x < y & z")
    return figure


SMALL = Comparison("x < 3", "x", 3.0, "value", 1.0, lower=True)
FINE = Experiment(
    measure=lambda seed, tell, quick: {"x": float(seed), "arms": {"x": {"value": [0.0]}}},
    criteria=Criteria((SMALL,), limits=(Comparison("x > 3", "x", 3.0, "value", 1.0),)),
    conclude=lambda numbers, judgment: "x < 3 & y > 2.",
    table=lambda numbers: [("what", "value"), ("x", f"{numbers['x']:g}")],
    plot=draw,
)


def grown(seed, tell, quick):
    """The claim is true for even seeds, and the reverse for odd ones."""
    sign = 1 if seed % 2 == 0 else -1
    return {
        "x": float(seed),
        "arms": {"a": {"size": [sign * (3 + 0.1 * k) for k in range(5)]}, "b": {"size": [0.0] * 5}},
    }


JUDGED = Experiment(
    measure=grown,
    criteria=Criteria((Comparison("a is larger than b", "a", "b", "size", 1.0),)),
    conclude=lambda numbers, judgment: "a is <3> larger.",
    table=lambda numbers: [("what", "value"), ("x", f"{numbers['x']:g}")],
    plot=draw,
    method="a and b are measured.",
    caption="The line is x.",
    demonstration=True,
)


def fail(seed, tell, quick):
    raise RunError("the furnace went out")


def stop(seed, tell, quick):
    raise KeyboardInterrupt


BROKEN, STOPPED = replace(FINE, measure=fail), replace(FINE, measure=stop)


@pytest.fixture
def three(monkeypatch):
    """A catalogue of three experiments, of which the second fails."""
    entries = {
        name: Claim(f"{__name__}:{name}", section, 7, f"claim <{name}>")
        for name, section in (("first", "0.3.1"), ("second", "1.2.1"), ("third", "1.2.2"))
    }
    found = {"first": FINE, "second": BROKEN, "third": FINE}
    monkeypatch.setattr(app, "EXPERIMENTS", entries)
    monkeypatch.setattr(app, "find_experiment", found.__getitem__)
    return found


def test_the_list_names_every_experiment_with_its_claim():
    code, out, _ = call("experiment")
    assert code == 0
    assert all(name in out and entry.claim in out for name, entry in EXPERIMENTS.items())
    assert [line for line in out.splitlines() if not line.startswith(" ")] == list(
        dict.fromkeys(entry.group for entry in EXPERIMENTS.values())
    )
    listed = json.loads(call("experiment", "--json")[1])["experiments"]
    assert [entry["name"] for entry in listed] == list(EXPERIMENTS)


def test_one_prints_claim_numbers_and_verdict_and_draws(tmp_path):
    code, out, _ = call("experiment", "line-detector", "--out", str(tmp_path / "new" / "folder"))
    assert code == 0
    assert EXPERIMENTS["line-detector"].claim in out
    assert "holds (demonstration): Of the 512 patches" in out
    assert (tmp_path / "new" / "folder" / "line-detector.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_one_object(tmp_path):
    code, out, _ = call("experiment", "line-detector", "--json", "--seed", "4", "--out", str(tmp_path))
    assert code == 0
    found = json.loads(out)
    assert found.keys() == {
        "name",
        "section",
        "line",
        "group",
        "claim",
        "demonstration",
        "seed",
        "numbers",
        "verdict",
        "reason",
        "findings",
        "seconds",
        "figure",
    }
    assert (found["name"], found["verdict"], found["seed"]) == ("line-detector", "holds", 4)
    assert Path(found["figure"]).is_file()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["momentun"], "did you mean 'momentum'"),
        (["momentum", "--all"], "a name or --all, not both"),
        (["momentum", "--seed", "x"], "--seed"),
        (["momentum", "--jobs", "0"], "jobs: expected auto or a number of processes from 1, got 0"),
        (["momentum", "--jobs", "-2"], "jobs: expected auto or a number of processes from 1, got -2"),
        (["--all", "--jobs", "100000"], "jobs=100000: this process can use"),
        (["momentum", "--jobs", "many"], "--jobs"),
        (["momentum", "--jobs", "1.5"], "--jobs"),
    ],
)
def test_wrong_use(tmp_path, monkeypatch, words, hint):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("experiment", *words)
    assert code == 2
    assert hint in out + err
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = call("experiment", "line-detector", "--out", str(tmp_path / "file"))
    assert code == 2
    assert "out must be a folder" in err


def test_as_a_function():
    found = danlu.experiment("line-detector", out=None, quiet=True)
    assert found.verdict == "holds"
    assert found.figure is None


def test_one_that_fails_is_in_the_page_and_the_others_go_on(tmp_path, three):
    code, out, _ = call("experiment", "--all", "--out", str(tmp_path), "--seed", "2")
    assert code == 1
    assert "failed: the furnace went out" in out
    page = (tmp_path / "experiments.html").read_text(encoding="utf-8")
    assert "the furnace went out" in page
    assert page.count("<svg") == 2
    assert "danlu experiment third --seed 2" in page
    assert "2 × holds with limits, 1 × failed" in page
    assert [found.name for found in tmp_path.glob("*.png")].__len__() == 2


def test_all_as_json_is_one_object(tmp_path, three):
    code, out, _ = call("experiment", "--all", "--json", "--out", str(tmp_path))
    assert code == 1
    found = json.loads(out)
    assert [entry.get("error") for entry in found["experiments"]] == [None, "the furnace went out", None]
    assert found["page"] == str(tmp_path / "experiments.html")


def test_the_page_needs_nothing_beside_it(tmp_path, three):
    call("experiment", "--all", "--out", str(tmp_path))
    page = (tmp_path / "experiments.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//\w|<script|<link|@import|\bsrc=", page)
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page
    assert "claim &lt;first&gt;" in page
    assert "x &lt;\N{NO-BREAK SPACE}3 &amp; y &gt;\N{NO-BREAK SPACE}2." in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_who_interrupts_keeps_what_is_done(tmp_path, three):
    three["second"] = STOPPED
    code, _, err = call("experiment", "--all", "--out", str(tmp_path))
    assert (code, err) == (130, "danlu: interrupted\n")
    page = (tmp_path / "experiments.html").read_text(encoding="utf-8")
    assert "claim &lt;first&gt;" in page
    assert "claim &lt;third&gt;" not in page


def test_threads_are_as_before(three):
    import torch

    before = torch.get_num_threads()
    app.experiment("first", out=None, quiet=True)
    assert torch.get_num_threads() == before


def test_criteria_method_and_caption_are_printed_and_on_the_page(tmp_path, three, capsys):
    three["first"] = JUDGED
    found = app.experiment("first", out=tmp_path)
    assert (found.verdict, found.verdict_text) == ("holds", "holds (demonstration)")
    printed = capsys.readouterr().out
    assert "line 7" in printed
    assert "holds (demonstration): a is <3> larger." in printed
    assert [row.split()[:1] for row in printed.splitlines() if "a is larger than b" in row] == [["a"]]
    app.run_all(tmp_path)
    page = (tmp_path / "experiments.html").read_text(encoding="utf-8")
    assert "Holds (demonstration).</b> a is &lt;3&gt; larger." in page
    assert "a and b are measured." in page
    assert "<figcaption>The line is x.</figcaption>" in page
    assert "line 7" in page
    assert page.index("a is &lt;3&gt; larger.") < page.index("a and b are measured.") < page.index("<figcaption>The")


@pytest.mark.parametrize(
    ("seed", "seeds", "said"),
    [
        (0, 1, ""),
        (0, 2, "the verdict changes: seed 1: does not hold"),
        (3, 3, "the verdict changes: seed 4: holds"),
    ],
)
def test_several_seeds(three, seed, seeds, said):
    three["first"] = JUDGED
    found = app.experiment("first", seed=seed, seeds=seeds, out=None, quiet=True)
    assert found.repeated_text == said
    assert found.numbers["x"] == seed
    assert [s for s, _ in found.repetitions] == list(range(seed + 1, seed + seeds))


def test_seeds_with_the_same_verdict(three, capsys):
    found = app.experiment("first", seed=1, seeds=3, out=None)
    assert found.repeated_text == "the same verdict with the seeds 1, 2, 3"
    assert found.repeated_text in capsys.readouterr().out
    assert found.to_json()["repetitions"] == [{"seed": s, "verdict": "holds with limits"} for s in (2, 3)]


def test_the_command_runs_as_many_seeds_as_it_is_told(three):
    page = json.loads(call_checked("experiment", "first", "--seed", "1", "--seeds", "3", "--json")[0])
    assert [run["seed"] for run in page["repetitions"]] == [2, 3]


@pytest.mark.parametrize("words", [["--all", "--seeds", "2"], ["momentum", "--seeds", "0"], ["--seeds", "2"]])
def test_seeds_are_for_one_experiment(words):
    code, out, err = call("experiment", *words)
    assert code == 2
    assert "--seeds is a number of at least 1, for one experiment" in out + err


def in_processes(seed, tell, quick):
    """Whether the runs are in other processes, and processor time."""
    processes = run_each(experiment_jobs.process, [()] * 2, tell)
    run_each(experiment_jobs.busy, [(0.2,)] * 2, tell)
    return {"x": 0.0, "other": os.getpid() not in processes, "arms": {"x": {"value": [0.0]}}}


@pytest.mark.parametrize(
    ("words", "other"), [(["--jobs", "2"], True), (["--jobs", "1"], False), ([], process_count("auto") > 1)]
)
def test_the_command_uses_as_many_processes_as_it_is_told(tmp_path, three, words, other):
    three["first"] = replace(FINE, measure=in_processes)
    page = json.loads(call_checked("experiment", "first", "--json", "--out", tmp_path, *words)[0])
    assert page["numbers"]["other"] is other


def test_all_experiments_have_the_same_number_of_processes(tmp_path, three):
    three["first"] = three["second"] = replace(FINE, measure=in_processes)
    for count, other in ((1, False), (2, True)):
        page = json.loads(call_checked("experiment", "--all", "--json", "--jobs", count, "--out", tmp_path)[0])
        assert [one["numbers"].get("other") for one in page["experiments"]] == [other, other, None]


@pytest.mark.parametrize("jobs", [1, 2])
def test_processor_time_is_that_of_all_processes(three, jobs):
    three["first"] = replace(FINE, measure=in_processes)
    assert app.experiment("first", out=None, jobs=jobs, quiet=True).cpu_seconds >= 0.4


def test_a_quick_version_runs_in_this_process(three):
    three["first"] = replace(FINE, measure=in_processes)
    assert not app.experiment("first", out=None, jobs=2, quiet=True, quick=True).numbers["other"]
