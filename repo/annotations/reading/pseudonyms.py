"""Worker ids are personal data: replace them by a keyed hash that only the holder of the key can reproduce."""

import hashlib
import hmac
import os
import re

import pandas as pd

from repo.errors import UserError
from repo.settings import Settings

KEY_VARIABLE = "REPO_PSEUDONYM_KEY"
_SHORTEST_KEY = 16
_PSEUDONYM = re.compile("annotator-[0-9a-f]{16}")


def pseudonym_key() -> bytes:
    """Return the key from the environment.

    Raises:
        UserError: it is missing or too short to keep ids from being guessed.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    if len(key) < _SHORTEST_KEY:
        problem = f"{KEY_VARIABLE} is {'too short' if key else 'not set'}, and data.pseudonymise is on"
        remedy = (
            f"set it to a secret of at least {_SHORTEST_KEY} characters and keep it (the same key gives the same "
            f'pseudonyms): export {KEY_VARIABLE}="$(openssl rand -hex 32)"'
        )
        raise UserError(problem, remedy)
    return key.encode("utf-8", "surrogateescape")


def pseudonymise(ids: pd.Series, key: bytes) -> pd.Series:
    """Replace each id (str) by 'annotator-' and the first 16 hex digits of its HMAC-SHA256; '' (missing) stays.

    Args:
        ids: annotator ids, n of them.
        key: the secret; the same key and id give the same pseudonym.
    """
    names = {name: _pseudonym(name, key) for name in ids.unique()}
    return ids.map(names)


def with_pseudonyms(settings: Settings) -> Settings:
    """Return the settings with the ids in reliability.pinned replaced as those of the annotations will be.

    Where data.pseudonymise is off nothing changes, and an id that is a pseudonym already stays: it may be asked again.

    Raises:
        UserError: there is something to replace, and no key.
    """
    pinned = settings.reliability.pinned
    if not settings.data.pseudonymise or all(map(_PSEUDONYM.fullmatch, pinned)):
        return settings
    key = pseudonym_key()
    named = {name if _PSEUDONYM.fullmatch(name) else _pseudonym(name, key): eta for name, eta in pinned.items()}
    reliability = settings.reliability.model_copy(update={"pinned": named})
    return settings.model_copy(update={"reliability": reliability})


def _pseudonym(name: str, key: bytes) -> str:
    if not name:
        return name
    return f"annotator-{hmac.new(key, name.encode('utf-8'), hashlib.sha256).hexdigest()[:16]}"
