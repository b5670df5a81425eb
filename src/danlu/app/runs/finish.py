"""The end of a run: choose the weights, save the model, load it again, measure it, write report and card."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from danlu.app.console.formatting import duration, quoted, score_value
from danlu.app.console.progress import Screen
from danlu.app.report.usage import after_training
from danlu.app.run_folder.run_folder import RunFolder
from danlu.app.runs.session import Session
from danlu.catalogue.recipes import all_recipes
from danlu.data.base.dataset import PartName
from danlu.data.survey.survey import PARTS
from danlu.errors import UsageError
from danlu.evaluation.generative_scores import GENERATED
from danlu.evaluation.model_scores import calibrated, measure, robustness
from danlu.metrics.temperature import fit_temperature
from danlu.models.saving.model_folder import load_model, save_model
from danlu.recipes.config.yaml_files import to_yaml
from danlu.training import checkpoint
from danlu.verbs import has, verbs_of


def finish(session: Session, run: RunFolder, screen: Screen, dry_run: bool = False) -> None:
    """Turn a trained session into a finished run; a dry run does not look at the test part and says no goodbye."""
    trainer, best = session.trainer, session.best
    last = trainer.round
    seconds = session.seconds
    weights = choose_weights(session, run, screen)
    facts: dict[str, Any] = {
        "round": last,
        "seconds": seconds,
        "stopped_early": last < trainer.rounds,
        "weights": weights,
        "best": {"monitor": best.monitor, "score": best.score, "round": best.round}
        if best and weights == "best"
        else None,
    }
    with ExitStack() as stack:
        for player in trainer.players.values():
            stack.enter_context(player.averaged())
        stack.enter_context(trainer.shards.whole())
        if trainer.runtime.rank:
            return
        parts = PARTS[1:2] if dry_run else PARTS[1:]
        diagnosis = _diagnosis(session, run, facts)
        if diagnosis is not None and diagnosis != run.page.get("diagnosis"):
            screen.say(diagnosis)
        facts["diagnosis"] = diagnosis
        scores = judge(session, run, facts, [part for part in parts if len(session.data.part(part))], dry_run)
    run.save_page(status="finished", scores=scores, **facts)
    if not dry_run:
        say_goodbye(run, screen, after_training(trainer.task.model, session.data.info))


def _diagnosis(session: Session, run: RunFolder, facts: dict[str, Any]) -> str | None:
    """What has gone wrong, by the scores that were logged of the weights that the model has."""
    round = facts["best"]["round"] if facts["best"] else facts["round"]
    logged = next((entry for entry in reversed(run.metrics()) if entry["round"] == round), {})
    return session.diagnose(logged)


def saved_and_loaded(session: Session, run: RunFolder) -> Any:
    """The model as the model folder has it; one that cannot be saved, as it is in memory."""
    model = session.trainer.task.model
    try:
        save_model(model, run.model, session.data.info, {"recipe": run.page["recipe"]})
    except UsageError:  # which the user was told before the first round
        return model.eval()
    return load_model(run.model).to(session.trainer.runtime.device)


def choose_weights(session: Session, run: RunFolder, screen: Screen) -> str:
    """Put the weights that the model will have into the task: best, else average, else last; and say which."""
    best = session.best
    averaged = any(player.average for player in session.trainer.players.values())
    if best is not None and best.round is not None:
        if best.round == session.trainer.round:
            return "best"
        saved = checkpoint.of_round(run.checkpoints, best.round)
        if session.trainer.runtime.first_rank_where(saved is None) is None and saved is not None:
            session.trainer.load_state(saved.tensors, saved.round, saved.page["drawn"])
            return "best"
        screen.say(f"The checkpoint of the best round {best.round} is gone or damaged; the last weights are kept.")
    return "average" if averaged else "last"


def judge(
    session: Session, run: RunFolder, facts: dict[str, Any], parts: list[PartName], dry_run: bool = False
) -> dict[str, dict[str, float]]:
    """Measure the model as it was saved, on the validation part and, now and only now, on the test part."""
    from danlu.app.report.html_report import write_report
    from danlu.app.report.model_card import write_card
    from danlu.app.report.sections.classifier import Judged, classification_sections  # draws: takes a second to import
    from danlu.app.report.sections.generated import generated_sections
    from danlu.app.report.sections.latent import latent_sections
    from danlu.app.report.sections.text import text_sections

    model, info = saved_and_loaded(session, run), session.data.info
    scores: dict[str, dict[str, float]] = {}
    sections, shown = [], []
    for part in parts:
        examples = session.data.part(part)
        scores[part], evidence = measure(model, examples, info.inputs)
        if "probabilities" not in evidence:
            continue
        probabilities, labels = evidence["probabilities"], examples["label"].cpu()
        if part == "validation":
            facts["temperature"] = fit_temperature(probabilities, labels)
        elif (temperature := facts.get("temperature")) is not None:
            scores[part].update(calibrated(probabilities, labels, temperature))
        if part == parts[-1]:
            judged = Judged(part, probabilities, labels, temperature=facts.get("temperature"))
            if info.kind == "images":
                shifted, noisy, count = robustness(model, examples, info)
                judged = judged._replace(images=examples["image"], shifted=shifted, noisy=noisy, strained=count)
            sections = classification_sections(judged, info)
    scores = {part: found for part, found in scores.items() if found}
    if session.scorer is not None:
        x = session.scorer.draw(model, session.scorer.count if dry_run else GENERATED)
        scores["generated"] = session.scorer.all_scores(x)
        shown = generated_sections(model, x, session.data)
    if parts or shown:  # samples are there to be seen without any held-out part, too
        part = parts[-1] if parts else "train"
        sections += latent_sections(model, session.data.part(part), part, info)
        sections += text_sections(model, session.data.part(part), part)
    sections += shown
    page = {**run.page, **facts, "status": "finished"}
    write_report(run.path / "report.html", page, to_yaml(run.recipe), run.metrics(), scores, sections)
    entry = all_recipes()[run.page["recipe"]]
    name = type(model).__name__
    write_card(run.path / "card.md", page, scores, info, name, entry.title, entry.source, verbs_of(model),
               has(model, "class_conditional"))  # fmt: skip
    return scores


def say_goodbye(run: RunFolder, screen: Screen, ways: list[tuple[str, str]]) -> None:
    """What was reached, where it lies, what to do next."""
    page = run.page
    early = f", stopped early after {page['round']} of {page['rounds']} rounds" if page["stopped_early"] else ""
    best = page["best"]
    which = f"best {best['monitor']} in round {best['round']}" if page["weights"] == "best" else page["weights"]
    screen.say(f"Done in {duration(page['seconds'])}{early}. Weights: {which}.")
    for part, values in page["scores"].items():
        words = "  ".join(f"{name.replace('_', ' ')} {score_value(name, value)}" for name, value in values.items())
        screen.say(f"  {part:<10}  {words}")
    judged = {"test", "generated"} & page["scores"].keys()
    again = [("look again", f"danlu evaluate {quoted(run.path)}")] if judged else []
    use = [(what, command.replace("RUN", quoted(run.path))) for what, command in ways]
    screen.rows([("report", str(run.path / "report.html")), *again, *use])
