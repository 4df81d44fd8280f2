"""kfp's client with a time limit on each request, and what can go wrong with one as an error in words."""

import contextlib
import io
import json
import ssl
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import kfp
import kfp_server_api
import urllib3

from pipelines.kubeflow.connection import HEADERS, TOKEN, Connection
from repo.errors import UserError
from repo.uris import HIDDEN

_LONGEST = 300
"""Characters of the server's own message that are shown."""
_PAGE = 100
"""Rows asked for at a time."""
_CREDENTIALS = f"a fresh token in --token-file or {TOKEN}; an identity proxy's cookie in --headers-file or {HEADERS}"


class RequestError(UserError):
    """A request that Kubeflow did not answer as asked.

    Args:
        problem: what happened.
        remedy: what to do.
        status: the HTTP status; 0 where there was no answer.
    """

    def __init__(self, problem: str, remedy: str, status: int = 0) -> None:
        super().__init__(problem, remedy)
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in (0, 429, 502, 503, 504)

    @property
    def unclear(self) -> bool:
        """Whether the request may have been carried out all the same."""
        return self.status == 0 or self.status >= 500


class Client(kfp.Client):
    """kfp's client whose every request has a time limit and fails with a RequestError.

    Raises:
        RequestError: the server cannot be reached, or does not let the user in.
        UserError: Kubeflow has several users, and no namespace is named.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        with warnings.catch_warnings(action="ignore"):
            super().__init__(
                host=connection.host,
                namespace="",  # kfp looks for one in its own configuration, which may lack it; see get_user_namespace
                existing_token=connection.token() or None,
                ssl_ca_cert=connection.ca or None,
            )
        self._guard_requests(self.runs.run_service_get_run.__self__.api_client)
        if self.healthzs.healthz_service_get_healthz().multi_user and not connection.namespace:
            raise UserError(f"{connection.host}: has several users", "say whose pipelines are meant: --namespace NAME")

    def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
        """Answer kfp's constructor, which would ask five times, without a limit, and write a file."""
        return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

    def get_user_namespace(self) -> str:
        """Return the namespace that all of kfp's methods use."""
        return self.connection.namespace

    def _guard_requests(self, api: Any) -> None:
        # kfp's constructor keeps the namespace and headers of its own configuration; ours go on top.
        for name, value in self.connection.headers.items():
            api.set_default_header(name, value)
        if self.connection.token_file:
            api.configuration.refresh_api_key_hook = self._read_token
        _guard(api.rest_client, self.connection)

    def _read_token(self, configuration: Any) -> None:
        configuration.api_key["authorization"] = self.connection.token()
        configuration.api_key_prefix["authorization"] = "Bearer"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what kfp prints beside its answers."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def every(list_page: Callable[..., Any], rows: str, **query: Any) -> Iterator[Any]:
    """Yield the rows of all pages of one of kfp's lists."""
    token = ""
    while True:
        page = list_page(page_token=token, page_size=_PAGE, **query)
        yield from getattr(page, rows) or []
        token = page.next_page_token
        if not token:
            return


def equals(key: str, value: str) -> str:
    """Return a filter for kfp's lists."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def _guard(rest: Any, connection: Connection) -> None:
    """Limit each request's time, follow no redirect, and turn failures into errors in words.

    A redirect would take the extra headers to another host, and end at a login page.
    """
    rest.pool_manager.connection_pool_kw["retries"] = urllib3.Retry(total=False)
    ask = rest.request

    def guarded(method: str, url: str, **options: Any) -> Any:
        options["_request_timeout"] = connection.timeout
        try:
            answer = ask(method, url, **options)
        except kfp_server_api.ApiException as error:
            raise _refused(error, connection) from None
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(error, connection) from None
        try:
            json.loads(answer.data)
        except ValueError:
            raise _no_api(connection) from None
        return answer

    rest.request = guarded


def _unreachable(error: urllib3.exceptions.HTTPError, connection: Connection) -> RequestError:
    host = connection.host
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return RequestError(f"{host}: no such host", "check --host, and the name's spelling")
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return RequestError(f"{host}: nothing answers there", "check --host, and whether a port-forward has ended")
    if isinstance(error, urllib3.exceptions.TimeoutError):
        remedy = "try again, give it longer with --timeout, or check the way there: VPN, proxy, port-forward"
        return RequestError(f"{host}: no answer within {connection.timeout} s", remedy)
    return RequestError(f"{host}: the connection broke: {type(error).__name__}", "try again, and check --host")


def _refused(error: kfp_server_api.ApiException, connection: Connection) -> RequestError:
    host, status = connection.host, int(error.status or 0)
    if not status:
        return _untrusted(str(error.reason), connection)
    if 300 <= status < 400:
        return _no_api(connection, urlsplit(str((error.headers or {}).get("location", ""))).hostname or "", status)
    message = _message(error.body, connection)
    problem = f"{host}: {_PROBLEMS.get(status, 'the server failed' if status >= 500 else 'refused')} ({status})"
    remedy = _REMEDIES.get(status, _SERVER if status >= 500 else "check what the command was given")
    if status == 403 and connection.namespace:
        remedy += f"; the one asked is {connection.namespace}"
    return RequestError(f"{problem}{f': {message}' if message else ''}", remedy, status)


_PROBLEMS = {
    400: "the request was not accepted",
    401: "does not know who asks",
    403: "does not allow this",
    404: "there is no such thing",
    409: "there is one already",
    429: "too many requests",
}
_REMEDIES = {
    401: _CREDENTIALS,
    403: "ask for the role kubeflow-edit in the namespace, or name another --namespace",
    404: "check --host: on a whole Kubeflow it ends in /pipeline; the API lies under /apis/v2beta1",
    409: "run the same command again",
    429: "try again in a minute",
}
_SERVER = "try again; if it stays so, the log of the deployment ml-pipeline says why"


def _untrusted(reason: str, connection: Connection) -> RequestError:
    """Explain a TLS handshake that failed."""
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason:
        return RequestError(f"{connection.host}: does not speak TLS", "give --host with http://")
    if ssl.SSLCertVerificationError.__name__ in reason or "CERTIFICATE_VERIFY_FAILED" in reason:
        remedy = "give the certificate of who signed it: --ca FILE (PEM)"
        return RequestError(f"{connection.host}: its certificate is not trusted", remedy)
    return RequestError(f"{connection.host}: no TLS connection", "check --host and --ca (PEM)")


def _no_api(connection: Connection, leads_to: str = "", status: int = 200) -> RequestError:
    where = f"leads to {leads_to}" if leads_to else "answers with a page for people"
    problem = f"{connection.host}: {where} instead of the API: a login page, or not Kubeflow's address"
    return RequestError(problem, f"{_CREDENTIALS}; or check --host", status)


def _message(body: bytes | str | None, connection: Connection) -> str:
    """Return what the server says, on one line and without the user's secrets; nothing of a page for people."""
    try:
        told = json.loads(body or "")
    except ValueError:
        return ""
    text = " ".join(str(told.get("message") or told.get("error") or "").split()) if isinstance(told, dict) else ""
    for secret in connection.secrets():
        text = text.replace(secret, HIDDEN)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
