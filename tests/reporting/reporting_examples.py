"""Examples to report on, estimated by the real estimator: a simulated run (10 annotators, 1,300 comparisons), a crowd
table without texts, hostile texts, a validated batch.
"""

import json
import re

import numpy as np
import pandas as pd

from repo.annotations.schema import empty_table
from repo.annotations.validation.suite import ExpectationOutcome, QuarantinedRow, ValidationResult, ValidationSummary
from repo.reliability.estimate import estimate
from repo.reporting.report import ReportInputs
from repo.settings import ReliabilitySettings

TRUTH = {
    **{f"careful-{i}": 0.95 for i in range(1, 5)},
    **{f"hasty-{i}": 0.80 for i in range(1, 4)},
    **{f"guessing-{i}": 0.60 for i in range(1, 3)},
    "adversarial-1": 0.20,
}

WORDS = "a careful answer names the source then explains each step in plain words before it ends"

HOSTILE = "<script>window.hacked=1</script>\"'&{{7*7}}\n\u202e\x00</style></svg>-->" + "x" * 10_000


def text_of(html):
    """Return what a page says, without mark-up, style and figures."""
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", body))


def label(comparison="c1", annotator="ann", preference="a", posterior=0.9, **columns):
    """One row of posteriors.parquet."""
    return {
        "comparison_id": comparison,
        "prompt": "How do I boil an egg?",
        "response_a": "Seven minutes in boiling water.",
        "response_b": "Put it in the microwave.",
        "messages": False,
        "preference": preference,
        "annotator_id": annotator,
        "gold": "",
        "shown_first": "",
        "weight": 1.0,
        "created_at": "",
        "file": "votes.jsonl",
        "line": 1,
        "margin": 0.5,
        "posterior": posterior,
        **columns,
    }


def simulated_labels(comparisons=1300, per_comparison=3, truth=TRUTH, first_bonus=0.0, seed=0):
    """Return labels with the margins of a model that is mostly right; response a is displayed first every other time.

    An annotator who is wrong names the response displayed first with probability ½ + `first_bonus`.
    """
    rng = np.random.default_rng(seed)
    words = WORDS.split()
    names, rows = list(truth), []
    for c in range(comparisons):
        gold = rng.choice(["a", "b"])
        texts = {side: " ".join(rng.choice(words, size=rng.integers(12, 140))).capitalize() + "." for side in "ab"}
        margin = rng.normal(1.6, 1.2)  # of the gold response over the other
        shown_first = rng.choice(["a", "b"])
        wrong = 2 * (0.5 + first_bonus * (1 if shown_first != gold else -1))
        for name in rng.choice(names, size=min(per_comparison, len(names)), replace=False):
            right = rng.random() >= wrong * (1 - truth[name])
            preference = gold if right else {"a": "b", "b": "a"}[gold]
            row = label(f"c{c:04}", str(name), preference, gold=gold, line=len(rows) + 1)
            prompt = f"Question {c}: " + " ".join(rng.choice(words, size=12)) + "?"
            row |= {"prompt": prompt, "response_a": texts["a"], "response_b": texts["b"], "shown_first": shown_first}
            rows.append({**row, "margin": margin if right else -margin})
    return pd.DataFrame(rows)


def crowd_table(tasks=120, workers=12, biased=2, seed=0):
    """Return labels of a crowd table: no texts, no margins; the last `biased` workers nearly always answer 'a'."""
    rng = np.random.default_rng(seed)
    empty = {"prompt": "", "response_a": "", "response_b": "", "margin": np.nan, "file": "label.csv"}
    rows = []
    for task in range(tasks):
        gold = rng.choice(["a", "b"])
        for worker in rng.choice(workers, size=6, replace=False):
            fair = gold if rng.random() < 0.85 else {"a": "b", "b": "a"}[gold]
            answer = "a" if worker >= workers - biased and rng.random() < 0.9 else fair
            rows.append(label(f"t{task:03}", f"w{worker:02}", answer, line=len(rows) + 2, **empty))
    return pd.DataFrame(rows)


def estimated(labels, origin="first_visit", state=None, classes=False, **settings):
    """Return (labels with their posteriors, content of reliability.json) as the estimator finds them."""
    sign = labels["preference"].map({"a": 1, "b": -1})
    margin = None if origin == "none" else (labels["margin"] * sign).to_numpy()
    made = estimate(labels, ReliabilitySettings(**settings), margin, origin, state, classes=classes)
    return labels.assign(posterior=made.posterior), made.record


def record_of(labels, **settings):
    """Return the content of reliability.json for votes alone."""
    return estimated(labels, "none", **settings)[1]


def plain_record(labels):
    """Return the content of reliability.json after a training with estimator "none"."""
    record = record_of(labels)
    nothing = {"interval": None, "first_preference": None, "first_preference_interval": None, "reliability": 1.0}
    return {
        **record,
        "estimator": "none",
        "coins": 1,
        "calibration": {"temperature": 1.0, "intercept": 0.0},
        "margins": "last_visit",
        "warnings": [],
        "annotators": [{**entry, **nothing} for entry in record["annotators"]],
    }


def simulated_history(steps=160):
    t = np.arange(5, steps + 1, 5)
    rng = np.random.default_rng(1)
    return [
        {
            "step": int(s),
            "epoch": 2 * s / steps,
            "loss": 0.45 + 0.25 * np.exp(-s / 40) + rng.normal(0, 0.01),
            "rewards/accuracies": 0.8 - 0.3 * np.exp(-s / 30) + rng.normal(0, 0.02),
            "reliability/mean": 0.77 + 0.13 * np.exp(-s / 50),
            "reliability/min": 0.28 + 0.62 * np.exp(-s / 50),
            "reliability/max": 0.95 - 0.05 * np.exp(-s / 50),
        }
        for s in t
    ]


def report_inputs(labels, reliability=None, **changes):
    values = {
        "title": "Preferences of November",
        "model_name": "tiny",
        "settings": [("train.loss", "dpo"), ("train.epochs", "2"), ("reliability.initial", "0.9")],
        "reliability": reliability or record_of(labels),
        "labels": labels,
        "history": simulated_history(),
        "true_reliability": None,
        "doubtful": 50,
    }
    return ReportInputs(**{**values, **changes})


def trained_inputs(labels, truth=None, **settings):
    """A training's report."""
    return report_inputs(*estimated(labels, **settings), true_reliability=truth)


def crowd_inputs(labels=None, classes=("1", "0"), **settings):
    """The report of a stand-alone estimate from a crowd table."""
    labels, record = estimated(crowd_table() if labels is None else labels, "none", classes=True, **settings)
    return report_inputs(labels, record, title="label.csv", model_name=None, history=[], classes=classes)


def hostile_inputs():
    """The same hostile string wherever a user's text may come from."""
    messages = json.dumps([{"role": HOSTILE, "content": "\ud800"}])
    one = label(HOSTILE, HOSTILE, "a", 0.1, prompt=HOSTILE, response_a=HOSTILE, file=HOSTILE)
    two = label("c2", "ann", "b", 0.2, prompt=messages, response_a=messages, response_b=messages, messages=True)
    three = label(HOSTILE, "ann", "b", 0.9)
    labels = pd.DataFrame([one, two, three])
    beyond = HOSTILE + "\ud800"  # what a table cannot hold, a setting may
    record = record_of(labels, pinned={HOSTILE: 0.7})
    return report_inputs(
        labels,
        {**record, "warnings": [HOSTILE]},
        title=beyond,
        model_name=beyond,
        settings=[(beyond, beyond)],
        true_reliability={HOSTILE: 0.5},
    )


def hostile_crowd():
    """A crowd table whose workers, tasks, classes and file have hostile names; everybody prefers one class."""
    labels = crowd_table(tasks=40, biased=12)
    for column in ("annotator_id", "comparison_id", "file"):
        labels[column] = HOSTILE + labels[column]
    return crowd_inputs(labels, (HOSTILE + "1", HOSTILE + "0"), coins=2)


OVERLAP = ExpectationOutcome(
    title="Several people judge the same comparison",
    severity="warning",
    passed=False,
    observed="4% of comparisons",
    bound="at least 10%",
    advice="Let several people judge a tenth of the comparisons.",
)
BAD_ROWS = ExpectationOutcome(
    title="Most rows can be used",
    severity="critical",
    passed=True,
    observed="3% in quarantine",
    bound="at most 20%",
    advice="Mend the rows in quarantine.",
)


def validation_result(
    expectations=(BAD_ROWS, OVERLAP), quarantined=3, reason="response_b: empty", file="votes.jsonl", row=None
):
    rows = [
        QuarantinedRow(file=file, line=i + 1, reasons=[reason], row=row or {"prompt": "Hi", "response_b": ""})
        for i in range(quarantined)
    ]
    summary = ValidationSummary(
        rows_read=1300,
        rows_kept=1300 - quarantined,
        rows_quarantined=quarantined,
        ties=12,
        annotations=1300 - quarantined,
        comparisons=1000,
        prompts=400,
        annotators=10,
        digest="0123abcd",
    )
    return ValidationResult(
        annotations=empty_table(),
        quarantine=rows,
        expectations=list(expectations),
        summary=summary,
        notes=["Ties were dropped."],
        great_expectations=[],
    )
