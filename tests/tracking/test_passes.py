"""What a look tells before anything costs time: a registry that a pass cannot go on from."""

import pytest
from mlflow import MlflowClient

from repo.errors import UserError
from repo.settings import load_settings
from repo.tracking.passes import look_into

NAME = "repo-policy"


@pytest.fixture
def look(store, tmp_path):
    """Look into an inbox with one batch."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    settings = load_settings(None, ["inbox.settle_seconds=0"])
    return lambda: look_into(str(tmp_path / "inbox"), settings)


def version(**tags):
    client = MlflowClient()
    return client.create_model_version(NAME, "file:///somewhere", tags={"model_digest": "d" * 64, **tags}).version


@pytest.mark.parametrize("deleted", ["alias", "version"])
def test_a_line_whose_champion_was_deleted_by_hand_is_not_begun_anew(look, deleted):
    client = MlflowClient()
    client.create_registered_model(NAME)
    version(promoted_at="2026-01-01T00:00:00+00:00")
    second = version(promoted_at="2026-01-02T00:00:00+00:00")
    client.set_registered_model_alias(NAME, "champion", second)
    if deleted == "alias":
        client.delete_registered_model_alias(NAME, "champion")
    else:
        client.delete_model_version(NAME, second)
    with pytest.raises(UserError, match=r"has no champion, though version \d was promoted at 2026") as caught:
        look()
    assert "set the alias champion" in caught.value.remedy


def test_a_champion_of_another_project_is_told_as_such(look):
    client = MlflowClient()
    client.create_registered_model(NAME)
    client.set_registered_model_alias(NAME, "champion", version(model_digest=""))
    with pytest.raises(UserError, match="it was registered by hand") as caught:
        look()
    assert "registry.model" in caught.value.remedy


def test_another_project_s_model_without_a_champion_is_left_alone(look):
    MlflowClient().create_registered_model(NAME)
    version(model_digest="")
    with pytest.raises(UserError, match="or by another project") as caught:
        look()
    assert "registry.model" in caught.value.remedy


def test_a_line_on_which_nothing_was_ever_promoted_is_begun(look):
    MlflowClient().create_registered_model(NAME)
    version(verdict="reject")
    assert look().train
