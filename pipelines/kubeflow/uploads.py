"""A compiled pipeline in Kubeflow: one pipeline a graph, one version a content."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import kfp_server_api

from pipelines.compiling import COMPILED
from pipelines.kubeflow.client import Client, RequestError, equals, every

Graph = Literal["training", "retraining"]
SOURCE: dict[Graph, str] = {"training": "data", "retraining": "inbox"}
"""Pipeline → its parameter that says where annotations come from."""


@dataclass(frozen=True)
class Version:
    """A version of a pipeline in Kubeflow.

    Attributes:
        pipeline: name of the pipeline.
        name: the first digits of its YAML's digest.
        pipeline_id: Kubeflow's id of the pipeline.
        version_id: Kubeflow's id of the version.
        new: whether it was uploaded just now.
    """

    pipeline: str
    name: str
    pipeline_id: str
    version_id: str
    new: bool


def digest(graph: Graph) -> str:
    """Return the name of the version that the committed YAML of a graph is."""
    return hashlib.sha256((COMPILED / f"{graph}.yaml").read_bytes()).hexdigest()[:12]


def upload(client: Client, graph: Graph) -> Version:
    """Return the version that the committed YAML of a graph is; upload it where it is not there yet.

    Raises:
        RequestError: Kubeflow does not take it.
    """
    pipeline = f"repo-{graph}"
    pipeline_id = _find_pipeline(client, pipeline) or _create_pipeline(client, pipeline)
    name = digest(graph)
    found = _find_version(client, pipeline_id, name)
    version_id = found or _create_version(client, pipeline_id, graph, name)
    return Version(pipeline, name, pipeline_id, version_id, new=not found)


def _find_pipeline(client: Client, name: str) -> str:
    namespace = client.get_user_namespace() or None
    filtered = equals("display_name", name)
    found = every(client.list_pipelines, "pipelines", namespace=namespace, filter=filtered)
    return next((pipeline.pipeline_id for pipeline in found), "")


def _create_pipeline(client: Client, name: str) -> str:
    """Create it without a version: kfp's own upload would name the first version like the pipeline."""
    wanted = kfp_server_api.V2beta1Pipeline(display_name=name, name=name, namespace=client.get_user_namespace() or None)
    try:
        return str(client.pipelines.pipeline_service_create_pipeline(wanted).pipeline_id)
    except RequestError as error:
        return _made_meanwhile(error, _find_pipeline(client, name) if error.status == 409 else "")


def _find_version(client: Client, pipeline_id: str, name: str) -> str:
    filtered = equals("display_name", name)
    found = every(client.list_pipeline_versions, "pipeline_versions", pipeline_id=pipeline_id, filter=filtered)
    return next((version.pipeline_version_id for version in found), "")


def _create_version(client: Client, pipeline_id: str, graph: Graph, name: str) -> str:
    file = str(COMPILED / f"{graph}.yaml")
    try:
        made = client.pipeline_uploads.upload_pipeline_version(file, name=name, pipelineid=pipeline_id)
    except RequestError as error:
        return _made_meanwhile(error, _find_version(client, pipeline_id, name) if error.status == 409 else "")
    return str(made.pipeline_version_id)


def _made_meanwhile(error: RequestError, found: str) -> str:
    """Return what another command has made since we looked; otherwise the refusal stands."""
    if not found:
        raise error
    return found
