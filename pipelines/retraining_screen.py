"""What `repo-pipeline retrain` prints: what was found in the inbox, and how a pass ended."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.inbox import describe
from pipelines.nights import judged_batches
from pipelines.summary import shortened, summarise
from repo.files import read_json
from repo.inbox.look import State
from repo.reporting.text import interval
from repo.settings import Settings

if TYPE_CHECKING:
    from pipelines.local import LocalRun
    from repo.tracking.passes import Look

_MOST_NAMED = 10


def describe_look(found: "Look") -> str:
    """Return what lies in the inbox and why nothing was trained; consumed batches are only counted."""
    return f"{describe(found.batches, hidden=(State.CONSUMED,))}\n{found.words}"


def describe_pass(finished: "LocalRun", inbox: str, settings: Settings, store: Path | None) -> str:
    """Return how a pass ended: what became of the batches, then what `run` says, with who has changed."""
    from repo.tracking.runs import artifact_of, steps_of

    folder = finished.log.parent.parent / "reports" / finished.log.stem
    names = [step.name for step in steps_of(finished.run_id)]
    _, batches = judged_batches(finished.run_id, folder)
    lines = ["", describe(batches, hidden=(State.CONSUMED,))]
    if "gate" not in names:
        return "\n".join([*lines, "nothing was trained: the reasons stand above", f"log: {finished.log}"])
    drift = artifact_of(finished.run_id, "train", "training/drift.json", folder)
    return "\n".join(
        [
            *lines,
            summarise(finished, inbox, settings, store),
            *(drift_lines(read_json(drift)) if drift.exists() else []),
        ]
    )


def drift_lines(drift: dict[str, Any]) -> list[str]:
    """Return who has changed since the champion, who is new, who gave no vote."""
    changed = [row for row in drift["annotators"] if row["changed"]]
    lines = [
        f"changed since version {drift['version']}: {shortened(row['annotator'])}, reliability {row['before']:.3f} "
        f"{interval(row['before_interval'])} → {row['now']:.3f} {interval(row['now_interval'])}"
        for row in changed
    ]
    if not changed:
        lines = [f"nobody's reliability has changed since version {drift['version']}"]
    for key, words in (("new", "new annotators"), ("gone", "without a vote this time")):
        if drift[key]:
            shown = ", ".join(map(shortened, drift[key][:_MOST_NAMED]))
            more = len(drift[key]) - _MOST_NAMED
            lines.append(f"{words}: {shown}" + (f" and {more:,} more" if more > 0 else ""))
    return lines
