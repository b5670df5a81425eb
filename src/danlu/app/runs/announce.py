"""Before the first round: what run.json says, what the user is told, and whether a run is still the one it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from danlu.app.console.formatting import human
from danlu.app.console.progress import Screen
from danlu.app.inspect.model_summary import layer_lines, summarize
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.session import Session
from danlu.data.survey.survey import survey_data_set
from danlu.data.text.info import TextInfo
from danlu.errors import UsageError
from danlu.models.saving.model_folder import describe
from danlu.recipes.config.build import estimate_memory


def small_enough_for_one_thread(session: Session) -> bool:
    """Whether a step is so little work that more threads would only wait for each other, on a busy machine for long."""
    summary = summarize(session.trainer.task.model, session.data.info.shape)
    work = summary.output_bytes * session.trainer.stream.size
    return session.trainer.runtime.device.type == "cpu" and work < 4e6 and summary.parameters < 1e6


def introduce(session: Session, run: RunFolder, screen: Screen, dry_run: bool = False) -> None:
    """Say what is going to happen: data, model, memory, device and why, length, where it will lie."""
    page, recipe = run.page, session.recipe
    screen.say(f"danlu {page['versions']['danlu']}: {page['recipe']} on {recipe.data}{' (dry run)' * dry_run}")
    screen.rows(
        [
            *_about_data_and_model(session, page),
            *((name, f"{d.optimizer}, lr {d.lr:g} {d.schedule}") for name, d in recipe.optimizer_settings().items()),
            ("length", _length(session)),
            ("device", _device(session, page)),
            ("run", "in a folder that is removed afterwards" if dry_run else str(run.path)),
        ]
    )
    for line in [*_warnings(session, page["ranks"]), *([] if dry_run else _about_warmup(session))]:
        screen.say(f"  note: {line}")


def _about_data_and_model(session: Session, page: dict[str, Any]) -> list[tuple[str, str]]:
    trainer, info = session.trainer, session.data.info
    summary = summarize(trainer.task.model, info.shape)
    memory = estimate_memory(session.recipe, info, trainer.stream, trainer.runtime)
    total = memory.total(-(-trainer.stream.size // session.recipe.grad_accumulation))
    sizes, shape = page["data"], "×".join(map(str, info.shape))
    classes = f", {info.classes} classes" if info.classes else ""
    counts = f"{sizes['train']:,} train, {sizes['validation']:,} validation, {sizes['test']:,} test"
    if isinstance(info, TextInfo):
        shape = f"tokens: {info.tokens}, {info.vocabulary:,} different"
    return [
        ("data", f"{counts}; {shape}{classes}; {session.placement}"),
        *(("", note) for note in session.data.notes),
        ("model", f"{summary.model}, {summary.parameters:,} parameters; about {human(total)} while training"),
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
    lines = survey_data_set(session.data, session.access).problems
    coupled = session.trainer.task.coupled
    if coupled and (ranks > 1 or session.recipe.grad_accumulation > 1):
        lines.append(f"{coupled} sees only a part of the batch, so the result is not that of whole batches")
    if ranks == 1 and any(descent.shard for descent in session.recipe.optimizer_settings().values()):
        lines.append("shard splits nothing, because there is one process; see --devices")
    try:
        describe(session.trainer.task.model)
    except UsageError as error:
        lines.append(str(error))
    return lines


def _about_warmup(session: Session) -> Iterator[str]:
    """A rate that is still rising when the training ends, which two rounds of a dry run cannot tell."""
    rounds, optimizer_settings = session.trainer.rounds, session.recipe.optimizer_settings()
    for name, descent in optimizer_settings.items():
        if descent.warmup >= rounds:
            whose = f" of {name}" if len(optimizer_settings) > 1 else ""
            yield (
                f"the warm-up{whose} has {descent.warmup:,} rounds and the training {rounds:,}, so the learning rate "
                f"only rises, to {descent.lr * descent.factor(rounds - 1, rounds):.3g} of {descent.lr:g}"
            )
