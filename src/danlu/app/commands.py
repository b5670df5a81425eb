"""The verbs of the command line, each beside the library call that it is. Heavy imports wait until they are needed."""

from __future__ import annotations

import builtins
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from danlu.app.command import as_json as _json
from danlu.app.command import parsed as _parsed
from danlu.app.command import say as _say
from danlu.app.command import stream as _stream
from danlu.app.commands_generate import arithmetic as arithmetic
from danlu.app.commands_generate import inpaint as inpaint
from danlu.app.commands_generate import interpolate as interpolate
from danlu.app.commands_generate import reconstruct as reconstruct
from danlu.app.commands_generate import sample as sample
from danlu.app.commands_generate import score as score
from danlu.app.commands_score_images import score_images as score_images
from danlu.app.commands_text import complete as complete
from danlu.errors import UsageError


def list(words: builtins.list[str]) -> int:
    """``danlu.list()``"""

    def command(json: bool = False) -> int:
        """The recipes: name, family, what it is, source.

        Args:
            json: print one JSON object and nothing else
        """
        from danlu.catalogue import recipes

        found = recipes()
        if json:
            return _json({"recipes": [{"name": name, **entry._asdict()} for name, entry in found.items()]})
        widths = [max(len(text) for text in column) for column in zip(*_rows(found), strict=True)]
        for row in _rows(found):
            print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
        return 0

    return _parsed("list", command, words)


def show(words: builtins.list[str]) -> int:
    """``danlu.show(recipe)``"""
    from danlu.app.recipe_parser import parse

    recipe, _ = parse("show", words)
    from danlu.recipes.files import to_yaml

    print(to_yaml(recipe), end="")
    return 0


def check(words: builtins.list[str]) -> int:
    """``danlu.check(path)``"""

    def command(file: Path, /, json: bool = False) -> int:
        """A recipe file: say everything that is wrong with it, or that nothing is.

        Args:
            file: a YAML file, as `danlu show` writes it
            json: print one JSON object and nothing else
        """
        from danlu.app.pages import check
        from danlu.catalogue import name_of_recipe

        name = name_of_recipe(type(check(file)))
        return _json({"file": str(file), "recipe": name}) if json else _say(f"{file} is a right recipe of {name}.")

    return _parsed("check", command, words)


def summary(words: builtins.list[str]) -> int:
    """``danlu.summary(recipe)``"""
    from danlu.app.pages import summary
    from danlu.app.recipe_parser import parse
    from danlu.app.summary import human, layer_lines

    recipe, _ = parse("summary", words)
    made = summary(recipe)
    print(f"{made.model}, {made.parameters:,} parameters, {human(4 * made.parameters)} of weights")
    print("\n".join(f"  {line}" for line in layer_lines(made)))
    each = "token" if made.logits else "example"
    print(f"  {human(made.activations)} of activations for each {each} of a batch, about")
    if made.receptive_field:
        print(f"  a unit of the last convolution sees {made.receptive_field}×{made.receptive_field} pixels")
    return 0


def data(words: builtins.list[str]) -> int:
    """``danlu.survey(source)``"""
    from danlu.app.data import draw, show, survey
    from danlu.app.data_parser import parse
    from danlu.app.screen import Screen

    source, options = parse(words)
    screen = Screen(quiet=options.json)
    found, seen = survey(source, data_dir=options.data_dir, screen=screen)
    if options.picture is not None:
        draw(found, options.picture, source.augment)
    if options.json:
        facts = {"data": found.name, "info": found.info.to_json(), "notes": found.notes, **asdict(seen)}
        return _json({**facts, "fingerprint": found.fingerprint(), "picture": options.picture and str(options.picture)})
    show(found, seen, screen)
    return _say(f"picture {options.picture}") if options.picture else 0


def train(words: builtins.list[str]) -> int:
    """``danlu.train(recipe, out=…, device=…)``"""
    from danlu.app.interrupt import EXIT_CODE
    from danlu.app.recipe_parser import parse
    from danlu.app.train import train

    recipe, options = parse("train", words)
    again = "danlu train " + shlex.join(_without(words, "--out", "--json"))
    run = train(
        recipe,
        out=options.out,
        data_dir=options.data_dir,
        device=options.device,
        devices=options.devices,
        threads=options.threads,
        dry_run=options.dry_run,
        quiet=options.json,
        command=again,
    )
    if options.json and run.writes:
        _json({"run": str(run.path), **run.page})
    return EXIT_CODE if run.page["status"] == "stopped" else 0


def resume(words: builtins.list[str]) -> int:
    """``danlu.resume(run)``"""

    def command(
        run: Path,
        /,
        device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
        devices: int | None = None,
        anyway: bool = False,
        json: bool = False,
    ) -> int:
        """Go on with a run that was stopped or killed, in its folder.

        Args:
            run: the run folder
            device: where to train; where it was if not given
            devices: in how many processes; as many as before if not given
            anyway: go on although versions, data, threads or devices have changed
            json: print one JSON object and nothing else
        """
        from danlu.app.interrupt import EXIT_CODE
        from danlu.app.train import resume

        done = resume(run, device=device, devices=devices, anyway=anyway, quiet=json)
        if json:
            _json({"run": str(done.path), **done.page})
        return EXIT_CODE if done.page["status"] == "stopped" else 0

    return _parsed("resume", command, words)


def evaluate(words: builtins.list[str]) -> int:
    """``danlu.evaluate(run)``"""

    def command(
        run: Path,
        /,
        part: Literal["train", "validation", "test"] = "test",
        device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
        flip: bool = False,
        generated: int | None = None,
        json: bool = False,
    ) -> int:
        """Measure the model of a finished run, and what it generates.

        Args:
            run: the run folder
            part: which part of the data
            device: where to compute; where it was trained if not given
            flip: a classifier sees each picture and its mirror image, and the mean of both answers counts
            generated: examples to generate and score against the training part; 10000 if not given for a model that
                nothing else can judge, else none
            json: print one JSON object and nothing else
        """
        from danlu.app.screen import score_value
        from danlu.app.use import evaluate

        result = evaluate(run, part, device, flip, generated)
        if json:
            return _json({"run": str(run), **result})
        made = result.get("generated", {})
        width = max([18, *map(len, [*result["scores"], *made])])
        if result["scores"]:
            print(f"{result['data']}, {part} part, {result['examples']:,} examples")
        for name, value in result["scores"].items():
            print(f"  {name.replace('_', ' '):<{width}} {score_value(name, value)}")
        if made:
            print(f"{result['data']}, generated examples beside the train part")
        for name, value in made.items():
            print(f"  {name.replace('_', ' '):<{width}} {score_value(name, value)}")
        return 0

    return _parsed("evaluate", command, words)


def classify(words: builtins.list[str]) -> int:
    """``danlu.classify(run, *files)``"""

    def command(
        run: Path,
        files: tuple[Path, ...],
        /,
        top: int = 5,
        invert: bool = False,
        flip: bool = False,
        encoding: str = "utf-8",
        json: bool = False,
    ) -> int:
        """Classify image files, or rows of tables.

        Args:
            run: a run folder, or a model folder
            files: images, or folders of them; CSV or Parquet files for a model of rows; - is standard input
            top: how many classes to name
            invert: turn dark on light into light on dark first
            flip: show the model each picture and its mirror image, and take the mean of both answers
            encoding: how the text of CSV files is written
            json: print one JSON object and nothing else
        """
        from danlu.app.use import classify

        guesses = classify(run, *files, top=top, invert=invert, flip=flip, encoding=encoding, quiet=json)
        failed = int(any(guess.error for guess in guesses))
        if json:
            _json({"guesses": [{"file": g.file, "classes": g.classes, "error": g.error} for g in guesses]})
            return failed
        for guess in guesses:
            words = guess.error or "  ".join(f"{name} {probability:.3f}" for name, probability in guess.classes)
            print(f"danlu: {words}" if guess.error else f"{guess.file}  {words}", file=_stream(guess.error))
        return failed

    return _parsed("classify", command, words)


def export(words: builtins.list[str]) -> int:
    """``danlu.export(run, out)``"""

    def command(
        run: Path, /, out: Annotated[Path, tyro.conf.arg(aliases=["-o"])], verb: str | None = None, json: bool = False
    ) -> int:
        """Write a finished model into one file.

        Args:
            run: a run folder, or a model folder
            out: the file; its name ends in .onnx or .safetensors
            verb: what the ONNX file does; the first that can be written so if not given
            json: print one JSON object and nothing else
        """
        from danlu.app.export import export

        done = export(run, out, verb)
        if json:
            return _json({**done._asdict(), "path": str(done.path)})
        does = f", which does {done.verb}" if done.verb else ""
        compared = done.difference is not None
        alike = f"; onnxruntime's answers differ by at most {done.difference:.1g}" if compared else ""
        return _say(f"{done.path}: {done.format}{does}{alike}")

    return _parsed("export", command, words)


def experiment(words: builtins.list[str]) -> int:
    """``danlu.experiment(name)``"""

    def command(
        name: str | None = None,
        /,
        all: bool = False,
        out: Path = Path("runs/experiments"),
        seed: int = 0,
        json: bool = False,
    ) -> int:
        """Run a claim of the notes small and judge it; without a name, list the claims.

        Args:
            name: of the experiment
            all: run every one, and write one page of them all
            out: folder for figures and page
            seed: of every random number; the same seed gives the same numbers
            json: print one JSON object and nothing else
        """
        if all and name is not None:
            raise UsageError(
                f"give either a name or --all, not both: danlu experiment {name}, or danlu experiment --all"
            )
        if name is None and not all:
            return _list_experiments(json)
        from danlu.app import experiment

        if name is None:
            return experiment.run_all(out, seed, quiet=json)
        found = experiment.experiment(name, seed=seed, out=out, quiet=json)
        return _json(found.to_json()) if json else 0

    return _parsed("experiment", command, words)


def _list_experiments(json: bool) -> int:
    """The names with their claims, grouped as the notes are."""
    from danlu.catalogue import EXPERIMENTS

    if json:
        claims = {name: (entry.section, entry.group, entry.claim) for name, entry in EXPERIMENTS.items()}
        keys = ("section", "group", "claim")
        return _json({"experiments": [{"name": n, **dict(zip(keys, c, strict=True))} for n, c in claims.items()]})
    width, group = max(map(len, EXPERIMENTS)), None
    for name, entry in EXPERIMENTS.items():
        if entry.group != group:
            print(group := entry.group)
        print(f"  {name:<{width}}  {entry.section:<7}  {entry.claim}")
    return 0


def doctor(words: builtins.list[str]) -> int:
    """``danlu.doctor()``"""

    def command(json: bool = False) -> int:
        """What this machine has: versions, device and why, threads, compiler, disk.

        Args:
            json: print one JSON object and nothing else
        """
        from danlu.app.doctor import doctor

        facts = doctor()
        if json:
            return _json(facts)
        width = max(map(len, facts))
        return _say("\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items()))

    return _parsed("doctor", command, words)


def completion(words: builtins.list[str]) -> int:
    """No library call: it is for shells."""

    def command(shell: Literal["bash", "zsh", "fish"], /) -> int:
        """A script that completes danlu's words.

        For bash: danlu completion bash > ~/.local/share/bash-completion/completions/danlu

        Args:
            shell: which shell
        """
        from danlu.app.completion import script

        return _say(script(shell))

    return _parsed("completion", command, words)


def _without(words: builtins.list[str], *flags: str) -> builtins.list[str]:
    """The words without flags that are about this one run, and their values."""
    kept, skipping = [], False
    for word in words:
        flag, given, _ = word.partition("=")
        if skipping := flag in flags or (skipping and not word.startswith("-")):
            skipping = flag != "--json" and not given
        else:
            kept.append(word)
    return kept


def _rows(found: dict[str, Any]) -> builtins.list[tuple[str, ...]]:
    return [(name, entry.family, entry.title, entry.source) for name, entry in found.items()]
