"""Addresses as they may be shown and kept: without the passwords, keys and signatures that open them."""

import re
from urllib.parse import unquote

HIDDEN = "***"
"""Stands where something was left out."""

_END = r"\s'\"<>"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_USER = re.compile(
    rf"(?P<scheme>{_SCHEME})"
    # An unquoted password may hold a slash; digits alone behind the colon are a port.
    rf"(?P<secret>[^{_END}/?#]*|[^{_END}/?#:@,]*:(?!\d+(?:[/?#,{_END}]|$))[^{_END}@]*)@"
)
_AZURE = ("abfs://", "abfss://", "wasb://", "wasbs://")
_QUERY = re.compile(
    # A page's route (#/experiments/1) is no secret. Where it is no web address, a question mark without '=' is a
    # glob's, and a hash belongs to the name.
    # A comma ends it before a blank, the end or another URI only. What is asked of the hub (hf://) is no secret.
    rf"(?P<address>https?://[^{_END}?#,]*)(?P<mark>[?#])(?!/[^{_END}=,]*(?:[{_END},]|$))"
    rf"(?P<secret>(?:[^{_END},]|,(?![,{_END}]|$|{_SCHEME}))+)"
    rf"|(?P<other>(?<![A-Za-z0-9+.-])(?!hf://){_SCHEME}[^{_END}?#,]*)(?P<sign>[?#])(?P<pairs>[^{_END},]*=[^{_END},]*)",
    re.IGNORECASE,
)
_SHORTEST = 4
"""Shorter secrets are not looked for alone: they would be found inside ordinary words."""


def public_name(text: str) -> str:
    """Return a URI, several of them or any text that holds some, without user names, passwords, queries and fragments.

    `***` stands for what is left out. Local paths, and text without a URI, stay as they are.
    """
    if "://" not in text:
        return text
    return _QUERY.sub(_without_query, _USER.sub(_without_user, text))


def without_secrets(text: str, uri: str) -> str:
    """Return what a library says about a URI; the URI's secrets are hidden also where they stand alone."""
    text = public_name(text)
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def on_the_web(address: str) -> bool:
    """Tell whether an address is one of http or https."""
    return address.lower().startswith(("http://", "https://"))


def file_part(name: str) -> str:
    """Return a name up to its query or fragment, where it is a web address that has one: what names the file."""
    found = _QUERY.search(name)
    return name[: found.start("mark")] if found and found["address"] else name


def _without_user(found: "re.Match[str]") -> str:
    # Of Azure's addresses the part before the @ names a container, unless there is a password with it.
    kept = found["scheme"].lower() in _AZURE and ":" not in found["secret"]
    return found[0] if kept else f"{found['scheme']}{HIDDEN}@"


def _without_query(found: "re.Match[str]") -> str:
    return f"{found['address'] or found['other']}{found['mark'] or found['sign']}{HIDDEN}"


def _secrets(uri: str) -> set[str]:
    """Return user info, password, query and the query's values, each as it stands and unquoted."""
    users = [found["secret"] for found in _USER.finditer(uri)]
    passwords = [user.partition(":")[2] for user in users]
    queries = [found["secret"] or found["pairs"] for found in _QUERY.finditer(uri)]
    values = [pair.partition("=")[2] for query in queries for pair in query.split("&")]
    found = [*users, *passwords, *queries, *values]
    return {secret for text in found for secret in (text, unquote(text)) if len(secret) >= _SHORTEST}
