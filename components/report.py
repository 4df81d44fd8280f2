"""Say which annotators can be believed, and which labels are doubtful."""

from kfp.dsl import HTML, Artifact, Input, Metrics, Output

from components.step import step


@step()
def report(
    run_id: str,
    settings: str,
    data: str,
    training: Input[Artifact],
    page: Output[HTML],
    result: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    """Write the report page, reliability.json and doubtful_labels.jsonl.

    Args:
        run_id: parent MLflow run.
        settings: all settings as JSON.
        data: where the annotations came from; the truth is known for 'simulated'.
        training: pointer to the training's record.
        page: the report.
        result: pointer to the report and its files.
        metrics: mean reliability and counts.
    """
    import tempfile
    from pathlib import Path

    from repo.console import say
    from repo.files import write_text
    from repo.reporting.report import build_report, report_inputs, write_report
    from repo.settings import settings_from_json
    from repo.tracking.handover import fetch, read_pointer, write_pointer
    from repo.tracking.runs import step_run

    with step_run(run_id, "report") as run, tempfile.TemporaryDirectory() as directory:
        inputs = report_inputs(fetch(read_pointer(training.path)), settings_from_json(settings), data)
        made = build_report(inputs)
        write_report(made, Path(directory))
        write_text(Path(page.path), made.html)
        pointer = run.publish(Path(directory), "report")
        write_pointer(pointer, result.path)
        result.metadata.update(pointer.metadata)
        values = [row["reliability"] for row in made.reliability["annotators"]]
        figures = {
            "annotators": float(len(values)),
            "mean_reliability": sum(values) / len(values),
            "doubtful_labels": float(len(made.doubtful)),
        }
        if inputs.drift:
            changed = [row["annotator"] for row in inputs.drift["annotators"] if row["changed"]]
            figures |= {"annotators_changed": float(len(changed)), "annotators_new": float(len(inputs.drift["new"]))}
            run.set_tags({"annotators_changed": ", ".join(changed)})
        metrics.metadata.update(run.hand_on(figures))
        if inputs.drift and changed:
            say(f"changed since version {inputs.drift['version']}: {', '.join(changed)}")
        mean = figures["mean_reliability"]
        say(f"{len(values):,} annotators, mean reliability {mean:.3f}; {len(made.doubtful):,} doubtful labels")
