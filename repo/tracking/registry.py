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
from repo.tracking.handover import Pointer

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS_CHAMPION = "previous-champion"


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
) -> dict[str, str]:
    """Return the tags from which ModelInfo is read back; `reasons` are kept one a line."""
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
    }


def register_version(pointer: Pointer, model_name: str, tags: Mapping[str, str]) -> str:
    """Register a logged policy as a version and make it the challenger.

    The same policy registers once: again, it gives the same version with its tags brought up to date.

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
        for key, value in tags.items():
            client.set_model_version_tag(model_name, version, key, value)
    if known is None or CHAMPION not in known.aliases:
        client.set_registered_model_alias(model_name, CHALLENGER, version)
    return version


def promote_version(model_name: str, version: str, expected_champion: str | None) -> None:
    """Make a version the champion, and its exam the model line's; the old champion becomes previous-champion.

    MLflow cannot compare and set an alias, so two must not promote on one line at the same time: a retraining pass
    holds the line's lease. A promotion that was cut short is finished by the same call.

    Args:
        model_name: registered model.
        version: the version to promote; promoting the champion changes nothing.
        expected_champion: the champion that the version was compared with, or None.

    Raises:
        UserError: another version has become champion since then, or one of the two knows simulated annotations only.
    """
    client = MlflowClient()
    tags = client.get_model_version(model_name, version).tags
    if _aliased(client, model_name, CHAMPION) != version:
        check_line(model_name, tags.get(Tag.SIMULATED) == "true")
        tags = _switch_champion(client, model_name, version, tags, expected_champion)
    if Tag.PROMOTED_FROM in tags and Tag.PROMOTED_AT not in tags:
        client.set_model_version_tag(model_name, version, Tag.PROMOTED_AT, _now())
    if tags.get(Tag.PROMOTED_FROM):
        client.set_registered_model_alias(model_name, PREVIOUS_CHAMPION, tags[Tag.PROMOTED_FROM])
    if _aliased(client, model_name, CHALLENGER) == version:
        client.delete_registered_model_alias(model_name, CHALLENGER)


def _switch_champion(
    client: MlflowClient, model_name: str, version: str, tags: Mapping[str, str], expected: str | None
) -> dict[str, str]:
    """Move the alias if the champion is the expected one; return the version's tags, with what it replaced, undated.

    Reading the champion comes last before the writes, so that as little time as possible passes in between.
    """
    current = _aliased(client, model_name, CHAMPION)
    if current != expected:
        raise UserError(
            f"{model_name}: version {version} was compared with {_named(expected)}, "
            f"but the champion is now {_named(current)}",
            "run the pipeline again, so that it is compared with the present champion",
        )
    client.set_model_version_tag(model_name, version, Tag.PROMOTED_FROM, current or "")
    _freeze_exam(client, model_name, tags)
    # Interrupted before this, the old champion serves on with its own rollback target, and the version still waits:
    # it is not dated. After it, the same call finds by the tag what the rollback target is.
    client.set_registered_model_alias(model_name, CHAMPION, version)
    undated = {key: value for key, value in tags.items() if key != Tag.PROMOTED_AT}
    return {**undated, Tag.PROMOTED_FROM: current or ""}


def unfinished_promotion(model_name: str) -> ModelInfo | None:
    """Return what an interrupted run left undone: a promotion cut short, or a version that passed and waits for it."""
    infos = list_models(model_name)
    current = _champion_of(infos)
    # The last thing that a promotion takes away is the alias challenger.
    if current and current.verdict == "promote" and CHALLENGER in current.aliases:
        return current
    return next((info for info in infos if _waits(info, current)), None)


def finish_promotion(model_name: str) -> str | None:
    """Finish what an interrupted run left undone.

    Returns:
        The version that is champion by this, or None where nothing was left undone.
    """
    left = unfinished_promotion(model_name)
    if left is None:
        return None
    promote_version(model_name, left.version, left.compared_with or None)
    return left.version


def promote_by_hand(model_name: str, version: str | None) -> str:
    """Promote a version that passed the gate, by default the newest that waits for it; return the version.

    Raises:
        UserError: there is none, or it did not pass, or it was compared with another champion than the present one.
    """
    infos = list_models(model_name)
    current = _champion_of(infos)
    if version is None:
        chosen = next((info for info in infos if _waits(info, current)), None)
        if chosen is None:
            raise UserError(f"{model_name}: no version waits to be promoted", "`repo-pipeline models` lists them")
    else:
        chosen = next((info for info in infos if info.version == version), None)
        if chosen is None:
            raise UserError(f"{model_name} has no version {version}", "`repo-pipeline models` lists them")
    if chosen.verdict != "promote":
        raise UserError(
            f"{model_name}: version {chosen.version} did not pass the gate (verdict: {chosen.verdict or 'none'})",
            "train anew with other settings of gate.*, or move the alias in MLflow if you know better",
        )
    promote_version(model_name, chosen.version, chosen.compared_with or None)
    return chosen.version


def _champion_of(infos: Sequence[ModelInfo]) -> ModelInfo | None:
    return next((info for info in infos if CHAMPION in info.aliases), None)


def _waits(info: ModelInfo, current: ModelInfo | None) -> bool:
    """Whether a version passed against the present champion and was never promoted."""
    present = current.version if current else ""
    newer = current is None or int(info.version) > int(current.version)
    return info.verdict == "promote" and not info.promoted_at and info.compared_with == present and newer


def line_exam(model_name: str) -> Pointer | None:
    """Return where the model line's frozen evaluation set lies, or None while no version was ever promoted."""
    model = registered_model(MlflowClient(), model_name)
    frozen = model.tags.get(Tag.EXAM) if model else None
    return Pointer(**json.loads(frozen)) if frozen else None


def check_line(model_name: str, simulated: bool) -> None:
    """Keep toys and products apart: a model line knows either simulated annotations or real ones.

    Raises:
        UserError: the line's versions are of the other kind.
    """
    other = next((info for info in list_models(model_name) if info.simulated != simulated), None)
    if other is not None:
        known, given = ("real", "simulated") if simulated else ("simulated", "real")
        raise UserError(
            f"registry.model: {model_name} holds models of {known} annotations (version {other.version}), and these "
            f"annotations are {given}",
            "choose another name with registry.model",
        )


def _freeze_exam(client: MlflowClient, model_name: str, tags: Mapping[str, str]) -> None:
    """One tag, so that address and digest change together."""
    if tags.get(Tag.EXAM):
        pointer = Pointer(tags[Tag.EXAM], tags[Tag.EXAM_DIGEST])
        client.set_registered_model_tag(model_name, Tag.EXAM, json.dumps(pointer.metadata))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def champion(model_name: str) -> ModelInfo | None:
    """Return the current champion, or None where there is none yet."""
    return _champion_of(list_models(model_name))


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


def make_line(model_name: str, description: str) -> bool:
    """Make a registered model without versions; False where there is one of that name, made by whomever."""
    try:
        MlflowClient().create_registered_model(model_name, description=description)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
        return False
    return True


def _aliases(client: MlflowClient, model_name: str) -> dict[str, str]:
    """Alias → version."""
    model = registered_model(client, model_name)
    return {alias: str(version) for alias, version in model.aliases.items()} if model else {}


def _aliased(client: MlflowClient, model_name: str, alias: str) -> str | None:
    return _aliases(client, model_name).get(alias)


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no champion"
