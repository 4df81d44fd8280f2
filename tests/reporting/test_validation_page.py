import pytest
from reporting_examples import BAD_ROWS, HOSTILE, OVERLAP, text_of, validation_result

from repo.annotations.validation.suite import ExpectationOutcome
from repo.reporting.validation_page import render_validation

FAILED = ExpectationOutcome(
    title="Enough comparisons",
    severity="critical",
    passed=False,
    observed="4 comparisons",
    bound="at least 10",
    advice="Collect more comparisons.",
)


def test_a_passed_batch_says_so_with_its_counts_and_warnings():
    text = text_of(render_validation(validation_result()))
    assert "Passed: 1,297 of 1,300 rows can be used, with 1 warning." in text
    assert "Let several people judge a tenth of the comparisons." in text
    assert "Mend the rows in quarantine." not in text, "advice is for what failed"
    assert "Ties were dropped." in text
    assert "0123abcd" in text


def test_a_failed_batch_says_what_stopped_it_first():
    text = text_of(render_validation(validation_result([BAD_ROWS, OVERLAP, FAILED])))
    assert "Stopped: 1 critical expectation failed." in text
    assert text.index("Enough comparisons") < text.index("Several people judge") < text.index("Most rows can be used")


@pytest.mark.parametrize(("quarantined", "shown"), [(0, 0), (3, 3), (250, 100)])
def test_the_first_hundred_quarantined_rows_are_shown(quarantined, shown):
    html = render_validation(validation_result(quarantined=quarantined))
    assert html.count("response_b: empty") == shown
    assert ("here are the first 100" in html) == (quarantined > 100)


def test_hostile_rows_are_escaped_and_the_page_is_deterministic():
    hostile = validation_result(
        [BAD_ROWS], reason=HOSTILE, file=HOSTILE, row={HOSTILE: HOSTILE, "bytes": b"\xff", "surrogate": "\ud800"}
    )
    html = render_validation(hostile)
    assert "<script" not in html
    assert html.count("</style>") == 1
    html.encode("utf-8")
    assert html == render_validation(hostile)
