"""Tiny policies trained on 4,000 labels by ten annotators: η, posteriors and clean accuracy, default against paper."""

from benchmarks.reliability.worlds import Job, Trained, World, train_all
from benchmarks.table import Row

LOSSES = ("dpo", "ipo", "simpo", "cpo")
FORMS = {"one label a comparison": World(4000, 1), "three labels a comparison": World(1334, 3)}
DEFAULT: tuple[str, ...] = ()
PAPER = ("reliability.estimator=paper",)
NONE = ("reliability.estimator=none",)
HELD_OUT = 1000
SMALL = ("policy.tiny.hidden=32", "policy.tiny.layers=1", "policy.tiny.warm_start_steps=10", "train.epochs=1")
"""Settings of the quick forms, which only show that everything runs."""
SMALLER = ("policy.tiny.hidden=64", "policy.tiny.layers=1")
"""What the sweeps train, which would take too long otherwise."""
ERROR, RATIO = 0.01, 5.0


def jobs(quick: bool) -> dict[tuple[str, str], list[Job]]:
    """Return the trainings of each form and loss: default and paper."""
    forms = {"200 comparisons": World(200, 3)} if quick else FORMS
    size, held_out = (SMALL, 50) if quick else ((), HELD_OUT)
    return {
        (form, loss): [Job(world, (*size, f"train.loss={loss}", *rule), held_out) for rule in (DEFAULT, PAPER)]
        for form, world in forms.items()
        for loss in (LOSSES[:1] if quick else LOSSES)
    }


def rows(quick: bool = False) -> list[Row]:
    """Return for each form and loss the error of η against its targets, and what is reported beside it."""
    wanted = jobs(quick)
    results = iter(train_all([job for both in wanted.values() for job in both]))
    return [row for form, loss in wanted for row in _rows(f"{loss}, {form}", next(results), next(results), quick)]


def _rows(name: str, ours: Trained, paper: Trained, quick: bool) -> list[Row]:
    error, ratio = ours.error(), paper.error() / ours.error()
    return [
        Row(f"{name}: mean |η − realised agreement|", f"≤ {ERROR:g}", error, None if quick else error <= ERROR),
        Row(
            f"{name}: times lower than the paper's rule ({paper.error():.4f})",
            f"≥ {RATIO:g}",
            ratio,
            None if quick else ratio >= RATIO,
        ),
        Row(f"{name}: AUROC of the posterior for injected flips", "", _beside(auroc(ours), auroc(paper)), None),
        Row(f"{name}: Brier score of the posterior", "", _beside(brier(ours), brier(paper)), None),
        Row(
            f"{name}: accuracy on held-out comparisons without noise", "", _beside(ours.accuracy, paper.accuracy), None
        ),
    ]


def _beside(ours: float | None, paper: float | None) -> str:
    return f"default {ours:.4f}, paper {paper:.4f}"


def auroc(trained: Trained) -> float:
    """Return the probability that a right label has a higher posterior than a flipped one; ties count ½."""
    right = trained.right
    rank = trained.annotations["posterior"].rank()
    positive, negative = int(right.sum()), int((~right).sum())
    return float((rank[right].sum() - positive * (positive + 1) / 2) / (positive * negative))


def brier(trained: Trained) -> float:
    """Return the mean square of posterior − (label is right)."""
    return float(((trained.annotations["posterior"] - trained.right) ** 2).mean())
