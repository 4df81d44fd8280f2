"""kfp's Docker runner for the compiled pipelines: every step a container that may do nothing but its work."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import graphs
from pipelines.containers import engine
from repo.errors import UserError
from repo.tracking.store import QUIET, Server, Store
from repo.uris import on_the_web

IMAGE_USER = "10001:0"
"""User and group of the images, for a command that root runs: no step does."""
_HOLDER = "REPO_RUN_HOLDER"


@dataclass(frozen=True)
class Containers:
    """How the steps' containers are run.

    Attributes:
        network: Docker's network that they are in; with host they reach a server on this machine's loopback interface.
        memory: how much memory each may have, as Docker writes it (4g, 800m); '' for no limit.
    """

    network: str = "host"
    memory: str = ""

    def check(self, graph: str, store: Store | Server) -> None:
        """Check, before anything is made, that a pipeline's steps can be run so.

        Raises:
            UserError: the store is not one that containers see, no engine answers, or an image is missing.
        """
        if not isinstance(store, Server) or not on_the_web(store.tracking_uri):
            problem = f"{store.name}: the steps' containers do not see it"
            remedy = "leave out --store, and name an MLflow server (http or https) in MLFLOW_TRACKING_URI"
            raise UserError(problem, remedy)
        if self.memory:
            _check_memory(self.memory)
        with engine.engine() as client:
            engine.check_images(client, [container["image"] for container in graphs.containers(graph).values()])

    @contextmanager
    def runner(self, graph: str, root: Path, scratch: Path, line: str, paths: Iterable[str]) -> Iterator[Any]:
        """Give kfp's runner for one run.

        Args:
            graph: the pipeline's name.
            root: folder of Kubeflow's own files, which steps write.
            scratch: the command's folder, with that of the checkpoints, of the temporary files and of the hub's cache.
            line: the model line.
            paths: what of this machine the steps read.
        """
        from kfp import local
        from kfp.local import docker_task_handler

        places = {
            "REPO_CHECKPOINTS": scratch / "checkpoints" / line,
            "TMPDIR": scratch / "tmp" / line / "steps",
            "HF_HOME": scratch / "hub",
        }
        for folder in (root, *places.values()):
            _make_writable(folder)
        kfps_own = docker_task_handler.run_docker_container
        docker_task_handler.run_docker_container = engine.run_container
        _mark(scratch, line).touch()
        try:
            yield local.DockerRunner(**self._arguments(graph, places, paths))
        finally:
            _mark(scratch, line).unlink()
            docker_task_handler.run_docker_container = kfps_own

    def _arguments(self, graph: str, places: Mapping[str, Path], paths: Iterable[str]) -> dict[str, Any]:
        """Return what Docker is told of every container: the variables' folders are written, the paths only read."""
        from docker.types import Mount

        mounts = [Mount(str(folder), str(folder), type="bind") for folder in places.values()]
        mounts += [Mount(path, path, type="bind", read_only=True) for path in paths]
        memory = {"mem_limit": self.memory, "memswap_limit": self.memory} if self.memory else {}
        return {
            "environment": _environment(graph) | {name: str(folder) for name, folder in places.items()},
            "mounts": mounts,
            "user": f"{os.getuid()}:{os.getgid()}" if os.getuid() else IMAGE_USER,
            "labels": {engine.LEFT_BY: os.environ[_HOLDER]},
            "network_mode": self.network,
            "read_only": True,
            "tmpfs": {"/tmp": ""},
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "init": True,
            **memory,
        }


def remove_left(scratch: Path, line: str, holder: str) -> None:
    """Remove the containers that a killed command left at work; the caller holds the line.

    Raises:
        UserError: there may be some, and no engine answers.
    """
    if _mark(scratch, line).exists():
        with engine.engine() as client:
            engine.remove_left(client, holder)
        _mark(scratch, line).unlink()


def _mark(scratch: Path, line: str) -> Path:
    """Return the file that is there while a line's steps may be at work in containers."""
    return scratch / "locks" / f"{line}.containers"


def _environment(graph: str) -> dict[str, str]:
    """Return the variables that the compiled pipeline names, as far as they are set, and the command's own."""
    names = (*graphs.variables(graph), *QUIET, _HOLDER, "PYTHONIOENCODING")
    return {name: os.environ[name] for name in names if name in os.environ}


def _make_writable(folder: Path) -> None:
    """Make a folder that the steps' user may write in; root's own folders are not that user's yet."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.getuid() == 0:
        user, group = map(int, IMAGE_USER.split(":"))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, group, follow_symlinks=False)


def _check_memory(given: str) -> None:
    from docker.errors import DockerException
    from docker.utils import parse_bytes

    try:
        enough = parse_bytes(given) >= 6 << 20
    except DockerException:
        enough = False
    if not enough:
        raise UserError(f"--memory {given}: not understood", "give a number with m or g, such as 4g; 6m at least")
