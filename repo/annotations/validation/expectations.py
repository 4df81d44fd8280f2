"""The Great Expectations suites: what is expected of rows, of votes, of annotators and of comparisons.

An expectation's `meta` says in words what it is about (`title`, `bound`), how its observation reads (`unit`), and what
to do where it fails (`advice`); for rows it has the `reason` that goes to quarantine, and the advice is that reason's
own remedy. Importing this module takes seconds: do it late.
"""

from collections.abc import Sequence
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig

from repo.annotations.schema import COLUMNS
from repo.annotations.validation.causes import DECIDED, ENOUGH, FEW_BAD
from repo.annotations.validation.measures import PREFERENCES, REPLACED
from repo.settings import ValidationSettings


def run(name: str, frame: pd.DataFrame, expectations: Sequence[Any], index: str | None = None) -> list[dict[str, Any]]:
    """Validate one batch; returns Great Expectations' own result of each expectation, as JSON, in the given order.

    Args:
        name: the batch's name.
        frame: the batch.
        expectations: what is expected of it.
        index: the column that names a row in the lists of unexpected rows, which are then complete.
    """
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = context.data_sources.pandas_default.read_dataframe(frame, asset_name=name)
    suite = gx.ExpectationSuite(name=name, expectations=list(expectations))
    result_format = {"result_format": "COMPLETE", "unexpected_index_column_names": [index]} if index else "SUMMARY"
    results = [result.to_json_dict() for result in batch.validate(suite, result_format=result_format).results]
    for result in results:
        assert not result["exception_info"].get("raised_exception", True), result["exception_info"]
    order = [expectation.meta["title"] for expectation in expectations]
    return sorted(results, key=lambda result: order.index(result["expectation_config"]["meta"]["title"]))


def row_expectations(settings: ValidationSettings) -> list[Any]:
    """Return what is expected of every row of measure_rows on its own; a row that fails goes to quarantine."""
    longest, longest_id = settings.max_characters, settings.max_id_characters

    def between(column: str, title: str, reason: str, advice: str, low: int | None, high: int | None) -> Any:
        bound = f"at most {high} characters" if high else "some text"
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, severity="warning", meta=_row(title, bound, reason, advice)
        )

    too_long, id_too_long = f"is longer than {longest} characters", f"is longer than {longest_id} characters"
    shorten = "shorten or delete these rows, or raise validation.max_characters"
    other_id = "is data.columns.{} the right column? else shorten the ids, or raise validation.max_id_characters"
    return [
        between("prompt_characters", "Every prompt holds text", "the prompt is empty", _fill("prompt"), 1, None),
        between(
            "shorter_response_characters",
            "Every response holds text",
            "a response is empty",
            _fill("response"),
            1,
            None,
        ),
        between("prompt_characters", "No prompt is too long", f"the prompt {too_long}", shorten, None, longest),
        between(
            "longer_response_characters", "No response is too long", f"a response {too_long}", shorten, None, longest
        ),
        gxe.ExpectSelectColumnValuesToBeUniqueWithinRecord(
            column_list=["response_a_text", "response_b_text"],
            severity="warning",
            meta=_row(
                "The two responses differ",
                "different texts",
                "both responses are the same text",
                "delete these rows, there is nothing to choose between; where it is all of them, data.columns may name "
                "the wrong columns",
            ),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="preference",
            value_set=list(PREFERENCES),
            severity="warning",
            meta=_row(
                "Every preference is known",
                "a, b or tie",
                "preference is {value}, not a, b or tie",
                "say in the configuration what each value means, data.values: {a: [...], b: [...], tie: [...], "
                "skip: [...]}, or delete these rows",
            ),
        ),
        between(
            "annotator_id_characters",
            "Every annotation has an annotator",
            "annotator_id is missing",
            "give each row the id of who judged, or delete these rows",
            1,
            None,
        ),
        between(
            "annotator_id_characters",
            "No annotator id is too long",
            f"annotator_id {id_too_long}",
            other_id.format("annotator_id"),
            None,
            longest_id,
        ),
        between(
            "comparison_id_characters",
            "No comparison id is too long",
            f"comparison_id {id_too_long}",
            other_id.format("comparison_id"),
            None,
            longest_id,
        ),
    ]


def id_expectations() -> list[Any]:
    """Return what is expected of comparison ids (measure_ids); a row that fails goes to quarantine."""
    return [
        _null(
            "differs_from_row",
            "A comparison id names one pair",
            "the same comparison_id names another prompt or pair of responses at {place}",
            "give every pair of responses a comparison_id of its own, or leave the column out: then a comparison is "
            "known by its texts",
        )
    ]


def ballot_expectations() -> list[Any]:
    """Return what is expected of a person's votes on a pair (measure_ballots); a row that fails goes to quarantine."""
    return [
        _null(
            "repeats_row",
            "No vote is given twice",
            "the same vote stands at {place}",
            "delete the copies; is a file read twice, or does one annotator_id stand for several people?",
        ),
        _null(
            "contradicts_row",
            "No annotator contradicts themselves",
            "the same annotator voted otherwise on this comparison at {place}; times in created_at would tell which "
            "vote is the later one",
            "give the time of each vote in created_at (as 2024-05-01T10:00:00Z or in seconds since 1970), then the "
            "latest counts; does one annotator_id stand for several people?",
        ),
        _null(
            REPLACED,
            "No vote is revised",
            "replaced by the later vote at {place}",
            "nothing: the latest vote counts, by created_at",
            severity="info",
        ),
    ]


def intake_expectations(settings: ValidationSettings) -> list[Any]:
    """Return what is expected of all rows read (`quarantined`: 1 or 0; votes that their annotator revised are 0)."""
    most = settings.max_bad_rows
    return [
        gxe.ExpectColumnMeanToBeBetween(
            column="quarantined",
            max_value=most,
            severity="critical",
            meta={
                "title": FEW_BAD,
                "bound": f"at most {most:.1%} of rows in quarantine",
                "unit": "{:.1%} of rows in quarantine",
                "advice": "repair the rows in quarantine, or raise validation.max_bad_rows",
            },
        )
    ]


def table_expectations() -> list[Any]:
    """Return what is expected of the canonical table itself."""
    return [
        gxe.ExpectTableColumnsToMatchSet(
            column_set=list(COLUMNS),
            exact_match=True,
            severity="critical",
            meta={
                "title": "Every canonical column is there",
                "bound": f"{len(COLUMNS)} columns",
                "unit": "{} columns",
                "advice": "read the files with read_annotations",
            },
        ),
    ]


def vote_expectations(settings: ValidationSettings, positions_known: bool) -> list[Any]:
    """Return what is expected of the kept annotations (measure_votes)."""
    expectations = [
        gxe.ExpectColumnSumToBeBetween(
            column="decided",
            min_value=1,
            severity="critical",
            meta={
                "title": DECIDED,
                "bound": "at least one vote for a response",
                "unit": "{:.0f} votes for a response",
                "advice": "all votes are ties, and ties teach no preference: collect votes for one of the responses",
            },
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="tie",
            max_value=settings.max_tie_share,
            severity="warning",
            meta={
                "title": "Not too many ties",
                "bound": f"at most {settings.max_tie_share:.1%} ties",
                "unit": "{:.1%} ties",
                "advice": "are the responses too alike, or the instructions unclear? data.ties=split keeps half votes",
            },
        ),
    ]
    return [*expectations, _position_balance(settings)] if positions_known else expectations


def annotator_expectations(settings: ValidationSettings) -> list[Any]:
    """Return what is expected of annotators (measure_annotators)."""
    least = settings.min_annotations_per_annotator
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="annotations",
            min_value=least,
            severity="warning",
            meta={
                "title": "Every annotator has judged enough",
                "bound": f"at least {least} annotations each",
                "unit": "{} of {} annotators have fewer",
                "advice": "their reliability stays close to its initial value: collect more, or read it with caution",
            },
        )
    ]


def comparison_expectations(settings: ValidationSettings) -> list[Any]:
    """Return what is expected of usable comparisons (measure_comparisons)."""
    return [
        gxe.ExpectTableRowCountToBeBetween(
            min_value=settings.min_comparisons,
            severity="critical",
            meta={
                "title": ENOUGH,
                "bound": f"at least {settings.min_comparisons} usable comparisons",
                "unit": "{:.0f} usable comparisons",
                "advice": "collect more annotations, or lower validation.min_comparisons",
            },
        ),
        gxe.ExpectColumnMeanToBeBetween(
            column="several_annotators",
            min_value=settings.min_overlap,
            severity="warning",
            meta={
                "title": "Annotators overlap",
                "bound": f"at least {settings.min_overlap:.1%} of comparisons judged by several annotators",
                "unit": "{:.1%} of comparisons judged by several annotators",
                "advice": "without overlap, annotators can only be compared with the policy, not with each other",
            },
        ),
    ]


def _position_balance(settings: ValidationSettings) -> Any:
    low, high = 0.5 - settings.max_position_bias, 0.5 + settings.max_position_bias
    return gxe.ExpectColumnMeanToBeBetween(
        column="first_shown_won",
        min_value=low,
        max_value=high,
        severity="warning",
        meta={
            "title": "Position does not decide",
            "bound": f"the response shown first gets {low:.1%} to {high:.1%} of votes",
            "unit": "the response shown first got {:.1%} of votes",
            "advice": "show the responses in random order; annotators may favour a side",
        },
    )


def _null(column: str, title: str, reason: str, advice: str, severity: str = "warning") -> Any:
    return gxe.ExpectColumnValuesToBeNull(column=column, severity=severity, meta=_row(title, "none", reason, advice))


def _fill(what: str) -> str:
    return (
        f"give these rows their {what}, or delete them; where it is all of them, data.columns may name the wrong column"
    )


def _row(title: str, bound: str, reason: str, advice: str) -> dict[str, str]:
    return {"title": title, "bound": bound, "unit": "{} of {} rows", "advice": advice, "reason": reason}
