"""What MLflow shows above a run, a model and a version: Markdown with the verdict, figures, people and links.

Whatever came with the data (ids, names of batches, a rule's reason that names somebody) is escaped character by
character: in MLflow's page it can be neither Markdown nor HTML, and no address in it becomes a link.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repo.reporting.text import count, interval, short, showable, signed, with_interval

ANNOTATORS_NAMED = 8
BATCHES_NAMED = 5
"""Names in a description; MLflow keeps 8,000 characters of one, and an escaped character takes up to ten."""
_ID, _REASON = 32, 160
"""Characters shown."""

_PLAIN_OR_NOT = re.compile(r"([^\W_]|[^\x00-\x7f]|[ ,()]|(?<=\w)-(?=\w)|(?<=\d)\.(?=\d))|.", re.DOTALL)
"""A character; as the group, where it means nothing in Markdown or HTML."""


@dataclass(frozen=True)
class Places:
    """Addresses of pages that a description links to.

    Attributes:
        run: the pipeline's run.
        report: its report.
        version: the registered version.
    """

    run: str
    report: str
    version: str


def escaped(text: str, length: int = _ID) -> str:
    """Return text on one line, cut to `length` characters, that reads as it is in Markdown, a table and HTML."""
    return _PLAIN_OR_NOT.sub(lambda found: found[1] or f"&#{ord(found[0])};", short(showable(text), length))


def run_note(
    evaluation: Mapping[str, Any],
    verdict: Mapping[str, Any],
    reliability: Mapping[str, Any],
    drift: Mapping[str, Any] | None,
    places: Places,
    pipeline_run: str,
) -> str:
    """Return the description of a pipeline run that made a candidate; its first line is to be replaced by what follows.

    Args:
        evaluation: content of evaluation.json.
        verdict: content of verdict.json.
        reliability: content of reliability.json.
        drift: content of drift.json, after a retraining.
        places: what to link to.
        pipeline_run: Kubeflow's id of the run.
    """
    passed = verdict["decision"] == "promote"
    found = [*_figures(evaluation), "", *_people(reliability, drift)]
    lines = [
        "**Passed the gate.**" if passed else "**Rejected by the gate.**",
        # Of a long description MLflow shows the beginning, and only in the first two lines can links be clicked.
        f"[Report]({places.report}) · [model version]({places.version}) · pipeline run {escaped(pipeline_run, 40)}",
        "",
        # Why a candidate failed is read first; that it passed every rule, last.
        *([*found, "", *_reasons(verdict)] if passed else [*_reasons(verdict), "", *found]),
    ]
    return "\n".join(lines)


def version_note(
    evaluation: Mapping[str, Any],
    verdict: Mapping[str, Any],
    reliability: Mapping[str, Any],
    loss: str,
    batches: Sequence[str],
    places: Places,
) -> str:
    """Return the description of a version. Args: as for run_note; the loss, and the batches that it was trained on."""
    accuracy = with_interval(evaluation["policies"]["candidate"][evaluation["target"]]["accuracy"])
    people = count(len(reliability["annotators"]), "annotator")
    lines = [
        f"**Verdict: {verdict['decision']}.** Made by [this run]({places.run}); its [report]({places.report}).",
        "",
        f"* loss {escaped(loss)}; accuracy against {escaped(evaluation['target'])} {accuracy}",
        f"* trained on labels of {people}",
        *([f"* from {count(len(batches), 'batch', 'batches')}: {_named(batches)}"] if batches else []),
        "",
        *_reasons(verdict),
    ]
    return "\n".join(lines)


def line_note(model_name: str, origin: str = "") -> str:
    """Return the description of a registered model: what its versions are, what the aliases mean, how to load it."""
    return "\n".join(
        [
            f"Policies aligned on noisy preferences by RE-PO's pipelines. {origin}".strip(),
            "",
            "* `champion` serves: it passed the gate, or a person forced it: tags `decision.…` say who and why",
            "* `challenger` is the newest candidate, whatever the gate thought of it; the tag `verdict` says",
            "* `previous-champion` is what a rollback goes back to",
            "",
            f'`mlflow.transformers.load_model("models:/{model_name}@champion")` loads what serves.',
        ]
    )


def nothing_trained(why: str) -> str:
    """Return the description of a run that ended before a training."""
    return f"**Nothing to train on**: {escaped(why, _REASON)}."


def promoted(model_name: str, version: str, previous: str | None) -> str:
    """Return the first line of a run's description once its version has become champion."""
    instead = f", in place of version {previous}" if previous else ""
    return f"**Promoted**: {escaped(model_name, 60)} version {version} became champion{instead}."


def rolled_back(model_name: str, version: str, by: str, reason: str) -> str:
    """Return the first line of a run's description once its version was taken out of service."""
    why = f": {escaped(reason, _REASON)}" if reason else ""
    return f"**Rolled back**: {escaped(model_name, 60)} version {version}, by {escaped(by, 60)}{why}."


def declined(model_name: str, version: str, by: str, reason: str) -> str:
    """Return the first line of a run's description once a person has declined its version."""
    return (
        f"**Declined**: {escaped(model_name, 60)} version {version}, by {escaped(by, 60)}: {escaped(reason, _REASON)}."
    )


def left_to_a_person(model_name: str, version: str) -> str:
    """Return the first line of a run's description where its version waits for approval as the run ends."""
    return f"**Passed the gate**: {escaped(model_name, 60)} version {version} was left to a person's approval."


def _reasons(verdict: Mapping[str, Any]) -> list[str]:
    return ["**The gate's reasons**", "", *(f"* {escaped(reason, _REASON)}" for reason in verdict["reasons"])]


def _figures(evaluation: Mapping[str, Any]) -> Iterator[str]:
    target = evaluation["target"]
    yield f"| accuracy against {escaped(target)} | {evaluation['confidence']:.0%} interval | gain of the candidate |"
    yield "|---|---|---|"
    for name, targets in evaluation["policies"].items():
        gain = with_interval(evaluation["gains"][name]) if name in evaluation["gains"] else ""
        yield f"| {name} | {with_interval(targets[target]['accuracy'])} | {gain} |"


def _people(reliability: Mapping[str, Any], drift: Mapping[str, Any] | None) -> list[str]:
    changed = {row["annotator"]: row for row in drift["annotators"] if row["changed"]} if drift else {}
    rows = sorted(reliability["annotators"], key=lambda row: (row["reliability"], row["annotator_id"]))
    findings = [(row, _findings(row, changed.get(row["annotator_id"]))) for row in rows]
    named = [(row, found) for row, found in findings if found]
    if not named:
        return ["No annotator stands out."]
    more = len(named) - ANNOTATORS_NAMED
    return [
        "**Annotators to look at**, with their reliability",
        "",
        *(
            f"* {escaped(row['annotator_id'])} {row['reliability']:.2f}: {'; '.join(found)}"
            for row, found in named[:ANNOTATORS_NAMED]
        ),
        *([f"* and {count(more, 'more annotator')}: see the report"] if more > 0 else []),
    ]


def _findings(row: Mapping[str, Any], change: Mapping[str, Any] | None) -> list[str]:
    """Return what stands out; an estimate alone is no reason to name anybody, only an interval is."""
    found = []
    bounds, leaning = row["interval"], row["first_preference_interval"]
    if bounds and bounds[1] < 0.5 and not row["pinned"]:
        found.append(f"more often wrong than right ({interval(bounds)})")
    if change:
        found.append(f"was {change['before']:.2f}, new votes say {change['now']:.2f}")
    if leaning and not leaning[0] <= 0 <= leaning[1]:
        side = "first" if row["first_preference"] > 0 else "second"
        found.append(f"prefers the {side} answer ({signed(row['first_preference'])})")
    return found


def _named(batches: Sequence[str]) -> str:
    more = len(batches) - BATCHES_NAMED
    return ", ".join(map(escaped, batches[:BATCHES_NAMED])) + (f" and {more:,} more" if more > 0 else "")
