"""The Docker engine: whether it answers, whether it has the images, and one container run to its end."""

import codecs
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from components.images import BY_KIND
from repo.console import say
from repo.errors import UserError

LEFT_BY = "repo-pipeline.holder"
"""Label of a container: whose run it belongs to."""
_START = "start it, or name another in DOCKER_HOST; without --runner docker steps run in this environment"


@contextmanager
def engine() -> Iterator[Any]:
    """Give a client of the engine that Docker's own variables name.

    Raises:
        UserError: none answers, or it is on another machine, where it would not see the data.
    """
    import docker
    from docker.errors import DockerException

    host = os.environ.get("DOCKER_HOST", "")
    if host and not host.startswith(("unix://", "npipe://")):
        problem = f"DOCKER_HOST={host}: an engine on another machine sees neither the data nor the store here"
        raise UserError(problem, "name one of this machine, such as unix:///var/run/docker.sock")
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise UserError(f"no Docker engine answers: {_reason(error)}", _START) from None
    try:
        yield client
    finally:
        client.close()


def check_images(client: Any, names: Iterable[str]) -> None:
    """Check that every image is on this machine; fetch those that are not.

    Raises:
        UserError: one is neither here nor to be had.
    """
    from docker.errors import DockerException, ImageNotFound

    for name in sorted(set(names)):
        try:
            client.images.get(name)
        except ImageNotFound:
            say(f"image {name} is not on this machine; pulling it")
            try:
                client.images.pull(name)
            except DockerException as error:
                problem = f"image {name}: not on this machine, and no registry gives it: {_reason(error)}"
                raise UserError(problem, _missing(name)) from None


def remove_left(client: Any, holder: str) -> None:
    """Remove the containers of a command that was killed; the caller holds what `holder` stands for."""
    from docker.errors import NotFound

    for container in client.containers.list(all=True, filters={"label": f"{LEFT_BY}={holder}"}):
        try:
            container.remove(force=True)
        except NotFound:
            continue


def run_container(client: Any, image: str, command: list[str], volumes: dict[str, Any], **arguments: Any) -> int:
    """Run one step's container to its end, print what it prints, and return its exit code.

    It stands in for kfp's function of the same purpose, which lets Docker remove the container at its end: where that
    comes first, the exit code is lost and a killed step counts as a success; and a stopped command leaves it running.
    """
    from docker.errors import DockerException
    from requests import RequestException

    try:
        container = client.containers.create(image, command, volumes=volumes, **arguments)
        try:
            container.start()
            _print(container.logs(stream=True, follow=True))
            code = int(container.wait()["StatusCode"])
            container.reload()
            if code and container.attrs["State"].get("OOMKilled"):
                _tell_killed(int(container.attrs["HostConfig"]["Memory"]))
            return code
        finally:
            container.remove(force=True)
    except (DockerException, RequestException) as error:
        print(f"error: the Docker engine did not run the step: {_reason(error)}\n  → {_START}")
        return 125


def _print(chunks: Iterable[bytes]) -> None:
    """Print bytes as they come; a character may be cut in two."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for chunk in chunks:
        print(decoder.decode(chunk), end="")
    print(decoder.decode(b"", final=True), end="")


def _tell_killed(limit: int) -> None:
    bound = f"the {limit >> 20} MiB of --memory" if limit else "what the machine has"
    remedy = "raise --memory, or take a smaller train.batch_size, policy.max_length or policy.base"
    print(f"error: the step's container was killed: it needed more memory than {bound}\n  → {remedy}")


def _missing(name: str) -> str:
    if name in BY_KIND.values():
        return "make images builds it; `compile --images` names another"
    return "check the name, and `docker login`; `compile --images` names another"


def _reason(error: Exception) -> str:
    """Return what went wrong, without the layers that the libraries put around it."""
    told = getattr(error, "explanation", None) or str(error)
    return str(told).splitlines()[0] if str(told) else type(error).__name__
