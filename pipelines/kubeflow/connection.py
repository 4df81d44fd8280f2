"""Where Kubeflow is and who asks: flags before the environment, by kfp's own names, before the pod's own account.

No secret is a value on the command line: there every user of the machine could read it.
"""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from repo.errors import UserError

HEADERS = "REPO_KFP_HEADERS"
"""More headers, one `Name: value` a line; kfp has no name for them."""
TOKEN = "KFP_EXISTING_TOKEN"
HOSTS = ("KF_PIPELINES_ENDPOINT", "KFP_ENDPOINT")
PAGES = "KF_PIPELINES_UI_ENDPOINT"
POD_TOKEN = "KF_PIPELINES_SA_TOKEN_PATH"

_POD_TOKEN_FILE = "/var/run/secrets/kubeflow/pipelines/token"
_POD_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_POD_PAGES = "/pipeline"
"""Inside the cluster nobody knows under what address people see it: a path on it, as kfp has it."""
_IN_CLUSTER = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
_HEADER = re.compile(r"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[\x20-\x7e\t]+)")


class UnnamedError(UserError):
    """Nothing says where a Kubeflow is: no flag, no environment, no pod around."""


@dataclass(frozen=True)
class Connection:
    """How Kubeflow's API is reached.

    Attributes:
        host: its address, without a slash at the end.
        pages: the address of its pages for people.
        namespace: the user's, where Kubeflow has several users; otherwise ''.
        token_file: file with the bearer token, read anew for each request: a pod's token is replaced every hour.
        ca: file with the certificates to trust instead of the public ones; '' for these.
        headers: sent with each request.
        timeout: seconds that one request may take.
    """

    host: str
    pages: str
    namespace: str = ""
    token_file: Path | None = None
    ca: str = ""
    timeout: int = 30
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def token(self) -> str:
        """Return the bearer token, or '' where there is none.

        Raises:
            UserError: the file cannot be read, is empty, or holds more than a token.
        """
        if self.token_file is None:
            return os.environ.get(TOKEN, "").strip()
        token = _read(self.token_file, "--token-file").strip()
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise UserError(f"{self.token_file}: holds no token", "it must hold the token and nothing else")
        return token

    def secrets(self) -> list[str]:
        """Return what must never be shown."""
        return [secret for secret in (self.token(), *self.headers.values()) if secret]

    def run_page(self, run_id: str) -> str:
        """Return the address of a run in the user interface."""
        return f"{self.pages}{f'/?ns={self.namespace}' if self.namespace else '/'}#/runs/details/{run_id}"


def connection(
    host: str | None = None,
    namespace: str | None = None,
    token_file: Path | None = None,
    ca: Path | None = None,
    headers_file: Path | None = None,
    timeout: int = 30,
) -> Connection:
    """Return the connection that flags, the environment and the pod's service account amount to.

    Raises:
        UnnamedError: no host is named.
        UserError: a file cannot be read or understood.
    """
    named = host or next((os.environ[name] for name in HOSTS if os.environ.get(name)), "")
    address = _address(named or _of_pod())
    if ca:
        _read(ca, "--ca")
    made = Connection(
        host=address,
        pages=os.environ.get(PAGES, "").rstrip("/") or (address if named else _POD_PAGES),
        namespace=namespace
        or os.environ.get("KFP_NAMESPACE", "")
        or _kfp_namespace()
        or ("" if named else _pod_namespace()),
        token_file=token_file or _pod_token(inside=not named),
        ca=str(ca or ""),
        timeout=timeout,
        headers=_headers(headers_file),
    )
    made.token()  # a mistake in the file is told before anything is asked
    return made


def _address(host: str) -> str:
    if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", host, re.IGNORECASE):
        remedy = "give it as https://kubeflow.example.org/pipeline; no user, password or query belongs into it"
        raise UserError(f"--host {host}: no address of an API", remedy)
    return host.rstrip("/")


def _of_pod() -> str:
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        remedy = f"--host https://kubeflow.example.org/pipeline, or export {HOSTS[0]}"
        raise UnnamedError("no Kubeflow named", remedy)
    return _IN_CLUSTER


def _kfp_namespace() -> str:
    """Return the namespace in kfp's own configuration; kfp takes its cookie and header from there itself."""
    file = Path("~/.config/kfp/context.json").expanduser()
    if not file.exists():
        return ""
    try:
        return str(json.loads(_read(file, "kfp's own configuration")).get("namespace") or "")
    except (ValueError, AttributeError):
        raise UserError(f"{file}: kfp's own configuration is no JSON object", "mend or remove it") from None


def _pod_namespace() -> str:
    return _POD_NAMESPACE_FILE.read_text().strip() if _POD_NAMESPACE_FILE.is_file() else ""


def _pod_token(inside: bool) -> Path | None:
    """Return where a pod's token is, as kfp knows it; a host outside never gets it unasked."""
    if os.environ.get(TOKEN):
        return None
    if named := os.environ.get(POD_TOKEN):
        return Path(named)
    return Path(_POD_TOKEN_FILE) if inside and Path(_POD_TOKEN_FILE).is_file() else None


def _headers(file: Path | None) -> dict[str, str]:
    where = str(file) if file else HEADERS
    text = _read(file, "--headers-file") if file else os.environ.get(HEADERS, "")
    headers = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _HEADER.fullmatch(line.strip())
        if found is None:
            raise UserError(f"{where}, line {number}: no header", "one a line, as in `Cookie: authservice_session=...`")
        headers[found["name"]] = found["value"]
    return headers


def _read(file: Path, option: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}", f"check {option}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not text", f"check {option}") from None
