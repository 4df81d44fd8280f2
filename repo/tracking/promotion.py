"""Which version serves: promotion, what an interrupted one left undone, decisions by people, and the way back.

MLflow cannot compare and set an alias. So everything here that moves one wants the model line to be held, by its lease
(`repo.tracking.lease.holding`), and orders its writes such that whatever is cut short is found and finished later.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, ErrorCode

from repo.errors import UserError
from repo.tracking.decisions import Decision, record
from repo.tracking.handover import Pointer
from repo.tracking.lease import SETTLE, holding
from repo.tracking.registry import (
    APPROVED,
    CHALLENGER,
    CHAMPION,
    DECLINED,
    PREVIOUS_CHAMPION,
    WAITING,
    ModelInfo,
    Tag,
    alias_of,
    check_line,
    list_models,
    version_called,
)
from repo.tracking.store import store_option

_FORCE = 'to promote it all the same, and on record: --force --reason "…"'


@dataclass(frozen=True)
class Change:
    """Which version serves after a decision, and which one it took the place of ("" for none)."""

    model: str
    champion: str
    previous: str


@dataclass(frozen=True)
class Wish:
    """What a person asks for.

    Args:
        by: who.
        approve: whether they approve of a version that waits for a person.
        reason: why; what is forced needs one.
        force: whether to promote also against the gate's verdict, what was declined, or was compared with another
            champion.
    """

    by: str
    approve: bool = False
    reason: str = ""
    force: bool = False

    @property
    def owner(self) -> str:
        """Who holds the line meanwhile: two wishes of one person are two."""
        return f"{self.by} (by hand, {uuid.uuid4().hex[:8]})"


def promote_version(model_name: str, version: str, expected_champion: str | None) -> None:
    """Make a version the champion, and its exam the model line's; the old champion becomes previous-champion.

    The line must be held. A promotion that was cut short is finished by the same call.

    Args:
        model_name: registered model.
        version: the version to promote; promoting the champion changes nothing.
        expected_champion: the champion that the version was compared with, or None.

    Raises:
        UserError: another version has become champion since then, or one of the two knows simulated annotations only.
    """
    client = MlflowClient()
    tags = client.get_model_version(model_name, version).tags
    if alias_of(client, model_name, CHAMPION) != version:
        check_line(model_name, tags.get(Tag.SIMULATED) == "true")
        tags = _switch_champion(client, model_name, version, tags, expected_champion)
    _settle(client, model_name, version, tags)


def promote_candidate(model_name: str, version: str, expected_champion: str | None, owner: str) -> str:
    """Promote what a pipeline trained, unless that is left to a person; return in words what was done.

    A version that was promoted and rolled back meanwhile stays so, however often a step is tried again.

    Args: as for promote_version; and `owner`, who holds the line meanwhile.

    Raises:
        UserError: see promote_version; or somebody else holds the line.
    """
    if known_version(model_name, list_models(model_name), version).approval == WAITING:
        return f"{model_name} version {version} waits for approval: {approval_command(model_name, version)}"
    # Whoever ran the pipeline once more would train once more.
    by_hand = f"the next run promotes it, or `{models_command(f'promote {version}', model_name)}`"
    with holding(model_name, owner, again=by_hand):
        info = known_version(model_name, list_models(model_name), version)
        if info.approval == DECLINED and CHAMPION not in info.aliases:
            return f"{model_name} version {version} was declined meanwhile"
        if info.promoted_at and CHAMPION not in info.aliases:
            return f"{model_name} version {version} was champion and was replaced meanwhile"
        promote_version(model_name, version, expected_champion)
    left = f", version {expected_champion} previous-champion" if expected_champion else ""
    return f"{model_name} version {version} is champion{left}"


def _switch_champion(
    client: MlflowClient, model_name: str, version: str, tags: Mapping[str, str], expected: str | None
) -> dict[str, str]:
    """Move the alias if the champion is the expected one; return the version's tags, with what it replaced, undated.

    Reading the champion comes last before the writes, so that as little time as possible passes in between.
    """
    current = alias_of(client, model_name, CHAMPION)
    if current != expected:
        raise UserError(
            f"{model_name}: version {version} was compared with {_named(expected)}, "
            f"but the champion is now {_named(current)}",
            "run the pipeline again, so that it is compared with the present champion",
        )
    # Undated, it waits; what it replaces is written first, so that the same call finds out later what was begun.
    if tags.get(Tag.PROMOTED_AT):
        client.set_model_version_tag(model_name, version, Tag.PROMOTED_AT, "")
    client.set_model_version_tag(model_name, version, Tag.PROMOTED_FROM, current or "")
    _freeze_exam(client, model_name, tags)
    # Interrupted before this, the old champion serves on with its own rollback target.
    client.set_registered_model_alias(model_name, CHAMPION, version)
    return {**tags, Tag.PROMOTED_AT: "", Tag.PROMOTED_FROM: current or ""}


def _settle(client: MlflowClient, model_name: str, version: str, tags: Mapping[str, str]) -> None:
    """Bring everything else in line with the champion; dated last, because an undated champion is one half made."""
    replaced = tags.get(Tag.PROMOTED_FROM, "")
    if replaced in {info.version for info in list_models(model_name)}:
        client.set_registered_model_alias(model_name, PREVIOUS_CHAMPION, replaced)
    elif alias_of(client, model_name, PREVIOUS_CHAMPION) == version:
        _take_away(client, model_name, PREVIOUS_CHAMPION)
    if alias_of(client, model_name, CHALLENGER) == version:
        _take_away(client, model_name, CHALLENGER)
    if Tag.PROMOTED_FROM in tags and not tags.get(Tag.PROMOTED_AT):
        client.set_model_version_tag(model_name, version, Tag.PROMOTED_AT, _now())


def _take_away(client: MlflowClient, model_name: str, alias: str) -> None:
    """Taking an alias away needs MANAGE, setting one only EDIT; without it the alias stays on the champion, where it
    means nothing, until the next candidate or promotion takes it over.
    """
    try:
        client.delete_registered_model_alias(model_name, alias)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(PERMISSION_DENIED):
            raise


def unfinished_promotion(model_name: str) -> ModelInfo | None:
    """Return what was left undone: a promotion or rollback cut short, or a version that passed and waits for no one."""
    infos = list_models(model_name)
    current = version_called(infos, CHAMPION)
    if current and _half_made(current, infos):
        return current
    return next((info for info in infos if _ready(info, current)), None)


def _half_made(current: ModelInfo, infos: Sequence[ModelInfo]) -> bool:
    """Whether the champion is not dated yet, or previous-champion is not what it took the place of."""
    if current.promoted_from is None:
        return False  # somebody moved the alias in MLflow
    previous = version_called(infos, PREVIOUS_CHAMPION)
    known = current.promoted_from in {info.version for info in infos}
    return not current.promoted_at or (known and (previous is None or previous.version != current.promoted_from))


def finish_promotion(model_name: str, owner: str, settle: float = SETTLE) -> str | None:
    """Finish what was left undone.

    Args:
        model_name: registered model.
        owner: who holds the line meanwhile, if anything is left undone.
        settle: see repo.tracking.lease.

    Returns:
        The version that is champion by this, or None where nothing was left undone.

    Raises:
        UserError: somebody else holds the line.
    """
    if unfinished_promotion(model_name) is None:
        return None
    with holding(model_name, owner, settle=settle):
        left = unfinished_promotion(model_name)
        if left is None:
            return None
        promote_version(model_name, left.version, left.compared_with or None)
        return left.version


def promote_by_hand(model_name: str, version: str | None, wish: Wish, settle: float = SETTLE) -> Change:
    """Promote a version because a person says so; by default the newest that passed the gate and waits, or the champion
    where its promotion was cut short.

    Args:
        model_name: registered model.
        version: its number.
        wish: who, and how much they take upon themselves; kept with the version.
        settle: see repo.tracking.lease.

    Raises:
        UserError: there is none, or it did not pass, waits for approval, or was compared with another champion than the
            present one; or somebody else holds the line.
    """
    with holding(model_name, wish.owner, settle=settle):
        infos = list_models(model_name)
        current = version_called(infos, CHAMPION)
        chosen = _chosen(model_name, infos, current, version, wish)
        if chosen is not current:
            _check_wish(model_name, chosen, current, wish)
            _promote_as_wished(model_name, chosen, current, wish)
        else:
            promote_version(model_name, chosen.version, None)
        promoted_from = MlflowClient().get_model_version(model_name, chosen.version).tags.get(Tag.PROMOTED_FROM, "")
        return Change(model_name, chosen.version, promoted_from)


def _chosen(
    model_name: str, infos: Sequence[ModelInfo], current: ModelInfo | None, version: str | None, wish: Wish
) -> ModelInfo:
    if version is not None:
        return known_version(model_name, infos, version)
    if current and _half_made(current, infos):
        return current
    waiting = [info for info in infos if _passed_and_waits(info, current)]
    found = next((info for info in waiting if wish.approve == (info.approval == WAITING)), None)
    if found is None:
        hint = (
            f"version {waiting[0].version} waits for approval: {approval_command(model_name, waiting[0].version)}"
            if waiting
            else _listed(model_name)
        )
        raise UserError(f"{model_name}: no version waits to be promoted", hint)
    return found


def _check_wish(model_name: str, chosen: ModelInfo, current: ModelInfo | None, wish: Wish) -> None:
    name = f"{model_name}: version {chosen.version}"
    if chosen.approval == WAITING and not wish.approve:
        raise UserError(f"{name} passed the gate and waits for approval", approval_command(model_name, chosen.version))
    if chosen.approval == DECLINED and not wish.force:
        raise UserError(
            f"{name} was declined",
            f"`{models_command(f'show {chosen.version}', model_name)}` says by whom and why; {_FORCE}",
        )
    if wish.approve and chosen.approval != WAITING:
        raise UserError(
            f"{name} does not wait for approval (verdict: {chosen.verdict or 'none'})", "leave --approve out"
        )
    if chosen.verdict != "promote" and not wish.force:
        raise UserError(
            f"{name} did not pass the gate (verdict: {chosen.verdict or 'none'})",
            f"`{models_command(f'show {chosen.version}', model_name)}` says why; {_FORCE}",
        )
    present = current.version if current else ""
    if (chosen.compared_with or "") != present and not wish.force:
        raise UserError(
            f"{name} was compared with {_named(chosen.compared_with)}, but the champion is now {_named(present)}",
            f"run the pipeline again, so that it is compared with the present champion; {_FORCE}",
        )


def _promote_as_wished(model_name: str, chosen: ModelInfo, current: ModelInfo | None, wish: Wish) -> None:
    before = current.version if current else ""
    check_line(model_name, chosen.simulated)
    if wish.approve:
        record(model_name, chosen.version, Decision("approved", wish.by, wish.reason, before))
        MlflowClient().set_model_version_tag(model_name, chosen.version, Tag.APPROVAL, APPROVED)
    record(model_name, chosen.version, Decision("forced" if wish.force else "promoted", wish.by, wish.reason, before))
    promote_version(model_name, chosen.version, before or None)


def decline(model_name: str, version: str, wish: Wish, settle: float = SETTLE) -> str:
    """Decline a version that waits for approval; from then on it counts as one that the gate rejected.

    Args:
        model_name: registered model.
        version: its number, or its alias.
        wish: who and why; kept with the version.
        settle: see repo.tracking.lease.

    Returns:
        The version's number.

    Raises:
        UserError: there is none, or it does not wait; or somebody else holds the line.
    """
    client = MlflowClient()
    with holding(model_name, wish.owner, settle=settle):
        infos = list_models(model_name)
        chosen = known_version(model_name, infos, version)
        if chosen.approval != WAITING:
            standing = f"approval: {chosen.approval}" if chosen.approval else f"verdict: {chosen.verdict or 'none'}"
            raise UserError(
                f"{model_name}: version {chosen.version} does not wait for approval ({standing})", _listed(model_name)
            )
        current = version_called(infos, CHAMPION)
        record(
            model_name, chosen.version, Decision("declined", wish.by, wish.reason, current.version if current else "")
        )
        if CHALLENGER in chosen.aliases:
            _take_away(client, model_name, CHALLENGER)
        # Last: cut short before this it waits on, and is declined once more. Kept, not taken away: for that one needs
        # MANAGE, and a register step that is tried again would ask for approval anew.
        client.set_model_version_tag(model_name, chosen.version, Tag.APPROVAL, DECLINED)
        return chosen.version


def roll_back(model_name: str, wish: Wish, settle: float = SETTLE) -> Change:
    """Go one step back: the version that the champion took the place of is champion again.

    Its own predecessor becomes previous-champion, so that the next rollback goes one step further.

    Args:
        model_name: registered model.
        wish: who and why; kept with the version that leaves.
        settle: see repo.tracking.lease.

    Raises:
        UserError: there is no champion or no previous one; or somebody else holds the line.
    """
    client = MlflowClient()
    with holding(model_name, wish.owner, settle=settle):
        infos = list_models(model_name)
        current, previous = (version_called(infos, alias) for alias in (CHAMPION, PREVIOUS_CHAMPION))
        if current is None or previous is None or previous is current:
            raise UserError(
                f"{model_name}: there is no previous champion to go back to",
                f'another version is promoted by `{models_command("promote N", model_name)} --force --reason "…"`',
            )
        tags = client.get_model_version(model_name, previous.version).tags
        record(model_name, current.version, Decision("rolled back", wish.by, wish.reason, current.version))
        _freeze_exam(client, model_name, tags)
        # Cut short after this, champion and previous-champion are one: the next run puts that right.
        client.set_registered_model_alias(model_name, CHAMPION, previous.version)
        _settle(client, model_name, previous.version, tags)
        return Change(model_name, previous.version, current.version)


def known_version(model_name: str, infos: Sequence[ModelInfo], version: str) -> ModelInfo:
    """Return a version by its number, or by its alias.

    Raises:
        UserError: there is none.
    """
    numbered = {info.version: info for info in infos}
    found = numbered.get(version) or version_called(infos, version)
    if found is None:
        raise UserError(f"{model_name} has no version {version}", _listed(model_name))
    return found


def approval_command(model_name: str, version: str) -> str:
    """Return the command that approves of a version."""
    return f"{models_command(f'promote {version}', model_name)} --approve --by NAME"


def models_command(words: str, model_name: str) -> str:
    """Return the beginning of a command on this model line, in the store that is in use."""
    return f"repo-pipeline models {words} --model {model_name}{store_option()}"


def _listed(model_name: str) -> str:
    return f"`{models_command('list', model_name)}` lists them"


def _ready(info: ModelInfo, current: ModelInfo | None) -> bool:
    """Whether a version passed against the present champion, was never promoted, and needs nobody's word for it.

    A copy waits for whoever copied it: no run on its line has made it.
    """
    return _passed_and_waits(info, current) and info.approval != WAITING and not info.copied_from


def _passed_and_waits(info: ModelInfo, current: ModelInfo | None) -> bool:
    present = current.version if current else ""
    newer = current is None or int(info.version) > int(current.version)
    open_still = info.verdict == "promote" and info.approval != DECLINED and not info.promoted_at
    return open_still and info.compared_with == present and newer


def _freeze_exam(client: MlflowClient, model_name: str, tags: Mapping[str, str]) -> None:
    """One tag, so that address and digest change together."""
    if tags.get(Tag.EXAM):
        pointer = Pointer(tags[Tag.EXAM], tags[Tag.EXAM_DIGEST])
        client.set_registered_model_tag(model_name, Tag.EXAM, json.dumps(pointer.metadata))


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no champion"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
