"""Two simulated weeks of nightly retraining: a batch a day, a pass a night, and what each came to beside the truth.

The passes are those of `repo-pipeline retrain`; only the batches and who gave them are made up.
"""

import contextlib
import io
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.output import check_output
from repo.annotations.nightly import Nightly
from repo.errors import UserError
from repo.files import write_text
from repo.reporting.nights import Night
from repo.reporting.nights_page import render_nights
from repo.settings import Settings, load_settings
from repo.tracking.store import Server, Store

LINE = "repo-fortnight"
"""The experiment, and the registered model of the first fortnight in a store: a toy never stands where a real policy
does. Its batches are files like any others, so nothing but the name keeps them apart."""
NIGHTS = 14
SLIP_ON = 12
PAGE = "fortnight.html"

_COMPARISONS = 240
"""A day. Of them 60 are held out, which makes the exam; 180 train, with 5 votes each: 82 votes an annotator, so that
the standard error of the hardest reliability, 0.6, is 0.014 after two weeks."""
_MIN_GAIN = -0.05
"""A candidate that is merely as good must pass, or the line stands still and consumes nothing: it had one more day's
votes. Of 60 comparisons on which two policies never differ the interval's lower end is -0.03; -0.05 leaves room for
one or two that they judge differently."""
_OWN = (
    f"registry.experiment={LINE}",
    "simulation.annotations_per_comparison=5",
    "data.held_out=0.25",
    # Files are moved into the inbox whole: nobody is writing them still.
    "inbox.settle_seconds=0",
    # About half a night's votes again: each night takes as long as the one before.
    "retrain.retain=replay",
    "retrain.replay=500",
    # Half the demo's model: what tells good from bad here is which phrases stand in a response.
    "policy.tiny={vocabulary: 1024, hidden: 64, layers: 1, heads: 2}",
    "policy.max_length=160",
    "policy.max_prompt_length=48",
    f"gate.min_gain_over_champion={_MIN_GAIN}",
)


def fortnight_settings(nights: int, overrides: Sequence[str]) -> Settings:
    """Return the fortnight's own settings, and the user's over them."""
    return load_settings(None, (f"simulation.comparisons={_COMPARISONS * nights}", *_OWN, *overrides))


def with_slip(settings: Settings, nightly: Nightly) -> Settings:
    """Return settings with a slip in them: every annotator is pinned to the share of votes that they get wrong."""
    wrong = {name: min(max(1 - eta, 0.01), 0.99) for name, eta in nightly.reliabilities_on(SLIP_ON).items()}
    return settings.model_copy(update={"reliability": settings.reliability.model_copy(update={"pinned": wrong})})


def claim_line(settings: Settings, overrides: Sequence[str]) -> Settings:
    """Make the registered model that the nights work on: every fortnight begins without a champion, so on its own.

    Raises:
        UserError: a name was asked for that is taken.
    """
    from repo.tracking.registry import make_line

    asked = any(override.startswith("registry.model=") for override in overrides)
    numbers = iter(range(2, 10_000))
    name = settings.registry.model if asked else LINE
    while not make_line(name, "Simulated annotations: a fortnight of nightly retraining."):
        if asked:
            problem = f"registry.model: there is a model {name} already, and a fortnight begins without one"
            raise UserError(problem, f"leave it out, and a name is chosen ({LINE}, {LINE}-2, …); or choose another")
        name = f"{LINE}-{next(numbers)}"
    return settings.model_copy(update={"registry": settings.registry.model_copy(update={"model": name})})


class Fortnight:
    """The nights of one model line, in one directory.

    Attributes:
        nights: those that are over.
        page: the page on them, written anew after each.
    """

    def __init__(self, settings: Settings, nights: int, output: Path) -> None:
        """Write the batches of all days, out of the inbox's sight.

        Raises:
            UserError: the annotators or the comparisons do not fit the nights, or the directory is not empty.
        """
        self.nightly = Nightly(settings.simulation, nights)
        check_output(output, ())
        self.nights: list[Night] = []
        self.page = output / PAGE
        self._settings = settings
        self._inbox, self._to_come = output / "inbox", output / "to-come"
        try:
            for directory in (self._inbox, self._to_come):
                directory.mkdir(parents=True)
            self.nightly.write(self._to_come)
        except OSError as error:
            raise UserError(f"{output}: cannot be written: {error.strerror}", "choose another --output") from None

    def run(self, store: Store | Server, scratch: Path, verbose: bool, say: Callable[[Night], None]) -> None:
        """Go through all nights.

        Args:
            store: where MLflow keeps runs and models.
            scratch: see run_retraining.
            verbose: show everything the steps print.
            say: receives each night when it is over.

        Raises:
            UserError: a pass failed; the nights before it stay on the page.
        """
        for day in range(1, self.nightly.days + 1):
            for name in self.nightly.files_of(day):
                os.replace(self._to_come / name, self._inbox / name)
            self.nights.append(self._night(day, store, scratch, verbose))
            write_text(self.page, render_nights(self.nights, self.nightly.truth(), self._remarks()))
            say(self.nights[-1])
        self._to_come.rmdir()

    def errors(self) -> dict[str, float]:
        """Return annotator → how far the latest estimate is from the true reliability."""
        truth = self.nightly.reliabilities_on(self.nightly.days)
        latest = {name: found.value for night in self.nights for name, found in night.reliabilities.items()}
        return {name: abs(value - truth[name]) for name, value in latest.items()}

    def _night(self, day: int, store: Store | Server, scratch: Path, verbose: bool) -> Night:
        from pipelines.local import run_retraining
        from pipelines.nights import night_of, night_without_a_run

        slip = day == SLIP_ON
        settings = with_slip(self._settings, self.nightly) if slip else self._settings
        name = f"day-{day:02}"
        started = time.monotonic()
        with contextlib.nullcontext() if verbose else contextlib.redirect_stdout(io.StringIO()):
            found, finished = run_retraining(str(self._inbox), settings, store, scratch, verbose)
        seconds = time.monotonic() - started
        with store.opened():
            if finished is None:
                return night_without_a_run(name, found, seconds, self.nights)
            night = night_of(name, finished.run_id, seconds, self.nights)
        return replace(night, reasons=[_SLIP, *night.reasons]) if slip else night

    def _remarks(self) -> list[str]:
        bound = f"{self._settings.gate.min_gain_over_champion:g}".replace("-", "−")
        remarks = [
            f"The gate asks that a candidate be no worse than the champion: of the gain in accuracy, the interval’s "
            f"lower end must reach {bound}. A candidate that is merely as good has learnt one more day’s votes."
        ]
        return [*remarks, _SLIP_REMARK] if len(self.nights) >= SLIP_ON else remarks


_SLIP = "a slip, made on purpose: everybody’s rate of errors was given as their reliability (reliability.pinned)"
_SLIP_REMARK = (
    f"On day {SLIP_ON} a slip is made on purpose: everybody’s rate of errors is given as their reliability. The "
    "candidate is rejected and consumes nothing, so that its batch takes part in the next night."
)
