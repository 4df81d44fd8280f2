"""One simulated report for all tests of the page."""

import pytest
from reporting_examples import TRUTH, report_inputs, simulated_labels

from repo.reporting.report import Report, ReportInputs, build_report


@pytest.fixture(scope="session")
def simulated() -> ReportInputs:
    return report_inputs(simulated_labels(), true_reliability=TRUTH)


@pytest.fixture(scope="session")
def report(simulated) -> Report:
    return build_report(simulated)
