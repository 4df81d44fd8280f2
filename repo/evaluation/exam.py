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
from repo.reliability.estimate import direction_log_odds, gold_of, vote_log_odds

Target = Literal["gold", "consensus", "labels"]
Floats = npt.NDArray[np.float64]

SCHEMA_VERSION = 2
READABLE = (1, 2)
"""The first kept the log-odds of comparisons alone, not those of single votes."""
_LOG_ODDS, _VOTE_LOG_ODDS = "log_odds_a", "vote_log_odds_a"
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
class Votes:
    """Who said what: one entry an annotation, N of them.

    Attributes:
        names: annotator ids, shape [A].
        annotator: number of the annotator, shape [N].
        comparison: number of the comparison, shape [N].
        direction: 1 for a, −1 for b, shape [N].
        weight: shape [N].
        log_odds: what it adds to the comparison's log-odds that a is better, shape [N]; None where that was not kept.
    """

    names: list[str]
    annotator: npt.NDArray[np.int64]
    comparison: npt.NDArray[np.int64]
    direction: Floats
    weight: Floats
    log_odds: Floats | None

    def among(self, usable: npt.NDArray[np.bool_]) -> "Votes":
        """Return those whose comparison is usable, shape of `usable`: [C]; annotators without any are not named."""
        kept = usable[self.comparison]  # [N]
        numbers, annotator = np.unique(self.annotator[kept], return_inverse=True)
        names = [self.names[number] for number in numbers]
        log_odds = None if self.log_odds is None else self.log_odds[kept]
        return Votes(
            names,
            annotator.astype(np.int64),
            self.comparison[kept],
            self.direction[kept],
            self.weight[kept],
            log_odds,
        )


@dataclass(frozen=True)
class Exam:
    """Held-out annotations with the answers.

    Attributes:
        annotations: canonical annotations without ties; what each adds to the log-odds that response a is better, and
            these log-odds by all votes on its comparison.
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
        votes = vote_log_odds(held_out, reliability)
        odds = {_VOTE_LOG_ODDS: votes, _LOG_ODDS: direction_log_odds(held_out, votes)}
        return cls(held_out.assign(gold=gold, **odds).reset_index(drop=True), by)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """One row a comparison, C of them."""
        return self.annotations.drop_duplicates("comparison_id").reset_index(drop=True)

    @cached_property
    def votes(self) -> Votes:
        """Every vote."""
        table = self.annotations
        annotator, names = pd.factorize(table["annotator_id"])
        number = pd.Series(np.arange(len(self.comparisons)), index=self.comparisons["comparison_id"])
        return Votes(
            names=names.tolist(),
            annotator=annotator.astype(np.int64),
            comparison=number.loc[table["comparison_id"]].to_numpy(dtype=np.int64),
            direction=np.where(table["preference"] == "a", 1.0, -1.0),
            weight=table["weight"].to_numpy(dtype=np.float64),
            log_odds=table[_VOTE_LOG_ODDS].to_numpy(dtype=np.float64) if _VOTE_LOG_ODDS in table else None,
        )

    @cached_property
    def consensus(self) -> Floats:
        """1 where the votes say a, −1 where they say b, 0 where they are even, shape [C]."""
        return np.asarray(np.sign(self.comparisons[_LOG_ODDS].to_numpy(dtype=np.float64)))

    @cached_property
    def units(self) -> npt.NDArray[np.int64]:
        """Number of the prompt or comparison held out that each comparison belongs to, shape [C]."""
        unit = "prompt" if self.by == "prompt" else "comparison_id"
        return pd.factorize(self.comparisons[unit])[0].astype(np.int64)

    @cached_property
    def judgements(self) -> dict[Target, Judgements]:
        """By target: every vote; the consensus by posterior (even odds say nothing); gold where it is known."""
        votes, units = self.votes, self.units
        labels = Judgements(votes.comparison, votes.direction, votes.weight, units[votes.comparison])
        found: dict[Target, Judgements] = {"labels": labels}
        gold: Floats = np.asarray(self.comparisons["gold"].map({"a": 1.0, "b": -1.0}).fillna(0.0), dtype=np.float64)
        signs: dict[Target, Floats] = {"consensus": self.consensus, "gold": gold}
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
        """Read what save wrote, this version or an earlier one.

        Raises:
            UserError: it was written by a version that this one cannot read.
        """
        facts = read_json(directory / _FACTS)
        if facts["schema_version"] not in READABLE:
            raise UserError(
                f"{directory}: an evaluation set of schema {facts['schema_version']}, this version reads "
                f"{' and '.join(map(str, READABLE))}",
                "run with the version that made it, or make a new one with evaluation.exam=renew",
            )
        return cls(pd.read_parquet(directory / _TABLE), facts["by"])


def _key(table: pd.DataFrame, by: str) -> "pd.Series[str]":
    if by == "prompt":
        return table["prompt"]
    rows = zip(table["prompt"], table["response_a"], table["response_b"], strict=True)
    return pd.Series([pair_digest(*row) for row in rows], index=table.index, dtype="str")
