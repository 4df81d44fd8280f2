"""One file, saved dataset or hub id → its rows and their line numbers, through the `datasets` library.

Knows nothing of what the columns mean. JSON comes through the `text` loader and is parsed here: the library's own JSON
loader guesses types (long ids become floats, dates become timestamps, half a surrogate pair loses the whole file).
"""

import csv
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import fsspec

from repo.annotations.reading.json_rows import parse_array, parse_lines, without_lone_surrogates
from repo.annotations.reading.rows import CHUNK, Row, Rows
from repo.annotations.reading.sources import HUB, SUFFIXES, format_of, is_saved_dataset
from repo.errors import UserError
from repo.uris import file_part, public_name, without_secrets


@dataclass(frozen=True)
class LoadedFile:
    """Rows as they stand in a file, with their 1-based lines (JSONL, CSV) or record numbers (other formats).

    The name is public_name of what was loaded: it is kept with every row.
    """

    name: str
    columns: list[str]
    rows: Rows
    lines: list[int]
    notes: list[str]


def load(address: str) -> LoadedFile:
    """Load one thing that expand_sources returned.

    Raises:
        UserError: it cannot be read, naming the line where there is one, or it holds no rows.
    """
    with _quiet():
        name = public_name(address)
        if address.startswith(HUB):
            loaded = _from_dataset(name, _load_hub(address))
        elif "://" not in address and Path(address).is_dir():
            loaded = _from_dataset(name, _load_saved(Path(address)))
        else:
            loaded = _load_file(name, address)
    if not loaded.rows:
        raise UserError(f"{name}: holds no rows", "give a file with at least one annotation")
    return loaded


def _load_file(name: str, address: str) -> LoadedFile:
    """Load a file by way of a temporary folder: nothing stale is read and nothing is left behind."""
    suffix = format_of(address)
    if not suffix:
        raise UserError(f"{name}: unknown file format", f"give a file that ends in {', '.join(SUFFIXES)}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"annotations{suffix}"
        _fetch(address, path)
        if not path.stat().st_size:
            raise UserError(f"{name}: the file is empty", "give a file with at least one annotation")
        if suffix == ".parquet":
            return _load_parquet(name, path)
        _check_utf8(name, path)
        return _load_csv(name, path) if suffix == ".csv" else _load_json(name, path)


def _fetch(address: str, path: Path) -> None:
    """Copy (and decompress) a local or remote file to a path."""
    try:
        compression = fsspec.utils.infer_compression(file_part(address))
        with fsspec.open(address, "rb", compression=compression) as source, path.open("wb") as target:
            while chunk := source.read(1 << 24):
                target.write(chunk)
    except Exception as error:  # every storage service and compression raises its own kinds
        problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
        remedy = "check the path and your access to it"
        raise UserError(f"{address}: cannot be read: {without_secrets(problem, address)}", remedy) from error


def _check_utf8(name: str, path: Path) -> None:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                remedy = f"convert it, for example: iconv -f latin1 -t utf-8 {name}"
                raise UserError(f"{name}, line {number}: not UTF-8 (byte {error.start + 1})", remedy) from None


def _load_json(name: str, path: Path) -> LoadedFile:
    with path.open(encoding="utf-8-sig") as file:
        is_array = next((line.lstrip()[0] for line in file if line.strip()), "") == "["
    unit = "document" if is_array else "line"
    texts = _texts(_read(datasets.IterableDataset.from_text, path, encoding="utf-8-sig", sample_by=unit))
    parsed = parse_array(name, next(texts)) if is_array else parse_lines(name, texts)
    columns: dict[str, None] = {}
    lines: list[int] = []
    replaced = 0

    def rows() -> Iterator[Row]:
        nonlocal replaced
        for line, parsed_row in parsed:
            row, found = without_lone_surrogates(parsed_row)
            replaced += found
            columns.update(dict.fromkeys(row))
            lines.append(line)
            yield row

    packed = Rows.of(rows())
    notes = [f"{name}: {replaced} halves of surrogate pairs were replaced by U+FFFD"] if replaced else []
    return LoadedFile(name, list(columns), packed, lines, notes)


def _texts(table: Any) -> Iterator[str]:
    for batch in _batches(table):
        yield from batch["text"].to_pylist()


def _load_csv(name: str, path: Path) -> LoadedFile:
    with path.open(encoding="utf-8-sig", newline="") as file:
        records = _record_starts(name, file)
        _, header = next(records, (1, []))
        lines = [line for line, _ in records]
    columns = [name or f"Unnamed: {place}" for place, name in enumerate(header)]  # as pandas names them
    if len(set(columns)) < len(columns):
        raise UserError(f"{name}: a column name occurs twice: {', '.join(columns)}", "rename one of them")
    if not lines:
        return LoadedFile(name, columns, Rows(), [], [])
    features = datasets.Features({column: datasets.Value("string") for column in columns})
    options = {"features": features, "keep_default_na": False, "encoding": "utf-8-sig"}
    try:
        loaded = _from_dataset(name, _read(datasets.IterableDataset.from_csv, path, **options))
    except ValueError as error:  # pandas' kinds
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise UserError(f"{name}: not valid CSV: {reason}", "quote fields that hold commas or new lines") from None
    assert len(loaded.rows) == len(lines), "the csv module and the loader disagree on the number of records"
    return LoadedFile(name, columns, loaded.rows, lines, [])


def _record_starts(name: str, file: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield every CSV record with the line it begins on: a quoted field may span lines."""
    csv.field_size_limit(sys.maxsize)
    reader, start = csv.reader(file), 1
    try:
        for record in reader:
            if any(field.strip() for field in record) or len(record) > 1:
                yield start, record
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{name}, line {start}: not valid CSV: {error}", "repair that line") from None


def _load_parquet(name: str, path: Path) -> LoadedFile:
    try:
        return _from_dataset(name, _read(datasets.IterableDataset.from_parquet, path))
    except Exception as error:  # pyarrow's, datasets' and the operating system's kinds
        reason = str(error.__cause__ or error)
        raise UserError(f"{name}: not a readable Parquet file: {reason}", "write the file again") from error


def _load_saved(path: Path) -> Any:
    if not is_saved_dataset(path):
        raise UserError(f"{path}: neither a file nor a saved dataset", "give a file, or a folder from save_to_disk")
    try:
        saved = datasets.load_from_disk(str(path), keep_in_memory=True)
    except Exception as error:  # pyarrow's, json's and the operating system's kinds
        raise UserError(f"{path}: not a readable saved dataset: {error}", "save it again with save_to_disk") from error
    return _choose_split(str(path), saved, "") if isinstance(saved, datasets.DatasetDict) else saved


def _load_hub(name: str) -> Any:
    """Load hf://owner/name or hf://owner/name:split; without a split, 'train' or the only one there is."""
    repository, _, split = name.removeprefix(HUB).removeprefix("datasets/").partition(":")
    try:
        splits = datasets.load_dataset(repository)
    except Exception as error:  # the hub client's, network's and loader's kinds
        remedy = "check the id, the network and, for a private one, HF_TOKEN; or download it and give the path"
        raise UserError(f"{name}: cannot be loaded from the Hugging Face hub: {error}", remedy) from error
    return _choose_split(name, splits, split)


def _choose_split(name: str, splits: Any, wanted: str) -> Any:
    names = list(splits)
    split = wanted or ("train" if "train" in names else names[0])
    if split not in names or (not wanted and split != "train" and len(names) > 1):
        remedy = "name one: hf://owner/name:split" if name.startswith(HUB) else "give the folder of one split"
        raise UserError(f"{name}: split '{wanted or 'train'}' is not among {', '.join(names)}", remedy)
    return splits[split]


def _from_dataset(name: str, table: Any) -> LoadedFile:
    rows = Rows(batch.to_pylist() for batch in _batches(table))
    return LoadedFile(name, list(table.column_names or []), rows, list(range(1, len(rows) + 1)), [])


def _batches(table: Any) -> Iterator[Any]:
    """Yield a dataset's rows as Arrow tables, which hold them as they were stored."""
    yield from table.with_format("arrow").iter(batch_size=CHUNK)


def _read(reader: Callable[..., Any], path: Path, **options: Any) -> Any:
    """Call one of the library's readers. Unlike load_dataset they count no downloads at the hub: this stays offline."""
    return reader(str(path), cache_dir=str(path.parent / "cache"), **options)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's progress bars and its log: what goes wrong is said in our own error."""
    level, bars = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()
