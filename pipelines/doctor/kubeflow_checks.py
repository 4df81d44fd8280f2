"""Kubeflow: reachable, who asks is let in, pipelines and the namespace's runs can be read; and what pods can see."""

import ipaddress
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.doctor.finding import Outcome, ok, warning
from repo.errors import UserError
from repo.settings import Settings
from repo.tracking.store import Server, Store

if TYPE_CHECKING:
    from pipelines.kubeflow.client import Client
    from pipelines.kubeflow.options import Connect


class Cluster:
    """The checks of one Kubeflow; the client that the first one makes serves the others.

    Args:
        connect: makes it.
    """

    def __init__(self, connect: "Connect") -> None:
        self._connect = connect
        self._made: Client | None = None

    @property
    def _client(self) -> "Client":
        if self._made is None:
            self._made = self._connect()
        return self._made

    def reach(self) -> Outcome:
        """Ask for its health, its version where it says one, and whether it has several users."""
        health = json.loads(self._client.healthzs.healthz_service_get_healthz(_preload_content=False).data)
        version = health.get("apiServerTagName") or health.get("tag_name") or "does not say its version"
        namespace = self._client.get_user_namespace()
        users = f"several users, namespace {namespace}" if health.get("multi_user") else "one user"
        return ok(f"{self._client.connection.host}: answers; API v2beta1, {version}, {users}")

    def pipelines(self) -> Outcome:
        """List one pipeline."""
        namespace = self._client.get_user_namespace() or None
        found = self._client.list_pipelines(page_size=1, namespace=namespace)
        return ok(f"can be listed ({_total(found)})")

    def runs(self) -> Outcome:
        """List one run of the namespace."""
        namespace = self._client.get_user_namespace() or None
        found = self._client.list_runs(page_size=1, namespace=namespace)
        return ok(f"can be listed ({_total(found)})")


def seen_by_pods(store: Store | Server, settings: Settings, sources: Sequence[str], in_cluster: bool) -> Outcome:
    """Look for what only this machine sees: MLflow, data, the base; and for secrets in what Kubeflow would show."""
    from pipelines.kubeflow.sources import check_settings, check_source

    found: list[UserError] = []
    for look in (
        lambda: check_tracking(store),
        lambda: check_settings(settings, in_cluster),
        *(lambda source=source: check_source(source, in_cluster) for source in sources),
    ):
        try:
            look()
        except UserError as error:
            found.append(error)
    if found:
        return warning("; ".join(e.problem for e in found), "; ".join(e.remedy for e in found))
    return ok("nothing named lies on this machine alone")


def check_tracking(store: Store | Server) -> None:
    """Check that pods may see MLflow where this machine does.

    Raises:
        UserError: it is a file, or this machine's loopback interface.
    """
    host = urlsplit(store.tracking_uri).hostname or "" if isinstance(store, Server) else ""
    if not host or _is_loopback(host):
        problem = f"MLflow: {store.name} is on this machine; the steps run in pods"
        raise UserError(problem, "export MLFLOW_TRACKING_URI as the address that the steps' pods are given")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _total(page: Any) -> str:
    return f"{page.total_size or 0:,} there"
