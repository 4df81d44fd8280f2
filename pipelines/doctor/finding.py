"""What a check finds, and how checks are done: all of them, each with a time limit, none a traceback."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from repo.errors import UserError
from repo.uris import public_name

PATIENCE = 60.0
"""Seconds that a check may take; its requests have shorter limits of their own, where the library knows any."""
_TIDY = 10.0
"""Seconds that an interrupted check gets to take away what it has made."""
_MEND = "mend what it names, then run the doctor again"


class State(StrEnum):
    """How a check ended; only a failed one fails the command."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Outcome:
    """What a check has to say.

    Attributes:
        state: how it ended.
        words: what was seen.
        remedy: what the user can do, '' where nothing is to be done.
    """

    state: State
    words: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """A question about the surroundings.

    Attributes:
        name: unique.
        look: answers it; may raise UserError where the answer is no.
        needs: name of the earlier check without which this one cannot be done, or ''.
    """

    name: str
    look: Callable[[], Outcome]
    needs: str = ""


@dataclass(frozen=True)
class Finding:
    """The outcome of a named check, without the secrets of addresses; other attributes as in Outcome."""

    name: str
    state: State
    words: str
    remedy: str = ""


def ok(words: str) -> Outcome:
    """Return that all is well."""
    return Outcome(State.OK, words)


def warning(words: str, remedy: str) -> Outcome:
    """Return that something may go wrong, or could not be told."""
    return Outcome(State.WARNING, words, remedy)


def failed(words: str, remedy: str) -> Outcome:
    """Return that a run would fail."""
    return Outcome(State.FAILED, words, remedy)


def skipped(words: str) -> Outcome:
    """Return why the question was not asked."""
    return Outcome(State.SKIPPED, words)


def examine(checks: Sequence[Check], patience: float = PATIENCE) -> Iterator[Finding]:
    """Do all checks in their order and yield what each finds as soon as it is known."""
    stood: dict[str, bool] = {}
    for check in checks:
        outcome = _outcome(check, patience) if stood.get(check.needs, True) else skipped(f"needs: {check.needs}")
        stood[check.name] = outcome.state in (State.OK, State.WARNING)
        yield Finding(check.name, outcome.state, public_name(outcome.words), public_name(outcome.remedy))


def _outcome(check: Check, patience: float) -> Outcome:
    """Do one check in a thread: not every storage library knows a time limit."""
    found: list[Outcome] = []
    ended = threading.Event()  # not join: Python 3.11 takes a thread whose join was interrupted for ended

    def work() -> None:
        found.append(_guarded(check))
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    try:
        ended.wait(patience)
    except KeyboardInterrupt:
        ended.wait(_TIDY)
        raise
    if found:
        return found[0]
    return failed(f"no end within {patience:g} s", "check the way there (VPN, proxy, firewall), then try again")


def _guarded(check: Check) -> Outcome:
    try:
        return check.look()
    except UserError as error:
        return failed(error.problem, error.remedy or _MEND)
    except Exception as error:  # the checks that follow are done all the same
        lines = str(error).strip().splitlines() or [""]
        return failed(f"the check itself broke: {type(error).__name__}: {lines[0]}", _MEND)
