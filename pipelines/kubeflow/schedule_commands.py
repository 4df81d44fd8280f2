"""`repo-pipeline schedule`: retraining on Kubeflow, again and again."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.kubeflow.options import Connect, in_cluster_option, kubeflow_options
from pipelines.options import config_option, json_option, model_name, model_option, print_json, set_option, with_model

if TYPE_CHECKING:
    from pipelines.kubeflow.client import Client

timezone_option = click.option(
    "--timezone",
    default="UTC",
    show_default=True,
    help="For the times shown: the zone of Kubeflow's controller, its CRON_SCHEDULE_TIMEZONE.",
)


@click.group()
def schedule() -> None:
    """Retrain a model line on Kubeflow at fixed times: one schedule a line.

    \b
    Examples:
      repo-pipeline schedule create --inbox s3://bucket/votes --cron "0 0 2 * * *"
      repo-pipeline schedule list
    """


@schedule.command("create")
@click.option("--inbox", required=True, metavar="URI", help="Folder that batches come into.")
@click.option("--cron", "expression", required=True, help='Six fields, seconds first, as in "0 0 2 * * *"; or @daily.')
@in_cluster_option
@config_option
@set_option
@model_option
@timezone_option
@json_option
@kubeflow_options
def create(
    inbox: str,
    expression: str,
    in_cluster: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    model: str | None,
    timezone: str,
    as_json: bool,
    connect: Connect,
) -> None:
    """Make this the line's only schedule, and enable it; where it is that already, change nothing.

    Another cron, inbox, setting or version of the pipeline is another schedule in Kubeflow: it takes the old one's
    place, and at no time are two enabled. Interrupted, the same command goes on. Times that were missed are not made up
    for one by one: a run takes whatever is new.

    \b
    Examples:
      repo-pipeline schedule create --inbox s3://bucket/votes --cron "0 0 2 * * *"
      repo-pipeline schedule create --inbox s3://bucket/votes --cron @hourly --model repo-policy \\
        --set retrain.retain=window
    """
    from pipelines.kubeflow.cron import parse_cron
    from repo.annotations.reading.pseudonyms import with_pseudonyms
    from repo.settings import load_settings

    settings = with_pseudonyms(load_settings(config, with_model(overrides, model)))
    cron = parse_cron(expression)
    from pipelines.kubeflow.sources import check_settings, check_source

    check_source(inbox, in_cluster)
    check_settings(settings, in_cluster)
    from pipelines.kubeflow.schedules import Wanted, put
    from pipelines.kubeflow.screens import describe_put, zone_named

    zone = zone_named(timezone)
    done = put(connect(), Wanted(inbox, settings, cron))
    if as_json:
        from dataclasses import asdict

        print_json({**asdict(done), "unchanged": done.unchanged, "cron": cron.expression})
        return
    click.echo(describe_put(done, cron.expression, zone))


@schedule.command("list")
@timezone_option
@json_option
@kubeflow_options
def list_command(timezone: str, as_json: bool, connect: Connect) -> None:
    """List schedules: line, name, cron, next time, the newest run's state, inbox.

    \b
    Examples:
      repo-pipeline schedule list
      repo-pipeline schedule list --json | jq '.[] | select(.enabled)'
    """
    from dataclasses import asdict

    from pipelines.kubeflow.schedules import last_state, schedules
    from pipelines.kubeflow.screens import row_of, table, zone_named

    zone = zone_named(timezone)
    client = connect()
    rows = [row_of(one, last_state(client, one), zone) for one in schedules(client)]
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        click.echo(table(rows, zone))


@schedule.command("pause")
@model_option
@kubeflow_options
def pause_command(model: str | None, connect: Connect) -> None:
    """Stop a line's schedule from firing; a run that has begun goes on.

    \b
    Example:
      repo-pipeline schedule pause --model repo-policy
    """
    from pipelines.kubeflow.schedules import pause

    _say(pause, connect, model, "paused")


@schedule.command("resume")
@model_option
@kubeflow_options
def resume_command(model: str | None, connect: Connect) -> None:
    """Let a line's schedule fire again; where it missed a time Kubeflow may run once at once.

    \b
    Example:
      repo-pipeline schedule resume --model repo-policy
    """
    from pipelines.kubeflow.schedules import resume

    _say(resume, connect, model, "enabled")


@schedule.command("delete")
@model_option
@kubeflow_options
def delete_command(model: str | None, connect: Connect) -> None:
    """Remove a line's schedule; its runs, and the models they made, stay.

    \b
    Example:
      repo-pipeline schedule delete --model repo-policy
    """
    from pipelines.kubeflow.schedules import delete

    _say(delete, connect, model, "deleted")


def _say(act: Callable[["Client", str], list[str]], connect: Connect, model: str | None, done: str) -> None:
    line = model_name(model)
    names = act(connect(), line)
    click.echo("\n".join(f"{name}: {done}" for name in names) or f"{line}: was {done} already")
