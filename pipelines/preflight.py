"""Mistakes that can be told before a store is made or a step is started."""

import os
import sys

from repo.annotations.reading.sources import expand_sources
from repo.annotations.simulation import is_simulated
from repo.errors import UserError
from repo.settings import Settings


def check(data: str, settings: Settings) -> str:
    """Check that the locale will do, that the data can be understood, and that policy, loss and earlier state exist.

    Returns:
        what was understood of the data, in one line; nothing of simulated data.

    Raises:
        UserError: one of them does not, or a pseudonym key is missing.
    """
    _check_locale()
    if not is_simulated(data):
        expand_sources(data)
    check_settings(settings)
    return "" if is_simulated(data) else _understood(data, settings)


def check_settings(settings: Settings) -> None:
    """Check that policy, loss and earlier state exist, and the pseudonym key and the locale besides.

    Raises:
        UserError: one of them does not.
    """
    _check_locale()
    # The cheap checks come first: what follows imports pandas and torch.
    if settings.data.pseudonymise:
        from repo.annotations.reading.pseudonyms import pseudonym_key

        pseudonym_key()
    earlier = settings.reliability.prior_state
    if earlier and not earlier.startswith("models:/"):
        from repo.reliability.state import load_state

        load_state(earlier)
    if ":" in settings.train.loss:
        _import_as_the_steps_do()
    from repo.policy.loading import check_base
    from repo.policy.losses import make_loss

    make_loss(settings.train.loss, settings.train.loss_options)
    check_base(settings.policy.base, settings.policy.max_length)


def _check_locale() -> None:
    if sys.getfilesystemencoding() != "utf-8":
        problem = f"the steps' source is UTF-8, and this locale hands {sys.getfilesystemencoding()} to other processes"
        raise UserError(problem, "export PYTHONUTF8=1, or use a UTF-8 locale such as LANG=C.UTF-8")


def _understood(data: str, settings: Settings) -> str:
    from repo.annotations.inspection import inspection_of
    from repo.annotations.reading.crowd_tables import ReadVotes
    from repo.annotations.reading.reader import read_annotations

    return inspection_of(ReadVotes(read_annotations(data, settings.data), None)).one_line()


def _import_as_the_steps_do() -> None:
    """Find modules in the working directory, as steps do, which kfp starts by `python -m`."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
