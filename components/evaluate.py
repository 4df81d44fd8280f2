"""Candidate, base and champion sit the model line's exam; the first run of a line makes it."""

from kfp.dsl import Artifact, Dataset, Input, Markdown, Metrics, Model, Output

from components.step import train_step


@train_step()
def evaluate(
    run_id: str,
    settings: str,
    parts: Input[Dataset],
    policy: Input[Model],
    evaluation: Output[Artifact],
    summary: Output[Markdown],
    metrics: Output[Metrics],
) -> str:
    """Evaluate and return the version of the champion compared with, or '' when there is none yet.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        parts: pointer to the split annotations.
        policy: pointer to the candidate.
        evaluation: pointer to evaluation.json.
        summary: the figures as a table.
        metrics: the candidate's figures.
    """
    import tempfile
    from dataclasses import replace
    from pathlib import Path

    import repo
    from repo.console import say
    from repo.evaluation.collapse import large_annotators
    from repo.evaluation.summary import flat_metrics, one_line, to_markdown
    from repo.files import read_json, write_json, write_text
    from repo.settings import settings_from_json
    from repo.tracking.exams import exam_of
    from repo.tracking.handover import fetch, read_pointer, write_pointer
    from repo.tracking.models import RELIABILITY_FILE
    from repo.tracking.passes import read_pass, still_champion
    from repo.tracking.policies import champion_source, policy_source
    from repo.tracking.registry import champion
    from repo.tracking.runs import step_run

    with step_run(run_id, "evaluate") as run, tempfile.TemporaryDirectory() as directory:
        chosen = settings_from_json(settings)
        candidate = policy_source(read_pointer(policy.path))
        policies = {"candidate": candidate, "base": replace(candidate, path=candidate.base)}
        given = fetch(read_pointer(parts.path))
        goes_on = read_pass(given)
        name = chosen.registry.model
        current = still_champion(name, goes_on.champion) if goes_on else champion(name)
        reliability = read_json(Path(candidate.path).parent / RELIABILITY_FILE)
        known = {}
        if current:
            policies["champion"] = champion_source(current)
            before = read_json(Path(policies["champion"].path).parent / RELIABILITY_FILE)
            known["large_annotators"] = large_annotators(reliability, before, chosen.gate.large_share)
        exam, address = exam_of(run, given, reliability, Path(directory))
        version = current.version if current else ""
        result = {**repo.evaluate(exam, policies, chosen), **known, "exam": address.metadata, "champion": version}
        write_json(Path(directory, "evaluation/evaluation.json"), result)
        markdown = to_markdown(result, version)
        write_text(Path(directory, "evaluation/evaluation.md"), markdown)
        write_text(Path(summary.path), markdown)
        pointer = run.publish(Path(directory, "evaluation"), "evaluation")
        write_pointer(pointer, evaluation.path)
        evaluation.metadata.update(pointer.metadata | {"exam": address.mlflow_uri})
        figures = flat_metrics(result)
        metrics.metadata.update(run.hand_on(figures))
        say(one_line(result))
        return version
