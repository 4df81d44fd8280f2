"""One spelling of an id or a code, whichever file format wrote it."""

import math
import re
from decimal import Decimal
from typing import Any

MISSING = frozenset(
    {"nan", "NaN", "NAN", "None", "null", "Null", "NULL", "<NA>", "NaT", "NA", "N/A", "n/a", "#N/A"}
)  # fmt: skip
"""What numpy, pandas, Python, JSON, SQL, R and spreadsheets write where there is nothing; in these spellings only."""

_WHOLE = re.compile(r"(-?[0-9]+)\.0+")


def id_text(value: Any) -> str:
    """Return an id or a date as text, '' where it is missing.

    Surrounding blanks go, and so does the '.0' of a whole number that a table with gaps keeps as 7.0; nothing else is
    changed: 7, 7.0 and ' 7.0 ' are '7', while '007', '7.50' and '1e3' stay.
    """
    text = "" if value is None else str(value).strip()
    if isinstance(value, float | Decimal) and (number := Decimal(text)).is_finite() and number == int(number):
        return str(int(number))  # also of 1e+16, as Python writes a large float
    if whole := _WHOLE.fullmatch(text):
        return whole[1]
    return "" if text in MISSING else text


def code_text(value: Any) -> str:
    """Return a vote's code as text, the same for 1, 1.0, "1" and "1.0", and in upper or lower case; '' for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value).strip().lower()
    return whole[1] if (whole := _WHOLE.fullmatch(text)) else text
