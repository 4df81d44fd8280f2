"""Hidden votes: a fifth of real people's votes, predicted from the others and from what was learnt of each person.

Telling people apart must not cost: neither one reliability for everybody nor the smoothed majority may predict better,
be it on sets where people gave hundreds of votes or on the same sets cut into people of few votes each.
"""

import multiprocessing
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

from benchmarks.reliability.crowd import DATA, read
from benchmarks.table import Row, not_measured, shown
from repo.reliability.diagnostics import ReliabilityWarning
from repo.reliability.em.votes import Array
from repo.reliability.estimator import AnnotatorReliability

SETS: dict[str, tuple[str, int | None]] = {
    "llmfao": ("llmfao", None),
    "pandalm": ("pandalm", None),
    "rte in people of 20 votes": ("rte", 20),
    "rte in people of 5 votes": ("rte", 5),
    "sp in people of 20 votes": ("sp", 20),
    "sp in people of 5 votes": ("sp", 5),
}
"""The set's directory, and the votes of each of the people that every worker is cut into."""
SEEDS = (0, 1, 2, 3, 4)
HIDDEN = 0.2
SMOOTHING = 1
"""Votes added to either side of a comparison by the smoothed majority (Laplace's rule)."""


def preferences(name: str) -> pd.DataFrame:
    """Return (annotator, comparison, label ±1) of people comparing responses; no ties, no empty responses."""
    table = pd.read_json(DATA / name / "annotations.jsonl", lines=True)
    responses = table[["response_a", "response_b"]].fillna("").astype(str)
    kept = table[
        (responses.apply(lambda column: column.str.strip()) != "").all(axis=1) & (table["preference"] != "tie")
    ]
    label = np.where(kept["preference"] == "a", 1, -1)
    columns = {"annotator": kept["annotator_id"], "comparison": kept["comparison_id"], "label": label}
    return pd.DataFrame(columns).reset_index(drop=True)


def pieces(name: str, size: int, random: np.random.Generator) -> pd.DataFrame:
    """Return (annotator, comparison, label ±1) of a crowd set, workers cut at random into people of `size` votes."""
    labels = read(name)[0].sample(frac=1, random_state=random)
    piece = labels.groupby("worker").cumcount() // size
    annotator = labels["worker"].astype(str) + "/" + piece.astype(str)
    columns = {"annotator": annotator, "comparison": labels["task"], "label": 2 * labels["label"] - 1}
    return pd.DataFrame(columns).reset_index(drop=True)


def divide(votes: pd.DataFrame, random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the visible votes and the hidden ones."""
    hidden = random.permutation(len(votes)) < HIDDEN * len(votes)
    return votes[~hidden], votes[hidden]


def fit(visible: pd.DataFrame, **options: int) -> AnnotatorReliability:
    """Return what the visible votes say."""
    columns = {name: visible[name].to_numpy() for name in ("annotator", "label", "comparison")}
    return AnnotatorReliability(**options).fit(**columns)  # type: ignore[arg-type]


def by_side(fitted: AnnotatorReliability, visible: pd.DataFrame, hidden: pd.DataFrame) -> Array:
    """Return P(right | the first is better) and P(right | the second is better) of each hidden vote's annotator.

    An annotator of whom nothing is visible is like the population: its mean where it was fitted, else that by labels.
    """
    eta = fitted.eta_ if fitted.coins_ == 2 else fitted.reliability_[:, None]
    labels = visible["annotator"].value_counts().reindex(fitted.annotators_)
    unseen = np.average(eta, axis=0, weights=labels)
    if population := fitted.population_:
        leaning = population.get("first_preference", 0.0)
        unseen = population["mean"] + leaning * np.array([1.0, -1.0])[: eta.shape[1]]
    found = pd.Index(fitted.annotators_).get_indexer(pd.Index(hidden["annotator"]))
    values = np.where(found[:, None] >= 0, eta[found], unseen)
    return np.broadcast_to(values, (len(hidden), 2))


def by_model(fitted: AnnotatorReliability, visible: pd.DataFrame, hidden: pd.DataFrame) -> Array:
    """Return P(the first is named) of each hidden vote; a comparison without visible votes may go either way."""
    direction = pd.Series(fitted.direction_, index=fitted.comparisons_).reindex(hidden["comparison"])
    q, (first, second) = direction.fillna(0.5).to_numpy(), by_side(fitted, visible, hidden).T
    return np.asarray(q * first + (1 - q) * (1 - second))


def by_majority(visible: pd.DataFrame, hidden: pd.DataFrame) -> Array:
    """Return P(the first is named) by the smoothed share of the comparison's visible votes that name it."""
    named = (visible["label"] > 0).groupby(visible["comparison"]).agg(["sum", "size"])
    counts = named.reindex(hidden["comparison"], fill_value=0)
    return ((counts["sum"] + SMOOTHING) / (counts["size"] + 2 * SMOOTHING)).to_numpy()


def log_loss(first: Array, hidden: pd.DataFrame) -> float:
    """Return the mean −log P(hidden vote) in nats."""
    return float(-np.log(np.where(hidden["label"] > 0, first, 1 - first)).mean())


def measure(name: str, seed: int) -> dict[str, float]:
    """Return the log-loss of ours, of one reliability for everybody, and of the smoothed majority, on one split."""
    random = np.random.default_rng(seed)
    directory, size = SETS[name]
    votes = preferences(directory) if size is None else pieces(directory, size, random)
    visible, hidden = divide(votes, random)
    same, same_hidden = visible.assign(annotator=0), hidden.assign(annotator=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReliabilityWarning)
        ours = by_model(fit(visible), visible, hidden)
        pooled = by_model(fit(same, coins=1), same, same_hidden)
    predictions = {"ours": ours, "one for all": pooled, "smoothed majority": by_majority(visible, hidden)}
    return {rule: log_loss(first, hidden) for rule, first in predictions.items()}


def rows(quick: bool = False) -> list[Row]:
    """Return the mean log-loss of hidden votes on every set, beside the better of the two that tell nobody apart."""
    if not DATA.is_dir():
        return [not_measured(f"{name}: log-loss of hidden votes", "no shared data", quick) for name in SETS]
    names, seeds = ([*SETS][:3], SEEDS[:1]) if quick else ([*SETS], SEEDS)
    return list(_rows(names, seeds, quick))


def _rows(names: list[str], seeds: tuple[int, ...], quick: bool) -> Iterator[Row]:
    jobs = [(name, seed) for name in names for seed in seeds]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        losses = pd.DataFrame(pool.map(measure, *zip(*jobs, strict=True)), index=[name for name, _ in jobs])
    for name, (ours, *others) in losses.groupby(level=0, sort=False).mean().iterrows():
        best = min(others)
        peers = shown(dict(zip(losses.columns[1:], others, strict=True)))
        what = f"{name}: log-loss of hidden votes in nats, {len(seeds)} split(s) ({peers})"
        yield Row(what, f"≤ {best:.4f}", float(ours), None if quick else bool(ours <= best))
