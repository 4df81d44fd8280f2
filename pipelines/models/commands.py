"""`repo-pipeline models`: what was registered, which version serves, and who decided so."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.options import json_option, model_name, model_option, print_json, store_option
from repo.errors import UserError

if TYPE_CHECKING:
    from repo.tracking.promotion import Change, Wish

by_option = click.option("--by", default=None, metavar="NAME", help="Who decides; default: MLflow's user, or yours.")
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept with the version.")
version_argument = click.argument("version", required=False)


@click.group(invoke_without_command=True)
@store_option
@model_option
@json_option
@click.pass_context
def models(context: click.Context, store: Path | None, model: str | None, as_json: bool) -> None:
    """List registered versions, look into them, and say which one serves.

    Without a command: `list`. Options given before a command are that command's too. Exit codes of all: 0 done, 1
    refused or failed (the reason and what to do on stderr), 2 not understood.

    \b
    Examples:
      repo-pipeline models
      repo-pipeline models --json | jq '.[] | select(.verdict == "promote")'
      repo-pipeline models show champion
    """
    if context.invoked_subcommand:
        given = {name: value for name, value in context.params.items() if value}
        context.default_map = dict.fromkeys(models.commands, given)
    else:
        _list(store, model, as_json)


@models.command("list")
@store_option
@model_option
@json_option
def models_list(store: Path | None, model: str | None, as_json: bool) -> None:
    """List registered versions: alias, loss, accuracy, annotators, mean reliability, verdict, and what waits.

    Exit codes: 0, also where there is none; 1 the store cannot be read.

    \b
    Example:
      repo-pipeline models list --model repo-demo
    """
    _list(store, model, as_json)


def _list(store: Path | None, model: str | None, as_json: bool) -> None:
    from repo.tracking.store import choose_store

    name = model_name(model)
    chosen = choose_store(store)
    if not chosen.exists:
        click.echo("[]" if as_json else "no models yet: `repo-pipeline demo` or `repo-pipeline run` makes one")
        return
    from pipelines.models.screens import models_table
    from repo.tracking.registry import list_models, model_names

    with chosen.opened():
        infos = list_models(name)
        others = [] if infos else model_names()
    if as_json:
        print_json([asdict(info) for info in infos])
    else:
        click.echo(models_table(name, infos, others))


@models.command("show")
@version_argument
@click.option("--annotators", is_flag=True, help="Every annotator's reliability, not only both ends.")
@store_option
@model_option
@json_option
def models_show(version: str | None, annotators: bool, store: Path | None, model: str | None, as_json: bool) -> None:
    """Show what is known of a version: where it comes from, whom it believed, how it was judged, who decided what.

    VERSION is a number or an alias; default: champion, or the newest where there is none. JSON holds all annotators.
    Exit codes: 0; 1 there is no such version.

    \b
    Examples:
      repo-pipeline models show 3 --annotators
      repo-pipeline models show challenger --json | jq .changed
    """
    from pipelines.models.screens import describe_version
    from repo.tracking.details import details_of
    from repo.tracking.promotion import known_version
    from repo.tracking.registry import CHAMPION, list_models, version_called

    name = model_name(model)
    with _opened(store):
        infos = list_models(name)
        if version is None and infos:
            info = version_called(infos, CHAMPION) or infos[0]
        else:
            info = known_version(name, infos, version or CHAMPION)
        details = details_of(name, info)
    if as_json:
        print_json(details.as_dict())
    else:
        click.echo(describe_version(details, annotators))


@models.command("compare")
@click.argument("first")
@click.argument("second")
@store_option
@model_option
@json_option
def models_compare(first: str, second: str, store: Path | None, model: str | None, as_json: bool) -> None:
    """Hold two versions against each other: figures, settings that differ, annotators seen differently.

    FIRST and SECOND are numbers or aliases. An annotator is named where each version's reliability lies outside the
    other's interval. Exit codes: 0, whether they differ or not; 1 there is no such version.

    \b
    Examples:
      repo-pipeline models compare 2 3
      repo-pipeline models compare champion challenger
    """
    from pipelines.models.screens import describe_comparison
    from repo.tracking.details import compare, details_of
    from repo.tracking.promotion import known_version
    from repo.tracking.registry import list_models

    name = model_name(model)
    with _opened(store):
        infos = list_models(name)
        found = compare(*(details_of(name, known_version(name, infos, version)) for version in (first, second)))
    if as_json:
        print_json(found.as_dict())
    else:
        click.echo(describe_comparison(found))


@models.command("promote")
@version_argument
@click.option("--approve", is_flag=True, help="Approve of a version that waits for it (gate.approval=manual).")
@click.option(
    "--force", is_flag=True, help="Also against the gate, who declined it, or a champion it was not compared with."
)
@by_option
@reason_option
@store_option
@model_option
@json_option
def models_promote(
    version: str | None,
    approve: bool,
    force: bool,
    by: str | None,
    reason: str,
    store: Path | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Promote a version that passed the gate and waits: for approval, or because its run was interrupted.

    VERSION is by default the newest such version. It must have been compared with the present champion. --approve needs
    --by, and --force a --reason; both are kept with the version and shown ever after. Exit codes: 0 it is champion
    (also where it was already); 1 refused, and nothing was changed.

    \b
    Examples:
      repo-pipeline models promote
      repo-pipeline models promote 3 --approve --by ann
      repo-pipeline models promote 2 --force --reason "version 3 is rude, see ticket 17"
    """
    from pipelines.models.screens import describe_change
    from repo.tracking.candidates import head_promoted
    from repo.tracking.promotion import promote_by_hand

    if approve and not by:
        raise UserError("--approve: nobody has signed", "say who approves: --approve --by NAME")
    if force and not reason:
        raise UserError("--force: no reason is given", 'say why, for those who will ask: --force --reason "…"')
    name = model_name(model)
    with _opened(store):
        change = promote_by_hand(name, version, _wish(by, reason, approve, force))
        _head_note(name, change.champion, lambda run_id: head_promoted(run_id, name, change.champion))
    _print_change(change, as_json, describe_change(change))


@models.command("decline")
@click.argument("version")
@click.option("--by", required=True, metavar="NAME", help="Who declines.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the version.")
@store_option
@model_option
@json_option
def models_decline(version: str, by: str, reason: str, store: Path | None, model: str | None, as_json: bool) -> None:
    """Decline a version that waits for approval (gate.approval=manual).

    VERSION is a number or an alias. Who and why is kept with it and shown ever after. From then on it counts as
    rejected: nothing promotes it but `promote --force`, and its batches take part in the next pass. Exit
    codes: 0 done; 1 it does not wait, and nothing was changed.

    \b
    Example:
      repo-pipeline models decline 3 --by ann --reason "rude, see ticket 17"
    """
    from repo.reporting.notes import declined
    from repo.tracking.decisions import checked
    from repo.tracking.descriptions import head_run
    from repo.tracking.promotion import Wish, decline

    name = model_name(model)
    with _opened(store):
        wish = Wish(checked("--by", by), reason=checked("--reason", reason))
        number = decline(name, version, wish)
        _head_note(name, number, lambda run_id: head_run(run_id, declined(name, number, wish.by, wish.reason)))
    if as_json:
        print_json({"model": name, "version": number, "approval": "declined"})
    else:
        click.echo(f"{name} version {number} is declined")


@models.command("rollback")
@by_option
@reason_option
@store_option
@model_option
@json_option
def models_rollback(by: str | None, reason: str, store: Path | None, model: str | None, as_json: bool) -> None:
    """Go one step back: the version that the champion took the place of serves again.

    Who and why is kept with the version that leaves. The next rollback goes one step further. Exit codes: 0 done; 1
    there is nothing to go back to, and nothing was changed.

    \b
    Example:
      repo-pipeline models rollback --reason "answers in the wrong language"
    """
    from pipelines.models.screens import describe_rollback
    from repo.reporting.notes import rolled_back
    from repo.tracking.descriptions import head_run
    from repo.tracking.promotion import roll_back

    name = model_name(model)
    with _opened(store):
        wish = _wish(by, reason)
        change = roll_back(name, wish)
        left = rolled_back(name, change.previous, wish.by, wish.reason)
        _head_note(name, change.previous, lambda run_id: head_run(run_id, left))
        batches = _batches_of(name, change.previous)
    _print_change(change, as_json, describe_rollback(change, batches))


@models.command("copy")
@version_argument
@click.option("--to", "target", required=True, metavar="MODEL", help="Registered model to copy to; made if missing.")
@by_option
@reason_option
@store_option
@model_option
@json_option
def models_copy(
    version: str | None,
    target: str,
    by: str | None,
    reason: str,
    store: Path | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Copy a version to another registered model, as from staging to production; there it is the challenger.

    VERSION is a number or an alias, by default champion. Its bytes are verified against its digest and stay where they
    are. Copying again gives the same copy. Exit codes: 0 done; 1 refused, and nothing was changed.

    \b
    Examples:
      repo-pipeline models copy --to policy-production
      repo-pipeline models promote --model policy-production
    """
    from pipelines.models.screens import describe_copy
    from repo.tracking.copying import copy_version
    from repo.tracking.promotion import known_version
    from repo.tracking.registry import CHAMPION, list_models

    name, other = model_name(model), model_name(target, "--to")
    with _opened(store):
        info = known_version(name, list_models(name), version or CHAMPION)
        copy = copy_version(name, info, other, _wish(by, reason))
        [made] = [there for there in list_models(other) if there.version == copy]
    if as_json:
        print_json({"model": other, "version": copy, "copied_from": made.copied_from, "digest": made.digest})
    else:
        click.echo(describe_copy(other, made))


def _head_note(name: str, version: str, write: Callable[[str], None]) -> None:
    """Say what became of a version at the head of its run's description, where whoever decided may write that too."""
    from mlflow.exceptions import MlflowException

    from repo.tracking.registry import list_models

    run_id = next(info.run_id for info in list_models(name) if info.version == version)
    try:
        write(run_id)
    except MlflowException as error:
        click.echo(f"note: the description of its run stays as it was: {str(error).splitlines()[0]}", err=True)


def _batches_of(name: str, version: str) -> int:
    """Count the batches that a version took; what cannot be told does not make a failure of what is done already."""
    from repo.tracking.ledger import own_batches

    try:
        return len(own_batches(name, version))
    except UserError as error:
        click.echo(f"note: {error.problem}", err=True)
        return 0


def _wish(by: str | None, reason: str, approve: bool = False, force: bool = False) -> "Wish":
    from repo.tracking.decisions import checked, who
    from repo.tracking.promotion import Wish

    said = checked("--reason", reason) if reason else ""
    return Wish(checked("--by", by) if by is not None else who(), approve, said, force)


@contextmanager
def _opened(store: Path | None) -> Iterator[None]:
    from repo.tracking.store import choose_store

    chosen = choose_store(store)
    if not chosen.exists:
        raise UserError("no models yet", "`repo-pipeline demo` or `repo-pipeline run` makes one")
    with chosen.opened():
        yield


def _print_change(change: "Change", as_json: bool, words: str) -> None:
    if as_json:
        print_json(asdict(change))
    else:
        click.echo(words)
