"""Simulated nightly batches: a file a day for an inbox, and what happens to such an inbox on the way.

Annotators come and turn, a file comes twice, one comes broken, on one day nothing comes. Who was how reliable on which
day is known.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repo.annotations.simulation import annotate, prompt_pool
from repo.errors import UserError
from repo.files import write_jsonl, write_text
from repo.settings import SimulationSettings


@dataclass(frozen=True)
class Events:
    """What happens on which day, counted from 1; what falls beyond the last day does not happen.

    Attributes:
        newcomer: an annotator who judges from day `newcomer_from` on, with reliability `newcomer_reliability`.
        turning: an annotator whose reliability is `turned_reliability` from day `turned_from` on.
        again_on: the file of the day before comes again, under another name.
        broken_on: a file that cannot be read comes beside the day's own.
        silent_on: nothing comes.
    """

    newcomer: str = "newcomer-1"
    newcomer_from: int = 4
    newcomer_reliability: float = 0.90
    turning: str = "careful-4"
    turned_from: int = 7
    turned_reliability: float = 0.15
    again_on: int = 9
    broken_on: int = 10
    silent_on: int = 11


@dataclass(frozen=True)
class Nightly:
    """Simulated batches of so many days; `settings.comparisons` are shared out among the days that bring something.

    Raises:
        UserError: there are fewer comparisons than such days, or the annotators do not fit the events.
    """

    settings: SimulationSettings
    days: int
    events: Events = Events()

    def __post_init__(self) -> None:
        known, events = self.settings.reliabilities, self.events
        if self.settings.comparisons < len(self._bringing):
            problem = f"simulation.comparisons: {self.settings.comparisons} are too few for {self.days} days"
            raise UserError(problem, f"ask for {len(self._bringing)} or more, or for fewer --batches")
        if self.days >= events.newcomer_from and events.newcomer in known:
            problem = f"simulation.reliabilities: {events.newcomer} is there from the first day"
            raise UserError(problem, f"choose another name: {events.newcomer} comes on day {events.newcomer_from}")
        if self.days >= events.turned_from and events.turning not in known:
            problem = f"simulation.reliabilities: holds no {events.turning}, who turns on day {events.turned_from}"
            raise UserError(problem, f"add {events.turning}, or ask for at most {events.turned_from - 1} --batches")

    def reliabilities_on(self, day: int) -> dict[str, float]:
        """Return the annotators who judge on a day, with the reliability that they have on it."""
        events, present = self.events, dict(self.settings.reliabilities)
        if day >= events.turned_from:
            present[events.turning] = events.turned_reliability
        if day >= events.newcomer_from:
            present[events.newcomer] = events.newcomer_reliability
        return present

    def truth(self) -> dict[str, list[float | None]]:
        """Return every annotator's reliability day by day; None before the annotator came."""
        daily = [self.reliabilities_on(day) for day in range(1, self.days + 1)]
        return {annotator: [present.get(annotator) for present in daily] for annotator in daily[-1]}

    def files_of(self, day: int) -> list[str]:
        """Return the names of the files that come on a day, the day's own first."""
        return [
            *([self._file(day)] if day in self._bringing else []),
            *([self._file(day, "-again")] if day == self.events.again_on else []),
            *([self._file(day, "-broken")] if day == self.events.broken_on else []),
        ]

    def rows_of(self, day: int) -> Iterator[dict[str, Any]]:
        """Yield a day's annotations, as `simulate` does: new comparisons, their prompts drawn from the whole pool."""
        settings = self.settings
        pool = prompt_pool(settings.prompts, np.random.default_rng(settings.seed))
        random = np.random.default_rng([settings.seed, day])
        prompts = [pool[i] for i in random.permutation(len(pool))]
        return annotate(self._numbers(day), prompts, self.reliabilities_on(day), settings, random)

    def write(self, directory: Path) -> None:
        """Write the files of all days into a directory."""
        for day in range(1, self.days + 1):
            if day in self._bringing:
                write_jsonl(directory / self._file(day), self.rows_of(day))
            if day == self.events.again_on:
                shutil.copyfile(directory / self._file(day - 1), directory / self._file(day, "-again"))
            if day == self.events.broken_on:
                write_text(directory / self._file(day, "-broken"), _broken(list(self.rows_of(day))))

    @property
    def _bringing(self) -> list[int]:
        """The days that bring a file of their own."""
        return [day for day in range(1, self.days + 1) if day != self.events.silent_on]

    def _numbers(self, day: int) -> range:
        place, among = self._bringing.index(day), len(self._bringing)
        total = self.settings.comparisons
        return range(place * total // among, (place + 1) * total // among)

    def _file(self, day: int, kind: str = "") -> str:
        return f"day-{day:0{max(2, len(str(self.days)))}}{kind}.jsonl"


def _broken(rows: list[dict[str, Any]]) -> str:
    """Return rows that lack a response, the last of them cut off: what an export looks like that died half-way."""
    lines = [json.dumps({key: value for key, value in row.items() if key != "response_b"}) for row in rows]
    return "\n".join([*lines[:-1], lines[-1][: len(lines[-1]) // 2]])
