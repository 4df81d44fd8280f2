"""The one kind of error a user may cause; it says what is wrong, where, and what to do about it."""

import errno
import os

from repo.uris import public_name

MAKE_ROOM = "make room where the store and temporary files lie, then run the same command again"
_FULL = (
    *(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)),
    "database or disk is full",  # sqlite
)


def no_room(error: BaseException) -> bool:
    """Whether an error, of whatever library, says that a disk is full or that a file may not get so large."""
    return any(words in str(error) for words in _FULL)


class UserError(ValueError):
    """Something in the user's input, configuration or surroundings; shown as one screen of text, never as a traceback.

    It is printed, logged and kept in tags, so whatever URI stands in it loses its secrets here.

    Args:
        problem: what is wrong, naming the file, row and field where there is one.
        remedy: what the user can do now.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = public_name(problem)
        self.remedy = public_name(remedy)
        super().__init__(self.problem, self.remedy)

    def __str__(self) -> str:
        return f"{self.problem}\n  → {self.remedy}" if self.remedy else self.problem
