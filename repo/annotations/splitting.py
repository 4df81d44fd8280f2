"""Train and held-out annotations, so that nothing judged in training is evaluated on. Decided by the text alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from repo.annotations.schema import pair_digest
from repo.errors import UserError
from repo.files import read_json, text_digest, write_json
from repo.settings import DataSettings


@dataclass(frozen=True)
class Split:
    """Two canonical tables; `by` says what never stands on both sides."""

    train: pd.DataFrame
    held_out: pd.DataFrame
    by: Literal["prompt", "comparison"]
    notes: list[str]


def split_annotations(
    annotations: pd.DataFrame,
    settings: DataSettings,
    exam: "pd.Series[bool] | None" = None,
    by: Literal["prompt", "comparison"] | None = None,
) -> Split:
    """Split by prompt, or by pair of responses where there are too few prompts.

    A prompt's side follows from its text, so more data never moves it across.

    Args:
        annotations: canonical table.
        settings: `held_out`, the share of prompts kept for evaluation (in expectation), and `min_prompts`.
        exam: which annotations are on comparisons of the model line's evaluation set: they stand on neither side.
        by: what never stands on both sides; None: chosen as said above.

    Raises:
        UserError: one side would be empty; with an exam, the training side.
    """
    notes = []
    if exam is not None:
        if exam.any():
            known = annotations[exam]
            notes.append(_OF_THE_EXAM.format(len(known), known["comparison_id"].nunique()))
        annotations = annotations[~exam]
        if not len(annotations):
            raise UserError(
                "every annotation is on the model line's evaluation set: nothing is left to train on",
                "add other annotations, or start a new line of models with registry.model",
            )
    prompts = annotations["prompt"].nunique()
    by = by or ("prompt" if prompts >= settings.min_prompts else "comparison")
    held_out = _held_out_by_prompt if by == "prompt" else _held_out_by_comparison
    chosen = held_out(annotations, settings.held_out)
    if chosen.all() or (exam is None and not chosen.any()):
        side = "training" if chosen.all() else "evaluation"
        count = prompts if by == "prompt" else annotations["comparison_id"].nunique()
        raise UserError(
            f"no {by} falls on the {side} side: {count} of them, data.held_out = {settings.held_out}",
            f"collect more annotations, or {'lower' if chosen.all() else 'raise'} data.held_out",
        )
    if by == "comparison":
        notes.append(_FEW_PROMPTS.format(prompts, settings.min_prompts))
    return Split(annotations[~chosen].reset_index(drop=True), annotations[chosen].reset_index(drop=True), by, notes)


def save_split(split: Split, directory: Path) -> None:
    """Write train.parquet, held_out.parquet and split.json."""
    directory.mkdir(parents=True, exist_ok=True)
    sides = {"train": split.train, "held_out": split.held_out}
    for name, table in sides.items():
        table.to_parquet(directory / f"{name}.parquet", index=False)
    counts = {name: _counts(table) for name, table in sides.items()}
    write_json(directory / "split.json", {"by": split.by, "notes": split.notes, **counts})


def load_split(directory: Path) -> Split:
    """Read back what save_split wrote."""
    described = read_json(directory / "split.json")
    train, held_out = (pd.read_parquet(directory / f"{name}.parquet") for name in ("train", "held_out"))
    return Split(train, held_out, described["by"], described["notes"])


_OF_THE_EXAM = (
    "{:,} annotations on {:,} comparisons of the model line's evaluation set are left out: what is judged never trains"
)
_FEW_PROMPTS = (
    "split by comparison: distinct prompts {}, fewer than data.min_prompts = {}; the same prompts stand on both "
    "sides, so the evaluation measures new responses to known prompts, and says nothing of new prompts"
)


def _held_out_by_prompt(annotations: pd.DataFrame, share: float) -> pd.Series:
    positions = {prompt: _position(prompt) for prompt in annotations["prompt"].unique()}
    return annotations["prompt"].map(positions) < share


def _held_out_by_comparison(annotations: pd.DataFrame, share: float) -> pd.Series:
    """By the texts of the pair, not by its id: the same pair under two ids stays on one side."""
    rows: Iterable[tuple[str, str, str]] = zip(
        annotations["prompt"], annotations["response_a"], annotations["response_b"], strict=True
    )
    positions = [_position(pair_digest(*row)) for row in rows]
    return pd.Series(positions, index=annotations.index, dtype="float64") < share


def _position(text: str) -> float:
    """Return a text's place in [0, 1), uniform and the same for ever."""
    return int(text_digest(text)[:13], 16) / 16**13


def _counts(table: pd.DataFrame) -> dict[str, int]:
    counts = {name: int(table[f"{name[:-1]}_id"].nunique()) for name in ("comparisons", "annotators")}
    return {"annotations": len(table), **counts, "prompts": int(table["prompt"].nunique())}
