"""The one kind of error a user may cause; it says what is wrong, where, and what to do about it."""


class UserError(ValueError):
    """Something in the user's input, configuration or surroundings; shown as one screen of text, never as a traceback.

    Args:
        problem: what is wrong, naming the file, row and field where there is one.
        remedy: what the user can do now.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  → {self.remedy}" if self.remedy else self.problem
