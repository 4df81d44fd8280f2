"""From one model line to another, as from staging to production."""

from mlflow import MlflowClient

from repo.errors import UserError
from repo.tracking.decisions import Decision
from repo.tracking.handover import verify
from repo.tracking.promotion import Wish
from repo.tracking.registry import (
    CHALLENGER,
    CHAMPION,
    ModelInfo,
    Tag,
    check_line,
    list_models,
    make_line,
    version_called,
)

_KEPT = (
    Tag.LOSS,
    Tag.ACCURACY,
    Tag.ANNOTATORS,
    Tag.MEAN_RELIABILITY,
    Tag.DATA_DIGEST,
    Tag.CONFIG_DIGEST,
    Tag.VERDICT,
    Tag.VERDICT_REASONS,
    Tag.RUN_ID,
    Tag.MODEL_DIGEST,
    Tag.EXAM,
    Tag.EXAM_DIGEST,
    Tag.SIMULATED,
    Tag.BATCHES,
)
"""What is true of the policy wherever it stands; promotions, approvals and comparisons are those of a line."""


def copy_version(model_name: str, info: ModelInfo, target: str, wish: Wish) -> str:
    """Copy a version to another line, where it is the challenger; the bytes stay where they are, and are verified.

    The copy counts as compared with the target's champion where that is itself a copy of the version that this one was
    compared with, or where there is no champion; else only `--force` promotes it there. The same version is copied
    once.

    Args:
        model_name: registered model that it is of.
        info: the version.
        target: registered model to copy it to; made where it is missing.
        wish: who and why; kept with the copy.

    Returns:
        The copy's version.

    Raises:
        UserError: its policy is gone or is not what was registered; the lines are the same, or one of simulated and one
            of real annotations.
    """
    if target == model_name:
        raise UserError(f"--to {target}: that is the line that version {info.version} is of", "name another")
    if not info.digest:
        problem = f"{model_name}: version {info.version} has no tag {Tag.MODEL_DIGEST}: it was registered by hand"
        raise UserError(problem, "copy a version that a run of ours registered")
    check_line(target, info.simulated, "--to")
    verify(info.pointer)
    there = list_models(target)
    origin = f"{model_name}/{info.version}"
    known = next((copy for copy in there if copy.copied_from == origin), None)
    return known.version if known else _register(model_name, info, target, there, origin, wish)


def _register(model_name: str, info: ModelInfo, target: str, there: list[ModelInfo], origin: str, wish: Wish) -> str:
    """MLflow's own copy_model_version takes every tag along and is told of it afterwards: cut short in between, the
    copy would claim promotions it never had. One call makes this one, and it outlives the version that it is of.
    """
    client = MlflowClient()
    given = client.get_model_version(model_name, info.version)
    make_line(target, f"Copies of versions of {model_name}.")
    current = version_called(there, CHAMPION)
    present = current.version if current else ""
    name, decision = Decision("copied", wish.by, wish.reason, present).tag()
    tags: dict[str, str] = {tag: given.tags[tag] for tag in _KEPT if tag in given.tags}
    tags |= {Tag.COPIED_FROM: origin, name: decision}
    if _compared(model_name, info, current):
        tags[Tag.COMPARED_WITH] = present
    model_id = given.source.removeprefix("models:/")  # a server accepts the source only beside it
    copy = client.create_model_version(
        target, given.source, given.run_id, tags=tags, description=given.description, model_id=model_id
    )
    client.set_registered_model_alias(target, CHALLENGER, str(copy.version))
    return str(copy.version)


def _compared(model_name: str, info: ModelInfo, current: ModelInfo | None) -> bool:
    if current is None:
        return True
    return bool(info.compared_with) and current.copied_from == f"{model_name}/{info.compared_with}"
