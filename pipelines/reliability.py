"""The command `repo-pipeline reliability`: labels, and margins where there are some, to reliabilities. No training."""

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.output import check_output, write_output
from repo.errors import UserError
from repo.settings import ReliabilitySettings, Settings, leaves
from repo.uris import public_name

if TYPE_CHECKING:
    import pandas as pd

    from repo.annotations.reading.crowd_tables import ReadVotes
    from repo.annotations.validation.suite import ValidationResult
    from repo.reliability.estimate import Estimate
    from repo.reliability.estimator import AnnotatorReliability
    from repo.reliability.state import ReliabilityState
    from repo.reporting.report import Report

FILES = (
    "reliability.json",
    "reliability_state.json",
    "labels.csv",
    "report.html",
    "doubtful_labels.jsonl",
    "quarantine.jsonl",
)
"""What an output directory may hold, the last only where rows were left out."""
_SECTIONS = ("data.", "validation.", "reliability.")
_MAIN_SETTINGS = {
    f"reliability.{name}" for name in ("estimator", "calibrate", "coins", "initial", "prior_strength", "confidence")
}


@dataclass(frozen=True)
class Sources:
    """The files to read; '' for what is not given."""

    annotations: str
    margins: str = ""
    gold: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        fitted: the estimator, fitted.
        table: the labels in use, canonical, with `margin` (S of the label as given) and `posterior`.
        names: what the two responses of each comparison are called; see name_responses.
        classes: names of the two classes of a crowd table.
        report: the page, the doubtful labels, and the content of reliability.json.
        notes: what a person should know about the data.
    """

    fitted: "AnnotatorReliability"
    table: "pd.DataFrame"
    names: "pd.DataFrame"
    classes: tuple[str, str] | None
    report: "Report"
    notes: list[str]


def run(sources: Sources, settings: Settings, output: Path | None) -> Outcome:
    """Read, validate, estimate, and write the output directory where there is to be one.

    Raises:
        UserError: a file, a setting or the output directory does not allow it.
    """
    if settings.reliability.estimator == "none":
        raise UserError("reliability.estimator=none estimates nothing", "leave it out, or choose full")
    from repo.annotations.reading.pseudonyms import with_pseudonyms

    settings = with_pseudonyms(settings)
    if output:
        check_output(output, FILES)
    state = _prior_state(settings.reliability)
    votes, checked = _read(sources.annotations, settings, output)
    outcome = _estimate(sources, settings, votes, checked, state)
    if output:
        write_output(output, FILES, lambda directory: _save(outcome, checked, directory))
    return outcome


def _prior_state(settings: ReliabilitySettings) -> "ReliabilityState | None":
    if not settings.prior_state:
        return None
    if settings.prior_state.startswith("models:/"):
        return _state_of_model(settings.prior_state)
    from repo.reliability.state import load_state

    return load_state(settings.prior_state)


def _state_of_model(uri: str) -> "ReliabilityState":
    """Fetch the state of a registered model from the server in MLFLOW_TRACKING_URI, or from `.repo`."""
    from repo.tracking.store import choose_store

    store = choose_store()
    if not store.exists:
        problem = f"reliability.prior_state: {uri}: MLFLOW_TRACKING_URI is not set, and there is no .repo here"
        raise UserError(problem, "run this beside .repo, set MLFLOW_TRACKING_URI, or give a reliability_state.json")
    with store.opened():
        from repo.tracking.policies import prior_state_of

        return prior_state_of(uri)


def _read(annotations: str, settings: Settings, output: Path | None) -> tuple["ReadVotes", "ValidationResult"]:
    """Read and validate; of a batch that does not pass, only the quarantine is kept, and no earlier output is lost."""
    from repo.annotations.reading.crowd_tables import read_votes
    from repo.annotations.validation.suite import validate

    votes = read_votes(annotations, settings.data)
    checked = validate(votes.read, settings)
    try:
        checked.raise_if_failed()
    except UserError as error:
        if not checked.quarantine:
            raise
        where = "a new --output DIR keeps quarantine.jsonl"
        if output and not (output / "reliability.json").exists():
            write_output(output, FILES, lambda directory: _save_quarantine(checked, directory))
            where = f"quarantine.jsonl is in {output}"
        raise UserError(error.problem, f"{error.remedy}; {where}") from None
    return votes, checked


def _estimate(
    sources: Sources,
    settings: Settings,
    votes: "ReadVotes",
    checked: "ValidationResult",
    state: "ReliabilityState | None",
) -> Outcome:
    from repo.annotations.comparisons.margins import read_margins
    from repo.annotations.comparisons.orientation import name_responses
    from repo.annotations.inspection import inspection_of
    from repo.annotations.reading.crowd_tables import without_texts
    from repo.reliability.estimate import estimate

    table = without_texts(checked.annotations) if votes.classes else checked.annotations
    names = name_responses(votes.read.annotations, votes.classes)
    table, anchored, notes = _anchored(sources.gold, table, names, settings)
    margin = None
    if sources.margins:
        margins = read_margins(sources.margins, table, names)
        margin, notes = margins.values, [*notes, *margins.notes]
    try:
        origin = "none" if margin is None else "given"
        found = estimate(table, anchored.reliability, margin, origin, state, classes=votes.classes is not None)
    except ValueError as error:
        remedy = "change that in the annotations, or the settings under `reliability`"
        raise UserError(f"the reliabilities cannot be estimated: {error}", remedy) from None
    assert found.fitted is not None, "only estimator none fits nothing"
    side = table["preference"].map({"a": 1.0, "b": -1.0})
    table = table.assign(margin=float("nan") if margin is None else side * margin, posterior=found.posterior)
    report = _report(sources, anchored, votes, table, found)
    understood = inspection_of(votes).one_line()
    return Outcome(found.fitted, table, names, votes.classes, report, [understood, *_findings(votes, checked), *notes])


def _anchored(
    gold: str, table: "pd.DataFrame", names: "pd.DataFrame", settings: Settings
) -> tuple["pd.DataFrame", Settings, list[str]]:
    """Take known answers from a file, which goes before the annotations' own; returns table, settings and notes."""
    from repo.annotations.comparisons.gold import read_gold

    notes: list[str] = []
    if gold:
        given, notes = read_gold(gold, table, names)
        own = table["gold"] if settings.reliability.use_gold else ""
        table = table.assign(gold=given.where(given != "", own))
        reliability = settings.reliability.model_copy(update={"use_gold": True})
        settings = settings.model_copy(update={"reliability": reliability})
    elif settings.reliability.use_gold and not (table["gold"] != "").any():
        raise UserError("reliability.use_gold: no annotation has gold", "give --gold FILE, or leave the setting out")
    return table, settings, notes


def _findings(votes: "ReadVotes", checked: "ValidationResult") -> list[str]:
    """Return what validation has to say, in words."""
    failed = [outcome for outcome in checked.expectations if not outcome.passed and outcome.severity != "info"]
    rows = votes.read.annotations
    left = rows["comparison_id"].nunique() - checked.summary.comparisons
    notes = [*checked.notes]
    if checked.quarantine:
        first = checked.quarantine[0]
        count = f"{len(checked.quarantine):,} of {checked.summary.rows_read:,} rows are left out"
        notes.append(f"{count}, the first: {first.place}: {'; '.join(first.reasons)}")
    if left:
        notes.append(f"{left:,} comparisons are left out: no label of theirs remains")
    return [*notes, *(f"{outcome.title}? {outcome.observed}: {outcome.advice}" for outcome in failed)]


def _report(
    sources: Sources, settings: Settings, votes: "ReadVotes", table: "pd.DataFrame", found: "Estimate"
) -> "Report":
    from repo.reporting.report import ReportInputs, build_report

    given = {name: public_name(value) for name, value in asdict(sources).items()}
    return build_report(
        ReportInputs(
            title=f"{'Labels' if votes.classes else 'Annotations'} from {given['annotations']}",
            model_name=None,
            settings=[*((name, value) for name, value in given.items() if value), *_main_settings(settings)],
            reliability=found.record,
            labels=table,
            history=[],
            true_reliability=None,
            doubtful=settings.evaluation.doubtful,
            classes=votes.classes,
        )
    )


def _main_settings(settings: Settings) -> list[tuple[str, str]]:
    """Return the settings that make the result what it is, and those that were changed."""
    defaults = dict(leaves(Settings()))
    return [
        (name, str(value))
        for name, value in leaves(settings)
        if name in _MAIN_SETTINGS or (name.startswith(_SECTIONS) and value != defaults[name])
    ]


def _save(outcome: Outcome, checked: "ValidationResult", directory: Path) -> None:
    from repo.files import write_text
    from repo.reporting.report import write_report

    write_report(outcome.report, directory)
    outcome.fitted.state_.save(directory / "reliability_state.json")
    write_text(directory / "labels.csv", labels_csv(outcome))
    if checked.quarantine:
        _save_quarantine(checked, directory)


def _save_quarantine(checked: "ValidationResult", directory: Path) -> None:
    from repo.annotations.validation.suite import QUARANTINE
    from repo.files import write_jsonl

    write_jsonl(directory / QUARANTINE, (asdict(row) for row in checked.quarantine))


def labels_csv(outcome: Outcome) -> str:
    """Return the better response, or the class, of every comparison as CSV: comparison, label, posterior, votes."""
    fitted = outcome.fitted
    direction = dict(zip(fitted.comparisons_.tolist(), fitted.direction_.tolist(), strict=True))
    votes = outcome.table.groupby("comparison_id", sort=False)["weight"].sum().round().astype(int)
    names = outcome.names.loc[votes.index]
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["comparison", "label", "posterior", "votes"])
    for comparison, count, a, b in zip(votes.index, votes, names["a"], names["b"], strict=True):
        q = direction[comparison]
        rows.writerow([comparison, a if q >= 0.5 else b, max(q, 1 - q), count])
    return text.getvalue()
