from __future__ import annotations

import csv
import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elmo.data.readers import Column, read_documents, read_table
from elmo.errors import ConfigError, DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


def write_table(path: Path, texts: list[str]) -> Path:
    """Write a table of a number, the text and another text, in the format of the suffix."""
    rows = [{"id": i, "text": text, "other": "x"} for i, text in enumerate(texts)]
    if path.suffix == ".parquet":
        names = pa.schema([("id", pa.int64()), ("text", pa.string()), ("other", pa.string())])
        pq.write_table(pa.Table.from_pylist(rows, names), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as handle:
        if path.suffix == ".jsonl":
            handle.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            writer = csv.DictWriter(handle, ["id", "text", "other"], delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


def file_of(folder: Path, name: str, content: bytes | str) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        (b"", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\n\n\ntwo", ["one", "", "", "two"]),
        (b"one\r\n\r\ntwo\r\n", ["one", "", "two"]),
        (b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n", ["one", "\ufefftwo"]),
        ("a\u2028b\u0085c\x0bd\x0ce\rf\n".encode(), ["a\u2028b\u0085c\x0bd\x0ce\rf"]),
        (b" NA \n", [" NA "]),
        (b'"a",b\n', ['"a",b']),
    ],
)
def test_plain_text_has_a_document_on_each_line(
    content: bytes, documents: list[str], tmp_path: Path
) -> None:
    assert list(read_documents(file_of(tmp_path, "news.txt", content), None)) == documents


@pytest.mark.parametrize("name", ["news", "news.txt", "news.CSV.log", ".csv"])
def test_any_other_name_is_plain_text(name: str, tmp_path: Path) -> None:
    assert list(read_documents(file_of(tmp_path, name, "a\nb\n"), None)) == ["a", "b"]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".CSV"])
@settings(max_examples=20)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
def test_any_text_is_read_back_from_tables(
    suffix: str, texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_table(tmp_path_factory.mktemp("table") / f"news{suffix.lower()}", texts)
    path = path.rename(path.with_suffix(suffix))
    assert list(read_documents(path, "text")) == texts


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_large_fields_and_words_that_look_like_missing_values(suffix: str, tmp_path: Path) -> None:
    texts = ["words, " * 1_500_000, "NA", "null", "", "nan", "1"]  # 10 MB
    assert list(read_documents(write_table(tmp_path / f"x{suffix}", texts), "text")) == texts


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_only_a_part_of_a_file_is_in_memory(suffix: str, tmp_path: Path) -> None:
    texts = [f"the bank raised its rates by {i} " * 4 for i in range(5_000)]
    path = tmp_path / f"news{suffix}"
    if suffix == ".txt":
        path.write_text("\n".join(texts))
    else:
        write_table(path, texts)
    documents = read_documents(path, None if suffix == ".txt" else "text")
    next(documents)
    tracemalloc.start()
    try:
        count = sum(1 for _ in documents)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == len(texts) - 1
    assert peak < 100_000  # of 650,000


def test_only_a_part_of_a_row_group_is_in_memory(tmp_path: Path) -> None:
    texts = [os.urandom(200).hex() for _ in range(40_000)]
    path = tmp_path / "news.parquet"
    pq.write_table(pa.table({"text": texts}), path)
    before = pa.total_allocated_bytes()
    peak = max(pa.total_allocated_bytes() - before for _ in read_documents(path, "text"))
    assert peak < 5_000_000  # of 16 million


@pytest.mark.parametrize("name", ["missing.txt", "missing.csv"])
def test_a_missing_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{name}: no such file"):
        read_documents(tmp_path / name, None)


@pytest.mark.parametrize("path", ["", "."])
def test_a_folder_or_an_empty_path(path: str) -> None:
    with pytest.raises(DataError, match="a folder, expected a file"):
        read_documents(Path(path), None)


def test_plain_text_has_no_columns(tmp_path: Path) -> None:
    path = file_of(tmp_path, "news.txt", "text\n")
    with pytest.raises(ConfigError, match=r"no column 'text'; leave --column out"):
        read_documents(path, "text")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("column", [None, "", "Text"])
def test_a_table_needs_a_column_that_it_has(
    suffix: str, column: str | None, tmp_path: Path
) -> None:
    path = write_table(tmp_path / f"news{suffix}", ["a"])
    with pytest.raises(ConfigError, match=r"set --column to one of: id, text, other$"):
        list(read_documents(path, column))


BROKEN = {
    "not UTF-8": ("news.txt", b"a\n\n\xff\n", "line 3: not UTF-8"),
    "UTF-16": ("news.txt", "a\n".encode("utf-16"), "line 1: not UTF-8"),
    "not UTF-8 in a table": ("a.csv", b"id,text\n1,a\n2,\xff\n", "line 3: not UTF-8"),
    "empty": ("a.csv", b"", "empty file, expected a header row"),
    "twice": ("a.csv", b"text,text\na,b\n", "more than one column 'text'"),
    "too few": ("a.csv", b'id,text\n"1\n2",a\n3\n', "line 4: 1 columns, the header has 2"),
    "too many": ("a.csv", b"id,text\n1,a,b\n", "line 2: 3 columns, the header has 2"),
    "empty line": ("a.csv", b"id,text\n\n1,a\n", "line 2: 0 columns"),
    "open quote": ("a.csv", b'id,text\n1,a\n2,"b\n3,c\n', "line 3: unexpected end of data"),
    "stray quote": ("a.tsv", b'id\ttext\n1\t"b" c\n', "line 2: .* expected after"),
    "NUL": ("a.csv", b"id,text\n1,a\n2,b\0\n", "line 3: a NUL byte"),
    "not JSON": ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
    "blank line": ("a.jsonl", b'{"text": "a"}\n\n{"text": "b"}\n', "line 2: not JSON"),
    "too deep": ("a.jsonl", b'{"text": ' + b"[" * 200_000 + b"\n", "line 1: not JSON"),
    "a list": ("a.jsonl", b'["a"]\n', "line 1: of type list, expected an object"),
    "a number": ("a.jsonl", b'{"text": "a"}\n{"text": 1}\n', "line 2: 'text' is of type int"),
    "null": ("a.jsonl", b'{"text": null}\n', "line 1: 'text' is null, expected a string"),
    "no key": ("a.jsonl", b'{"text": "a"}\n{"a": ""}\n', "line 2: no column 'text'.*one of: a"),
    "half a pair": ("a.jsonl", b'{"text": "a \\ud83d"}\n', "line 1: .*surrogate.* character 2"),
    "not Parquet": ("a.parquet", b"id,text\n1,a\n", "not a Parquet file, or a damaged one"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_errors_name_the_line(name: str, tmp_path: Path) -> None:
    file, content, message = BROKEN[name]
    path = file_of(tmp_path, file, content)
    with pytest.raises((DataError, ConfigError), match=f"^{path}.*{message}"):
        list(read_documents(path, None if file.endswith("txt") else "text"))


def test_a_blank_line_of_a_table_with_one_column_is_an_empty_document(tmp_path: Path) -> None:
    path = file_of(tmp_path, "news.csv", "text\na\n\n b\n")
    assert list(read_documents(path, "text")) == ["a", "", " b"]


def test_documents_before_an_error_are_read(tmp_path: Path) -> None:
    documents = read_documents(file_of(tmp_path, "a.csv", "id,text\n1,a\n2\n"), "text")
    assert next(documents) == "a"
    with pytest.raises(DataError, match="line 3"):
        next(documents)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_string_types_in_parquet(kind: pa.DataType, tmp_path: Path) -> None:
    path = tmp_path / "news.parquet"
    pq.write_table(pa.table({"a.b": pa.array(["one", "", "one"], kind)}), path)
    assert list(read_documents(path, "a.b")) == ["one", "", "one"]


def test_other_types_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "news.parquet"
    texts = ["a"] * 2000 + [None]
    numbers = pa.array(range(2001))
    pq.write_table(pa.table({"id": numbers, "text": pa.array(texts)}), path, row_group_size=500)
    with pytest.raises(DataError, match="row 2001: 'text' is null, expected a string"):
        list(read_documents(path, "text"))
    with pytest.raises(DataError, match="column 'id' is of type int64, expected strings"):
        list(read_documents(path, "id"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="not a Parquet file, or a damaged one"):
        list(read_documents(path, "text"))


def compressed(path: Path) -> Path:
    """Compress `path` with gzip and zstd, in two members of half the file; return `path`."""
    content = path.read_bytes()
    half = len(content) // 2
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(content[:half]) + gzip.compress(content[half:]))
    codec = pa.Codec("zstd")
    frames = (codec.compress(part, asbytes=True) for part in (content[:half], content[half:]))
    path.with_name(f"{path.name}.zst").write_bytes(b"".join(frames))
    return path


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("packing", [".gz", ".zst", ".GZ"])
def test_compressed_files_are_decompressed(suffix: str, packing: str, tmp_path: Path) -> None:
    texts = [f"number {number}, \u00e4" for number in range(500)]
    path = tmp_path / f"news{suffix}"
    if suffix == ".txt":
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    else:
        write_table(path, texts)
    packed = tmp_path / f"{compressed(path).name}{packing.lower()}"
    packed = packed.rename(tmp_path / f"packed{suffix}{packing}")
    assert list(read_documents(packed, None if suffix == ".txt" else "text")) == texts


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_a_damaged_compressed_file_is_named(packing: str, tmp_path: Path) -> None:
    plain = file_of(tmp_path, "news.txt", "\n".join(map(str, range(10_000))))
    packed = tmp_path / f"{compressed(plain).name}{packing}"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"news.txt{packing}: cannot be read"):
        list(read_documents(packed, None))
    packed.write_bytes(b"no packed file at all")
    with pytest.raises(DataError, match=rf"news.txt{packing}: cannot be read"):
        list(read_documents(packed, None))


LABEL = [Column("text"), Column("label", "data.label_column", is_label=True)]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("labels", [["a", "b"], [2, 10], [True, False]])
def test_labels_become_strings(suffix: str, labels: list[str] | list[int], tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    rows = [{"label": label, "text": f"text {label}"} for label in labels]
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        sign = "\t" if suffix == ".tsv" else ","
        lines = [f"label{sign}text", *(f"{row['label']}{sign}{row['text']}" for row in rows)]
        path.write_text("\n".join(lines))
    assert list(read_table(path, LABEL)) == [(f"text {label}", str(label)) for label in labels]


def test_values_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, "a.jsonl", '{"text": "a", "label": 0.5}\n')
    with pytest.raises(DataError, match="'label' is of type float, expected a string or a whole"):
        list(read_table(path, LABEL))
    pq.write_table(pa.table({"text": ["a"], "label": [0.5]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="type double, expected strings or whole numbers"):
        list(read_table(tmp_path / "a.parquet", LABEL))
    path = file_of(tmp_path, "a.csv", "text,class\na,b\n")
    with pytest.raises(ConfigError, match=r"no column 'label'; set data.label_column to one of"):
        list(read_table(path, LABEL))
