"""One pass of retraining: what lies in the inbox, whether it is worth a training, what is known of it afterwards."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd

from repo.errors import UserError
from repo.files import read_json, text_digest, write_json
from repo.inbox.look import Batch, State, look, new_batches
from repo.settings import Settings
from repo.tracking.handover import Pointer, fetch
from repo.tracking.ledger import consumed, own_batches
from repo.tracking.policies import check_champion, check_continues, earlier_of
from repo.tracking.promotion import approval_command, finish_promotion
from repo.tracking.registry import DECLINED, WAITING, ModelInfo, champion, list_models
from repo.tracking.runs import take_lease
from repo.tracking.step_run import StepRun

if TYPE_CHECKING:
    from repo.policy.earlier import Earlier

BATCHES = "batches.json"
PASS = "pass.json"
"""Beside the split: what a retraining goes on from. Not there in a training on its own."""

_RETAINED = "retained.parquet"

LINE = "repo.line"
"""Tag of a pass's parent run: the model line it worked on."""
JUDGED = "repo.judged"
"""Tag of a pass's parent run: where it says what it thought of each batch."""


@dataclass(frozen=True)
class Look:
    """What a pass found.

    Attributes:
        champion: the version to go on from, or "".
        batches: all of them, by name.
        train: whether there is something to train on.
        words: why, or why not.
    """

    champion: str
    batches: list[Batch]
    train: bool
    words: str

    def save(self, directory: Path) -> None:
        """Write batches.json, without addresses: they may hold secrets."""
        rows = [_row(batch) for batch in self.batches]
        write_json(directory / BATCHES, {"champion": self.champion, "words": self.words, "batches": rows})


def look_into(inbox: str, settings: Settings) -> Look:
    """Look for what is worth a pass. Cheap: only bytes are read.

    Raises:
        UserError: the inbox cannot be listed, a file in it not be read, or what the champion has consumed not be told;
            or there was a champion once and is none now, or it cannot be compared with.
    """
    name = settings.registry.model
    current = champion(name)
    batches = batches_in(inbox, settings)
    check_champion(name)
    new = new_batches(batches)
    version = current.version if current else ""
    if not new:
        return Look(version, batches, False, "nothing new")
    before = _tried(name, batches, version, settings)
    if before:
        return Look(version, batches, False, f"nothing new: {_trained_on('batches', name, before)}")
    if current:
        check_continues(current, settings)
    return Look(version, batches, True, f"{_count(new)} to train on")


def _check_can_begin(model_name: str) -> None:
    """Tell a line that is new from one whose champion was taken away, on which every vote would count anew, and from
    another project's.
    """
    foreign = next((info for info in list_models(model_name) if not info.digest), None)
    if foreign:
        raise UserError(
            f"{model_name}: version {foreign.version} of this registered model has no tag model_digest: it was "
            "registered by hand, or by another project",
            "start a line of your own with registry.model",
        )
    promoted = next((info for info in list_models(model_name) if info.promoted_at), None)
    if promoted:
        raise UserError(
            f"{model_name} has no champion, though version {promoted.version} was promoted at {promoted.promoted_at}: "
            f"the alias champion, or the version that had it, was deleted by hand",
            f"set the alias champion in MLflow on the version to go on from (what it has consumed stays consumed), for "
            f"example {promoted.version}; or start a new line of models with registry.model",
        )


def look_holding_the_line(parent_run_id: str, inbox: str, settings: Settings, say: Callable[[str], None]) -> Look:
    """Take the model line's lease, finish what an interrupted pass left undone, and look.

    Where another pass is at work there is nothing to do: its batches are its own, and others will be new next time.

    Raises:
        UserError: see look_into.
    """
    name = settings.registry.model
    claim = take_lease(parent_run_id, name)
    if not claim.held:
        current = champion(name)
        return Look(current.version if current else "", [], False, f"another pass is at work: {claim.words}")
    if claim.words:
        say(claim.words)
    finished = finish_promotion(name, parent_run_id)
    if finished:
        say(f"{name} version {finished} had passed; its promotion is finished now")
    return look_into(inbox, settings)


def batches_in(inbox: str, settings: Settings) -> list[Batch]:
    """Return the batches in an inbox with all that is known of them: from the champion, and from the last pass.

    Raises:
        UserError: see look_into.
    """
    name = settings.registry.model
    current = champion(name)
    if current is None:
        _check_can_begin(name)
    return _as_judged(look(inbox, settings.inbox, consumed(name)), settings, current.version if current else "")


def rules_digest(settings: Settings) -> str:
    """Return a digest of what decides whether a batch is good."""
    return text_digest(
        settings.data.model_dump_json(), settings.validation.model_dump_json(), version_of("repo-pipeline")
    )


def save_judged(batches: Iterable[Batch], champion: str, settings: Settings, directory: Path) -> None:
    """Write what a pass thinks of the batches, for the next one: see `remember`."""
    rows = [_row(batch) for batch in batches]
    write_json(directory / BATCHES, {"champion": champion, "rules": rules_digest(settings), "batches": rows})


def remember(parent_run_id: str, model_name: str, judged: Pointer) -> None:
    """Let the next pass know what this one thinks of the batches, so that it need not read the bad ones again."""
    StepRun(parent_run_id).set_tags({LINE: model_name, JUDGED: json.dumps(judged.metadata)})


def batches_of(directory: Path) -> tuple[str, list[Batch]]:
    """Return the champion and the batches that `Look.save` or `save_judged` wrote; the addresses are missing."""
    content = read_json(directory / BATCHES)
    rows = content["batches"]
    batches = [Batch(row["name"], "", row["digest"], State(row["state"]), row["note"]) for row in rows]
    return content["champion"], batches


@dataclass(frozen=True)
class Pass:
    """What a retraining goes on from, kept beside its split.

    Attributes:
        champion: the version, or "" where there is none yet.
        ledger: where it says which batches the candidate will have seen.
        retained: annotations to train on once more.
    """

    champion: str
    ledger: Pointer
    retained: pd.DataFrame

    def save(self, directory: Path) -> None:
        """Write pass.json and retained.parquet."""
        write_json(directory / PASS, {"champion": self.champion, "ledger": self.ledger.metadata})
        self.retained.to_parquet(directory / _RETAINED, index=False)

    def earlier(self, settings: Settings) -> "Earlier | None":
        """Fetch the champion; None where there is none yet.

        Raises:
            UserError: it is another one by now, or is gone, or the settings do not fit it.
        """
        current = still_champion(settings.registry.model, self.champion)
        return earlier_of(current, self.retained, settings) if current else None


def still_champion(model_name: str, expected: str) -> ModelInfo | None:
    """Return the champion that a pass goes on from.

    Args:
        model_name: registered model.
        expected: the version that was champion when the pass began, or "".

    Raises:
        UserError: it is another one by now.
    """
    current = champion(model_name)
    found = current.version if current else ""
    if found != expected:
        before, now = (f"version {version}" if version else "no champion" for version in (expected, found))
        raise UserError(
            f"{model_name}: this pass began with {before}, and the champion is now {now}: somebody promoted meanwhile",
            "run it again; its batches are still new to the present champion, or were consumed by it",
        )
    return current


def read_pass(directory: Path) -> Pass | None:
    """Return what `Pass.save` wrote beside a split; None in a training on its own."""
    if not (directory / PASS).exists():
        return None
    content = read_json(directory / PASS)
    return Pass(content["champion"], Pointer(**content["ledger"]), pd.read_parquet(directory / _RETAINED))


def _row(batch: Batch) -> dict[str, str]:
    row = asdict(batch)
    del row["address"]
    return {**row, "state": str(batch.state)}


def _as_judged(batches: Sequence[Batch], settings: Settings, current: str) -> list[Batch]:
    """Return the batches, those that an earlier pass kept out with what it said of them."""
    known = _judged_before(settings, current) if new_batches(batches) else {}
    return [
        replace(batch, state=known[batch.digest].state, note=known[batch.digest].note)
        if batch.state is State.NEW and batch.digest in known
        else batch
        for batch in batches
    ]


def _judged_before(settings: Settings, current: str) -> dict[str, Batch]:
    """Return digest → batch as the newest pass judged it, as far as that still holds."""
    runs = mlflow.search_runs(
        search_all_experiments=True,
        filter_string=f"tags.`{LINE}` = '{settings.registry.model}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    if not runs:
        return {}
    try:
        directory = fetch(Pointer(**json.loads(runs[0].data.tags[JUDGED])))
    except UserError:
        return {}  # then they are judged again
    content = read_json(directory / BATCHES)
    champion_then, batches = batches_of(directory)
    if content["rules"] != rules_digest(settings):
        return {}
    # What is new depends on who is champion; what cannot be read does not.
    holds = {State.QUARANTINED} | ({State.NOTHING_NEW} if champion_then == current else set())
    return {batch.digest: batch for batch in batches if batch.state in holds and batch.digest}


def tried_votes(model_name: str, data_digest: str, current: str, settings: Settings) -> str:
    """Return in words which version was made of just these votes, whatever batches brought them, if it came to nothing.

    Args:
        model_name: registered model.
        data_digest: of the new annotations.
        current: the champion to go on from, or "".
        settings: all of them.
    """
    failed = _came_to_nothing(model_name, current, settings)
    # A version that took no batches was trained otherwise: not on from the champion.
    made = (info for info in failed if info.data_digest == data_digest and own_batches(model_name, info.version))
    before = next(made, None)
    return _trained_on("votes", model_name, before) if before else ""


def _tried(model_name: str, batches: Iterable[Batch], current: str, settings: Settings) -> ModelInfo | None:
    """Return the newest version that came to nothing, if it was made of the batches that are new: a training would only
    make it again. Batches that bring nothing to this champion count on neither side.
    """
    newest = next(_came_to_nothing(model_name, current, settings), None)
    if newest is None:
        return None
    barren = {batch.digest for batch in batches if batch.state is State.NOTHING_NEW}
    new = {batch.digest for batch in new_batches(batches)}
    return newest if own_batches(model_name, newest.version) - barren == new else None


def _came_to_nothing(model_name: str, current: str, settings: Settings) -> Iterator[ModelInfo]:
    """The versions made from this champion with these settings that do not serve, newest first."""
    same = text_digest(settings.model_dump_json())
    for info in list_models(model_name):
        if info.compared_with == current and info.config_digest == same and _ended(model_name, info):
            yield info


def _trained_on(what: str, model_name: str, before: ModelInfo) -> str:
    ended = _ended(model_name, before)
    return f"version {before.version} was trained on the same {what} with the same settings and {ended}"


def _ended(model_name: str, info: ModelInfo) -> str:
    """Return why a version does not serve, "" where nothing was decided."""
    if info.approval == WAITING:
        return f"waits for approval: {approval_command(model_name, info.version)}"
    if info.decisions and info.decisions[-1].what == "rolled back":
        return "rolled back"
    if info.approval == DECLINED:
        return "declined"
    return "rejected" if info.verdict == "reject" else ""


def _count(batches: Sequence[Batch]) -> str:
    return f"{len(batches):,} new batch{'' if len(batches) == 1 else 'es'}"
