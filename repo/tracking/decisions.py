"""What people decided about a version: kept with it for good, one tag a decision, so that none overwrites another."""

import getpass
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Literal

from mlflow import MlflowClient

from repo.errors import UserError
from repo.reporting.text import encodable

_PREFIX = "decision."
_LONGEST = 2000

Verb = Literal["promoted", "forced", "approved", "declined", "rolled back", "copied", "unreadable"]


@dataclass(frozen=True)
class Decision:
    """One decision.

    Args:
        what: promoted, forced (promoted though the gate, a person who declined or a newer champion spoke against it),
            approved, declined, rolled back (taken out of service), copied (from another line).
        by: who.
        reason: why, or "".
        champion: the version that was champion before, or "".
        at: when, ISO 8601, UTC.
    """

    what: Verb
    by: str
    reason: str
    champion: str
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))

    @property
    def words(self) -> str:
        """The decision in one line."""
        return f"{self.what} by {self.by} at {self.at[:19]}Z" + (f": {self.reason}" if self.reason else "")

    def tag(self) -> tuple[str, str]:
        """The tag that keeps it: its name sorts by time and is never used twice."""
        moment = datetime.fromisoformat(self.at).strftime("%Y%m%dT%H%M%S.%fZ")
        return f"{_PREFIX}{moment}-{uuid.uuid4().hex[:8]}", json.dumps(asdict(self), ensure_ascii=False)


def record(model_name: str, version: str, decision: Decision) -> None:
    """Keep a decision with the version that it is about."""
    MlflowClient().set_model_version_tag(model_name, version, *decision.tag())


def decisions_in(tags: Mapping[str, str]) -> list[Decision]:
    """Return the decisions among a version's tags, oldest first."""
    return [_read(tags[name]) for name in sorted(tags) if name.startswith(_PREFIX)]


def _read(text: str) -> Decision:
    """What somebody else put there is shown as it is."""
    try:
        return Decision(**json.loads(text))
    except (TypeError, ValueError):
        return Decision("unreadable", "", text, "", "")


def who() -> str:
    """Return who is at work: the user that MLflow knows, else the machine's.

    Raises:
        UserError: neither has a name, as in a container without an entry for its user.
    """
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):
        raise UserError("nobody knows here who decides", "say who: --by NAME") from None


def checked(option: str, text: str) -> str:
    """Return a name or a reason as it will be kept.

    Raises:
        UserError: it is blank, or too long for a tag.
    """
    text = " ".join(encodable(text).split())
    if not text:
        raise UserError(f"{option}: nothing is said", f'say it in a few words: {option} "…"')
    if len(text) > _LONGEST:
        raise UserError(f"{option}: {len(text):,} characters", f"at most {_LONGEST:,} are kept; put a link there")
    return text
