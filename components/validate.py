"""Read and validate annotations; bad rows go to quarantine, a bad batch stops the run."""

from kfp.dsl import HTML, Dataset, Metrics, Output

from components.step import step


@step()
def validate(
    run_id: str, settings: str, data: str, annotations: Output[Dataset], page: Output[HTML], metrics: Output[Metrics]
) -> None:
    """Hand on the validated annotations; the page says what Great Expectations found.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        data: where the annotations are; 'simulated' makes some.
        annotations: pointer to the validated annotations, the quarantine and the results.
        page: the validation page.
        metrics: counts.
    """
    import tempfile
    from pathlib import Path

    from repo.annotations.ingest import ingest
    from repo.annotations.validation.suite import save
    from repo.console import say
    from repo.files import write_text
    from repo.reporting.validation_page import render_validation
    from repo.settings import settings_from_json
    from repo.tracking.handover import write_pointer
    from repo.tracking.runs import step_run

    with step_run(run_id, "validate") as run, tempfile.TemporaryDirectory() as directory:
        result = ingest(data, settings_from_json(settings))
        save(result, Path(directory))
        html = render_validation(result)
        write_text(Path(directory, "validation.html"), html)
        write_text(Path(page.path), html)
        pointer = run.publish(Path(directory), "annotations")
        summary = result.summary
        counts = {name: float(value) for name, value in vars(summary).items() if isinstance(value, int)}
        run.set_tags({"data_digest": summary.digest})
        metrics.metadata.update(run.hand_on(counts))
        say(
            f"{summary.rows_kept:,} of {summary.rows_read:,} rows kept, {summary.rows_quarantined:,} quarantined; "
            f"{summary.annotations:,} annotations by {summary.annotators:,} annotators on {summary.comparisons:,} "
            f"comparisons, {summary.prompts:,} prompts"
        )
        for note in result.notes:
            say(note)
        for outcome in result.expectations:
            if not outcome.passed:
                say(f"{outcome.severity}: {outcome.title}: {outcome.observed} ({outcome.bound})")
        result.raise_if_failed()
        write_pointer(pointer, annotations.path)
        annotations.metadata.update(pointer.metadata | {"data_digest": summary.digest})
