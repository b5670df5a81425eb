"""What a run prints before the first round: data, model, memory, optimizers, length, device, folder, and notes.

A new row or note is a function and an entry in ``ROWS`` or ``NOTES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from danlu.app.console.formatting import human
from danlu.app.console.progress import Screen
from danlu.app.inspect.model_summary import layer_lines
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.session import Session
from danlu.data.survey.survey import survey_data_set
from danlu.errors import UsageError
from danlu.models.saving.model_folder import describe
from danlu.recipes.config.generative_recipe import GenerativeRecipe

SMALL_FACTOR = 0.01
"""a training whose only round has less than this fraction of the peak learning rate gets a note"""
Row = tuple[str, str]
"""a label, empty in the rows below it, and the text"""


def announce(
    session: Session, run: RunFolder, screen: Screen, dry_run: bool = False, notes: Sequence[str] = ()
) -> None:
    """Print what is going to happen, and notes."""
    page = run.page
    screen.say(f"danlu {page['versions']['danlu']}: {page['recipe']} on {session.recipe.data}{' (dry run)' * dry_run}")
    folder = "in a folder that is removed afterwards" if dry_run else str(run.path)
    screen.rows([*(row for rows_of in ROWS for row in rows_of(session, run)), ("run", folder)])
    for line in notes:
        screen.say(f"  note: {line}")


def notes_on(session: Session, processes: int) -> list[str]:
    """What a user should know before the training: problems of the data, settings without effect.

    Args:
        session: the session of the training.
        processes: the number of processes.
    """
    return [line for notes_of in NOTES for line in notes_of(session, processes)]


def _data(session: Session, run: RunFolder) -> Iterator[Row]:
    info, sizes = session.data.info, run.page["data"]
    counts = f"{sizes['train']:,} train, {sizes['validation']:,} validation, {sizes['test']:,} test"
    classes = f", {info.classes} classes" if info.classes else ""
    if (target := info.target) is not None:
        classes = f", target {target.name!r} is a number (mean {target.shift:.4g}, deviation {target.scale:.4g})"
    yield "data", f"{counts}; {info.format}{classes}; {session.placement}"
    for note in session.data.notes:
        yield "", note


def _model(session: Session, run: RunFolder) -> Iterator[Row]:
    trainer, summary = session.trainer, session.summary
    assert session.memory is not None, "check_processes has estimated it"
    total = session.memory.total(-(-trainer.stream.size // session.recipe.grad_accumulation))
    parameters = f"{summary.parameters:,} parameters"
    if run.page["parameters"] != summary.parameters:
        parameters += f", {run.page['parameters']:,} with {' and '.join(trainer.players)}"
    yield "model", f"{summary.model}, {parameters}; about {human(total)} of memory for training"
    for line in layer_lines(summary):
        yield "", line


def _optimizers(session: Session, run: RunFolder) -> Iterator[Row]:
    for name, settings in session.recipe.settings_of_players(session.trainer.task).items():
        yield name, f"{settings.optimizer}, lr {settings.lr:g} {settings.schedule}"


def _length(session: Session, run: RunFolder) -> Iterator[Row]:
    trainer, patience = session.trainer, session.recipe.patience
    epochs = trainer.rounds * trainer.task.draws() / trainer.stream.epoch_rounds
    length = f"{trainer.rounds:,} rounds of {trainer.stream.size} examples ({epochs:.3g} epochs)"
    if len(session.data.validation):
        interval = f"{session.every:,} rounds" if session.every > 1 else "round"
        length += f", evaluated every {interval}"
    else:
        length += ", no validation examples"
    if patience:
        length += f", stops early after {patience} evaluations without improvement"
    yield "length", length


def _device(session: Session, run: RunFolder) -> Iterator[Row]:
    runtime, threads, ranks = session.trainer.runtime, run.page["threads"], run.page["ranks"]
    count = f"{threads} thread{'s' * (threads != 1)}"
    processes = f" in each of {ranks} processes" if ranks > 1 else ""
    yield "device", f"{runtime.device} ({runtime.reason}), {session.recipe.precision}, {count}{processes}"


ROWS: tuple[Callable[[Session, RunFolder], Iterator[Row]], ...] = (_data, _model, _optimizers, _length, _device)


def _problems_of_data(session: Session, processes: int) -> Iterator[str]:
    yield from survey_data_set(session.data, session.access).problems


def _layers_that_mix_examples(session: Session, processes: int) -> Iterator[str]:
    layers = session.trainer.task.coupled
    if layers and (processes > 1 or session.recipe.grad_accumulation > 1):
        yield f"{layers} uses the examples of one micro-batch only, so the result differs from that of whole batches"


def _useless_sharding(session: Session, processes: int) -> Iterator[str]:
    settings = session.recipe.settings_of_players(session.trainer.task)
    if processes == 1 and any(one.shard for one in settings.values()):
        yield "shard has no effect with one process; set devices to 2 or more"


def _not_savable(session: Session, processes: int) -> Iterator[str]:
    try:
        describe(session.trainer.task.model)
    except UsageError as error:
        yield str(error)


def _unfinished_warmup(session: Session, processes: int) -> Iterator[str]:
    """A learning rate that still rises when the training ends."""
    rounds, optimizer_settings = session.trainer.rounds, session.recipe.settings_of_players(session.trainer.task)
    for name, settings in optimizer_settings.items():
        if settings.warmup >= rounds:
            player = f" of {name}" if len(optimizer_settings) > 1 else ""
            yield (
                f"the warm-up{player} has {settings.warmup:,} rounds and the training {rounds:,}, so the learning rate "
                f"only rises, to {settings.lr * settings.factor(rounds - 1, rounds):.3g} of {settings.lr:g}"
            )


def _single_round(session: Session, processes: int) -> Iterator[str]:
    """A training of one round, which is the last round of its schedule."""
    optimizer_settings = session.recipe.settings_of_players(session.trainer.task) if session.trainer.rounds == 1 else {}
    for name, settings in optimizer_settings.items():
        if settings.factor(0, 1) < SMALL_FACTOR:
            player = f" of {name}" if len(optimizer_settings) > 1 else ""
            yield (
                f"the training has one round, and schedule {settings.schedule} ends with the learning rate "
                f"{settings.lr * settings.factor(0, 1):.3g}{player}; use more rounds, or schedule constant"
            )


def _unused_feature_extractor(session: Session, processes: int) -> Iterator[str]:
    recipe = session.recipe
    if isinstance(recipe, GenerativeRecipe) and recipe.feature_extractor != "auto" and not recipe.eval_samples:
        yield "feature_extractor has no effect on the training, because eval_samples is 0; only danlu evaluate uses it"


def _unused_on_these_examples(session: Session, processes: int) -> Iterator[str]:
    if unused := session.recipe.unused_on(session.data.info):
        yield f"{', '.join(unused)}: no effect on {session.data.info.description}"


def _unused_on_this_device(session: Session, processes: int) -> Iterator[str]:
    device = session.trainer.runtime.device.type
    if session.recipe.tf32 and device != "cuda":
        yield f"tf32: no effect on the device {device}"


def _no_convolutions(session: Session, processes: int) -> Iterator[str]:
    convolutions = any(parameter.dim() == 4 for parameter in session.trainer.task.parameters())
    if session.recipe.channels_last == "on" and not convolutions:
        yield "channels_last has no effect, because the model has no convolutions of images"


def _unused_patience(session: Session, processes: int) -> Iterator[str]:
    patience, evaluations = session.recipe.patience, -(-session.trainer.rounds // session.every)
    if patience is not None and patience >= evaluations:
        yield (
            f"patience={patience} has no effect, because there are {evaluations:,} evaluations; set evaluate_every to "
            f"fewer rounds, or leave patience out"
        )


NOTES: tuple[Callable[[Session, int], Iterator[str]], ...] = (
    _problems_of_data,
    _layers_that_mix_examples,
    _useless_sharding,
    _unused_feature_extractor,
    _unused_on_these_examples,
    _unused_on_this_device,
    _no_convolutions,
    _unused_patience,
    _unfinished_warmup,
    _single_round,
    _not_savable,
)
