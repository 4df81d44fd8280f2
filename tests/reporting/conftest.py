"""One simulated report for all tests of the page."""

import pytest
from reporting_examples import TRUTH, simulated_labels, trained_inputs

from repo.reporting.report import Report, ReportInputs, build_report


@pytest.fixture(scope="session")
def simulated() -> ReportInputs:
    return trained_inputs(simulated_labels(), TRUTH)


@pytest.fixture(scope="session")
def report(simulated) -> Report:
    return build_report(simulated)
