"""The model registry: versions of the policy, what is known of each, and which one is champion."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from repo.errors import UserError
from repo.reporting.notes import line_note
from repo.tracking.decisions import Decision, decisions_in
from repo.tracking.handover import Pointer

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous-champion"

WAITING = "waiting"
"""Of the tag `approval`: the version passed the gate and waits for a person."""
APPROVED = "approved"
DECLINED = "declined"


class Tag(StrEnum):
    """Tags of a model version; EXAM and LEASE are also, or only, tags of the registered model."""

    LOSS = "loss"
    ACCURACY = "accuracy"
    ANNOTATORS = "annotators"
    MEAN_RELIABILITY = "mean_reliability"
    DATA_DIGEST = "data_digest"
    CONFIG_DIGEST = "config_digest"
    VERDICT = "verdict"
    VERDICT_REASONS = "verdict_reasons"
    RUN_ID = "run_id"
    MODEL_DIGEST = "model_digest"
    PROMOTED_FROM = "promoted_from"
    PROMOTED_AT = "promoted_at"
    EXAM = "exam"
    EXAM_DIGEST = "exam_digest"
    SIMULATED = "simulated"
    COMPARED_WITH = "compared_with"
    BATCHES = "batches"
    LEASE = "lease"
    APPROVAL = "approval"
    COPIED_FROM = "copied_from"


@dataclass(frozen=True)
class ModelInfo:
    """One registered version; a fact that is not known is "" or None, and so is a number that is not finite.

    Args:
        version: the version's number, as MLflow's text.
        aliases: such as champion.
        loss: the loss it was trained with.
        accuracy: preference accuracy on the held-out comparisons.
        annotators: how many annotators judged the training data.
        mean_reliability: mean of their reliabilities.
        verdict: the gate's: "promote" or "reject".
        data_digest: digest of the annotations.
        config_digest: digest of all settings.
        created: time of registration, ISO 8601, UTC.
        source: the MLflow model, `models:/MODEL_ID`.
        digest: digest of the MLflow model.
        run_id: the run that it was trained in.
        exam: the evaluation set it was judged on, `runs:/RUN_ID/exam`.
        exam_digest: digest of that.
        simulated: whether it was trained on simulated annotations.
        compared_with: the champion it was compared with, "" where there was none; None where that is not known.
        promoted_at: when it became champion, ISO 8601, UTC, or "".
        promoted_from: the champion that it took the place of, "" where there was none; None where it took none's.
        approval: "waiting" for a person, "approved", "declined", or "" where none was asked for.
        copied_from: the version of another line that it is a copy of, NAME/VERSION, or "".
        decisions: what people decided about it, oldest first.
    """

    version: str
    aliases: list[str]
    loss: str
    accuracy: float | None
    annotators: int | None
    mean_reliability: float | None
    verdict: str
    data_digest: str
    config_digest: str
    created: str
    source: str
    digest: str
    run_id: str
    exam: str
    exam_digest: str
    simulated: bool
    compared_with: str | None
    promoted_at: str
    promoted_from: str | None
    approval: str
    copied_from: str
    decisions: list[Decision]

    @property
    def forced(self) -> bool:
        """Whether a person ever promoted it against the gate, who declined it, or a newer champion."""
        return any(decision.what == "forced" for decision in self.decisions)

    @property
    def pointer(self) -> Pointer:
        """What fetches this version's policy."""
        return Pointer(self.source, self.digest)


def version_tags(
    *,
    loss: str,
    accuracy: float,
    annotators: int,
    mean_reliability: float,
    data_digest: str,
    config_digest: str,
    verdict: str,
    reasons: Sequence[str],
    run_id: str,
    exam: Pointer,
    simulated: bool,
    compared_with: str,
    manual: bool = False,
) -> dict[str, str]:
    """Return the tags from which ModelInfo is read back; `reasons` are kept one a line.

    With `manual` a version that passed waits for a person from the moment it is registered.
    """
    approval: dict[str, str] = {Tag.APPROVAL: WAITING} if manual and verdict == "promote" else {}
    return {
        Tag.LOSS: loss,
        Tag.ACCURACY: str(accuracy),
        Tag.ANNOTATORS: str(annotators),
        Tag.MEAN_RELIABILITY: str(mean_reliability),
        Tag.DATA_DIGEST: data_digest,
        Tag.CONFIG_DIGEST: config_digest,
        Tag.VERDICT: verdict,
        Tag.VERDICT_REASONS: "\n".join(reasons),
        Tag.RUN_ID: run_id,
        Tag.EXAM: exam.mlflow_uri,
        Tag.EXAM_DIGEST: exam.digest,
        Tag.SIMULATED: str(simulated).lower(),
        Tag.COMPARED_WITH: compared_with,
        **approval,
    }


def register_version(pointer: Pointer, model_name: str, tags: Mapping[str, str]) -> str:
    """Register a logged policy as a version and make it the challenger.

    The same policy registers once: again, it gives the same version with its tags brought up to date; an approval that
    was asked for, and what was decided since, stands.

    Returns:
        The version.
    """
    client = MlflowClient()
    tags = {**tags, Tag.MODEL_DIGEST: pointer.digest}
    known = next((info for info in list_models(model_name) if info.source == pointer.mlflow_uri), None)
    if known is None:
        version = str(mlflow.register_model(pointer.mlflow_uri, model_name, tags=tags).version)
    else:
        version = known.version
        if known.approval:
            tags.pop(Tag.APPROVAL, None)
        for key, value in tags.items():
            client.set_model_version_tag(model_name, version, key, value)
    if known is None or (CHAMPION not in known.aliases and known.approval != DECLINED):
        client.set_registered_model_alias(model_name, CHALLENGER, version)
    return version


def line_exam(model_name: str) -> Pointer | None:
    """Return where the model line's frozen evaluation set lies, or None while no version was ever promoted."""
    model = registered_model(MlflowClient(), model_name)
    frozen = model.tags.get(Tag.EXAM) if model else None
    return Pointer(**json.loads(frozen)) if frozen else None


def check_line(model_name: str, simulated: bool, named_by: str = "registry.model") -> None:
    """Keep toys and products apart: a model line knows either simulated annotations or real ones.

    Args:
        model_name: registered model.
        simulated: what the annotations are that a policy was, or will be, trained on.
        named_by: where the user has named the line.

    Raises:
        UserError: the line's versions are of the other kind.
    """
    other = next((info for info in list_models(model_name) if info.simulated != simulated), None)
    if other is not None:
        known, given = ("real", "simulated") if simulated else ("simulated", "real")
        raise UserError(
            f"{named_by}: {model_name} holds models of {known} annotations (version {other.version}), and these "
            f"annotations are {given}",
            f"choose another name with {named_by}",
        )


def champion(model_name: str) -> ModelInfo | None:
    """Return the current champion, or None where there is none yet."""
    return version_called(list_models(model_name), CHAMPION)


def version_called(infos: Sequence[ModelInfo], alias: str) -> ModelInfo | None:
    """Return the version that has an alias, or None."""
    return next((info for info in infos if alias in info.aliases), None)


def list_models(model_name: str) -> list[ModelInfo]:
    """Return the registered versions, newest first; none where nothing was ever registered under the name."""
    client = MlflowClient()
    versions = client.search_model_versions(f"name = '{model_name}'", max_results=_PAGE)
    aliases = _aliases(client, model_name) if versions else {}
    infos = [_info(version, aliases) for version in versions]
    return sorted(infos, key=lambda info: int(info.version), reverse=True)


def model_names() -> list[str]:
    """Return the names of all registered models."""
    return sorted(model.name for model in MlflowClient().search_registered_models())


_PAGE = 10_000
"""The most versions MLflow lists at once."""


def _info(version: ModelVersion, aliases: Mapping[str, str]) -> ModelInfo:
    tags = version.tags
    annotators = _number(tags, Tag.ANNOTATORS)
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return ModelInfo(
        version=str(version.version),
        aliases=sorted(alias for alias, number in aliases.items() if number == str(version.version)),
        loss=tags.get(Tag.LOSS, ""),
        accuracy=_number(tags, Tag.ACCURACY),
        annotators=None if annotators is None else int(annotators),
        mean_reliability=_number(tags, Tag.MEAN_RELIABILITY),
        verdict=tags.get(Tag.VERDICT, ""),
        data_digest=tags.get(Tag.DATA_DIGEST, ""),
        config_digest=tags.get(Tag.CONFIG_DIGEST, ""),
        created=created.isoformat(timespec="seconds"),
        source=version.source,
        digest=tags.get(Tag.MODEL_DIGEST, ""),
        run_id=tags.get(Tag.RUN_ID, ""),
        exam=tags.get(Tag.EXAM, ""),
        exam_digest=tags.get(Tag.EXAM_DIGEST, ""),
        simulated=tags.get(Tag.SIMULATED) == "true",
        compared_with=tags.get(Tag.COMPARED_WITH),
        promoted_at=tags.get(Tag.PROMOTED_AT, ""),
        promoted_from=tags.get(Tag.PROMOTED_FROM),
        approval=tags.get(Tag.APPROVAL, ""),
        copied_from=tags.get(Tag.COPIED_FROM, ""),
        decisions=decisions_in(tags),
    )


def _number(tags: Mapping[str, str], tag: Tag) -> float | None:
    value = float(tags.get(tag, "nan"))
    return value if math.isfinite(value) else None


def registered_model(client: MlflowClient, model_name: str) -> RegisteredModel | None:
    """Return the registered model, or None where there is none of that name."""
    try:
        return client.get_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None


def make_line(model_name: str, origin: str) -> bool:
    """Make a registered model without versions; False where there is one of that name, made by whomever.

    Args:
        model_name: its name.
        origin: a sentence of its description: what it was made for.
    """
    try:
        MlflowClient().create_registered_model(model_name, description=line_note(model_name, origin))
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
        return False
    return True


def _aliases(client: MlflowClient, model_name: str) -> dict[str, str]:
    """Alias → version."""
    model = registered_model(client, model_name)
    return {alias: str(version) for alias, version in model.aliases.items()} if model else {}


def alias_of(client: MlflowClient, model_name: str, alias: str) -> str | None:
    """Return the number of the version that has an alias, or None."""
    return _aliases(client, model_name).get(alias)
