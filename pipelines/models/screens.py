"""What `repo-pipeline models` prints."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.summary import aligned, number, printable, reliability_lines, shortened, warning_lines
from repo.reporting.text import count, decimal, interval, short, with_interval

if TYPE_CHECKING:
    from repo.tracking.details import Comparison, Details
    from repo.tracking.promotion import Change
    from repo.tracking.registry import ModelInfo

_WIDTH = 100
_MOST_BATCHES = 10
_MOST_MOVED = 20


def models_table(name: str, infos: Sequence["ModelInfo"], others: Sequence[str]) -> str:
    """Return the registered versions as a table, and what waits for a person.

    Args:
        name: registered model.
        infos: its versions.
        others: registered models of the same store; a retraining pass makes its own before the first version.
    """
    if not infos:
        others = [other for other in others if other != name]
        elsewhere = f"; other models here: {', '.join(others)} (--model NAME)" if others else ""
        return f"no version of {name} yet: `repo-pipeline run` makes one{elsewhere}"
    rows = [
        (
            info.version,
            ", ".join(info.aliases),
            info.loss,
            number(info.accuracy),
            str(info.annotators or ""),
            number(info.mean_reliability),
            _verdict(info),
            info.created,
        )
        for info in infos
    ]
    head = ("version", "alias", "loss", "accuracy", "annotators", "mean reliability", "verdict", "registered")
    return "\n".join([name, *aligned(head, rows), *_waiting_lines(name, infos)])


def _verdict(info: "ModelInfo") -> str:
    # A rollback that was cut short is on record, and the version still serves.
    left = bool(info.decisions) and info.decisions[-1].what == "rolled back" and "champion" not in info.aliases
    marks = [
        *(["forced"] if info.forced else []),
        *([f"approval: {info.approval}"] if info.approval else []),
        *(["rolled back"] if left else []),
    ]
    return f"{info.verdict} ({', '.join(marks)})" if marks else info.verdict


def _waiting_lines(name: str, infos: Sequence["ModelInfo"]) -> Iterator[str]:
    from repo.tracking.promotion import approval_command
    from repo.tracking.registry import CHAMPION, WAITING, version_called

    current = version_called(infos, CHAMPION)
    for info in infos:
        if info.approval != WAITING:
            continue
        if info.compared_with == (current.version if current else ""):
            yield f"version {info.version} waits for approval: {approval_command(name, info.version)}"
        else:
            yield f"version {info.version} waits for approval, but was compared with another champion than the present"


def describe_version(details: "Details", everybody: bool) -> str:
    """Return what is known of a version.

    Args:
        details: all of it.
        everybody: whether to show every annotator.
    """
    info = details.info
    sections = [
        [f"{details.model} version {info.version}" + (f" ({', '.join(info.aliases)})" if info.aliases else "")],
        aligned_facts(_facts(details)),
        _settings_lines(details.changed),
        _evaluation_lines(details.evaluation),
        _gate_lines(details),
        [*_reliability_lines(details.reliability, everybody)],
        [f"{decision.words}" for decision in info.decisions],
        [f"cannot be had: {reason}" for reason in details.missing],
    ]
    return "\n\n".join("\n".join(map(printable, section)) for section in sections if section)


def aligned_facts(facts: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and values in two columns, without those that are not known."""
    width = max(len(name) for name, _ in facts)
    return [f"{name.ljust(width)}  {value}" for name, value in facts if value]


def _facts(details: "Details") -> list[tuple[str, str]]:
    info = details.info
    return [
        ("verdict", _verdict(info)),
        ("registered", info.created),
        ("promoted", info.promoted_at + (f", in place of version {info.promoted_from}" if info.promoted_from else "")),
        ("loss", info.loss),
        ("went on from", _parent(details)),
        ("compared with", f"version {info.compared_with}" if info.compared_with else ""),
        ("copied from", info.copied_from),
        ("annotations", _digest(info.data_digest) + (" (simulated)" if info.simulated else "")),
        ("batches", _batches(details)),
        ("exam", f"{info.exam} {_digest(info.exam_digest)}".strip()),
        ("policy", f"{info.source} {_digest(info.digest)}".strip()),
        ("settings", _digest(info.config_digest)),
        ("MLflow run", info.run_id),
        ("pipeline run", details.pipeline_run),
    ]


def _parent(details: "Details") -> str:
    line = " of the line that it comes from" if details.info.copied_from else ""
    return f"version {details.parent}{line}" if details.parent else ""


def _digest(digest: str) -> str:
    return f"sha256:{digest[:12]}…" if digest else ""


def _batches(details: "Details") -> str:
    if not details.seen:
        return ""
    own = list(details.batches.items())
    shown = ", ".join(f"{short(name)} ({_digest(digest)})" for name, digest in own[:_MOST_BATCHES])
    more = f" and {len(own) - _MOST_BATCHES:,} more" if len(own) > _MOST_BATCHES else ""
    return f"{shown}{more}; {count(details.seen, 'batch', 'batches')} seen in all"


def _settings_lines(changed: Mapping[str, tuple[str, str]]) -> list[str]:
    if not changed:
        return ["settings: the defaults"]
    rows = [(name, short(value, 60), short(was, 40)) for name, (value, was) in changed.items()]
    return aligned(("setting", "value", "default"), rows)


def _evaluation_lines(evaluation: Mapping[str, Any]) -> list[str]:
    if not evaluation:
        return []
    target = evaluation["target"]
    rows = [
        (
            name,
            with_interval(targets[target]["accuracy"]),
            with_interval(targets[target]["nll"]),
            decimal(targets[target]["calibration_error"]),
        )
        for name, targets in evaluation["policies"].items()
    ]
    head = ("policy", f"accuracy against {target}", "NLL", "calibration error")
    gains = [f"gain over {other}: {with_interval(gain)}" for other, gain in evaluation["gains"].items()]
    held_out = f"{evaluation['comparisons']:,} held-out comparisons of {evaluation['prompts']:,} prompts"
    return [*aligned(head, rows), *gains, f"{held_out}; {evaluation['confidence']:.0%} intervals"]


def _gate_lines(details: "Details") -> list[str]:
    return [
        line
        for rule in details.rules
        for line in textwrap.wrap(
            f"{'passed' if rule['passed'] else 'FAILED'}  {rule['reason']}", _WIDTH, subsequent_indent=" " * 8
        )
    ]


def _reliability_lines(reliability: dict[str, Any], everybody: bool) -> list[str]:
    if not reliability:
        return []
    lines = reliability_lines(reliability, {}, everybody)
    return [*lines, *warning_lines(reliability["warnings"])]


def describe_comparison(found: "Comparison") -> str:
    """Return how two versions differ."""
    first, second = (f"version {details.info.version}" for details in (found.first, found.second))
    warning = "" if found.same_exam else "  (they sat different exams: these figures cannot be held against each other)"
    figures = [(name, _figure(a), _figure(b)) for name, (a, b) in found.figures.items()]
    settings = [(name, short(a, 40), short(b, 40)) for name, (a, b) in found.settings.items()]
    facts = [
        ("verdict", _verdict(found.first.info), _verdict(found.second.info)),
        ("annotations", _digest(found.first.info.data_digest), _digest(found.second.info.data_digest)),
        ("annotators", str(found.first.info.annotators or ""), str(found.second.info.annotators or "")),
    ]
    sections = [
        aligned(("", first, second), [*facts, *figures]) + ([warning.strip()] if warning else []),
        aligned(("setting", first, second), settings) if settings else ["settings: the same"],
        _moved_lines(found, first, second),
        [f"cannot be had of {first}: {reason}" for reason in found.first.missing]
        + [f"cannot be had of {second}: {reason}" for reason in found.second.missing],
    ]
    return "\n\n".join("\n".join(map(printable, section)) for section in sections if section)


def _moved_lines(found: "Comparison", first: str, second: str) -> list[str]:
    known = count(found.common, "annotator")
    if not found.moved:
        return [f"of {known} known to both nobody's reliability moved beyond the intervals"]
    rows = [
        (
            shortened(row.annotator),
            f"{row.before:.3f} {interval(row.before_interval)}",
            f"{row.now:.3f} {interval(row.now_interval)}",
        )
        for row in found.moved[:_MOST_MOVED]
    ]
    more = len(found.moved) - _MOST_MOVED
    return [
        f"of {known} known to both, {len(found.moved):,} moved beyond both intervals:",
        *aligned(("annotator", first, second), rows),
        *([f"and {more:,} more (--json names all)"] if more > 0 else []),
    ]


def _figure(value: Any) -> str:
    if isinstance(value, Mapping):
        return with_interval(value)
    return number(value) if isinstance(value, float) else str("" if value is None else value)


def describe_change(change: "Change") -> str:
    """Return which version serves after a promotion."""
    left = f"; version {change.previous} is previous-champion" if change.previous else ""
    return f"{change.model} version {change.champion} is champion{left}"


def describe_rollback(change: "Change", batches: int) -> str:
    """Return which version serves after a rollback.

    Args:
        change: what was done.
        batches: how many batches the version that left was the first to see.
    """
    done = f"{change.model} version {change.champion} is champion again; version {change.previous} was rolled back"
    if not batches:
        return done
    again = (
        "the batch that it was the first to see is" if batches == 1 else f"the {batches:,} batches it brought in are"
    )
    return (
        f"{done}\n{again} new again: the next pass with another batch beside trains on them too. Take out of the inbox "
        "what was wrong with them, or set gate.approval=manual"
    )


def describe_copy(target: str, made: "ModelInfo") -> str:
    """Return what a copy is, and what can be done with it."""
    from repo.tracking.promotion import models_command

    lines = [
        f"{target} version {made.version} is {made.copied_from}; its bytes were verified (sha256:{made.digest[:12]}…)"
    ]
    if "champion" in made.aliases:
        return f"{lines[0]}; it is champion there"
    force = "" if made.compared_with is not None else ' --force --reason "…"'
    lines.append(f"to serve it: {models_command(f'promote {made.version}', target)}{force}")
    if force:
        lines.append("it was never compared with the champion there")
    return "\n".join(lines)
