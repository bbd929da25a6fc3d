"""Data sets of the Hugging Face hub, of a folder in its format, or of files at URLs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    disable_progress_bars,
    load_dataset,
)
from datasets.distributed import split_dataset_by_node

from elmo.data.corpus import BLOCK
from elmo.data.user_corpus import NO_CLASSES, LabelledText, StreamedCorpus, as_list
from elmo.errors import ConfigError, DataError

WAYS_OUT = (
    "check data.name, data.config, data.files and the network, or load your own files with "
    "data=text or data=table, data.files=..."
)


class HubCorpus(StreamedCorpus):
    """A data set of the hub, downloaded once into `cache_dir`.

    Args:
        name: its name, such as `dbpedia_14` or `owner/name`, or a folder with data files.
        files: for the names `json`, `csv`, `parquet` and `text`: URLs or paths of files in that
            format, which are the train split.
        config: the configuration, if the data set has several.
        revision: a commit; None takes the latest.
        text_column: the column with the text; the texts of several columns are joined by spaces.
        label_column: the column with the classes; None for pretraining alone.
        train_split: the data set's name of the train split.
        test_split: its name of the test split; None takes `test` if there is one, and otherwise
            draws the test split.
    """

    def __init__(
        self,
        name: str | None,
        files: str | Sequence[str] | None,
        config: str | None,
        revision: str | None,
        text_column: str | Sequence[str],
        label_column: str | None,
        train_split: str,
        test_split: str | None,
        **arguments: Any,
    ) -> None:
        plain = re.sub(r"\W+", "-", f"hub {name or ''} {config or ''}").strip("-")
        super().__init__(name=plain, **arguments)
        self.hub_name = name
        self.files = as_list(files)
        self.config = config
        self.revision = revision
        self.text_column = text_column
        self.label_column = label_column
        self.train_split = train_split
        self.test_split = test_split

    @cached_property
    def source(self) -> DatasetDict | IterableDatasetDict:
        """The data set as `datasets` loads it.

        Raises:
            ConfigError: `name` is not set, or the data set has no such split.
            DataError: the data set cannot be loaded.
        """
        if not self.hub_name:
            raise ConfigError("data.name is not set; set it, such as data.name=dbpedia_14")
        disable_progress_bars()
        try:
            source = load_dataset(
                self.hub_name,
                self.config,
                data_files=self.files or None,
                revision=self.revision,
                cache_dir=str(self.cache_dir / "hub"),
                streaming=self.streaming,
            )
        except Exception as error:  # whatever the layers below raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise DataError(
                f"data.name={self.hub_name}: cannot be loaded ({reason}); {WAYS_OUT}"
            ) from error
        for key, split in (("train_split", self.train_split), ("test_split", self.test_split)):
            if split is not None and split not in source:
                raise ConfigError(
                    f"data.{key}: {self.hub_name} has no split {split!r}; expected one of "
                    f"{', '.join(source)}"
                )
        return source

    @property
    def has_test_split(self) -> bool:
        return self.test_split is not None or "test" in self.source

    @property
    def has_labels(self) -> bool:
        return self.label_column is not None

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes that the data set declares, otherwise the labels in its train split."""
        if self.label_column is not None:
            feature = self._features("train")[self.label_column]
            if isinstance(feature, ClassLabel):
                return tuple(feature.names)
        return super().class_names

    def _all_columns(self, split: str) -> Dataset | IterableDataset:
        return self.source[{"train": self.train_split, "test": self.test_split or "test"}[split]]

    @property
    def _columns(self) -> dict[str, str]:
        """The columns to read, and the key that sets each."""
        columns = dict.fromkeys(as_list(self.text_column), "text_column")
        return columns | ({self.label_column: "label_column"} if self.label_column else {})

    def _features(self, split: str) -> Features:
        """Return the features of a split.

        Raises:
            ConfigError: a column to read is missing.
        """
        rows = self._all_columns(split)
        if rows.features is None:  # those of a stream are known once its first rows are read
            rows = rows._resolve_features()
        for name, key in self._columns.items():
            if name not in rows.features:
                raise ConfigError(
                    f"data.{key}: {self.hub_name} has no column {name!r}; expected one of "
                    f"{', '.join(rows.features)}"
                )
        return rows.features

    def _rows(self, split: str) -> Dataset | IterableDataset:
        _ = self._features(split)
        return self._all_columns(split).select_columns(list(self._columns))

    def documents(self, split: str) -> Iterator[LabelledText]:
        limit = self.sample_documents if self.streaming else None
        declared = self._features(split)[self.label_column] if self.has_labels else None
        for number, row in enumerate(islice(self._row_dicts(split), limit)):
            label = row[self.label_column] if self.label_column is not None else NO_CLASSES[0]
            if label is None:
                raise DataError(
                    f"data.name={self.hub_name}, row {number} of {split}: "
                    f"{self.label_column!r} is null, expected a class"
                )
            name = declared.int2str(label) if isinstance(declared, ClassLabel) else str(label)
            yield LabelledText(self._text(row, number), name)

    def _row_dicts(self, split: str) -> Iterator[dict[str, Any]]:
        for block in self._rows(split).iter(BLOCK):
            yield from (
                dict(zip(block, values, strict=True))
                for values in zip(*block.values(), strict=True)
            )

    def _text(self, row: dict[str, Any], number: int) -> str:
        names = as_list(self.text_column)
        for name in names:
            if not isinstance(row[name], str):
                raise DataError(
                    f"data.name={self.hub_name}, row {number}: {name!r} is {row[name]!r:.40}, "
                    "expected a string"
                )
        return " ".join(row[name] for name in names)

    def stream(self, parts: list[int], num_parts: int) -> IterableDataset:
        """Return the documents for pretraining, in a column `text`.

        Raises:
            ConfigError: there are several loading processes; `datasets` would leave some idle.
        """
        if len(parts) > 1:
            raise ConfigError(
                f"datamodule.num_workers is {len(parts)}; expected 0 or 1 with data=hub "
                "data.streaming=true"
            )
        rows = split_dataset_by_node(self._rows("train"), parts[0], num_parts)
        return rows.map(
            lambda row, number: {"text": self._text(row, number)},
            with_indices=True,
            remove_columns=[name for name in self._columns if name != "text"],
        )

    def source_fingerprint(self) -> str:
        """Return a hash of the documents; of a stream, only of those in the sample."""
        content = hashlib.blake2b(json.dumps([self.test_share, self.streaming]).encode())
        for split in ("train", "test") if self.has_test_split else ("train",):
            for document in self.documents(split):
                content.update(json.dumps(document).encode())
        return content.hexdigest()
