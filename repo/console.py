"""What a step says to a person while it runs: of a step's output the command line shows these lines, and only these."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from repo.errors import UserError

PREFIX = "▸ "
"""Starts every line meant for a person, so that it can be told from what libraries print."""


def say(text: str) -> None:
    """Print one line now."""
    print(f"{PREFIX}{text}", flush=True)


class Milestones:
    """Says something each time another tenth of the work is done, however often it is told."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, share: float, text: str) -> None:
        """Take the share of the work done, 0 to 1, and what there is to say about it."""
        if int(10 * share) > self._said:
            self._said = int(10 * share)
            say(f"{share:4.0%}  {text}")


@contextmanager
def user_errors() -> Iterator[None]:
    """Show a UserError as text and end the process with code 1; a traceback is for our mistakes, not the user's."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
