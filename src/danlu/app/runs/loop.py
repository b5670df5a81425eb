"""Train a run from its current state to its end, in one process or as one of several."""

from __future__ import annotations

from contextlib import suppress

from danlu.app.console.error_lines import explain
from danlu.app.console.progress import Screen
from danlu.app.console.signals import Interrupt
from danlu.app.run_folder import rank_errors
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.finish import finish
from danlu.app.runs.session import Session
from danlu.errors import RunError
from danlu.training import checkpoint


def train_to_end(session: Session, run: RunFolder, screen: Screen, dry_run: bool = False) -> None:
    """Train, then finish the run; or stop after a signal. An error is also written to run.json."""
    trainer = session.trainer
    run.page.pop("error", None)
    run.save_page(status="training")
    try:
        with Interrupt(quiet=screen.console.quiet) as interrupt:
            session.prepare_scorer(run, screen, dry_run)
            screen.begin(run.page["recipe"], trainer.round, trainer.rounds, trainer.stream.size)
            try:
                session.train(run, screen, interrupt)
            finally:
                screen.end()
            if session.stopped:
                run.save_page(status="stopped", round=trainer.round, seconds=session.seconds)
                what_next = (
                    "The files of the dry run were removed." if dry_run else f"Resume with:\n  {run.resume_command}"
                )
                screen.say(f"Stopped after round {trainer.round}. {what_next}")
            else:
                finish(session, run, screen, dry_run)
    except BaseException as error:
        with suppress(OSError):  # on a full disk the original error is more useful
            message = rank_errors.read_errors(run.path) or explain(error)[1]
            run.save_page(status="failed", error=message, round=trainer.round)
        raise


def resume_to_end(session: Session, run: RunFolder, screen: Screen, dry_run: bool = False) -> None:
    """Train to the end from the newest complete checkpoint, or from the beginning if there is none."""
    load_newest(session, run, screen)
    if unreadable := run.remove_metrics_after(session.trainer.round):
        lines = "1 line" if unreadable == 1 else f"{unreadable} lines"
        screen.say(f"{run.path / 'metrics.jsonl'}: {lines} cannot be read and will be missing in the report.")
    train_to_end(session, run, screen, dry_run)


def load_newest(session: Session, run: RunFolder, screen: Screen, what: str = "Resuming") -> None:
    """Load the newest complete checkpoint in every process, if there is one. Its files are closed afterwards.

    Args:
        session: the run in memory.
        run: the run.
        screen: gets a line that says which checkpoint is loaded.
        what: the first word of this line.
    """
    runtime = session.trainer.runtime
    saved = None if runtime.rank else checkpoint.newest(run.checkpoints, screen.say)
    round = runtime.broadcast(saved.round if saved else 0)
    if runtime.rank and round:
        saved = checkpoint.of_round(run.checkpoints, round)
    lacking = runtime.first_rank_where(saved is None)
    if round and lacking is not None:
        raise RunError(f"process {lacking} cannot read the checkpoint of round {round} in {run.checkpoints}")
    if saved is not None:
        session.load(saved)
        screen.say(f"{what} {run.path} after round {round} of {session.trainer.rounds}.")
    elif run.metrics():
        screen.say(f"{run.checkpoints} has no complete checkpoint; the training starts again from round 0.")
