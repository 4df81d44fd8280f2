"""Options of the commands that speak to Kubeflow."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelines.kubeflow.client import Client
    from pipelines.kubeflow.connection import Connection


@dataclass(frozen=True)
class Connect:
    """Makes a client of the Kubeflow that the options say; attributes as `connection` takes them."""

    host: str | None
    namespace: str | None
    token_file: Path | None
    ca: Path | None
    headers_file: Path | None
    timeout: int

    def connection(self) -> "Connection":
        """Return how Kubeflow is reached, without asking it.

        Raises:
            UserError: as `connection`.
        """
        from pipelines.kubeflow.connection import connection

        return connection(self.host, self.namespace, self.token_file, self.ca, self.headers_file, self.timeout)

    def __call__(self) -> "Client":
        """Return a client.

        Raises:
            UserError: as `connection` and Client.
        """
        chosen = self.connection()
        from pipelines.kubeflow.client import Client

        return Client(chosen)


in_cluster_option = click.option("--in-cluster", is_flag=True, help="Paths are those inside the steps' pods.")

_OPTIONS = (
    click.option("--host", default=None, metavar="URL", help="Kubeflow's address; default KF_PIPELINES_ENDPOINT."),
    click.option("--namespace", default=None, help="The user's, where there are several; default KFP_NAMESPACE."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        default=None,
        help="File with the bearer token; default KFP_EXISTING_TOKEN, or the pod's own.",
    ),
    click.option(
        "--ca", type=click.Path(path_type=Path), default=None, help="File with the certificates to trust, PEM."
    ),
    click.option(
        "--headers-file",
        type=click.Path(path_type=Path),
        default=None,
        help="File with more headers, such as an identity proxy's cookie; default REPO_KFP_HEADERS.",
    ),
    click.option(
        "--timeout",
        type=click.IntRange(min=1),
        default=30,
        show_default=True,
        metavar="SECONDS",
        help="For one request.",
    ),
)


def kubeflow_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where Kubeflow is and who asks; the command gets `connect`, which makes a client."""

    @functools.wraps(command)
    def with_connect(
        *arguments: Any,
        host: str | None,
        namespace: str | None,
        token_file: Path | None,
        ca: Path | None,
        headers_file: Path | None,
        timeout: int,
        **options: Any,
    ) -> None:
        connect = Connect(host, namespace, token_file, ca, headers_file, timeout)
        command(*arguments, connect=connect, **options)

    decorated: Callable[..., None] = with_connect
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
