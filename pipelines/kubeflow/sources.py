"""What a run on a cluster may be given: nothing that only this machine sees, and nothing secret."""

import os
import re

from repo.annotations.simulation import is_simulated
from repo.errors import UserError
from repo.settings import Settings, leaves
from repo.uris import public_name


def check_source(source: str, in_cluster: bool) -> None:
    """Check that the steps' pods can see a source, and that it may be shown.

    Raises:
        UserError: it is a path, and not said to be one inside the pods; or an address with a secret in it.
    """
    _check_public(source, "the source")
    if is_simulated(source) or in_cluster:
        return
    names = [name.strip() for name in re.split(r"[,\n]", source) if name.strip()]
    if not names:
        raise UserError("no source named", "give a URI such as s3://bucket/votes.jsonl")
    for name in names:
        if "://" not in name or name.startswith("file:"):
            problem = f"{name}: a path{' on this machine' if os.path.exists(name) else ''}; the steps run in pods"
            remedy = "give a URI such as s3://bucket/votes.jsonl; or, for a path inside the pods, add --in-cluster"
            raise UserError(problem, remedy)


def check_settings(settings: Settings, in_cluster: bool) -> None:
    """Check that settings name nothing that only this machine sees, and hold no secret.

    Raises:
        UserError: they do.
    """
    for path, value in leaves(settings):
        if isinstance(value, str):
            _check_public(value, path)
    named = {"policy.base": settings.policy.base, "reliability.prior_state": settings.reliability.prior_state}
    for path, value in named.items():
        if value and "://" not in value and os.path.exists(value) and not in_cluster:
            remedy = (
                "name it as the pods see it: models:/, a URI, the hub's id; or, for a path inside, add --in-cluster"
            )
            raise UserError(f"{path}: {value} is on this machine; the steps run in pods", remedy)


def _check_public(value: str, where: str) -> None:
    """Parameters of a run stand in Kubeflow's pages and database for everyone to read."""
    if public_name(value) != value:
        problem = f"{where}: {value} holds a user name, a password or a query, and Kubeflow shows a run's parameters"
        raise UserError(problem, "leave that out; the steps' own environment or service account opens what they read")
