"""The whole training pipeline and a night of retraining, every step in its container, against MLflow on PostgreSQL."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from docker_runs import Desk
from interruptions import write_votes
from mlflow.entities import Run
from tracking_server import MlflowServer

from components import environment
from pipelines import graphs
from repo.annotations.simulation import simulate
from repo.files import write_jsonl
from repo.settings import SimulationSettings

KEY = "a key for pseudonyms in a test"
KFPS_OWN = "/kfp-workspace"
"""An empty folder that kfp's runner adds, and removes."""
STRANGE = "of the machine and nobody else"


@dataclass
class Done:
    """A finished run.

    Attributes:
        desk: where it was given.
        output: what it printed.
        containers: what the engine says of its containers.
    """

    desk: Desk
    output: str
    containers: list[dict[str, Any]]


@pytest.fixture(scope="module")
def trained(server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The training pipeline in containers, on a file of annotations."""
    desk = Desk(tmp_path_factory.mktemp("desk"), server, "in-containers")
    write_votes(desk.folder / "votes.jsonl").chmod(0o644)
    given = ("run", "--runner", "docker", "--memory", "4g", "--data", "votes.jsonl")
    with desk.watched() as containers:
        code, said = desk.run(*given, "--set", "data.pseudonymise=true", REPO_PSEUDONYM_KEY=KEY, STRANGE=STRANGE)
    assert code == 0, said
    return Done(desk, said, containers)


@pytest.fixture(scope="module")
def local(trained: Done, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The same data and seed, steps as processes."""
    desk = Desk(tmp_path_factory.mktemp("local"), trained.desk.server, "as-processes")
    data = trained.desk.folder / "votes.jsonl"
    code, said = desk.run("run", "--data", data, "--set", "data.pseudonymise=true", REPO_PSEUDONYM_KEY=KEY)
    assert code == 0, said
    return desk


def test_every_step_is_a_container_that_may_do_nothing_but_its_work(trained: Done) -> None:
    assert len(trained.containers) == len(graphs.containers("training"))
    for container in trained.containers:
        host, config = container["HostConfig"], container["Config"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["Memory"] == 4 << 30
        assert config["User"].split(":")[0] not in ("", "0", "root")


def test_a_step_writes_into_the_folders_of_its_run_and_nowhere_else(trained: Done) -> None:
    own = trained.desk.folder / ".repo"
    for container in trained.containers:
        writable = {mount["Destination"] for mount in container["Mounts"] if mount["RW"]} - {"/tmp", KFPS_OWN}
        assert {Path(path).relative_to(own).parts[0] for path in writable} == {"pipeline", "checkpoints", "tmp", "hub"}
        shown = {mount["Destination"] for mount in container["Mounts"] if not mount["RW"]}
        assert shown == {str(trained.desk.folder / "votes.jsonl")}


def test_of_the_environment_only_what_was_named_is_handed_on(trained: Done) -> None:
    own = {"REPO_RUN_HOLDER", "REPO_CHECKPOINTS", "TMPDIR", "PYTHONIOENCODING", "HF_HOME"}
    for container in trained.containers:
        given = dict(entry.split("=", 1) for entry in container["Config"]["Env"])
        assert STRANGE not in given.values()
        assert {"MLFLOW_TRACKING_PASSWORD", "REPO_PSEUDONYM_KEY"} <= set(given)
        secrets = {name for name in given if "PASSWORD" in name or "KEY" in name or "TOKEN" in name}
        assert secrets <= set(environment.NAMES)
        assert own <= set(given)


def test_no_container_stays_behind(trained: Done) -> None:
    assert trained.desk.left() == []


def test_the_password_and_the_key_stand_nowhere(trained: Done) -> None:
    client = trained.desk.client()
    experiment = client.get_experiment_by_name(trained.desk.line)
    for word in (trained.desk.server.password, KEY):
        assert word not in trained.output
        files = [path for path in trained.desk.folder.rglob("*") if path.is_file()]
        assert not [path for path in files if word.encode() in path.read_bytes()]
        assert word not in json.dumps([run.to_dictionary() for run in client.search_runs([experiment.experiment_id])])
        assert word not in trained.desk.server.log()


def test_the_registry_read_from_outside_has_a_champion_with_reliabilities(trained: Done, tmp_path: Path) -> None:
    desk = trained.desk
    assert [number for number, tags in desk.versions().items() if "champion" in tags] == ["1"]
    assert desk.statuses() == {"FINISHED"}
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{desk.line}@champion", dst_path=str(tmp_path)))
    metadata = yaml.safe_load((folder / "MLmodel").read_text())["metadata"]
    annotators = json.loads(next(folder.rglob("reliability.json")).read_text())["annotators"]
    assert len(annotators) == 10
    assert all(0 < row["reliability"] < 1 for row in annotators)
    assert "reliab" in json.dumps(metadata)


def test_the_champion_generates(trained: Done) -> None:
    policy = mlflow.transformers.load_model(f"models:/{trained.desk.line}@champion")
    (answer,) = policy("Say something.", max_new_tokens=8, return_full_text=False)
    assert answer["generated_text"]


def test_figures_are_those_of_the_local_runner(trained: Done, local: Desk) -> None:
    """Both run the same wheels on the same processor; a thousandth of a per cent is for another order of sums."""
    inside, outside = (figures(desk) for desk in (trained.desk, local))
    assert set(inside) == set(outside)
    assert len(inside) > 20
    differing = {
        name: (inside[name], outside[name])
        for name in inside
        if not math.isclose(inside[name], outside[name], rel_tol=1e-5, abs_tol=1e-7)
    }
    assert not differing


def figures(desk: Desk) -> dict[str, float]:
    """Return every figure of the line's only run, and every annotator's reliability; none that is a time."""
    client = desk.client()
    experiment = client.get_experiment_by_name(desk.line)
    runs: list[Run] = client.search_runs([experiment.experiment_id])
    found = {
        f"{run.info.run_name if run.data.tags.get('mlflow.parentRunId') else 'parent'} {name}": value
        for run in runs
        for name, value in run.data.metrics.items()
        if not any(word in name for word in ("second", "per_s", "memory", "time", "system/"))
    }
    listed = mlflow.artifacts.load_text(f"models:/{desk.line}/1/reliability.json")
    return found | {f"η {row['annotator_id']}": row["reliability"] for row in json.loads(listed)["annotators"]}


def test_a_night_of_retraining_takes_the_new_batch_once(trained: Done) -> None:
    desk = trained.desk
    inbox = desk.folder / "inbox"
    inbox.mkdir()
    rows = simulate(SimulationSettings(comparisons=60, prompts=30, seed=5))
    write_jsonl(inbox / "monday.jsonl", rows)
    (inbox / "monday.jsonl").chmod(0o644)
    with desk.watched() as containers:
        given = ("retrain", "--runner", "docker", "--inbox", "inbox", "--set", "data.pseudonymise=true")
        code, said = desk.run(*given, "--set", "inbox.settle_seconds=0", REPO_PSEUDONYM_KEY=KEY)
    assert code == 0, said
    versions = desk.versions()
    assert sorted(versions) == ["1", "2"], said
    assert {mount["Destination"] for one in containers for mount in one["Mounts"] if not mount["RW"]} == {str(inbox)}
    code, again = desk.run(*given, "--set", "inbox.settle_seconds=0", REPO_PSEUDONYM_KEY=KEY)
    assert code == 0, again
    assert sorted(desk.versions()) == ["1", "2"], again
    assert desk.left() == []
