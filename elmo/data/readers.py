"""Documents read one at a time from files: the lines of plain text, or the columns of a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from elmo.errors import ConfigError, DataError

# A quote that is never closed would read the rest of the file into memory as one field.
MAX_FIELD_SIZE = 2**28


class Column(NamedTuple):
    """A column to read.

    Attributes:
        name: its name; None if the user has not set it.
        option: the option or key that sets the name, for messages.
        is_label: whether its values may be whole numbers and booleans as well.
    """

    name: str | None
    option: str = "--column"
    is_label: bool = False


def read_documents(path: Path, column: str | None, option: str = "--column") -> Iterator[str]:
    """Read the documents of a file one at a time, in file order.

    `.csv`, `.tsv` (with a header row), `.jsonl` (an object on each line) and `.parquet` are tables;
    any other file is plain text in UTF-8 with a document on each line. An empty line is the
    document "". Files that end in `.gz` or `.zst` as well are decompressed.

    Args:
        path: the file.
        column: the table's column with the documents; None for plain text.
        option: the option or key that sets the column, for messages.

    Returns:
        An iterator over the documents.

    Raises:
        DataError: the file is missing, unreadable or damaged; the message names the line or row.
        ConfigError: `column` does not fit the file; the message lists the columns of a table.
    """
    if is_table(path):
        return (text for (text,) in read_table(path, [Column(column, option)]))
    if column is not None:
        raise ConfigError(
            f"{path}: plain text has no column {column!r}; leave {option} out, or name a file "
            f"that ends in {', '.join(TABLES)}"
        )
    return (line.removesuffix("\n").removesuffix("\r") for _, line in _lines(path))


def is_table(path: Path) -> bool:
    """Tell from its name whether a file is a table.

    Raises:
        DataError: the path does not exist or is a folder.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        raise DataError(f"{path}: a folder, expected a file with documents")
    return _inner_suffix(path) in TABLES


def read_table(path: Path, columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    """Read the values of `columns` in each row of a table, labels as strings.

    Raises:
        DataError: the file is missing, unreadable or damaged; the message names the line or row.
        ConfigError: the table does not have the columns; the message lists those that it has.
    """
    return TABLES[_inner_suffix(path)](path, columns)


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read the rows of a CSV file with strict quoting; fields are separated by tabs in a `.tsv`.

    Returns:
        An iterator over the rows: the number of the first line, from 1, and the fields. A blank
        line is a row without fields.

    Raises:
        DataError: the file is unreadable or damaged; the message names the line.
    """
    csv.field_size_limit(MAX_FIELD_SIZE)
    delimiter = "\t" if _inner_suffix(path) == ".tsv" else ","
    reader = csv.reader(_lines_without_nul(path), delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: {error}; expected each quote inside a quoted field to be doubled"
        ) from error


def _inner_suffix(path: Path) -> str:
    """Return `.csv` for both `news.csv` and `news.csv.gz`."""
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower()


def _open(path: Path) -> IO[bytes]:
    compression = COMPRESSED.get(path.suffix.lower())
    if compression is None:
        return path.open("rb")
    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(str(path), compression=compression))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line, with its number from 1 and its end; only the line feed ends a line."""
    try:
        with _open(path) as handle:
            for number, line in enumerate(handle, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start}); save the "
            "file as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _positions(place: object, names: list[str], columns: Sequence[Column]) -> list[int]:
    """Return the position of each of `columns` among the column names of a table."""
    return [_position(place, names, column) for column in columns]


def _position(place: object, names: list[str], column: Column) -> int:
    name = column.name
    if name is not None and names.count(name) == 1:
        return names.index(name)
    if name is None:
        kind = "classes" if column.is_label else "documents"
        finding = f"a table, and the column with the {kind} is not set"
    elif name in names:
        finding = f"more than one column {name!r}"
    else:
        finding = f"no column {name!r}"
    shown = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
    raise ConfigError(f"{place}: {finding}; set {column.option} to one of: {shown}")


def _read_csv(path: Path, columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    rows = csv_rows(path)
    _, header = next(rows, (1, None))
    if header is None:
        raise DataError(f"{path}: empty file, expected a header row with the names of the columns")
    positions = _positions(path, header, columns)
    for line, fields in rows:
        if not fields and len(header) == 1:
            fields = [""]
        if len(fields) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(fields)} columns, the header has {len(header)}; a "
                "field with a separator or a line break needs quotes around it"
            )
        yield tuple(fields[position] for position in positions)


def _lines_without_nul(path: Path) -> Iterator[str]:
    for number, line in _lines(path):
        if "\0" in line:
            raise DataError(f"{path}, line {number}: a NUL byte; not a text file, or a damaged one")
        yield line


def _read_jsonl(path: Path, columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    for number, line in _lines(path):
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{place}: not JSON ({error}); expected an object on each line"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{place}: {_kind(row)}, expected an object such as {{...}}")
        _positions(place, list(row), columns)
        values = tuple(_value(place, column, row[column.name]) for column in columns)
        for column, value in zip(columns, values, strict=True):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise DataError(
                    f"{place}: {column.name!r} contains half a surrogate pair at character "
                    f"{error.start}; expected valid Unicode text"
                ) from error
        yield values


def _value(place: str, column: Column, value: Any) -> str:
    if isinstance(value, str):
        return value
    if column.is_label and isinstance(value, int):
        return str(value)
    expected = "a string or a whole number" if column.is_label else "a string"
    raise DataError(f"{place}: {column.name!r} is {_kind(value)}, expected {expected}")


def _kind(value: Any) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"


def _read_parquet(path: Path, columns: Sequence[Column]) -> Iterator[tuple[str, ...]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        # Other settings would read the whole column of a row group at once.
        with pq.ParquetFile(path, buffer_size=2**16, pre_buffer=False) as file:
            schema = file.schema_arrow
            for column, position in zip(
                columns, _positions(path, schema.names, columns), strict=True
            ):
                kind = schema.field(position).type
                inner = kind.value_type if pa.types.is_dictionary(kind) else kind
                fits = pa.types.is_string(inner) or pa.types.is_large_string(inner)
                if column.is_label:
                    fits |= pa.types.is_integer(inner) or pa.types.is_boolean(inner)
                if not fits:
                    expected = "strings or whole numbers" if column.is_label else "strings"
                    raise DataError(
                        f"{path}: column {column.name!r} is of type {kind}, expected {expected}"
                    )
            names = [column.name for column in columns]
            for batch in file.iter_batches(batch_size=1024, columns=list(dict.fromkeys(names))):
                for values in zip(*(batch.column(name) for name in names), strict=True):
                    row += 1
                    yield tuple(
                        _value(f"{path}, row {row}", column, value.as_py())
                        for column, value in zip(columns, values, strict=True)
                    )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, row {row}: not UTF-8 ({error.reason})") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a Parquet file, or a damaged one ({reason})") from error


COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
TABLES: dict[str, Callable[[Path, Sequence[Column]], Iterator[tuple[str, ...]]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
