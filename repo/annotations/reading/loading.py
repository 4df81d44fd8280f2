"""One file, saved dataset or hub id → its rows and their line numbers.

Knows nothing of what the columns mean. The `datasets` library reads its own folders and the hub only: its CSV and JSON
loaders guess (long ids become floats, dates become timestamps, half a surrogate pair loses the whole file, fields
shift into other columns).
"""

import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
from pyarrow import parquet

from repo.annotations.reading.chunks import Chunk, Coded
from repo.annotations.reading.compression import unpack
from repo.annotations.reading.csv_tables import read_csv, refuse_repeated
from repo.annotations.reading.encodings import encoding_of, open_text
from repo.annotations.reading.flat_json import read_block
from repo.annotations.reading.json_cells import decode_cells
from repo.annotations.reading.json_rows import Numbered, parse_array, parse_lines, without_lone_surrogates
from repo.annotations.reading.rows import CHUNK, Row, Rows, in_chunks
from repo.annotations.reading.sources import HUB, SUFFIXES, driver_remedy, format_of, hub_parts, is_saved_dataset
from repo.errors import UserError
from repo.uris import file_part, public_name, without_secrets

_PARQUET = b"PAR1"


@dataclass(frozen=True)
class LoadedFile:
    """Rows as they stand in a file, with their 1-based lines (JSONL, CSV) or record numbers (other formats).

    The name is public_name of what was loaded: it is kept with every row.
    """

    name: str
    columns: list[str]
    rows: Rows
    lines: Sequence[int]
    notes: list[str]


def load(address: str) -> LoadedFile:
    """Load one thing that expand_sources returned.

    Raises:
        UserError: it cannot be read, naming the line where there is one, or it holds no rows.
    """
    name = public_name(address)
    if address.startswith(HUB):
        loaded = _from_dataset(name, lambda: _load_hub(address))
    elif "://" not in address and Path(address).is_dir():
        loaded = _from_dataset(name, lambda: _load_saved(Path(address)))
    else:
        loaded = _load_file(name, address)
    if not loaded.rows:
        raise UserError(f"{name}: holds no rows", "give a file with at least one annotation")
    return loaded


def _load_file(name: str, address: str) -> LoadedFile:
    with tempfile.TemporaryDirectory() as folder:
        path, file_name = unpack(name, file_part(address), _local(address, Path(folder)), Path(folder))
        suffix = ".parquet" if _is_parquet(path) else format_of(file_name)
        if suffix not in SUFFIXES:
            raise UserError(f"{name}: unknown file format", f"give a file that ends in {', '.join(SUFFIXES)}")
        if not path.stat().st_size:
            raise UserError(f"{name}: the file is empty", "give a file with at least one annotation")
        if suffix == ".parquet":
            return _load_parquet(name, path)
        if suffix in (".csv", ".tsv"):
            return _load_csv(name, path, "\t" if suffix == ".tsv" else ",")
        return _load_json(name, path)


def _local(address: str, folder: Path) -> Path:
    """Return where a file lies on this machine: a remote one is fetched into the folder."""
    path = folder / "fetched" if "://" in address else Path(address)
    try:
        if "://" in address:
            with fsspec.open(address, "rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 24)
        path.open("rb").close()
    except Exception as error:  # every storage service raises its own kinds
        problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
        remedy = driver_remedy(address, error) or "check the path and your access to it"
        raise UserError(f"{address}: cannot be read: {without_secrets(problem, address)}", remedy) from error
    return path


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(len(_PARQUET))
        file.seek(max(0, size - len(_PARQUET)))
        return head == _PARQUET == file.read()


def _load_json(name: str, path: Path) -> LoadedFile:
    columns: dict[str, None] = {}
    lines = array("q")
    replaced = 0

    def rows(parsed: Numbered) -> Iterator[Row]:
        nonlocal replaced
        for line, parsed_row, escapes in parsed:
            row, found = without_lone_surrogates(parsed_row) if escapes else (parsed_row, 0)
            replaced += found
            columns.update(dict.fromkeys(row))
            lines.append(line)
            yield row

    packed = _read_flat(path)
    read = len(packed)
    lines.extend(range(1, read + 1))
    for chunk in packed.packed:
        columns.update(dict.fromkeys(chunk.columns))
    with open_text(name, path) as file:
        is_array = next((line.lstrip()[0] for line in file if line.strip()), "") == "["
        file.seek(0)
        parsed = parse_array(name, file.read()) if is_array else parse_lines(name, islice(file, read, None), read)
        for chunk in map(Chunk.of, in_chunks(rows(parsed))):
            packed.append(chunk)
    notes = [f"{name}: {replaced} halves of surrogate pairs were replaced by U+FFFD"] if replaced else []
    return LoadedFile(name, list(columns), packed, lines, notes)


def _read_flat(path: Path) -> Rows:
    """Return the file's first lines, as far as they are read without looking at every value."""
    rows = Rows()
    if encoding_of(path) == "utf-8":
        with path.open("rb") as file:
            while (block := b"".join(islice(file, CHUNK))) and (chunk := read_block(block)):
                rows.append(chunk)
    return rows


def _load_csv(name: str, path: Path, separator: str) -> LoadedFile:
    with open_text(name, path, newline="") as file:
        return LoadedFile(name, *read_csv(name, file, separator))


def _load_parquet(name: str, path: Path) -> LoadedFile:
    with _readable(f"{name}: not a readable Parquet file", "write the file again"):
        file = parquet.ParquetFile(path)
    with file:
        return _from_batches(name, file.schema_arrow.names, file.iter_batches(batch_size=CHUNK))


def _load_saved(path: Path) -> Any:
    if not is_saved_dataset(path):
        raise UserError(f"{path}: neither a file nor a saved dataset", "give a file, or a folder from save_to_disk")
    import datasets

    try:
        saved = datasets.load_from_disk(str(path), keep_in_memory=True)
    except Exception as error:  # pyarrow's, json's and the operating system's kinds
        raise UserError(f"{path}: not a readable saved dataset: {error}", "save it again with save_to_disk") from error
    return _choose_split(str(path), saved, "") if isinstance(saved, datasets.DatasetDict) else saved


def _load_hub(name: str) -> Any:
    """Load hf://owner/name, also with a configuration; without a split, 'train' or the only one there is."""
    import datasets

    repository, configuration, split = hub_parts(name)
    try:
        splits = datasets.load_dataset(repository, configuration or None)
    except Exception as error:  # the hub client's, network's and loader's kinds
        remedy = (
            "check the id, the network and, for a private one, HF_TOKEN; or download it and give the path; "
            "a configuration is named by ?config=NAME behind the id"
        )
        raise UserError(f"{name}: cannot be loaded from the Hugging Face hub: {error}", remedy) from error
    return _choose_split(name, splits, split)


def _choose_split(name: str, splits: Any, wanted: str) -> Any:
    names = list(splits)
    split = wanted or ("train" if "train" in names else names[0])
    if split not in names or (not wanted and split != "train" and len(names) > 1):
        remedy = "name one: hf://owner/name:split" if name.startswith(HUB) else "give the folder of one split"
        raise UserError(f"{name}: split '{wanted or 'train'}' is not among {', '.join(names)}", remedy)
    return splits[split]


def _from_dataset(name: str, load_table: Callable[[], Any]) -> LoadedFile:
    with _quiet():
        table = load_table()
        # Arrow tables hold the rows as they were stored.
        batches = table.with_format("arrow").iter(batch_size=CHUNK)
        return _from_batches(name, list(table.column_names or []), batches)


def _from_batches(name: str, columns: list[str], batches: Iterator[Any]) -> LoadedFile:
    refuse_repeated(name, columns)

    rows = Rows()
    with _readable(f"{name}: a value in it cannot be read", "write it again"):
        for batch in batches:
            cells = {column: Coded.of_arrow(array) for column, array in zip(columns, batch.columns, strict=True)}
            rows.append(Chunk.of_columns(batch.num_rows, cells))
    records = range(1, len(rows) + 1)
    rows, notes = decode_cells(name, rows, records)
    return LoadedFile(name, columns, rows, records, notes)


@contextmanager
def _readable(problem: str, remedy: str) -> Iterator[None]:
    """Turn whatever pyarrow, the `datasets` library or the operating system raise into a user's error."""
    try:
        yield
    except Exception as error:  # each has kinds of its own
        raise UserError(f"{problem}: {error}", remedy) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the `datasets` library's progress bars and log: what goes wrong is said in our own error."""
    import datasets

    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
