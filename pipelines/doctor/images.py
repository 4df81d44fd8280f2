"""Container images by name, and whether their registry has them: the OCI distribution API, as a stranger asks it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from pipelines.doctor.finding import Outcome, failed, ok, warning
from pipelines.graphs import executors
from repo.errors import UserError

_HUB = "docker.io"
_HUB_API = "registry-1.docker.io"
_PATIENCE = 10
"""Seconds for one request."""
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
_PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:(?P<registry>localhost|[\w-]+(?:\.[\w-]+)+|[\w.-]+:\d+|\[[0-9a-fA-F:]+\](?::\d+)?)/)?"
    rf"(?P<path>{_PART}(?:/{_PART})*)(?::(?P<tag>\w[\w.-]*))?(?:@(?P<digest>\w+:[0-9a-f]{{32,}}))?"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_PIN = "a tag can move, and with it what a cached or repeated run means"
_COMPILE = "name it in `compile` as --images base=NAME or --images train=NAME"


@dataclass(frozen=True)
class Image:
    """A container image's name.

    Attributes:
        registry: host, with its port where it has one; '' where none is named.
        path: name inside the registry.
        tag, digest: which one; '' where not named.
    """

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def reference(self) -> str:
        """What the registry knows it by."""
        return self.digest or self.tag or "latest"

    @property
    def api(self) -> str:
        """Address of the registry's API; TLS everywhere but on this machine, as container runtimes have it."""
        host = _HUB_API if self.registry in ("", _HUB) else self.registry
        return f"{_scheme(host)}://{host}/v2/{self.path}"


def compiled() -> list[str]:
    """Return the images that the compiled pipelines name: these run."""
    return sorted({container["image"] for _, container in executors()})


def parse(name: str) -> Image:
    """Return the parts of an image's name.

    Raises:
        UserError: it is none.
    """
    found = _IMAGE.fullmatch(name)
    if found is None:
        raise UserError(f"{name}: no name of an image", f"give it as registry.example.org/team/name:tag; {_COMPILE}")
    return Image(*(found[part] or "" for part in ("registry", "path", "tag", "digest")))


def look(name: str) -> Outcome:
    """Ask an image's registry whether it is there."""
    image = parse(name)
    if not image.registry and "/" not in image.path:
        words = "names no registry; only nodes on which it was loaded have it"
        return warning(words, f"load it on every node, or push it to a registry; {_COMPILE}")
    try:
        answer = _ask(image)
    except requests.RequestException as error:
        words = f"its registry cannot be asked from here: {type(error).__name__}"
        return warning(words, "check that the cluster's nodes reach it")
    return _understood(name, image, answer)


def _understood(name: str, image: Image, answer: requests.Response) -> Outcome:
    status = answer.status_code
    if status == 404:
        return failed("is not in its registry", f"push it, or another: {_COMPILE}")
    if status in (401, 403):
        words = f"the registry does not tell strangers ({status})"
        return warning(words, "check that it is there, and that the steps' service account has the pull secret")
    if status != 200:
        return warning(f"the registry answers with HTTP {status}", "ask again later")
    if image.digest:
        return ok("is there")
    digest = answer.headers.get("Docker-Content-Digest", "")
    pinned = f"{name.removesuffix(f':{image.tag}')}@{digest}" if digest else "by its digest"
    return warning(f"is there; {_PIN}", f"to pin it, take {pinned}: {_COMPILE}")


def _ask(image: Image) -> requests.Response:
    """Ask for the manifest's head, and once more with the token that the registry gives to anybody."""
    address = f"{image.api}/manifests/{image.reference}"
    answer = _request("HEAD", address, {"Accept": _MANIFESTS})
    scheme, _, challenge = answer.headers.get("WWW-Authenticate", "").partition(" ")
    if answer.status_code != 401 or scheme.lower() != "bearer":
        return answer
    token = _token(dict(_CHALLENGE.findall(challenge)), image)
    if not token:
        return answer
    return _request("HEAD", address, {"Accept": _MANIFESTS, "Authorization": f"Bearer {token}"})


def _token(challenge: Mapping[str, str], image: Image) -> str:
    """Return the token that the registry gives to strangers, or ''."""
    realm = challenge.get("realm", "")
    if not realm.startswith(f"{_scheme(urlsplit(realm).netloc)}://"):
        return ""
    query = {"service": challenge.get("service", ""), "scope": f"repository:{image.path}:pull"}
    answer = _request("GET", realm, {}, query)
    if answer.status_code != 200:
        return ""
    try:
        told = answer.json()
    except ValueError:
        return ""
    return str(told.get("token") or told.get("access_token") or "") if isinstance(told, dict) else ""


def _request(
    method: str, address: str, headers: dict[str, str], query: dict[str, str] | None = None
) -> requests.Response:
    return requests.request(
        method, address, headers=headers, params=query, timeout=_PATIENCE, auth=_stranger, allow_redirects=True
    )


def _stranger(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep `requests` from sending what .netrc says of the host."""
    return request


def _scheme(host: str) -> str:
    name = host.rpartition(":")[0] if ":" in host else host
    return "http" if name == "localhost" or name.startswith("127.") else "https"
