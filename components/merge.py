"""Put the night's votes together with earlier ones: each counts once, and what the line is judged on never trains."""

from kfp.dsl import Dataset, Input, Metrics, Output

from components.step import step


@step()
def merge(
    run_id: str, settings: str, annotations: Input[Dataset], parts: Output[Dataset], metrics: Output[Metrics]
) -> str:
    """Return "train", or "skip" where every vote counts already, or a version of just these came to nothing.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        annotations: pointer to the good batches' annotations.
        parts: pointer to the split of what is new, what is retained, and what the training goes on from.
        metrics: counts.
    """
    import tempfile
    from pathlib import Path

    from repo.console import say
    from repo.reporting.notes import nothing_trained
    from repo.settings import settings_from_json
    from repo.tracking.descriptions import describe_run
    from repo.tracking.handover import fetch, read_pointer, write_pointer
    from repo.tracking.merging import merge_batches, publish_parts
    from repo.tracking.runs import step_run

    with step_run(run_id, "merge") as run, tempfile.TemporaryDirectory() as directory:
        chosen = settings_from_json(settings)
        merged = merge_batches(fetch(read_pointer(annotations.path)), chosen)
        pointer = publish_parts(run, run_id, merged, chosen, Path(directory))
        counts = merged.counts()
        metrics.metadata.update(run.hand_on(counts))
        write_pointer(pointer, parts.path)
        parts.metadata.update(pointer.metadata | {"data_digest": merged.data_digest})
        for words in merged.words():
            say(words)
        if not merged.train:
            describe_run(run_id, nothing_trained(merged.idle))
        return "train" if merged.train else "skip"
