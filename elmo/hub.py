"""Data sets of the Hugging Face hub, or of a folder like one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, disable_progress_bars, load_dataset

from elmo.corpora import BLOCK
from elmo.errors import ConfigError, DataError
from elmo.files import NO_CLASSES, Labelled, OwnCorpus, list_of

WAYS_OUT = (
    "check data.name, data.config and the network, or load files of your own with data=text or "
    "data=table, data.files=..."
)


class HubCorpus(OwnCorpus):
    """A data set by its name on the hub, downloaded once into `cache_dir`.

    Args:
        name: such as `dbpedia_14` or `owner/name`; a folder with data files is read as well.
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
        self.config = config
        self.revision = revision
        self.text_column = text_column
        self.label_column = label_column
        self.train_split = train_split
        self.test_split = test_split

    @cached_property
    def source(self) -> DatasetDict:
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
                revision=self.revision,
                cache_dir=str(self.cache_dir / "hub"),
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
            feature = self._rows("train").features[self.label_column]
            if isinstance(feature, ClassLabel):
                return tuple(feature.names)
        return self.labels_found()

    def _rows(self, split: str) -> Dataset:
        """
        Raises:
            ConfigError: it has no such columns.
        """
        names = {"train": self.train_split, "test": self.test_split or "test"}
        rows = self.source[names[split]]
        columns = [("text_column", name) for name in list_of(self.text_column)]
        if self.label_column is not None:
            columns.append(("label_column", self.label_column))
        for key, name in columns:
            if name not in rows.column_names:
                raise ConfigError(
                    f"data.{key}: {self.hub_name} has no column {name!r}; expected one of "
                    f"{', '.join(rows.column_names)}"
                )
        return rows.select_columns([name for _, name in columns])

    def documents(self, split: str) -> Iterator[Labelled]:
        rows = self._rows(split)
        label = self.label_column
        declared = rows.features[label] if label is not None else None
        number = 0
        for block in rows.iter(BLOCK):
            texts = zip(*(block[name] for name in list_of(self.text_column)), strict=True)
            labels = block[label] if label is not None else [NO_CLASSES[0]] * BLOCK
            for parts, value in zip(texts, labels, strict=label is not None):
                if not all(isinstance(part, str) for part in parts) or value is None:
                    raise DataError(
                        f"data.name={self.hub_name}, row {number} of {split}: {parts!r:.60} with "
                        f"the label {value!r}; expected texts and a label"
                    )
                name = declared.int2str(value) if isinstance(declared, ClassLabel) else str(value)
                yield Labelled(" ".join(parts), name)
                number += 1

    def source_fingerprint(self) -> str:
        content = hashlib.blake2b(json.dumps(self.test_share).encode())
        for split in ("train", "test") if self.has_test_split else ("train",):
            for document in self.documents(split):
                content.update(json.dumps(document).encode())
        return content.hexdigest()
