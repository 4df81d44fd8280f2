"""The pipelines as YAML that Kubeflow takes; the committed copies are what runs."""

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import environment, images
from repo.errors import UserError

COMPILED = Path(__file__).parent / "compiled"
"""The committed YAML, one file a pipeline."""

_VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PATH = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d+)?/)?{_PATH}(?:/{_PATH})*"
    r"(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?",
    re.ASCII,
)
"""A reference as registries take it: host and port, path, tag, digest."""


@dataclass(frozen=True)
class Placement:
    """Where the compiled steps run, and which of its secrets they are shown.

    Attributes:
        images: the image of either kind, base and train.
        secret: name of the Kubernetes Secret that holds the environment variables on a cluster.
        variables: names of the environment variables that every step is given where they are set.
    """

    images: Mapping[str, str] = field(default_factory=lambda: dict(images.BY_KIND))
    secret: str = environment.SECRET
    variables: tuple[str, ...] = environment.NAMES

    @classmethod
    def of(cls, images_given: Iterable[str], secret: str, added: Iterable[str]) -> "Placement":
        """Return the placement that the options of `compile` mean.

        Args:
            images_given: `base=NAME` or `train=NAME`, NAME with a tag or a digest.
            secret: name of the Secret.
            added: names of environment variables beside those of components/environment.py.

        Raises:
            UserError: one of them cannot be.
        """
        chosen = images.BY_KIND | dict(_image(given) for given in images_given)
        if not _SECRET.fullmatch(secret):
            remedy = "take small letters, digits, - and . as in repo-pipeline"
            raise UserError(f"--secret {secret}: no name of a Kubernetes Secret", remedy)
        return cls(chosen, secret, tuple(dict.fromkeys([*environment.NAMES, *map(_variable, added)])))


def compile_pipelines(directory: Path, placement: Placement | None = None) -> list[Path]:
    """Compile every pipeline into `directory` and return the files."""
    from kfp.compiler import pipeline_spec_builder

    from pipelines.retraining import retraining
    from pipelines.training import training

    directory.mkdir(parents=True, exist_ok=True)
    chosen = placement or Placement()
    files = []
    for graph in (training, retraining):
        file = directory / f"{graph.name.removeprefix('repo-')}.yaml"
        spec = _placed(graph.pipeline_spec, chosen.images)
        pipeline_spec_builder.write_pipeline_spec_to_file(spec, graph.description, _platform(spec, chosen), str(file))
        files.append(file)
    return files


def check_compiled(directory: Path, placement: Placement | None = None) -> None:
    """Check that the YAML in `directory` is what the code compiles to.

    Raises:
        UserError: a file is missing or stale.
    """
    with tempfile.TemporaryDirectory() as fresh:
        stale = [
            file.name
            for file in compile_pipelines(Path(fresh), placement)
            if not (directory / file.name).is_file() or (directory / file.name).read_bytes() != file.read_bytes()
        ]
    if stale:
        remedy = f"repo-pipeline compile --output {directory}, with the same --images, --secret and --env"
        raise UserError(f"{directory}: not up to date: {', '.join(stale)}", remedy)


def _placed(spec: Any, chosen: Mapping[str, str]) -> Any:
    """Return a copy of a pipeline's specification whose steps run in the chosen images."""
    placed = type(spec)()
    placed.CopyFrom(spec)
    named = {images.BY_KIND[kind]: name for kind, name in chosen.items()}
    for executor in placed.deployment_spec["executors"].values():
        container = executor["container"]
        container["image"] = named[container["image"]]
    return placed


def _platform(spec: Any, placement: Placement) -> Any:
    """Return what Kubernetes is told beside the specification: each step's variables come from the Secret."""
    from google.protobuf import json_format
    from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes
    from kfp.pipeline_spec import pipeline_spec_pb2

    keys = [
        kubernetes.SecretAsEnv.SecretKeyToEnvMap(secret_key=name, env_var=name) for name in sorted(placement.variables)
    ]
    name = {"runtimeValue": {"constant": placement.secret}}
    variables = kubernetes.SecretAsEnv(secret_name=placement.secret, key_to_env=keys, optional=True)
    json_format.ParseDict(name, variables.secret_name_parameter)
    config = json_format.MessageToDict(kubernetes.KubernetesExecutorConfig(secret_as_env=[variables]))
    executors = dict.fromkeys(spec.deployment_spec["executors"], config)
    return json_format.ParseDict(
        {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}, pipeline_spec_pb2.PlatformSpec()
    )


def _image(given: str) -> tuple[str, str]:
    kind, _, name = given.partition("=")
    if kind not in images.BY_KIND or not _IMAGE.fullmatch(name):
        remedy = "give it as base=NAME or train=NAME, NAME with a tag or, better, a digest"
        raise UserError(f"--images {given}: not understood", remedy)
    return kind, name


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        # A value given by mistake is not repeated: it would be a secret on the screen.
        raise UserError(
            f"--env {name.partition('=')[0]}: no name of an environment variable",
            "give the name alone: its value comes from the Secret, or from the environment of `run --runner docker`",
        )
    return name
