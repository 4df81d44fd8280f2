"""One night's new annotations and the earlier ones: each vote once, one id a comparison, what is trained on again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from repo.annotations.schema import VIRTUAL_ANNOTATOR, pair_digest
from repo.files import text_digest
from repo.settings import RetrainSettings

_PAIR = "_pair"


@dataclass(frozen=True)
class Merged:
    """What a training is to learn.

    Attributes:
        new: canonical annotations that were never counted, and the column `batch`: the batch's name.
        retained: annotations that were, to be trained on again; the column `version` names who was the first to see
            them.
        notes: what was left out, in words.
    """

    new: pd.DataFrame
    retained: pd.DataFrame
    notes: list[str]


def merge(
    batches: Mapping[str, pd.DataFrame], earlier: Mapping[str, pd.DataFrame], settings: RetrainSettings
) -> Merged:
    """Merge batches with what was counted before.

    A vote is known by its annotator and its pair of responses. One that was counted, by an earlier version or in a
    batch before, is left out, also where it says something else now: it would count twice. Votes of unnamed annotators
    cannot be told apart, so none of them is left out.

    Args:
        batches: name → canonical annotations of a good batch, in the order in which they count; at least one.
        earlier: version → canonical annotations that it was the first to see, oldest version first.
        settings: what is retained.
    """
    counted = [_with_pairs(table).assign(version=version) for version, table in earlier.items()]
    seen: dict[tuple[str, str], str] = {key: vote for table in counted for key, vote in _votes(table)}
    new, notes = [], []
    for name, annotations in batches.items():
        table = _with_pairs(annotations).assign(batch=name)
        fresh, contradicting = _fresh(table, seen)
        if not fresh.all():
            notes.append(_note(name, int((~fresh).sum()), contradicting))
        new.append(table[fresh])
        seen |= dict(_votes(new[-1]))
    columns = [*next(iter(batches.values())).columns, _PAIR]
    retained = _retained(pd.concat([table[[*columns, "version"]] for table in counted]), settings) if counted else None
    together = pd.concat([*([] if retained is None else [retained]), *new], ignore_index=True)
    together["comparison_id"] = _one_id_a_pair(together)
    together = together.reindex(columns=[*columns[:-1], "version", "batch"])
    known = 0 if retained is None else len(retained)
    first, second = together.iloc[:known].drop(columns="batch"), together.iloc[known:].drop(columns="version")
    return Merged(second.reset_index(drop=True), first.reset_index(drop=True), notes)


def _with_pairs(table: pd.DataFrame) -> pd.DataFrame:
    rows: Iterable[tuple[str, str, str]] = zip(table["prompt"], table["response_a"], table["response_b"], strict=True)
    return table.assign(**{_PAIR: [pair_digest(*row) for row in rows]})


def _votes(table: pd.DataFrame) -> Iterable[tuple[tuple[str, str], str]]:
    """Return ((annotator, pair), what they said) of every annotation of somebody with a name."""
    named = table[table["annotator_id"] != VIRTUAL_ANNOTATOR]
    keys = zip(named["annotator_id"], named[_PAIR], strict=True)
    return zip(keys, named["preference"], strict=True)


def _fresh(table: pd.DataFrame, seen: Mapping[tuple[str, str], str]) -> tuple["pd.Series[bool]", int]:
    """Return which annotations were not counted yet, and how many of the others say something else now."""
    keys = list(zip(table["annotator_id"], table[_PAIR], strict=True))
    known = [key in seen and key[0] != VIRTUAL_ANNOTATOR for key in keys]
    votes = zip(keys, table["preference"], known, strict=True)
    contradicting = sum(is_known and seen[key] != vote for key, vote, is_known in votes)
    return ~pd.Series(known, index=table.index, dtype="bool"), contradicting


def _note(name: str, left_out: int, contradicting: int) -> str:
    words = f"{name}: {left_out:,} of its annotations left out: these people's votes on these pairs count already"
    if not contradicting:
        return words
    return f"{words}; {contradicting:,} of them say something else now, and the earlier vote stands"


def _retained(counted: pd.DataFrame, settings: RetrainSettings) -> pd.DataFrame:
    if settings.retain == "window":
        versions = list(counted["version"].unique())  # oldest first
        return counted[counted["version"].isin(versions[len(versions) - min(settings.window, len(versions)) :])]
    if settings.retain == "replay" and len(counted) > settings.replay:
        return _drawn(counted, settings.replay)
    return counted


def _drawn(counted: pd.DataFrame, size: int) -> pd.DataFrame:
    """Draw whole comparisons at random, others for every newest version, until there are so many annotations."""
    newest = str(counted["version"].iloc[-1])
    pairs = counted[_PAIR].unique()
    order = sorted(pairs, key=lambda pair: text_digest(newest, pair))
    sizes = counted[_PAIR].value_counts()
    within = np.cumsum([sizes[pair] for pair in order]) <= size
    return counted[counted[_PAIR].isin([pair for pair, kept in zip(order, within, strict=True) if kept])]


def _one_id_a_pair(table: pd.DataFrame) -> "pd.Series[str]":
    """Return comparison ids by pair: the first that names it, with its digest where that names an earlier pair too."""
    first = table.drop_duplicates(_PAIR)
    taken = first["comparison_id"].duplicated()
    names = first["comparison_id"].where(~taken, first["comparison_id"] + " (" + first[_PAIR].str[:8] + ")")
    return table[_PAIR].map(dict(zip(first[_PAIR], names, strict=True)))
