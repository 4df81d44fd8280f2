"""Simulated annotations as the reader would hand them on."""

import numpy as np
import pandas as pd

from repo.annotations.schema import flip


def canonical(rows: pd.DataFrame) -> pd.DataFrame:
    """Orient simulated rows as the reader does: one order of the responses a comparison."""
    swap = rows["response_a"] > rows["response_b"]
    first, second = rows["response_a"], rows["response_b"]
    return rows.assign(
        response_a=first.where(~swap, second),
        response_b=second.where(~swap, first),
        preference=np.where(swap, rows["preference"].map(flip), rows["preference"]),
        gold=np.where(swap, rows["gold"].map(flip), rows["gold"]),
        shown_first=np.where(swap, "b", "a"),
        listed_first=np.where(swap, "b", "a"),
        messages=False,
        weight=1.0,
        created_at="",
        file="simulated",
        line=np.arange(1, len(rows) + 1),
    )
