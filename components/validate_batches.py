"""Read and validate each new batch on its own: a bad one is kept out with its reasons, the good ones go on."""

from kfp.dsl import HTML, Dataset, Input, Metrics, Output

from components.step import step


@step()
def validate_batches(
    run_id: str,
    settings: str,
    inbox: str,
    batches: Input[Dataset],
    annotations: Output[Dataset],
    page: Output[HTML],
    metrics: Output[Metrics],
) -> str:
    """Return "train", or "skip" where no batch can be used.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        inbox: folder or URI that batches come into.
        batches: pointer to what the look found.
        annotations: pointer to the good batches' annotations, one file each, and what became of every batch.
        page: why which batch was kept out.
        metrics: counts.
    """
    import tempfile
    from pathlib import Path

    from repo.console import say
    from repo.files import write_text
    from repo.inbox.judging import judge_again
    from repo.inbox.look import State
    from repo.reporting.inbox import render_batches
    from repo.reporting.notes import nothing_trained
    from repo.settings import settings_from_json
    from repo.tracking.descriptions import describe_run
    from repo.tracking.handover import fetch, read_pointer, write_pointer
    from repo.tracking.passes import batches_of, remember, save_judged
    from repo.tracking.runs import step_run

    with step_run(run_id, "validate_batches") as run, tempfile.TemporaryDirectory() as directory:
        chosen = settings_from_json(settings)
        champion, found = batches_of(fetch(read_pointer(batches.path)))
        judged = []
        for one in judge_again(inbox, found, chosen):
            if one.good:
                one.good.annotations.to_parquet(Path(directory, f"{one.batch.digest}.parquet"), index=False)
            judged.append(one.without_annotations())
        good = [(one.batch, one.good) for one in judged if one.good]
        save_judged([one.batch for one in judged], champion, chosen, Path(directory))
        html = render_batches(judged)
        write_text(Path(directory, "batches.html"), html)
        write_text(Path(page.path), html)
        pointer = run.publish(Path(directory), "batches")
        remember(run_id, chosen.registry.model, pointer)
        write_pointer(pointer, annotations.path)
        annotations.metadata.update(pointer.metadata)
        kept_out = [one.batch for one in judged if one.batch.state is State.QUARANTINED]
        counts = {"batches": float(len(good)), "batches_quarantined": float(len(kept_out))}
        metrics.metadata.update(run.hand_on(counts))
        for batch, result in good:
            summary = result.summary
            say(f"{batch.name}: {summary.annotations:,} annotations by {summary.annotators:,} annotators")
        for batch in kept_out:
            say(f"{batch.name}: quarantined: {batch.note}")
        if not good:
            describe_run(run_id, nothing_trained("no new batch can be used"))
            say("no new batch can be used: nothing to train on")
        return "train" if good else "skip"
