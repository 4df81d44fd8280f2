"""What MLflow refuses, in words."""

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED

from repo.errors import UserError
from repo.tracking.rights import missing_right, refusals_told


def refused(path: str, said: str = "Permission denied", code: int = PERMISSION_DENIED) -> MlflowException:
    """As MLflow's client words what a server answers."""
    text = f"API request to endpoint /api/2.0/mlflow/{path} failed with error code 403 != 200. Response body: '{said}'"
    return MlflowException(text, error_code=code)


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("registered-models/alias", "EDIT on the registered model"),
        ("model-versions/search", "READ on the registered model"),
        ("registered-models/delete", "MANAGE on the registered model"),
        ("runs/create", "EDIT on the experiment"),
        ("experiments/get-by-name", "READ on the experiment"),
    ],
)
def test_the_missing_right_is_named(path: str, right: str) -> None:
    told = missing_right(refused(path))
    assert told is not None
    assert f"the right {right} is missing" in told.problem


def test_a_server_under_another_name_is_no_matter_of_rights() -> None:
    told = missing_right(refused("runs/create", "Invalid Host header - possible DNS rebinding attack detected"))
    assert told is not None
    assert "the right" not in told.problem
    assert "--allowed-hosts" in told.remedy


def test_what_is_no_refusal_passes_through() -> None:
    with pytest.raises(MlflowException, match="alias"), refusals_told():
        raise refused("registered-models/alias", code=INTERNAL_ERROR)
    with pytest.raises(UserError), refusals_told():
        raise refused("registered-models/alias")
