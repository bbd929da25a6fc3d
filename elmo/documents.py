"""Documents to work on, one after the other: plain text by the line, or a column of a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elmo.errors import ConfigError, DataError

if TYPE_CHECKING:
    import argparse

# A quote that is never closed would take the rest of the file into memory as one field.
LARGEST_FIELD = 2**28


def add_column(arguments: argparse.ArgumentParser) -> None:
    """`--column`."""
    arguments.add_argument(
        "--column",
        metavar="NAME",
        help="the column with the documents: needed for .csv, .tsv, .jsonl and .parquet; any "
        "other file is plain text, a document a line",
    )


def read_documents(path: Path, column: str | None) -> Iterator[str]:
    """The documents of a file, one at a time, in its order.

    `.csv`, `.tsv` (with a header row), `.jsonl` (an object a line) and `.parquet` are tables; any
    other file is plain text in UTF-8, a document a line. An empty line of it is the document "".

    Args:
        path: the file.
        column: the table's column that holds the documents; None for plain text.

    Raises:
        DataError: the file is missing, unreadable or damaged; names the line or row.
        ConfigError: `column` does not fit the file; lists the columns found.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        raise DataError(f"{path}: a folder, expected a file with documents")
    table = TABLES.get(path.suffix.lower())
    if table is not None:
        return table(path, column)
    if column is not None:
        raise ConfigError(
            f"{path}: plain text has no column {column!r}; leave --column out, or name a file "
            f"that ends in {', '.join(TABLES)}"
        )
    return (line.removesuffix("\n").removesuffix("\r") for _, line in _lines(path))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers from 1 and lines with their ends; no character but the line feed ends one."""
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start}); save the "
            "file as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _position(place: object, names: list[str], column: str | None) -> int:
    """Where `column` stands among the `names` of a table."""
    if names.count(column or "") == 1 and column is not None:
        return names.index(column)
    shown = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
    if column is None:
        finding = "a table, whose column with the documents is not named"
    elif column in names:
        finding = f"more than one column {column!r}"
    else:
        finding = f"no column {column!r}"
    raise ConfigError(f"{place}: {finding}; say --column with one of: {shown}")


def _read_csv(path: Path, column: str | None) -> Iterator[str]:
    reader = csv.reader(
        _without_nul(path), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True
    )
    start = 1
    header: list[str] = []
    position = 0
    csv.field_size_limit(LARGEST_FIELD)
    try:
        for fields in reader:
            place = f"{path}, line {start}"
            start = reader.line_num + 1
            if not header:
                header, position = fields, _position(path, fields, column)
                continue
            if not fields and len(header) == 1:
                fields = [""]
            if len(fields) != len(header):
                raise DataError(
                    f"{place}: {len(fields)} columns, the header has {len(header)}; a field that "
                    "holds a separator or a line break needs quotes around it"
                )
            yield fields[position]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {start}: {error}; a quote inside a quoted field is doubled"
        ) from error
    if not header:
        raise DataError(f"{path}: empty file, expected a header row with the names of the columns")


def _without_nul(path: Path) -> Iterator[str]:
    for number, line in _lines(path):
        if "\0" in line:
            raise DataError(f"{path}, line {number}: a NUL byte; not a text file, or a damaged one")
        yield line


def _read_jsonl(path: Path, column: str | None) -> Iterator[str]:
    for number, line in _lines(path):
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: not JSON ({error}); expected an object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{place}: {_kind(row)}, expected an object such as {{...}}")
        _position(place, list(row), column)
        text = row[column]
        if not isinstance(text, str):
            raise DataError(f"{place}: {column!r} is {_kind(text)}, expected a string")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place}: {column!r} holds half a surrogate pair at character {error.start}"
            ) from error
        yield text


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


def _read_parquet(path: Path, column: str | None) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        # With other settings the whole column of a row group is read at once.
        with pq.ParquetFile(path, buffer_size=2**16, pre_buffer=False) as file:
            schema = file.schema_arrow
            kind = schema.field(_position(path, schema.names, column)).type
            text = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not (pa.types.is_string(text) or pa.types.is_large_string(text)):
                raise DataError(f"{path}: column {column!r} is of type {kind}, expected strings")
            for batch in file.iter_batches(batch_size=1024, columns=[column]):
                for value in batch.column(0):
                    row += 1
                    document = value.as_py()
                    if document is None:
                        raise DataError(f"{path}, row {row}: {column!r} is null, expected a string")
                    yield document
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, row {row}: not UTF-8 ({error.reason})") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a Parquet file, or a damaged one ({reason})") from error


TABLES: dict[str, Callable[[Path, str | None], Iterator[str]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
