"""Good rows on, bad rows to quarantine with their reasons, a bad batch refused with advice."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from repo.annotations.quarantine import QuarantinedRow, plain
from repo.annotations.reading.reader import ReadResult
from repo.annotations.schema import COLUMNS
from repo.annotations.validation import measures
from repo.annotations.validation.causes import ENOUGH, FEW_BAD, LARGE_ENOUGH, Cause, of_rejected, of_result, the_one
from repo.annotations.validation.numbering import number_apart
from repo.errors import UserError
from repo.files import text_digest, texts_digest, write_json, write_jsonl
from repo.settings import Settings, ValidationSettings

__all__ = ["ExpectationOutcome", "QuarantinedRow", "ValidationResult", "ValidationSummary", "save", "validate"]

QUARANTINE = "quarantine.jsonl"


@dataclass(frozen=True)
class ExpectationOutcome:
    """One expectation in words; severity is 'critical', 'warning' or 'info'."""

    title: str
    severity: str
    passed: bool
    observed: str
    bound: str
    advice: str


@dataclass(frozen=True)
class ValidationSummary:
    """Counts. rows_read = rows_kept + rows_quarantined; `annotations` is what remains after ties are dropped or split.

    `digest` is of the kept table's content, independent of row order and of file names.
    """

    rows_read: int
    rows_kept: int
    rows_quarantined: int
    ties: int
    annotations: int
    comparisons: int
    prompts: int
    annotators: int
    digest: str


@dataclass(frozen=True)
class ValidationResult:
    """The canonical table that later steps use, and everything that was found out about it.

    `causes` are what rows are in quarantine for, `replaced` the number of those that their annotator revised.
    """

    annotations: pd.DataFrame
    quarantine: list[QuarantinedRow]
    expectations: list[ExpectationOutcome]
    summary: ValidationSummary
    notes: list[str]
    great_expectations: list[dict[str, Any]]
    causes: list[Cause] = field(default_factory=list)
    replaced: int = 0

    @property
    def passed(self) -> bool:
        """Whether no critical expectation failed."""
        return not self._failures()

    def raise_if_failed(self, one_of_many: bool = False) -> None:
        """Stop a run on a bad batch.

        Args:
            one_of_many: other batches come with it, so that it may be as small as it likes.

        Raises:
            UserError: names each failed critical expectation, and the first rows in quarantine.
        """
        failures = [failure for failure in self._failures() if not (one_of_many and failure.title in LARGE_ENOUGH)]
        if not failures:
            return
        lines = [f"  {failed.title}: expected {failed.bound}, found {failed.observed}" for failed in failures]
        cause = self._cause(failures)
        if self.quarantine:
            lines.extend(self._in_quarantine(cause))
        others = [failure.advice for failure in failures if cause is None or failure.title not in (FEW_BAD, ENOUGH)]
        raise UserError(
            "\n".join(["the annotations did not pass validation", *lines]),
            "; ".join([cause.remedy, *others] if cause else others),
        )

    def _cause(self, failures: list[ExpectationOutcome]) -> Cause | None:
        """Return the one reason for which rows are bad, where it is bad rows that make the batch fail."""
        titles = {failure.title for failure in failures}
        if FEW_BAD not in titles and self.summary.rows_kept:
            return None
        return the_one(self.causes, len(self.quarantine) - self.replaced)

    def _in_quarantine(self, cause: Cause | None) -> list[str]:
        head = f"  {len(self.quarantine)} rows in quarantine, all of them in {QUARANTINE}; "
        if cause is None:
            first = [f"{row.place}: {'; '.join(row.reasons)}" for row in self.quarantine[:3]]
            return [f"{head}the first:", *(f"    {line}" for line in first)]
        bad = len(self.quarantine) - self.replaced
        number = f"all {bad}" if cause.rows == bad else f"{cause.rows} of {bad}"
        return [f"{head}{number} for one reason: {cause.reason}; the first:", *(f"    {line}" for line in cause.first)]

    def _failures(self) -> list[ExpectationOutcome]:
        return [outcome for outcome in self.expectations if outcome.severity == "critical" and not outcome.passed]


def validate(source: ReadResult, settings: Settings) -> ValidationResult:
    """Judge what was read: quarantine bad rows, then check the batch.

    Args:
        source: what read_annotations returned.
        settings: `data.ties` and the bounds in `validation`.
    """
    judged = _judge_rows(source, settings.validation)
    annotations, kept, quarantine = judged.annotations, judged.kept, judged.quarantine
    # A table of texts is large: of the kept rows only what is counted is copied, and the usable ones once.
    votes = annotations.loc[kept, ["preference", "shown_first"]]
    usable = _settle_ties(annotations, kept, settings.data.ties)
    at_fault = len(quarantine) - judged.replaced
    results = [*judged.results, *_check_batch(source.rows_read, at_fault, votes, usable, settings.validation)]
    outcomes = [_outcome(result) for result in results]
    if not _positions_known(votes):
        outcomes.append(
            ExpectationOutcome("Position does not decide", "info", True, "display positions are not known", "", "")
        )
    ties = int((votes["preference"] == "tie").sum())
    notes = [*source.notes, *judged.notes]
    if ties:
        notes.append(f"{ties} ties {'split' if settings.data.ties == 'split' else 'dropped'}")
    summary = _summarise(source.rows_read, len(votes), usable, ties)
    return ValidationResult(
        usable, quarantine, outcomes, summary, notes, results, causes=judged.causes, replaced=judged.replaced
    )


def save(result: ValidationResult, directory: Path) -> None:
    """Write annotations.parquet, quarantine.jsonl, validation.json and great_expectations.json."""
    directory.mkdir(parents=True, exist_ok=True)
    result.annotations.to_parquet(directory / "annotations.parquet", index=False)
    write_jsonl(directory / QUARANTINE, (asdict(row) for row in result.quarantine))
    described = {
        "summary": asdict(result.summary),
        "expectations": [asdict(outcome) for outcome in result.expectations],
        "notes": result.notes,
    }
    write_json(directory / "validation.json", described)
    write_json(directory / "great_expectations.json", {"results": result.great_expectations})


def content_digest(annotations: pd.DataFrame) -> str:
    """Return a digest of what the annotations say, whatever their order and wherever they were read."""
    columns = [annotations[name].astype(str) for name in COLUMNS if name not in ("file", "line")]
    # 64 hex digits each; as Python's own strings they would take twice that.
    digests = np.fromiter((text_digest(*row) for row in zip(*columns, strict=True)), "S64", len(annotations))
    digests.sort()
    return texts_digest(digest.decode() for digest in digests)


@dataclass(frozen=True)
class _Judged:
    """What is left of the rows, and what was found out about each; `kept` tells the good rows of `annotations`."""

    annotations: pd.DataFrame
    kept: NDArray[Any]
    quarantine: list[QuarantinedRow]
    results: list[dict[str, Any]]
    notes: list[str]
    causes: list[Cause]
    replaced: int


def _judge_rows(source: ReadResult, settings: ValidationSettings) -> _Judged:
    """Let the row expectations decide: each row on its own, then ids among the good rows, then votes among the rest."""
    from repo.annotations.validation import expectations

    annotations = source.annotations.reset_index(drop=True)
    kept = np.ones(len(annotations), dtype=bool)
    results: list[dict[str, Any]] = []

    def judge(name: str, measured: pd.DataFrame, expected: list[Any]) -> None:
        found = expectations.run(name, measured, expected, index="row")
        kept[[entry["row"] for result in found for entry in _unexpected(result)]] = False
        results.extend(found)

    rows = measures.measure_rows(annotations)
    pa.default_memory_pool().release_unused()  # what measuring texts took; numpy cannot use it from there
    pair = rows.pop("pair")
    judge("rows", rows, expectations.row_expectations(settings))
    del rows
    judge("ids", measures.measure_ids(annotations, pair, kept), expectations.id_expectations())
    annotations, notes = number_apart(annotations, pair, kept)
    judge("ballots", measures.measure_ballots(annotations, pair, kept), expectations.ballot_expectations())

    bad = _bad_rows(source, annotations, results)
    rejected = [QuarantinedRow(row.file, row.line, row.reasons, plain(row.row)) for row in source.rejected]
    found = [cause for result in results if (cause := of_result(result, bad.__getitem__))]
    replaced = sum(len(_unexpected(each)) for each in results if _column(each) == measures.REPLACED)
    if replaced:
        notes.append(
            f"{replaced:,} votes replaced by later votes of the same annotator; they are in quarantine, and do not "
            "count as bad rows"
        )
    return _Judged(
        annotations=annotations,
        kept=kept,
        quarantine=sorted([*rejected, *bad.values()], key=lambda row: (row.file, row.line)),
        results=results,
        notes=notes,
        causes=[*of_rejected(rejected), *found],
        replaced=replaced,
    )


def _bad_rows(
    source: ReadResult, annotations: pd.DataFrame, results: list[dict[str, Any]]
) -> dict[int, QuarantinedRow]:
    files, lines = annotations["file"].array, annotations["line"].array
    reasons = _reasons(results, lambda row: f"{files[row]}, line {lines[row]}")
    # In the rows' order, for the raw ones are kept packed.
    return {
        row: QuarantinedRow(files[row], int(lines[row]), reasons[row], plain(source.raw[row]))
        for row in sorted(reasons)
    }


def _column(result: dict[str, Any]) -> Any:
    return result["expectation_config"]["kwargs"].get("column")


def _unexpected(result: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result["result"].get("unexpected_index_list") or []
    return found


def _reasons(results: list[dict[str, Any]], place_of: Callable[[int], str]) -> dict[int, list[str]]:
    """Return row → every reason against it."""
    reasons: dict[int, list[str]] = defaultdict(list)
    for result in results:
        template = result["expectation_config"]["meta"]["reason"]
        column = _column(result)
        for entry in _unexpected(result):
            value = repr(str(entry.get(column))[:40])
            place = place_of(int(entry[column])) if "{place}" in template else ""
            reasons[entry["row"]].append(template.format(value=value, place=place))
    return reasons


def _settle_ties(annotations: pd.DataFrame, kept: NDArray[Any], ties: str) -> pd.DataFrame:
    """Return the kept rows without ties, or with each turned into one vote for either response at half weight."""
    tie = (annotations["preference"] == "tie").to_numpy()
    decided = _select(annotations, kept & ~tie)
    if ties == "drop":
        return decided.reset_index(drop=True)
    halves = [_select(annotations, kept & tie).assign(preference=side, weight=0.5) for side in ("a", "b")]
    return pd.concat([decided, *halves]).sort_index(kind="stable").reset_index(drop=True)


def _select(table: pd.DataFrame, chosen: NDArray[Any]) -> pd.DataFrame:
    """Return table[chosen], which would put a column's chunks together before it takes anything from them."""
    columns = {name: column.array[chosen] for name, column in table.items()}
    return pd.DataFrame(columns, index=table.index[chosen])


def _check_batch(
    rows_read: int, rows_quarantined: int, votes: pd.DataFrame, usable: pd.DataFrame, settings: ValidationSettings
) -> list[dict[str, Any]]:
    """Check the batch as a whole; what would only repeat an earlier failure is not asked."""
    from repo.annotations.validation import expectations

    intake = pd.DataFrame({"quarantined": (np.arange(rows_read) < rows_quarantined).astype(float)})
    results = expectations.run("intake", intake, expectations.intake_expectations(settings))
    results += expectations.run("table", usable, expectations.table_expectations())
    if len(votes):
        expected = expectations.vote_expectations(settings, _positions_known(votes))
        results += expectations.run("votes", measures.measure_votes(votes), expected)
        if (votes["preference"] == "tie").all():
            return results
    comparisons, count_and_overlap = (
        measures.measure_comparisons(usable),
        expectations.comparison_expectations(settings),
    )
    if not len(usable):
        return results + expectations.run("comparisons", comparisons, count_and_overlap[:1])
    annotators = measures.measure_annotators(usable)
    results += expectations.run("comparisons", comparisons, count_and_overlap)
    return results + expectations.run("annotators", annotators, expectations.annotator_expectations(settings))


def _positions_known(votes: pd.DataFrame) -> bool:
    return bool(((votes["preference"] != "tie") & (votes["shown_first"] != "")).any())


def _outcome(result: dict[str, Any]) -> ExpectationOutcome:
    config, found = result["expectation_config"], result["result"]
    meta, value = config["meta"], found.get("observed_value")
    if "unexpected_count" in found:
        observed = meta["unit"].format(found["unexpected_count"], found["element_count"])
    elif isinstance(value, list):
        observed = meta["unit"].format(len(value))
    else:
        observed = meta["unit"].format(value)
    return ExpectationOutcome(
        meta["title"], config["severity"], result["success"], observed, meta["bound"], meta["advice"]
    )


def _summarise(rows_read: int, rows_kept: int, usable: pd.DataFrame, ties: int) -> ValidationSummary:
    return ValidationSummary(
        rows_read=rows_read,
        rows_kept=rows_kept,
        rows_quarantined=rows_read - rows_kept,
        ties=ties,
        annotations=len(usable),
        comparisons=usable["comparison_id"].nunique(),
        prompts=usable["prompt"].nunique(),
        annotators=usable["annotator_id"].nunique(),
        digest=content_digest(usable),
    )
