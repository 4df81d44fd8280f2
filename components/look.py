"""Look into the inbox: is there anything to train on? Cheap: nothing but bytes is read, and torch is not imported."""

from kfp.dsl import Artifact, Markdown, Output

from components.step import step


@step()
def look(run_id: str, settings: str, inbox: str, batches: Output[Artifact], summary: Output[Markdown]) -> str:
    """Return "train" or "skip".

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        inbox: folder or URI that batches come into.
        batches: pointer to batches.json: what lies there, and what the champion has consumed of it.
        summary: the same as a table.
    """
    import tempfile
    from pathlib import Path

    from repo.console import say
    from repo.files import write_text
    from repo.reporting.inbox import to_markdown
    from repo.reporting.notes import nothing_trained
    from repo.settings import settings_from_json
    from repo.tracking.descriptions import describe_run
    from repo.tracking.handover import write_pointer
    from repo.tracking.passes import look_holding_the_line
    from repo.tracking.runs import step_run

    with step_run(run_id, "look") as run, tempfile.TemporaryDirectory() as directory:
        found = look_holding_the_line(run_id, inbox, settings_from_json(settings), say)
        found.save(Path(directory))
        write_text(Path(summary.path), to_markdown(found.batches, found.words))
        pointer = run.publish(Path(directory), "look")
        write_pointer(pointer, batches.path)
        batches.metadata.update(pointer.metadata | {"champion": found.champion})
        run.set_tags({"decision": "train" if found.train else "skip", "reason": found.words})
        if not found.train:
            describe_run(run_id, nothing_trained(found.words))
        say(found.words)
        return "train" if found.train else "skip"
