"""The one kind of error a user may cause; it says what is wrong, where, and what to do about it."""

from repo.uris import public_name


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
