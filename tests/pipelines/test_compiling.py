"""Images, Secret and environment variables are chosen when the pipelines are compiled."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes

from components import environment, images
from pipelines import graphs
from pipelines.cli import main

Compile = Callable[..., Result]
DIGEST = "sha256:" + 64 * "a"
GRAPHS = ("training", "retraining")


@pytest.fixture
def compile_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compile:
    """Runs `compile` into a directory of the test's own, and reads the compiled pipelines from there."""
    monkeypatch.setattr(graphs, "COMPILED", tmp_path)
    return lambda *options: CliRunner().invoke(main, ["compile", "--output", str(tmp_path), *options])


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_step_runs_in_the_image_chosen_by_digest(compile_into: Compile, graph: str) -> None:
    chosen = {"base": f"registry.example.org/team/base@{DIGEST}", "train": "registry.example.org/team/train:2"}
    given = [word for kind, name in chosen.items() for word in ("--images", f"{kind}={name}")]
    usual = graphs_of(compile_into, graph)
    assert compile_into(*given).exit_code == 0
    named = {images.BY_KIND[kind]: name for kind, name in chosen.items()}
    found = {step: container["image"] for step, container in graphs.containers(graph).items()}
    assert found == {step: named[image] for step, image in usual.items()}
    assert set(found.values()) == set(chosen.values())


def graphs_of(compile_into: Compile, graph: str) -> dict[str, str]:
    """Return each step's image as it is compiled without options."""
    assert compile_into().exit_code == 0
    return {step: container["image"] for step, container in graphs.containers(graph).items()}


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_step_is_given_the_variables_by_name_from_the_secret(
    compile_into: Compile, tmp_path: Path, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in environment.NAMES:
        monkeypatch.setenv(name, "do-not-write-this-down")
    assert compile_into("--secret", "team-keys", "--env", "AZURE_CLIENT_SECRET").exit_code == 0
    spec, platform = yaml.safe_load_all((tmp_path / f"{graph}.yaml").read_text())
    steps = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(steps) == set(spec["deploymentSpec"]["executors"])
    for step in steps.values():
        # Kubeflow's own message says whether Kubeflow would understand it.
        config = json_format.ParseDict(step, kubernetes.KubernetesExecutorConfig())
        (secret,) = config.secret_as_env
        assert (secret.secret_name, secret.optional) == ("team-keys", True)
        assert {key.env_var for key in secret.key_to_env} == {*environment.NAMES, "AZURE_CLIENT_SECRET"}
        assert all(key.secret_key == key.env_var for key in secret.key_to_env)
    assert graphs.variables(graph) == tuple(sorted([*environment.NAMES, "AZURE_CLIENT_SECRET"]))
    assert "do-not-write-this-down" not in (tmp_path / f"{graph}.yaml").read_text()


def test_what_was_compiled_with_options_is_checked_with_the_same_ones(compile_into: Compile) -> None:
    options = ("--images", "train=mine:3", "--env", "MINE")
    assert compile_into(*options).exit_code == 0
    assert compile_into(*options, "--check").exit_code == 0
    assert "with the same --images" in compile_into("--check").output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--images", "gpu=x:1"), "--images gpu=x:1: not understood"),
        (("--images", "base="), "--images base=: not understood"),
        (("--images", "base"), "--images base: not understood"),
        (("--images", "base=Team Python"), "--images base=Team Python: not understood"),
        (("--images", "base=x:1\n"), "not understood"),
        (("--images", f"base=x@{DIGEST[:-1]}"), "not understood"),
        (("--secret", "Team_Keys"), "--secret Team_Keys: no name of a Kubernetes Secret"),
        (("--env", "MLFLOW-TOKEN"), "--env MLFLOW-TOKEN: no name of an environment variable"),
        (("--env", ""), "--env : no name of an environment variable"),
    ],
)
def test_an_option_that_cannot_be_is_told_and_nothing_is_written(
    compile_into: Compile, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    done = compile_into(*options)
    assert done.exit_code == 1
    assert words in done.output
    assert not list(tmp_path.iterdir())


def test_a_value_given_for_a_name_is_not_repeated(compile_into: Compile) -> None:
    done = compile_into("--env", "TOKEN=very-secret")
    assert done.exit_code == 1
    assert "very-secret" not in done.output
