"""Before the first round: what run.json says, what the user is told, and whether a run is still the one it was."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from danlu.app.run_folder import RunFolder
from danlu.app.screen import Screen
from danlu.app.session import Session
from danlu.app.summary import human, layer_lines, summarise
from danlu.data.survey import survey
from danlu.errors import UsageError
from danlu.models.folder import describe

_DECISIVE = ("versions.danlu", "versions.torch", "device", "threads", "ranks", "data.fingerprint", "rounds")


def first_page(name: str, session: Session, command: str, ranks: int, threads: int | None = None) -> dict[str, Any]:
    """What run.json says before the first round."""
    trainer, data = session.trainer, session.data
    return {
        "recipe": name,
        "status": "new",
        "command": command,
        "settings": session.recipe.model_dump(mode="json"),
        "versions": {
            "danlu": version("danlu"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "device": trainer.runtime.device.type,
        "device_reason": trainer.runtime.reason,
        "precision": session.recipe.precision,
        "threads": threads or max(1, torch.get_num_threads() // ranks),
        "ranks": ranks,
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint(),
            "dir": str(folder) if (folder := session.access.given) else None,
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        "seed": session.recipe.seed,
        "parameters": sum(p.numel() for p in trainer.task.parameters()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "round": 0,
        "rounds": trainer.rounds,
    }


def small_enough_for_one_thread(session: Session) -> bool:
    """Whether a step is so little work that more threads would only wait for each other, on a busy machine for long."""
    summary = summarise(session.trainer.task.model, session.data.info.shape)
    work = summary.activations * session.trainer.stream.size
    return session.trainer.runtime.device.type == "cpu" and work < 4e6 and summary.parameters < 1e6


def introduce(session: Session, run: RunFolder, screen: Screen, dry_run: bool = False) -> None:
    """Say what is going to happen: data, model, memory, device and why, length, where it will lie."""
    page, recipe = run.page, session.recipe
    screen.say(f"danlu {page['versions']['danlu']}: {page['recipe']} on {recipe.data}{' (dry run)' * dry_run}")
    screen.rows(
        [
            *_about_data_and_model(session, page),
            *((name, f"{d.optimizer}, lr {d.lr:g} {d.schedule}") for name, d in recipe.descents().items()),
            ("length", _length(session)),
            ("device", _device(session, page)),
            ("run", "in a folder that is removed afterwards" if dry_run else str(run.path)),
        ]
    )
    for line in [*_warnings(session, page["ranks"]), *([] if dry_run else _about_warmup(session))]:
        screen.say(f"  note: {line}")


def _about_data_and_model(session: Session, page: dict[str, Any]) -> list[tuple[str, str]]:
    trainer, info = session.trainer, session.data.info
    summary = summarise(trainer.task.model, info.shape)
    tokens = getattr(trainer.stream, "length", 1)  # of a row of running text
    memory = sum(
        summary.memory(trainer.stream.size * tokens, d.optimizer, d.average is not None)
        for d in session.recipe.descents().values()
    )
    sizes, shape = page["data"], "×".join(map(str, info.shape))
    classes = f", {info.classes} classes" if info.classes else ""
    counts = f"{sizes['train']:,} train, {sizes['validation']:,} validation, {sizes['test']:,} test"
    if info.kind == "text":
        shape = f"tokens: {info.tokens}, {info.vocabulary:,} different"
    return [
        ("data", f"{counts}; {shape}{classes}; {session.residence}"),
        *(("", note) for note in session.data.notes),
        ("model", f"{summary.model}, {summary.parameters:,} parameters; about {human(memory)} while training"),
        *(("", line) for line in layer_lines(summary)),
    ]


def _length(session: Session) -> str:
    trainer, patience = session.trainer, session.recipe.patience
    epochs = trainer.rounds * trainer.task.draws() / trainer.stream.epoch_rounds
    early = f", stopping early after {patience} evaluations without a better one" if patience else ""
    rounds = f"{trainer.rounds:,} rounds of {trainer.stream.size} examples ({epochs:.3g} epochs)"
    evaluated = f"evaluated every {session.every}" if len(session.data.validation) else "without validation examples"
    return f"{rounds}, {evaluated}{early}"


def _device(session: Session, page: dict[str, Any]) -> str:
    runtime, threads = session.trainer.runtime, page["threads"]
    count = f"{threads} thread{'s' * (threads != 1)}"
    together = f" in each of {page['ranks']} processes" if page["ranks"] > 1 else ""
    return f"{runtime.device} ({runtime.reason}), {session.recipe.precision}, {count}{together}"


def _warnings(session: Session, ranks: int) -> list[str]:
    lines = survey(session.data, session.access).problems
    coupled = session.trainer.task.coupled
    if coupled and (ranks > 1 or session.recipe.accumulate > 1):
        lines.append(f"{coupled} sees only a part of the batch, so the result is not that of whole batches")
    if ranks == 1 and any(descent.shard for descent in session.recipe.descents().values()):
        lines.append("shard splits nothing, because there is one process; see --devices")
    try:
        describe(session.trainer.task.model)
    except UsageError as error:
        lines.append(str(error))
    return lines


def _about_warmup(session: Session) -> Iterator[str]:
    """A rate that is still rising when the training ends, which two rounds of a dry run cannot tell."""
    rounds, descents = session.trainer.rounds, session.recipe.descents()
    for name, descent in descents.items():
        if descent.warmup >= rounds:
            whose = f" of {name}" if len(descents) > 1 else ""
            yield (
                f"the warm-up{whose} has {descent.warmup:,} rounds and the training {rounds:,}, so the learning rate "
                f"only rises, to {descent.lr * descent.factor(rounds - 1, rounds):.3g} of {descent.lr:g}"
            )


def check_same(then: dict[str, Any], now: dict[str, Any], anyway: bool) -> None:
    """Refuse to go on when the outcome would not be the one of an uninterrupted run.

    Raises:
        UsageError: with all differences.
    """
    old, new = _flat(then), _flat(now)
    keys = [*_DECISIVE, *(key for key in sorted(old.keys() | new.keys()) if key.startswith("settings."))]
    differences = [f"  {key}: {old.get(key)} then, {new.get(key)} now" for key in keys if old.get(key) != new.get(key)]
    if differences and not anyway:
        raise UsageError(
            "this run cannot go on as it began:\n" + "\n".join(differences) + "\n"
            "Put that right, or go on all the same with --anyway; the outcome will then be another."
        )


def _flat(page: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in page.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
