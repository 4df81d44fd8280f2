"""One label per comparison: votes alone say nothing about anybody, votes and margins say much."""

import numpy as np
import pandas as pd

from benchmarks.reliability.crowd import LACKING, peers
from benchmarks.table import Row, not_measured
from repo.reliability.estimator import AnnotatorReliability

RELIABILITIES = np.array([0.95, 0.95, 0.95, 0.95, 0.8, 0.8, 0.8, 0.6, 0.6, 0.2])
SCALE = 3.0


def rows(quick: bool = False) -> list[Row]:
    """Return the error of η against realised agreement with margins in an unknown unit, and crowd-kit's skills."""
    random = np.random.default_rng(0)
    size = 4000
    annotator = random.integers(0, len(RELIABILITIES), size)
    margin = SCALE * random.standard_normal(size)
    truth = np.where(random.random(size) < 1 / (1 + np.exp(-margin)), 1, -1)
    label = np.where(random.random(size) < RELIABILITIES[annotator], truth, -truth)
    realised = pd.Series(label == truth).groupby(annotator).mean().to_numpy()
    ours = AnnotatorReliability().fit(annotator, label, margin=0.05 * margin)
    paper = AnnotatorReliability(estimator="paper", calibrate=False).fit(annotator, label, margin=0.05 * margin)
    error, error_of_paper = (float(np.abs(fit.reliability_ - realised).mean()) for fit in (ours, paper))
    result = [
        Row(
            f"{size} labels, 10 annotators, margins in an unknown unit: mean |η − realised agreement|",
            "≤ .03",
            error,
            error <= 0.03,
        ),
        Row("the same by the paper's rule (Eq. 7, one pass, raw margins)", "", error_of_paper, None),
        Row(
            "temperature found, where 20 is right",
            "16 … 25",
            temperature := ours.calibration_["temperature"],
            16 <= temperature <= 25,
        ),
    ]
    model = peers(quick).get("OneCoinDawidSkene")
    if model is None:
        return [*result, not_measured("crowd-kit's skills", LACKING, quick)]
    table = pd.DataFrame({"task": np.arange(size), "worker": annotator, "label": (label > 0).astype(int)})
    found = model().fit(table).skills_
    return [
        *result,
        Row(
            "the same without margins, crowd-kit's OneCoinDawidSkene: least and greatest skill",
            "",
            f"{found.min():.3f}, {found.max():.3f}",
            None,
        ),
    ]
