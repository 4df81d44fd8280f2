"""How a file in either layout is understood, for tests of single rows."""

from repo.annotations.reading.layouts import Reading
from repo.annotations.reading.vote_codes import VoteCodes
from repo.settings import DataSettings

_CODES = VoteCodes.of(DataSettings())
PAIRED = Reading("paired", {}, [], _CODES, "first")
TRL = Reading("trl", {}, [], _CODES, "unknown")
