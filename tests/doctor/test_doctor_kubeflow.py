"""Kubeflow and the images of the steps, asked only where a host is named."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from doctor_servers import DIGEST, Registry
from kubeflow_server import Fault, Kubeflow, serving

from pipelines import graphs as compiled_graphs
from pipelines.compiling import COMPILED
from pipelines.doctor import images
from pipelines.doctor.finding import State
from pipelines.doctor.kubeflow_checks import check_tracking
from repo.errors import UserError
from repo.tracking.store import Server

Doctor = Callable[..., tuple[int, dict[str, dict[str, str]]]]


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    with serving(Kubeflow()) as server:
        os.environ["KF_PIPELINES_ENDPOINT"] = server.url
        yield server


@pytest.fixture
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts other images, and a GPU, into the compiled pipelines."""

    def write(image: str, accelerator: bool = False) -> None:
        for file in COMPILED.glob("*.yaml"):
            graph, platform = yaml.safe_load_all(file.read_text())
            for executor in graph["deploymentSpec"]["executors"].values():
                executor["container"]["image"] = image
                if accelerator:
                    executor["container"]["resources"] = {"accelerator": {"type": "nvidia.com/gpu", "count": "1"}}
            (tmp_path / file.name).write_text(yaml.safe_dump_all([graph, platform]))
        monkeypatch.setattr(compiled_graphs, "COMPILED", tmp_path)

    return write


def test_without_a_host_it_is_not_asked(doctor: Doctor, tmp_path: Path) -> None:
    code, found = doctor("--store", tmp_path)
    assert (code, found["Kubeflow"]["state"]) == (0, "skipped")
    assert not [name for name in found if name.startswith("image")]


def test_a_kubeflow_that_answers_is_well_and_nothing_is_changed(
    doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow
) -> None:
    kubeflow.multi_user = True
    code, found = doctor("--store", tmp_path, "--namespace", "team")
    assert code == 0
    assert "several users, namespace team" in found["Kubeflow"]["words"]
    assert {found[name]["state"] for name in ("Kubeflow", "Kubeflow pipelines", "Kubeflow runs")} == {"ok"}
    assert {method for method, _ in kubeflow.requests} == {"GET"}


def test_several_users_and_no_namespace_is_told(doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow) -> None:
    kubeflow.multi_user = True
    code, found = doctor("--store", tmp_path)
    assert code == 1
    assert "--namespace NAME" in found["Kubeflow"]["remedy"]
    assert found["Kubeflow runs"]["words"] == "needs: Kubeflow"


def test_who_is_not_let_in_learns_where_credentials_go(doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow) -> None:
    kubeflow.token = "right"
    code, found = doctor("--store", tmp_path)
    assert code == 1
    assert "--token-file" in found["Kubeflow"]["remedy"]


def test_a_namespace_that_may_not_be_read_is_told(doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow) -> None:
    kubeflow.faults = [Fault(path="/runs$", status=403, body=b"{}")]
    code, found = doctor("--store", tmp_path, "--namespace", "team")
    assert code == 1
    assert (found["Kubeflow pipelines"]["state"], found["Kubeflow runs"]["state"]) == ("ok", "failed")
    assert "kubeflow-edit" in found["Kubeflow runs"]["remedy"]


def test_an_address_that_is_none_is_a_finding(doctor: Doctor, tmp_path: Path) -> None:
    code, found = doctor("--store", tmp_path, "--host", "kubeflow")
    assert (code, found["Kubeflow"]["state"]) == (1, "failed")


def test_what_pods_cannot_see_is_a_warning_for_each(doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow) -> None:
    (tmp_path / "votes.jsonl").write_text("{}\n")
    _, found = doctor("--store", tmp_path / "store", "--data", tmp_path / "votes.jsonl")
    seen = found["seen by pods"]
    assert seen["state"] == "warning"
    assert "mlflow.db is on this machine" in seen["words"]
    assert "votes.jsonl: a path on this machine" in seen["words"]
    assert "MLFLOW_TRACKING_URI" in seen["remedy"]


def test_a_path_inside_the_pods_is_not_looked_for_here(doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow) -> None:
    code, found = doctor("--store", tmp_path / "store", "--data", "/mnt/votes/votes.jsonl", "--in-cluster")
    assert (code, found["data"]["state"]) == (0, "skipped")
    assert "votes.jsonl" not in found["seen by pods"]["words"]


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://localhost:5000", True),
        ("http://[::1]:5000", True),
        ("sqlite:///mlflow.db", True),
        ("file:///mlruns", True),
        ("https://mlflow.example.org", False),
        ("postgresql://ann:s3cr3t@database.example.org/mlflow", False),
    ],
)
def test_an_address_of_this_machine_alone_is_known(uri: str, local: bool) -> None:
    if not local:
        return check_tracking(Server(uri))
    with pytest.raises(UserError, match="on this machine"):
        check_tracking(Server(uri))
    return None


def test_images_without_a_registry_are_a_warning(doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow) -> None:
    _, found = doctor("--store", tmp_path)
    names = [name for name in found if name.startswith("image ")]
    assert len(names) == 2
    assert {found[name]["state"] for name in names} == {"warning"}


def test_an_image_that_is_missing_fails(
    doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow, registry: Registry, graphs: Callable[..., None]
) -> None:
    image = f"{registry.host}/team/python:1"
    graphs(image)
    code, found = doctor("--store", tmp_path)
    assert code == 1
    assert found[f"image {image}"]["state"] == "failed"
    assert "--images" in found[f"image {image}"]["remedy"]


@pytest.mark.parametrize("tokens", [(False, True), (True, True)])
def test_an_image_is_asked_for_with_the_token_that_anybody_gets(registry: Registry, tokens: tuple[bool, bool]) -> None:
    registry.tokens = tokens
    registry.images = {"team/python": ["1", DIGEST]}
    name = f"{registry.host}/team/python"
    assert images.look(f"{name}@{DIGEST}").state is State.OK
    tagged = images.look(f"{name}:1")
    assert tagged.state is State.WARNING
    assert f"{name}@{DIGEST}" in tagged.remedy
    assert images.look(f"{name}:2").state is State.FAILED
    assert images.look(name).state is State.FAILED, "no tag is latest"
    assert {method for method, path, _ in registry.asked if path != "/token"} == {"HEAD"}


def test_a_registry_that_does_not_tell_strangers_is_a_warning(registry: Registry) -> None:
    registry.tokens = (True, False)
    found = images.look(f"{registry.host}/team/python:1")
    assert found.state is State.WARNING
    assert "pull secret" in found.remedy


def test_a_password_in_netrc_does_not_go_to_a_registry(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password s3cr3t\n")
    (tmp_path / ".netrc").chmod(0o600)
    images.look(f"{registry.host}/team/python:1")
    assert [authorization for _, _, authorization in registry.asked] == [""]


def test_a_registry_that_does_not_answer_is_a_warning(registry: Registry) -> None:
    assert images.look("127.0.0.1:9/team/python:1").state is State.WARNING


@pytest.mark.parametrize(
    ("name", "api", "reference"),
    [
        ("ann/python:1", "https://registry-1.docker.io/v2/ann/python", "1"),
        ("docker.io/ann/python", "https://registry-1.docker.io/v2/ann/python", "latest"),
        ("ghcr.io/team/a/b:v1.2", "https://ghcr.io/v2/team/a/b", "v1.2"),
        ("registry.example.org:5000/a:1", "https://registry.example.org:5000/v2/a", "1"),
        ("localhost:5000/a:1", "http://localhost:5000/v2/a", "1"),
        ("localhost/a", "http://localhost/v2/a", "latest"),
        (f"ghcr.io/a:1@{DIGEST}", "https://ghcr.io/v2/a", DIGEST),
    ],
)
def test_an_images_name_says_where_it_lies(name: str, api: str, reference: str) -> None:
    image = images.parse(name)
    assert (image.api, image.reference) == (api, reference)


@pytest.mark.parametrize("name", ["", "ghcr.io/", "ghcr.io/UPPER", "a b", "https://ghcr.io/a:1", "a@sha256:12"])
def test_what_is_no_images_name_is_told(name: str) -> None:
    with pytest.raises(UserError, match="no name of an image"):
        images.parse(name)


def test_a_large_policy_wants_a_gpu_in_the_compiled_pipelines(
    doctor: Doctor, tmp_path: Path, kubeflow: Kubeflow, graphs: Callable[..., None]
) -> None:
    graphs("python:1")
    _, found = doctor("--store", tmp_path, "--set", "policy.base=models:/large@champion")
    assert found["GPU in pods"]["state"] == "warning"
    assert "evaluate, train" in found["GPU in pods"]["words"]
    graphs("python:1", accelerator=True)
    _, found = doctor("--store", tmp_path, "--set", "policy.base=models:/large@champion")
    assert found["GPU in pods"]["state"] == "ok"
