"""Decide whether the candidate may become champion. A rejection is a normal outcome."""

from kfp.dsl import Artifact, Input, Markdown, Output

from components.step import step


@step()
def gate(
    run_id: str, settings: str, evaluation: Input[Artifact], verdict: Output[Artifact], summary: Output[Markdown]
) -> str:
    """Return "promote" or "reject".

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        evaluation: pointer to evaluation.json.
        verdict: pointer to verdict.json.
        summary: every rule and its outcome.
    """
    import tempfile
    from pathlib import Path

    from repo.console import say
    from repo.evaluation.gate import decide
    from repo.files import read_json, write_json, write_text
    from repo.settings import settings_from_json
    from repo.tracking.handover import fetch, read_pointer, write_pointer
    from repo.tracking.runs import step_run

    with step_run(run_id, "gate") as run, tempfile.TemporaryDirectory() as directory:
        figures = read_json(fetch(read_pointer(evaluation.path)) / "evaluation.json")
        decided = decide(figures, settings_from_json(settings).gate)
        write_json(Path(directory, "verdict.json"), decided.as_dict())
        write_text(Path(summary.path), decided.to_markdown())
        pointer = run.publish(Path(directory), "verdict")
        write_pointer(pointer, verdict.path)
        verdict.metadata.update(pointer.metadata | {"decision": decided.decision})
        run.set_tags({"verdict": decided.decision, "verdict_reasons": "\n".join(decided.reasons)})
        say(decided.decision + ": " + "; ".join(decided.reasons))
        return decided.decision
