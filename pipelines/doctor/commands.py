"""`repo-pipeline doctor`: is everything there that a run needs, before anything costs."""

import sys
from pathlib import Path

import click

from pipelines.kubeflow.options import Connect, in_cluster_option, kubeflow_options
from pipelines.options import config_option, json_option, model_option, print_json, set_option, store_option, with_model


@click.command()
@click.option("--data", default=None, help="Look at these annotations too, as `run` would read them.")
@click.option("--inbox", default=None, metavar="URI", help="Look at this folder of batches too.")
@in_cluster_option
@config_option
@set_option
@store_option
@model_option
@json_option
@kubeflow_options
def doctor(
    data: str | None,
    inbox: str | None,
    in_cluster: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    store: Path | None,
    model: str | None,
    as_json: bool,
    connect: Connect,
) -> None:
    """Check what a run needs before anything costs: MLflow, Kubeflow, images, data, settings, disk, GPU.

    All checks are done, each with a time limit, and what is wrong comes with a remedy. In MLflow a run named doctor is
    written and deleted, and a model's tag set and taken away; a missing experiment is made, as a run would make it.
    Kubeflow and the images are asked where a host is named.

    Exit codes: 0 nothing failed, warnings or not; 1 something did; 2 not understood.

    \b
    Examples:
      repo-pipeline doctor
      repo-pipeline doctor --data votes.jsonl --set policy.base=Qwen/Qwen2.5-0.5B-Instruct
      repo-pipeline doctor --inbox s3://bucket/votes --host https://kubeflow.example.org/pipeline --namespace team
    """
    from repo.settings import load_settings
    from repo.tracking.store import choose_store

    settings = load_settings(config, with_model(overrides, model))
    from pipelines.doctor.checks import Patient, checks
    from pipelines.doctor.finding import PATIENCE, State, examine
    from pipelines.doctor.screen import as_rows, line, total

    patient = Patient(settings, choose_store(store), connect, data, inbox, in_cluster)
    findings = []
    for finding in examine(list(checks(patient)), max(PATIENCE, 2 * connect.timeout)):
        findings.append(finding)
        if not as_json:
            click.echo(line(finding))
    if as_json:
        print_json(as_rows(findings))
    else:
        click.echo(f"\n{total(findings)}")
    if any(finding.state is State.FAILED for finding in findings):
        sys.exit(1)
