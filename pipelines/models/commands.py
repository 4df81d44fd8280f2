"""`repo-pipeline models`: what was registered, and which version serves."""

import json
from pathlib import Path

import click

from pipelines.options import json_option, model_name, model_option, store_option
from repo.errors import UserError


@click.group(invoke_without_command=True)
@store_option
@model_option
@json_option
@click.pass_context
def models(context: click.Context, store: Path | None, model: str | None, as_json: bool) -> None:
    """List registered versions: alias, loss, accuracy, annotators, mean reliability, verdict.

    \b
    Examples:
      repo-pipeline models
      repo-pipeline models --json | jq '.[] | select(.verdict == "promote")'
      repo-pipeline models promote 3
    """
    if context.invoked_subcommand:
        return
    from repo.tracking.store import choose_store

    name = model_name(model)
    chosen = choose_store(store)
    if not chosen.exists:
        click.echo("[]" if as_json else "no models yet: `repo-pipeline demo` or `repo-pipeline run` makes one")
        return
    from dataclasses import asdict

    from pipelines.summary import models_table
    from repo.tracking.registry import list_models, model_names

    with chosen.opened():
        infos = list_models(name)
        others = [] if infos else model_names()
    click.echo(json.dumps([asdict(info) for info in infos], indent=2) if as_json else models_table(name, infos, others))


@models.command("promote")
@click.argument("version", required=False)
@store_option
@model_option
def models_promote(version: str | None, store: Path | None, model: str | None) -> None:
    """Promote a version that passed the gate and was not promoted, because its run was interrupted.

    VERSION is by default the newest such version. It must have been compared with the present champion.

    \b
    Examples:
      repo-pipeline models promote
      repo-pipeline models promote 3 --model repo-policy
    """
    from repo.tracking.store import choose_store

    name = model_name(model)
    chosen = choose_store(store)
    if not chosen.exists:
        raise UserError("no models yet", "`repo-pipeline demo` or `repo-pipeline run` makes one")
    from repo.tracking.registry import promote_by_hand

    with chosen.opened():
        promoted = promote_by_hand(name, version)
    click.echo(f"{name} version {promoted} is champion")
