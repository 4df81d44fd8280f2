"""JSON lines that hold nothing but texts and whole numbers, a block of lines at a time, read by Arrow.

Arrow is given the kind of every column, so that it guesses nothing, and is as strict as json_rows. Whatever else stands
in a block is left to json_rows: it alone says what is wrong.
"""

import pyarrow as pa
from pyarrow import json as arrow_json

from repo.annotations.reading.chunks import Chunk, Coded
from repo.annotations.reading.json_rows import JsonError, parse

_KINDS = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}


def read_block(block: bytes) -> Chunk | None:
    """Return the objects of some whole lines, one a line; None where json_rows has to read them.

    That is the case unless all lines have the keys of the first, and its kinds of values.
    """
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    # No value will be an object, so that each "{" at the beginning of a line begins a row.
    if not block.startswith(b"{") or block.count(b"\n{") != lines - 1 or b"\r" in block:
        return None
    schema = _schema(block)
    if schema is None:
        return None
    options = arrow_json.ParseOptions(
        explicit_schema=schema, newlines_in_values=False, unexpected_field_behavior="error"
    )
    try:
        table = arrow_json.read_json(pa.BufferReader(block), parse_options=options)
        columns = {name: Coded.of_arrow(table[name]) for name in schema.names}
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    # A null may be a null or a missing key.
    if table.num_rows != lines or any(column.null_count for column in table.columns):
        return None
    return Chunk.of_columns(lines, columns)


def _schema(block: bytes) -> pa.Schema | None:
    """Return the kinds of the first line's values; None where some are no texts or numbers."""
    try:
        row = parse(block.partition(b"\n")[0].decode("utf-8"))
    except (JsonError, UnicodeDecodeError):
        return None
    if not isinstance(row, dict) or not row or not all(type(value) in _KINDS for value in row.values()):
        return None
    try:
        return pa.schema([(name, _KINDS[type(value)]) for name, value in row.items()])
    except UnicodeEncodeError:  # half a surrogate pair in a name
        return None
