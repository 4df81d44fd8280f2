"""`repo-pipeline submit`: one run of a pipeline on Kubeflow."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.kubeflow.options import Connect, in_cluster_option, kubeflow_options
from pipelines.options import config_option, json_option, model_option, print_json, set_option, with_model
from repo.errors import UserError

if TYPE_CHECKING:
    from pipelines.kubeflow.client import Client
    from pipelines.kubeflow.submission import Progress, Submitted
    from pipelines.kubeflow.uploads import Graph

_INTERRUPTED = 130


@click.command()
@click.option("--data", default=None, help="Train on these annotations: a URI, or hf:// id; several by commas.")
@click.option("--inbox", default=None, metavar="URI", help="Retrain on what is new in this folder.")
@in_cluster_option
@click.option("--wait", is_flag=True, help="Follow the run to its end; fail where it does not succeed.")
@config_option
@set_option
@model_option
@json_option
@kubeflow_options
def submit(
    data: str | None,
    inbox: str | None,
    in_cluster: bool,
    wait: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    model: str | None,
    as_json: bool,
    connect: Connect,
) -> None:
    """Run the training pipeline, or one pass over an inbox, on Kubeflow.

    The pipeline is uploaded as a version named by its content, unless it is there. No secret belongs on the command
    line: tokens and headers come from files or the environment.

    \b
    Examples:
      repo-pipeline submit --data s3://bucket/votes.jsonl --host https://kubeflow.example.org/pipeline --wait
      repo-pipeline submit --inbox s3://bucket/votes --namespace team --token-file ~/.kubeflow-token
    """
    from repo.settings import load_settings

    if (data is None) == (inbox is None):
        raise UserError("--data or --inbox, one of them", "--data trains on annotations, --inbox on an inbox's news")
    settings = load_settings(config, with_model(overrides, model))
    from repo.annotations.reading.pseudonyms import with_pseudonyms

    settings = with_pseudonyms(settings)
    from pipelines.kubeflow.sources import check_settings, check_source

    graph: Graph = "training" if data is not None else "retraining"
    source = data or inbox or ""
    check_source(source, in_cluster)  # a mistake here is told before anything is asked
    check_settings(settings, in_cluster)
    client = connect()
    from pipelines.kubeflow.submission import submit as start

    submitted = start(client, graph, source, settings)
    if not as_json:
        click.echo(_describe(submitted))
    progress = _follow(client, graph, submitted, as_json) if wait else None
    if as_json:
        print_json(_content(submitted, progress))
    if progress:
        from pipelines.kubeflow.submission import check_succeeded

        check_succeeded(progress, submitted)
        click.echo(f"run {submitted.name}: succeeded", err=as_json)


def _follow(client: "Client", graph: "Graph", submitted: "Submitted", as_json: bool) -> "Progress":
    from pipelines.kubeflow.submission import follow

    try:
        return follow(client, graph, submitted.run_id, lambda line: click.echo(line, err=as_json))
    except KeyboardInterrupt:
        click.echo(f"no longer followed; the run goes on: {submitted.page}", err=True)
        sys.exit(_INTERRUPTED)


def _describe(submitted: "Submitted") -> str:
    version = submitted.version
    return "\n".join(
        [
            f"{version.pipeline} version {version.name}: {'uploaded' if version.new else 'already there'}",
            f"run {submitted.name} in experiment {submitted.experiment}",
            f"page: {submitted.page}",
        ]
    )


def _content(submitted: "Submitted", progress: "Progress | None") -> dict[str, Any]:
    from dataclasses import asdict

    found = asdict(submitted)
    if progress:
        found |= {"state": progress.state, "steps": [asdict(step) for step in progress.steps.values()]}
    return found
