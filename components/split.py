"""Hold out prompts for evaluation; what the model line is judged on never trains."""

from kfp.dsl import Dataset, Input, Metrics, Output

from components.step import step


@step()
def split(
    run_id: str, settings: str, annotations: Input[Dataset], parts: Output[Dataset], metrics: Output[Metrics]
) -> None:
    """Split by prompt, deterministically from the text.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        annotations: pointer to the validated annotations.
        parts: pointer to the training and held-out annotations.
        metrics: counts.
    """
    import tempfile
    from pathlib import Path

    import pandas as pd

    from repo.annotations.splitting import save_split, split_annotations
    from repo.console import say
    from repo.settings import settings_from_json
    from repo.tracking.exams import EXAM_POINTER, frozen_exam
    from repo.tracking.handover import fetch, read_pointer, write_pointer
    from repo.tracking.runs import step_run

    with step_run(run_id, "split") as run, tempfile.TemporaryDirectory() as directory:
        table = pd.read_parquet(fetch(read_pointer(annotations.path)) / "annotations.parquet")
        chosen = settings_from_json(settings)
        exam = frozen_exam(chosen.registry.model) if chosen.evaluation.exam == "frozen" else None
        result = split_annotations(table, chosen.data, exam[0].holds(table) if exam else None)
        save_split(result, Path(directory))
        if exam:
            write_pointer(exam[1], Path(directory, EXAM_POINTER))
        pointer = run.publish(Path(directory), "split")
        counts = {"train": float(len(result.train)), "held_out": float(len(result.held_out))}
        metrics.metadata.update(run.hand_on(counts))
        write_pointer(pointer, parts.path)
        parts.metadata.update(pointer.metadata | {"data_digest": annotations.metadata["data_digest"]})
        say(f"{len(result.train):,} annotations to train on, {len(result.held_out):,} held out by {result.by}")
        for note in result.notes:
            say(note)
