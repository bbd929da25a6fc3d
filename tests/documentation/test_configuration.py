"""The configuration page: every key of conf/, with its meaning."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from docs._ext import conf_tables
from docs._ext.conf_tables import CONF, GROUPS, all_files, meaning_of, page, read

FILES = sorted(path for path in CONF.rglob("*.yaml") if not path.name.startswith("search_"))


def leaves(node: object, prefix: str = "") -> list[str]:
    """The dotted keys of a file, without what Hydra reads for itself."""
    if not isinstance(node, dict) or not node:
        return [prefix]
    own = {"defaults", "_target_", "_partial_"} | ({"hydra"} if not prefix else set())
    return [
        leaf
        for key, value in node.items()
        if key not in own
        for leaf in leaves(value, f"{prefix}.{key}".strip("."))
    ]


def test_every_file_belongs_to_a_group_that_is_explained() -> None:
    assert len(FILES) > 40
    found = {file.path for files in all_files().values() for file in files}
    assert found == {path.relative_to(CONF) for path in FILES}
    assert {str(path.relative_to(CONF).parent) for path in FILES} - {"."} <= {
        *GROUPS,
        "data/shared",
        "only_train_lm/experiment",
        "only_train_cls/experiment",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_key_has_a_meaning(path: Path) -> None:
    """A new key needs an entry in a docstring of `elmo`, or a comment in its file."""
    files = {file.path: file for group in all_files().values() for file in group}
    file = files[path.relative_to(CONF)]
    assert [key.name for key in file.keys if not key.meaning.strip()] == []
    # None is left out: the keys are those that YAML finds.
    prefix = f"{file.group.replace('/', '.')}." if file.group and not file.sets_any else ""
    expected = [prefix + leaf for leaf in leaves(yaml.safe_load(path.read_text())) if leaf]
    assert [key.name for key in file.keys] == expected


def test_the_page_shows_each_key_with_default_type_and_meaning() -> None:
    text = page()
    for group in all_files().values():
        for file in group:
            for key in file.keys:
                assert file.sets_any or f"| `{key.name}` | `{key.default}` | " in text
            assert all(command in text for command in file.commands)
    row = re.search(r"\| `mixer.hidden_dim` \| `64` \| (.*) \|", text)
    assert row
    assert row[1] == "width of the gate's hidden layer *(int)*"


def test_meanings_come_from_the_bases_and_from_where_a_docstring_points() -> None:
    mixers, models = "elmo.modules.mixers", "elmo.models"
    assert meaning_of("layer_norm", f"{mixers}.LearnedMix").startswith("bring each layer")
    assert meaning_of("min_count", "elmo.data.corpora.toy.ToyNews").startswith("words that occur")
    assert meaning_of("finetune", f"{models}.loading.pretrained_elmo").startswith("train the biLM")
    assert meaning_of("label_share", "elmo.training.tfidf.TfidfClassifier").endswith(
        "; n-grams are counted in all rows."
    )
    assert meaning_of("nothing", f"{mixers}.LearnedMix") == ""
    assert meaning_of("lr", "torch.optim.AdamW") == ""


def test_a_key_that_nothing_describes_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "head").mkdir()
    file = tmp_path / "head" / "new.yaml"
    file.write_text(
        "# python train_cls.py head=new\n"
        "_target_: elmo.modules.heads.PoolHead\n"
        "dropout: 0.1\n"
        "unheard_of: [1, 2]\n"
        "remarked: null    # on the line\n"
    )
    monkeypatch.setattr(conf_tables, "CONF", tmp_path)
    dropout, unheard_of, remarked = read(file).keys
    assert (dropout.name, dropout.default, dropout.type) == ("head.dropout", "0.1", "float")
    assert dropout.meaning == "rate on the embeddings and on the pooled vector."
    assert (unheard_of.default, unheard_of.meaning) == ("[1, 2]", "")
    assert remarked.meaning == "on the line"


def test_no_comment_of_the_next_key_is_taken() -> None:
    text = (ROOT / "conf" / "mixer" / "trainable.yaml").read_text()
    assert "# false: gamma stays 1" in text
    meanings = {key.name: key.meaning for key in read(CONF / "mixer" / "trainable.yaml").keys}
    assert "gamma stays 1" not in meanings["mixer.projection_dim"]
