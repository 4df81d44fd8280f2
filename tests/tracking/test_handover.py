import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repo.errors import UserError
from repo.files import tree_digest
from repo.tracking.handover import Pointer, content_digest, fetch, lies_here, read_pointer, write_pointer
from repo.tracking.runs import step_run


@pytest.fixture
def published(parent, tmp_path):
    directory = tmp_path / "result"
    (directory / "deep").mkdir(parents=True)
    (directory / "a.bin").write_bytes(bytes(range(256)))
    (directory / "deep/.hidden é.txt").write_text("text")
    with step_run(parent, "validate") as run:
        return run.publish(directory, "annotations")


def test_the_kubeflow_artifact_holds_just_the_address_and_the_digest(tmp_path):
    pointer = Pointer("runs:/abc/annotations", "0" * 64)
    write_pointer(pointer, tmp_path / "deep/artifact")
    assert json.loads((tmp_path / "deep/artifact").read_text()) == pointer.metadata
    assert read_pointer(str(tmp_path / "deep/artifact")) == pointer
    assert all(isinstance(value, str) for value in pointer.metadata.values())


def test_what_was_published_is_fetched_whole(published, tmp_path):
    copy = fetch(published, tmp_path / "new/place")
    assert copy.is_relative_to(tmp_path / "new/place")
    assert (copy / "a.bin").read_bytes() == bytes(range(256))
    assert (copy / "deep/.hidden é.txt").read_text() == "text"


def test_without_a_destination_local_content_is_read_where_it_lies(published, store):
    assert fetch(published).is_relative_to(store.artifacts)


def test_changed_content_is_refused_with_both_digests(published):
    path = fetch(published) / "a.bin"
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match="content has changed") as caught:
        fetch(published)
    for part in (published.mlflow_uri, published.digest, tree_digest(path.parent)):
        assert part in caught.value.problem
    assert "run the pipeline again" in caught.value.remedy


@pytest.mark.parametrize("name", ["lost", "annotations/lost"])
def test_missing_content_is_explained(published, name):
    gone = dataclasses.replace(published, mlflow_uri=f"{published.mlflow_uri.rsplit('/', 1)[0]}/{name}")
    with pytest.raises(UserError, match="cannot be downloaded from sqlite"):
        fetch(gone)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(files=st.dictionaries(st.text("abc", min_size=1, max_size=4), st.binary(max_size=9), min_size=1), data=st.data())
def test_a_models_digest_sees_every_file_but_mlflows_note(tmp_path_factory, files, data):
    directory = tmp_path_factory.mktemp("model")
    for name, content in {**files, "MLmodel": b""}.items():
        (directory / name).write_bytes(content)
    before = content_digest(directory)
    (directory / "registered_model_meta").write_text("model_name: x")
    assert content_digest(directory) == before
    changed = directory / data.draw(st.sampled_from(sorted(files)))
    changed.write_bytes(changed.read_bytes() + b"!")
    assert content_digest(directory) != before


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("/store/artifacts/1", True),
        ("file:///store/artifacts/1", True),
        ("mlflow-artifacts:/1/models/m-2", False),
        ("s3://bucket/1", False),
        ("dbfs:/1", False),
    ],
)
def test_only_what_lies_on_this_machine_is_read_where_it_lies(address, here):
    assert lies_here(address) is here
