"""Data sets of the Hugging Face hub, of a folder like one, or of files by their addresses."""

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
from elmo.data.user_corpus import NO_CLASSES, Labelled, StreamedCorpus, list_of
from elmo.errors import ConfigError, DataError

WAYS_OUT = (
    "check data.name, data.config, data.files and the network, or load files of your own with "
    "data=text or data=table, data.files=..."
)


class HubCorpus(StreamedCorpus):
    """A data set by its name on the hub, downloaded once into `cache_dir`.

    Args:
        name: such as `dbpedia_14` or `owner/name`; a folder with data files is read as well.
        files: with the name `json`, `csv`, `parquet` or `text`: addresses or paths, which are read
            as such files and are the train split.
        config: where the data set has several.
        revision: a commit; None takes the latest.
        text_column: the column with the text; several are joined with a space.
        label_column: the column with the classes; None for pretraining alone.
        train_split: its name there.
        test_split: likewise; None takes `test` where there is one, and else draws it.
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
        self.files = list_of(files)
        self.config = config
        self.revision = revision
        self.text_column = text_column
        self.label_column = label_column
        self.train_split = train_split
        self.test_split = test_split

    @cached_property
    def source(self) -> DatasetDict | IterableDatasetDict:
        """
        Raises:
            ConfigError: none is named, or it has no such split.
            DataError: it cannot be had.
        """
        if not self.hub_name:
            raise ConfigError("data.name is not set; name a data set, such as data.name=dbpedia_14")
        disable_progress_bars()
        try:
            found = load_dataset(
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
            if split is not None and split not in found:
                raise ConfigError(
                    f"data.{key}: {self.hub_name} has no split {split!r}; expected one of "
                    f"{', '.join(found)}"
                )
        return found

    @property
    def has_test_split(self) -> bool:
        return self.test_split is not None or "test" in self.source

    @property
    def has_labels(self) -> bool:
        return self.label_column is not None

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Those that the data set declares, else the labels that stand in its train split."""
        if self.label_column is not None:
            feature = self._features("train")[self.label_column]
            if isinstance(feature, ClassLabel):
                return tuple(feature.names)
        return self.labels_found()

    def _whole(self, split: str) -> Dataset | IterableDataset:
        return self.source[{"train": self.train_split, "test": self.test_split or "test"}[split]]

    @property
    def _columns(self) -> dict[str, str]:
        """Which are read, and the key that names each."""
        columns = dict.fromkeys(list_of(self.text_column), "text_column")
        return columns | ({self.label_column: "label_column"} if self.label_column else {})

    def _features(self, split: str) -> Features:
        """
        Raises:
            ConfigError: it has no such columns.
        """
        rows = self._whole(split)
        if rows.features is None:  # of a stream they are known once its first rows are read
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
        return self._whole(split).select_columns(list(self._columns))

    def documents(self, split: str) -> Iterator[Labelled]:
        most = self.sample_documents if self.streaming else None
        declared = self._features(split)[self.label_column] if self.has_labels else None
        for number, row in enumerate(islice(self._each(split), most)):
            label = row[self.label_column] if self.label_column is not None else NO_CLASSES[0]
            if label is None:
                raise DataError(
                    f"data.name={self.hub_name}, row {number} of {split}: "
                    f"{self.label_column!r} is null, expected a class"
                )
            name = declared.int2str(label) if isinstance(declared, ClassLabel) else str(label)
            yield Labelled(self._text(row, number), name)

    def _each(self, split: str) -> Iterator[dict[str, Any]]:
        for block in self._rows(split).iter(BLOCK):
            yield from (
                dict(zip(block, values, strict=True))
                for values in zip(*block.values(), strict=True)
            )

    def _text(self, row: dict[str, Any], number: int) -> str:
        parts = [row[name] for name in list_of(self.text_column)]
        for name, part in zip(list_of(self.text_column), parts, strict=True):
            if not isinstance(part, str):
                raise DataError(
                    f"data.name={self.hub_name}, row {number}: {name!r} is {part!r:.40}, expected "
                    "a string"
                )
        return " ".join(parts)

    def stream(self, parts: list[int], of: int) -> IterableDataset:
        """
        Raises:
            ConfigError: there are several loading processes, and `datasets` would leave some idle.
        """
        if len(parts) > 1:
            raise ConfigError(
                f"datamodule.num_workers is {len(parts)}; expected 0 or 1 with data=hub "
                "data.streaming=true"
            )
        rows = split_dataset_by_node(self._rows("train"), parts[0], of)
        return rows.map(
            lambda row, number: {"text": self._text(row, number)},
            with_indices=True,
            remove_columns=[name for name in self._columns if name != "text"],
        )

    def source_fingerprint(self) -> str:
        """Of the documents; of a stream of the sample."""
        content = hashlib.blake2b(json.dumps([self.test_share, self.streaming]).encode())
        for split in ("train", "test") if self.has_test_split else ("train",):
            for document in self.documents(split):
                content.update(json.dumps(document).encode())
        return content.hexdigest()
