"""The exam: the held-out comparisons that all policies of one model line are judged on, and the answers to them.

It is made once, from what the line's first champion did not train on, and frozen: later policies sit the same one, and
nothing of it ever trains. So are its answers, which are the annotators' own, weighed by the reliabilities that the
training side found, without any policy's opinion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from repo.annotations.schema import pair_digest
from repo.errors import UserError
from repo.files import read_json, write_json
from repo.reliability.estimate import direction_log_odds, gold_of

Target = Literal["gold", "consensus", "labels"]
Floats = npt.NDArray[np.float64]

SCHEMA_VERSION = 1
_LOG_ODDS = "log_odds_a"
_TABLE, _FACTS = "annotations.parquet", "exam.json"


@dataclass(frozen=True)
class Judgements:
    """Which response is right: one entry a judgement, J of them.

    Attributes:
        comparison: number of the comparison judged, shape [J].
        direction: 1 for a, −1 for b, shape [J].
        weight: shape [J].
        unit: number of the prompt or comparison that was held out, shape [J].
    """

    comparison: npt.NDArray[np.int64]
    direction: Floats
    weight: Floats
    unit: npt.NDArray[np.int64]

    def among(self, usable: npt.NDArray[np.bool_]) -> "Judgements":
        """Return those whose comparison is usable, shape of `usable`: [C]."""
        kept = usable[self.comparison]  # [J]
        return Judgements(self.comparison[kept], self.direction[kept], self.weight[kept], self.unit[kept])


@dataclass(frozen=True)
class Exam:
    """Held-out annotations with the answers.

    Attributes:
        annotations: canonical annotations without ties, and the log-odds that response a is better by their votes.
        by: what was held out.
    """

    annotations: pd.DataFrame
    by: Literal["prompt", "comparison"]

    @classmethod
    def of(
        cls, held_out: pd.DataFrame, by: Literal["prompt", "comparison"], reliability: Mapping[str, Any] | None = None
    ) -> "Exam":
        """Make an exam.

        Args:
            held_out: canonical annotation table without ties, at least one row.
            by: what was held out: the unit that intervals treat as one draw.
            reliability: content of the training's reliability.json; without it every vote counts the same.

        Raises:
            UserError: two rows of one comparison name different gold.
        """
        gold = pd.Series(gold_of(held_out)).map({1: "a", -1: "b", 0: ""}).to_numpy()
        odds = direction_log_odds(held_out, reliability)
        return cls(held_out.assign(gold=gold, **{_LOG_ODDS: odds}).reset_index(drop=True), by)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """One row a comparison, C of them."""
        return self.annotations.drop_duplicates("comparison_id").reset_index(drop=True)

    @cached_property
    def judgements(self) -> dict[Target, Judgements]:
        """By target: every vote; the consensus by posterior (even odds say nothing); gold where it is known."""
        number = pd.Series(np.arange(len(self.comparisons)), index=self.comparisons["comparison_id"])
        unit = "prompt" if self.by == "prompt" else "comparison_id"
        units = pd.factorize(self.comparisons[unit])[0].astype(np.int64)  # [C]
        comparison = number.loc[self.annotations["comparison_id"]].to_numpy(dtype=np.int64)  # [N]
        direction = np.where(self.annotations["preference"] == "a", 1.0, -1.0)  # [N]
        weight = self.annotations["weight"].to_numpy(dtype=np.float64)  # [N]
        found: dict[Target, Judgements] = {"labels": Judgements(comparison, direction, weight, units[comparison])}
        gold: Floats = np.asarray(self.comparisons["gold"].map({"a": 1.0, "b": -1.0}).fillna(0.0), dtype=np.float64)
        odds: Floats = self.comparisons[_LOG_ODDS].to_numpy(dtype=np.float64)
        signs: dict[Target, Floats] = {"consensus": np.sign(odds), "gold": gold}
        for target, sign in signs.items():
            known = np.flatnonzero(sign)  # [J]
            found[target] = Judgements(known, sign[known], np.ones(len(known)), units[known])
        return found

    def holds(self, annotations: pd.DataFrame) -> "pd.Series[bool]":
        """Return which annotations are on what was held out: its prompts, or its pairs of responses under any id."""
        return _key(annotations, self.by).isin(set(_key(self.comparisons, self.by)))

    def save(self, directory: Path) -> None:
        """Write annotations.parquet and exam.json."""
        directory.mkdir(parents=True, exist_ok=True)
        self.annotations.to_parquet(directory / _TABLE, index=False)
        counts = {target: len(judged.direction) for target, judged in self.judgements.items()}
        facts = {"comparisons": len(self.comparisons), "prompts": int(self.comparisons["prompt"].nunique())}
        write_json(directory / _FACTS, {"schema_version": SCHEMA_VERSION, "by": self.by, **facts, "judgements": counts})

    @classmethod
    def load(cls, directory: Path) -> "Exam":
        """Read what save wrote.

        Raises:
            UserError: it was written by another version.
        """
        facts = read_json(directory / _FACTS)
        if facts["schema_version"] != SCHEMA_VERSION:
            raise UserError(
                f"{directory}: an evaluation set of schema {facts['schema_version']}, this version reads "
                f"{SCHEMA_VERSION}",
                "run with the version that made it, or make a new one with evaluation.exam=renew",
            )
        return cls(pd.read_parquet(directory / _TABLE), facts["by"])


def _key(table: pd.DataFrame, by: str) -> "pd.Series[str]":
    if by == "prompt":
        return table["prompt"]
    rows = zip(table["prompt"], table["response_a"], table["response_b"], strict=True)
    return pd.Series([pair_digest(*row) for row in rows], index=table.index, dtype="str")
