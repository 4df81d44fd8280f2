"""`repo-pipeline hooks`: how others hear of what happens to registered models."""

import shlex
from pathlib import Path
from urllib.parse import urlsplit

import click

from pipelines.options import model_name, model_option, store_option
from repo.errors import UserError
from repo.uris import on_the_web

_RECEIVER = "http://127.0.0.1:8080/mlflow"


@click.group()
def hooks() -> None:
    """Be told when a version waits for approval, and when the champion moves.

    \b
    Example:
      repo-pipeline hooks example
    """


@hooks.command("example")
@click.option("--url", default=_RECEIVER, show_default=True, help="Where the receiver is found by the MLflow server.")
@store_option
@model_option
def example(url: str, store: Path | None, model: str | None) -> None:
    """Print a Python script that subscribes a receiver to MLflow's webhooks; what has to stand first is said in it.

    Only a server tells of anything: a client on an embedded store, or on a database, does not. Nothing is changed by
    this command. Running the script again changes the subscription to that URL, it makes no second one.

    \b
    Examples:
      repo-pipeline hooks example
      repo-pipeline hooks example --url https://hooks.mycompany.com/mlflow --model my-policy > subscribe.py
    """
    from repo.tracking.store import choose_store

    chosen = choose_store(store)
    where = "" if on_the_web(chosen.tracking_uri) else _NO_SERVER.format(name=chosen.name)
    click.echo(where + _instructions(_checked(url), model_name(model)) + _SCRIPT.replace("<URL>", repr(url)), nl=False)


def _checked(url: str) -> str:
    """Everybody who may list webhooks reads the address."""
    try:
        parts = urlsplit(url)
        known = on_the_web(url) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or not url.isascii() or not url.isprintable() or " " in url:
        raise UserError("--url: not an address of the web", f"as in --url {_RECEIVER}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UserError(
            "--url: it holds more than host, port and path",
            "leave user, password and what follows ? or # out: a receiver knows MLflow by its signature",
        )
    return url


def _instructions(url: str, model: str) -> str:
    parts = urlsplit(url)
    port = parts.port if parts.scheme == "http" and parts.port else 8080
    return _BEFORE.format(model=shlex.quote(model), port=port, path=shlex.quote(parts.path or "/"))


_NO_SERVER = """\
# {name}
# is no server: a client that works on it fires nothing. Serve it first (`repo-pipeline ui` serves an embedded store,
# `mlflow server` anything), and name the server in MLFLOW_TRACKING_URI here and for every run.
#
"""

_BEFORE = """\
# Subscribes a receiver to what MLflow tells of registered models.
#
# 1. A secret, made once, the same for this script and for the receiver:
#      export REPO_WEBHOOK_SECRET="$(python -c 'import secrets; print(secrets.token_urlsafe(32))')"
# 2. The MLflow server keeps such secrets under a key of its own. Make it once: every replica needs the same, also after
#    a restart, or it can read none of its webhooks.
#      python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'
#      export MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY=...
#    It calls https and public addresses only. For a receiver in the cluster or on this machine both are lifted; then
#    keep from making webhooks whom you would not let into that network:
#      export MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true
# 3. The receiver (in a container with --host 0.0.0.0; https is for the proxy before it):
#      python infra/webhook/receiver.py --model {model} --port {port} --path {path}
# 4. This script, with MLFLOW_TRACKING_URI=http(s)://… of that server.
#
# What not to rely on:
# - At most once: what a restart of the server, or a receiver that is away for long, cuts short is lost. Who must not
#   miss a promotion polls `repo-pipeline models --model {model} --json` too.
# - Each worker of the server keeps its list of webhooks for 60 seconds (MLFLOW_WEBHOOK_CACHE_TTL): a new one may stay
#   silent for a minute.
# - Events may overtake each other: ask the registry which version is champion now.
# - It fires for every registered model; the receiver leaves others than {model} alone.

"""

_SCRIPT = """\
import os
import sys

from mlflow import MlflowClient

URL = <URL>
EVENTS = [
    "model_version_alias.created",  # the champion moves: nothing says "deleted" of the version that lost the alias
    "model_version.created",  # a version is registered, with `approval=waiting` among its tags
    "model_version_tag.set",  # or gets that tag later
]

server = os.environ.get("MLFLOW_TRACKING_URI", "")
secret = os.environ.get("REPO_WEBHOOK_SECRET", "")
if not server.startswith(("http://", "https://")):
    sys.exit("MLFLOW_TRACKING_URI names no server: a client on a file or a database fires nothing")
if not secret:
    sys.exit("REPO_WEBHOOK_SECRET is not set")

client = MlflowClient(tracking_uri=server, registry_uri=server)
hook = next((hook for hook in client.list_webhooks(max_results=1000) if hook.url == URL), None)
if hook is None:
    hook = client.create_webhook("repo-pipeline", URL, EVENTS, secret=secret)
else:
    hook = client.update_webhook(hook.webhook_id, events=EVENTS, secret=secret, status="ACTIVE")
print(f"webhook {hook.webhook_id} calls {URL}")

# MLflow tells of an example model; a receiver that knows the secret answers 200 and does nothing.
tried = client.test_webhook(hook.webhook_id)
if not tried.success:
    sys.exit(f"but a test failed: {tried.error_message or f'HTTP {tried.response_status} {tried.response_body}'}")
print(f"the receiver answers {tried.response_status}")
"""
