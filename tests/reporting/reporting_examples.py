"""Examples to report on: a simulated run (10 annotators, 1,300 comparisons), hostile texts, a validated batch."""

import json

import numpy as np
import pandas as pd

from repo.annotations.schema import empty_table
from repo.annotations.validation import ExpectationOutcome, QuarantinedRow, ValidationResult, ValidationSummary
from repo.reporting.report import ReportInputs

TRUTH = {
    **{f"careful-{i}": 0.95 for i in range(1, 5)},
    **{f"hasty-{i}": 0.80 for i in range(1, 4)},
    **{f"guessing-{i}": 0.60 for i in range(1, 3)},
    "adversarial-1": 0.20,
}

WORDS = "a careful answer names the source then explains each step in plain words before it ends"

HOSTILE = "<script>window.hacked=1</script>\"'&{{7*7}}\n\u202e\x00</style></svg>-->" + "x" * 10_000


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


def simulated_labels(comparisons=1300, per_comparison=3, truth=TRUTH, seed=0):
    rng = np.random.default_rng(seed)
    words = WORDS.split()
    names, rows = list(truth), []
    for c in range(comparisons):
        gold = rng.choice(["a", "b"])
        texts = {side: " ".join(rng.choice(words, size=rng.integers(12, 140))).capitalize() + "." for side in "ab"}
        margin = rng.normal(1.6, 1.2)  # of the gold response over the other
        for name in rng.choice(names, size=min(per_comparison, len(names)), replace=False):
            right = rng.random() < truth[name]
            own = margin if right else -margin
            posterior = truth[name] / (truth[name] + (1 - truth[name]) * np.exp(-own))
            preference = gold if right else {"a": "b", "b": "a"}[gold]
            row = label(f"c{c:04}", str(name), preference, posterior, gold=gold, margin=own, line=len(rows) + 1)
            prompt = f"Question {c}: " + " ".join(rng.choice(words, size=12)) + "?"
            rows.append({**row, "prompt": prompt, "response_a": texts["a"], "response_b": texts["b"]})
    return pd.DataFrame(rows)


def reliability_json(labels, estimator="paper"):
    grouped = labels.groupby("annotator_id")["posterior"]
    entries = [
        {"annotator_id": name, "reliability": float(values.mean()), "annotations": len(values)}
        for name, values in grouped
    ]
    entries.sort(key=lambda entry: -entry["reliability"])
    return {"schema_version": 1, "estimator": estimator, "initial": 0.9, "step_size": 0.1, "annotators": entries}


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


def report_inputs(labels, **changes):
    values = {
        "title": "Preferences of November",
        "model_name": "tiny",
        "settings": [("train.loss", "dpo"), ("train.epochs", "2"), ("reliability.initial", "0.9")],
        "reliability": reliability_json(labels),
        "labels": labels,
        "history": simulated_history(),
        "true_reliability": None,
        "doubtful": 50,
    }
    return ReportInputs(**{**values, **changes})


def hostile_inputs():
    """The same hostile string wherever a user's text may come from."""
    messages = json.dumps([{"role": HOSTILE, "content": "\ud800"}])
    one = label(HOSTILE, HOSTILE, "a", 0.1, prompt=HOSTILE, response_a=HOSTILE, file=HOSTILE)
    two = label("c2", "ann", "b", 0.2, prompt=messages, response_a=messages, response_b=messages, messages=True)
    three = label(HOSTILE, "ann", "b", 0.9)
    beyond = HOSTILE + "\ud800"  # what a table cannot hold, a setting may
    return report_inputs(
        pd.DataFrame([one, two, three]),
        title=beyond,
        model_name=beyond,
        settings=[(beyond, beyond)],
        true_reliability={HOSTILE: 0.5},
    )


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
