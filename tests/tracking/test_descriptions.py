"""Descriptions and kinds in a real store: ours come and are renewed, a person's stay."""

import pytest
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from repo.reporting.notes import line_note
from repo.tracking.descriptions import describe_line, describe_run, describe_version, head_run
from repo.tracking.registry import make_line, register_version
from repo.tracking.runs import KIND, TRAINING, ensure_experiment

NAME = "repo-policy"


def test_an_experiment_is_of_the_kind_for_trainings_unless_somebody_chose_another(store):
    client = MlflowClient()

    def kind(name: str) -> str | None:
        return client.get_experiment(ensure_experiment(client, name)).tags.get(KIND)

    client.create_experiment("of-no-kind")
    client.create_experiment("chosen", tags={KIND: "genai_development"})
    assert [kind(name) for name in ("new", "of-no-kind", "chosen")] == [TRAINING, TRAINING, "genai_development"]


def test_a_run_is_described_and_headed_until_a_person_writes_there(parent):
    client = MlflowClient()

    def described() -> str:
        return client.get_run(parent).data.tags[MLFLOW_RUN_NOTE]

    describe_run(parent, "first\n\nthe figures")
    head_run(parent, "second")
    assert described() == "second\n\nthe figures"
    client.set_tag(parent, MLFLOW_RUN_NOTE, "do not touch: Ann")
    head_run(parent, "third")
    describe_run(parent, "fourth")
    assert described() == "do not touch: Ann"


def test_a_version_is_described_anew_until_a_person_writes_there(pointer):
    client = MlflowClient()
    version = register_version(pointer(), NAME, {})
    for text in ("first", "second"):
        describe_version(NAME, version, text)
        assert client.get_model_version(NAME, version).description == text
    client.update_model_version(NAME, version, "do not touch: Ann")
    describe_version(NAME, version, "third")
    assert client.get_model_version(NAME, version).description == "do not touch: Ann"


@pytest.mark.parametrize("written", ["", "do not touch: Ann"])
def test_a_registered_model_is_described_where_it_has_no_description(store, written):
    MlflowClient().create_registered_model(NAME, description=written)
    describe_line(NAME, line_note(NAME))
    assert MlflowClient().get_registered_model(NAME).description == (written or line_note(NAME))


def test_a_line_made_beforehand_says_what_it_is_and_what_for(store):
    make_line(NAME, "Made for a test.")
    said = MlflowClient().get_registered_model(NAME).description
    assert "Made for a test." in said
    assert f"models:/{NAME}@champion" in said
