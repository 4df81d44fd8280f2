"""Memory and time of tokenizing comparisons and batching them for one epoch, each size in a process of its own."""

import argparse
import json
import time

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.child import in_its_own_process
from benchmarks.memory import peak_bytes
from benchmarks.scale.words import text
from benchmarks.table import Row
from repo.policy.batches import epoch_batches, tokenize_annotations
from repo.policy.packing import pack
from repo.policy.tiny import make_tokenizer
from repo.settings import Settings

ROWS = 10**6
GIGABYTES = 24.0
GROWTH = 1.3
"""Seconds per comparison, against a tenth of the comparisons."""
WORDS = {"prompt": 40, "response_a": 100, "response_b": 100}
"""About .2 kB and .5 kB."""
_PIECE = 10_000


def comparisons_table(rows: int) -> pd.DataFrame:
    """Return what tokenizing reads of canonical annotations, one a comparison."""
    random = np.random.default_rng(0)
    columns = {name: texts(random, rows, words) for name, words in WORDS.items()}
    numbers = np.arange(rows)
    return pd.DataFrame(
        {
            "comparison_id": pd.Series(numbers).astype("str"),
            **{name: pd.Series(values).astype("str") for name, values in columns.items()},
            "messages": False,
            "preference": pd.Series(np.where(numbers % 3, "a", "b")).astype("str"),
            "annotator_id": pd.Series(numbers % max(rows // 100, 3)).astype("str"),
            "weight": 1.0,
        }
    )


def texts(random: np.random.Generator, rows: int, words: int) -> "pd.Series[str]":
    """Return random texts, made a piece at a time: a million Python strings would be the peak to measure."""
    pieces = [
        pa.array([text(random, words) for _ in range(min(_PIECE, rows - start))], pa.large_string())
        for start in range(0, rows, _PIECE)
    ]
    return pd.Series(pd.array(pa.chunked_array(pieces), dtype="str"))


def tokenize_and_batch(rows: int) -> dict[str, float]:
    """Return seconds and this process's peak memory."""
    settings = Settings()
    table = comparisons_table(rows)
    tokenizer = make_tokenizer(table["response_a"].head(_PIECE), settings.policy.tiny)
    before, begin = peak_bytes(), time.perf_counter()
    data = tokenize_annotations(table, tokenizer, settings.policy.max_length, settings.policy.max_prompt_length)
    tokenized, middle = peak_bytes(), time.perf_counter()
    tokens = 0
    for batch in epoch_batches(len(data.encoded), settings.train.batch_size, settings.train.seed, epoch=0):
        tokens += pack(data.encoded[batch]).input_ids.numel()
    return {
        "comparisons": len(data.encoded),
        "tokens": tokens,
        "text_bytes": sum(int(table[name].str.len().sum()) for name in WORDS),
        "tokenize_seconds": middle - begin,
        "batch_seconds": time.perf_counter() - middle,
        "before_bytes": before,
        "tokenized_bytes": tokenized,
        "peak_bytes": peak_bytes(),
    }


def measure(rows: int | None = None) -> list[Row]:
    """Return peak memory and time at a thousandth of so many comparisons, ten times as many and so on up to all."""
    size = rows or ROWS
    sizes = [size // 1000, size // 100, size // 10, size]
    measured = [in_its_own_process("scale.comparisons", number) for number in sizes]
    small, large = measured[-2:]
    whole = size >= ROWS
    peak = large["peak_bytes"] / 1e9
    growth = _seconds(large) / size / (_seconds(small) / (size // 10))
    return [
        *(row for number, values in zip(sizes, measured, strict=True) for row in _facts(number, values)),
        Row(f"{size:.0e} comparisons: peak memory, GB", f"≤ {GIGABYTES:g}", peak, peak <= GIGABYTES if whole else None),
        Row(
            f"seconds per comparison, {size:.0e} against {size // 10:.0e}",
            f"≤ {GROWTH:g}",
            growth,
            growth <= GROWTH if whole else None,
        ),
    ]


def _seconds(values: dict[str, float]) -> float:
    return values["tokenize_seconds"] + values["batch_seconds"]


def _facts(number: int, values: dict[str, float]) -> list[Row]:
    name = f"{number:.0e} comparisons of {values['text_bytes'] / number:.0f} characters"
    above = (values["peak_bytes"] - values["before_bytes"]) / number
    return [
        Row(f"{name}: seconds to tokenize", "", values["tokenize_seconds"], None),
        Row(f"{name}: seconds to batch once", "", values["batch_seconds"], None),
        Row(f"{name}: peak bytes per comparison above libraries and texts", "", above, None),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comparisons", type=int)
    print(json.dumps(tokenize_and_batch(parser.parse_args().comparisons)))
