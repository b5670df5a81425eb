"""The end of a run, from top to bottom: choose the weights, save and load the model, evaluate it, write the report."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from danlu.app.console.formatting import duration, quoted, score_name, score_value
from danlu.app.console.progress import Screen
from danlu.app.report.section import Scores
from danlu.app.report.usage import after_training
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.session import Session
from danlu.data.base.dataset import PARTS
from danlu.data.images.background import with_background
from danlu.errors import UsageError
from danlu.evaluation.evaluators import evaluate_subject
from danlu.evaluation.generative_scores import GENERATED
from danlu.evaluation.subject import Evaluation, Subject
from danlu.models.saving.model_folder import describe, load_model, save_model
from danlu.nn.memory_format import place
from danlu.recipes.config.yaml_files import to_yaml
from danlu.training import checkpoint
from danlu.training.trainer import Trainer

Facts = dict[str, Any]


def finish(session: Session, run: RunFolder, screen: Screen, dry_run: bool = False) -> None:
    """Finish a run after its training.

    A dry run does not use the test part and prints no summary.
    """
    facts = _facts(session)  # before weights of another round are loaded
    facts["weights"] = choose_weights(session, run, screen)
    facts["best"] = _best(session) if facts["weights"] == "best" else None
    with ExitStack() as stack:
        for player in session.trainer.players.values():
            stack.enter_context(player.averaged())
        stack.enter_context(session.trainer.shards.gathered())
        if session.trainer.runtime.rank:
            return
        facts["diagnosis"] = _diagnosis(session, run, facts)
        if facts["diagnosis"] is not None and facts["diagnosis"] != run.page.get("diagnosis"):
            screen.say(facts["diagnosis"])
        model = save_and_load(session, run)
        subject, evaluations = evaluate_model(model, session, dry_run)
        facts |= {"temperature": subject.temperature} if subject.temperature is not None else {}
        scores = {part: one.scores for part, one in evaluations.items() if one.scores}
        write_pages(session, run, facts, scores, subject, evaluations)
    run.save_page(status="finished", scores=scores, **facts)
    if not dry_run:
        print_summary(run, screen, after_training(session.trainer.task.model, session.data.info))


def _facts(session: Session) -> Facts:
    """Rounds and seconds of the training."""
    trainer = session.trainer
    return {
        "round": trainer.round,
        "seconds": session.seconds,
        "stopped_early": trainer.round < trainer.rounds,
    }


def _best(session: Session) -> Facts | None:
    best = session.best
    return {"monitor": best.monitor, "score": best.score, "round": best.round} if best else None


def _diagnosis(session: Session, run: RunFolder, facts: Facts) -> str | None:
    """The problem that the logged scores of the chosen weights show, or None."""
    round = facts["best"]["round"] if facts["best"] else facts["round"]
    logged = next((entry for entry in reversed(run.metrics()) if entry["round"] == round), {})
    return session.diagnose(logged)


def save_and_load(session: Session, run: RunFolder) -> Any:
    """Save the model and load it again; a model that cannot be saved is returned as it is in memory."""
    model = session.trainer.task.model
    try:
        describe(model)
    except UsageError:  # announced before the first round
        return model.eval()
    save_model(model, run.model, with_background(session.data), {"recipe": run.page["recipe"]}, session.recipe.usage())
    return place(load_model(run.model), session.trainer.runtime.device)


def choose_weights(session: Session, run: RunFolder, screen: Screen) -> str:
    """Load the weights of the finished model (the best, else the average, else the last); return which."""
    best = session.best
    averaged = any(player.average for player in session.trainer.players.values())
    if best is not None and best.round is not None:
        if best.round == session.trainer.round:
            return "best"
        if _load_or_repeat(session.trainer, run, best.round, screen):
            return "best"
        screen.say(f"The checkpoint of the best round {best.round} is gone or damaged; the last weights are kept.")
    return "average" if averaged else "last"


def _load_or_repeat(trainer: Trainer, run: RunFolder, round: int, screen: Screen) -> bool:
    """Load the state of a round; if its checkpoint is gone, train again to it from the newest earlier checkpoint.

    Returns:
        Whether there is a checkpoint. All processes return the same.
    """
    runtime = trainer.runtime
    start = runtime.broadcast(checkpoint.newest_round(run.checkpoints, round) or 0)
    saved = checkpoint.of_round(run.checkpoints, start) if start else None
    failing_rank = runtime.first_rank_where(saved is None)
    if failing_rank is not None or saved is None:
        return False
    trainer.load_state(saved.tensors, saved.round, saved.page["drawn"])
    if start < round:
        screen.say(
            f"The checkpoint of the best round {round} is gone or damaged; its weights are trained again from the "
            f"checkpoint of round {start}."
        )
    for _ in trainer.until(round):
        pass
    return True


def evaluate_model(model: Any, session: Session, dry_run: bool) -> tuple[Subject, dict[str, Evaluation]]:
    """Evaluate the model on the validation part, once on the test part, and on generated examples.

    Returns:
        The subject of the report, and the evaluations by part. Without held-out examples the subject of the report is
        the training part.
    """
    data, scorer = session.data, session.scorer
    parts = [part for part in (PARTS[1:2] if dry_run else PARTS[1:]) if len(data.part(part))]
    subject = Subject(model, data, "train")
    evaluations: dict[str, Evaluation] = {}
    for part in parts:
        subject = replace(subject, part=part, detailed=part == parts[-1])
        evaluations[part] = evaluate_subject(subject)
        subject = replace(subject, temperature=evaluations[part].evidence.get("temperature", subject.temperature))
    if scorer is not None:
        count = scorer.count if dry_run else GENERATED
        generated = replace(subject, part="generated", scorer=scorer, count=count)
        evaluations["generated"] = evaluate_subject(generated)
    return subject, evaluations


def write_pages(
    session: Session,
    run: RunFolder,
    facts: Facts,
    scores: Scores,
    subject: Subject,
    evaluations: dict[str, Evaluation],
) -> None:
    """Write report.html and card.md."""
    from danlu.app.report.html_report import write_report
    from danlu.app.report.model_card import about_model, write_card
    from danlu.app.report.sections.all_sections import sections_of

    shown = [evaluations[part] for part in (subject.part, "generated") if part in evaluations]
    page = {**run.page, **facts, "status": "finished"}
    sections = sections_of(subject, shown) if shown else []
    write_report(run.path / "report.html", page, to_yaml(run.recipe), run.metrics(), scores, sections)
    write_card(run.path / "card.md", page, scores, subject.info, about_model(subject.model, run.page["recipe"]))


def print_summary(run: RunFolder, screen: Screen, usage: list[tuple[str, str]]) -> None:
    """Print the scores, the path of the report, and commands that use the model."""
    from danlu.app.report.html_report import describe_weights

    page = run.page
    early = f", stopped early after {page['round']} of {page['rounds']} rounds" if page["stopped_early"] else ""
    weights = describe_weights(page)
    extractor = page.get("extractor_seconds", 0.0)
    share = f" ({duration(extractor)} of it for the feature extractor)" if extractor else ""
    screen.say(f"Done in {duration(page['seconds'] + extractor)}{share}{early}. The saved weights are {weights}.")
    for part, values in page["scores"].items():
        line = "  ".join(f"{score_name(name)} {score_value(name, value)}" for name, value in values.items())
        screen.say(f"  {part:<10}  {line}")
    has_scores = {"test", "generated"} & page["scores"].keys()
    evaluate = [("evaluate", f"danlu evaluate {quoted(run.path)}")] if has_scores else []
    use = [(label, command.replace("RUN", quoted(run.path))) for label, command in usage]
    screen.rows([("report", str(run.path / "report.html")), *evaluate, *use])
