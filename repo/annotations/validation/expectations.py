"""The Great Expectations suites: what is expected of rows, of votes, of annotators and of comparisons.

An expectation's `meta` says in words what it is about (`title`, `bound`, `advice`), how its observation reads
(`unit`), and for rows the `reason` that goes to quarantine. Importing this module takes seconds: do it late.
"""

from collections.abc import Sequence
from typing import Any

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig

from repo.annotations.schema import COLUMNS
from repo.annotations.validation.measures import PREFERENCES
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
    """Return what is expected of every row of measure_rows; a row that fails goes to quarantine."""
    longest, longest_id = settings.max_characters, settings.max_id_characters

    def between(column: str, title: str, reason: str, low: int | None, high: int | None) -> Any:
        bound = f"at most {high} characters" if high else "some text"
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=low, max_value=high, severity="warning", meta=_row(title, bound, reason)
        )

    def null(column: str, title: str, reason: str) -> Any:
        return gxe.ExpectColumnValuesToBeNull(column=column, severity="warning", meta=_row(title, "none", reason))

    too_long, id_too_long = f"is longer than {longest} characters", f"is longer than {longest_id} characters"
    return [
        between("prompt_characters", "Every prompt holds text", "the prompt is empty", 1, None),
        between("shorter_response_characters", "Every response holds text", "a response is empty", 1, None),
        between("prompt_characters", "No prompt is too long", f"the prompt {too_long}", None, longest),
        between("longer_response_characters", "No response is too long", f"a response {too_long}", None, longest),
        gxe.ExpectSelectColumnValuesToBeUniqueWithinRecord(
            column_list=["response_a_text", "response_b_text"],
            severity="warning",
            meta=_row("The two responses differ", "different texts", "both responses are the same text"),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="preference",
            value_set=list(PREFERENCES),
            severity="warning",
            meta=_row("Every preference is known", "a, b or tie", "preference is {value}, not a, b or tie"),
        ),
        between("annotator_id_characters", "Every annotation has an annotator", "annotator_id is missing", 1, None),
        between(
            "annotator_id_characters", "No annotator id is too long", f"annotator_id {id_too_long}", None, longest_id
        ),
        between(
            "comparison_id_characters", "No comparison id is too long", f"comparison_id {id_too_long}", None, longest_id
        ),
        null("repeats_row", "No vote is given twice", "the same vote stands at {place}"),
        null(
            "contradicts_row",
            "No annotator contradicts themselves",
            "the same annotator voted otherwise on this comparison at {place}",
        ),
        null(
            "differs_from_row",
            "A comparison id names one pair",
            "the same comparison_id names another prompt or pair of responses at {place}",
        ),
    ]


def intake_expectations(settings: ValidationSettings) -> list[Any]:
    """Return what is expected of all rows read (`quarantined`: 1 or 0)."""
    most = settings.max_bad_rows
    return [
        gxe.ExpectColumnMeanToBeBetween(
            column="quarantined",
            max_value=most,
            severity="critical",
            meta={
                "title": "Few rows are bad",
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
                "title": "Not all votes are ties",
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
                "title": "There are enough comparisons",
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


def _row(title: str, bound: str, reason: str) -> dict[str, str]:
    advice = "look at these rows in the quarantine file; they are left out"
    return {"title": title, "bound": bound, "unit": "{} of {} rows", "advice": advice, "reason": reason}
