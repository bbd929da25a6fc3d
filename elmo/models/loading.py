"""Loading encoders: from a `bilstm.pt`, a `classifier.pt` or a published model, by path or name."""

from __future__ import annotations

import logging
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elmo.data.corpus import Corpus, texts_of
from elmo.data.text import UNK, WordTokenizer
from elmo.errors import ArtifactError, ConfigError
from elmo.models.artifacts import build, load_artifact, load_weights
from elmo.models.encoder_config import encoder_from_config
from elmo.models.encoders import ElmoEncoder, Encoder, SideBySideEncoder, check_vocabulary
from elmo.models.published import find_published, is_published, load_published
from elmo.models.training_corpus import texts_read
from elmo.modules.bilm import BiLM
from elmo.runs.latest import bilm_for, is_released, model_path, shown, title_of

log = logging.getLogger(__name__)

MAX_UNKNOWN = 0.05  # of the words of a corpus on which the released biLM is taken unasked
SAMPLE = 5000  # train documents in which these are counted


def load_bilm(
    path: str | Path | None = None,
    weights: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    vocabulary: str | Path | None = None,
    embeddings: str | Path | None = None,
    pre_tokenizer: str = "words",
    stateful: bool = False,
    warm_up: bool = False,
) -> ElmoEncoder:
    """Load a frozen biLM in eval mode, ready to `embed`.

    It is that of a `bilstm.pt`, or a model in the published ELMo format.

    Args:
        path: `bilstm.pt` or its run folder; "released" or "latest", the model trained last in
            `outputs`; None takes the latest on real text, or else the released one. For a published
            model its folder, a zip, its options file, or a name of
            `elmo.models.published_download.PUBLISHED`, which is downloaded once.
        weights: the HDF5 file of a published model, where `path` is its options file.
        device: where the weights go.
        vocabulary, embeddings: files of a published model that reads whole words, where they are
            not found beside the others: the words, and their vectors. With a model that reads
            characters, it then knows these words alone.
        pre_tokenizer: how a published model splits texts into words: "words" or "white_space".
        stateful, warm_up: see `ElmoEncoder`; for published models.

    Raises:
        MissingModelError: there is no such model.
        ArtifactError: it is damaged; see `elmo.models.artifacts.load_artifact` and
            `elmo.models.published.load_published`.
        ConfigError: an argument is for models of the other kind.
    """
    path = find_published(model_path(path, "bilm")) if weights is None else Path(path or "")
    if weights or vocabulary or embeddings or is_published(path):
        files = (None if file is None else Path(file) for file in (weights, vocabulary, embeddings))
        tokenizer, bilm = load_published(path, pre_tokenizer, *files)
        encoder = ElmoEncoder(tokenizer, bilm, stateful=stateful, warm_up=warm_up)
    else:
        encoder = _load_elmo(load_artifact(path, "bilm"), path, stateful=stateful, warm_up=warm_up)
    return encoder.eval().to(device)


def _load_elmo(content: dict[str, Any], path: str | Path, **options: bool) -> ElmoEncoder:
    try:
        with torch.device("meta"):
            bilm = build(content["config"].get("bilm"), BiLM)
        tokenizer = WordTokenizer(content["tokenizer"], bilm.max_characters)
        load_weights(bilm, _part_of(content["state"], "bilm."))
        check_vocabulary(bilm.vocab_size, tokenizer)
        return ElmoEncoder(tokenizer, bilm, **options)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def _part_of(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def load_encoder(path: str | Path, device: str | torch.device = "cpu") -> Encoder:
    """Load the frozen encoder of a `bilstm.pt` or of a `classifier.pt`, in eval mode.

    Args:
        path: the file, or its run folder; or a published model, see `load_bilm`.
        device: where the weights go.

    Raises:
        ArtifactError: see `load_bilm`.
    """
    path = find_published(Path(path))
    if is_published(path):
        return ElmoEncoder(*load_published(path)).eval().to(device)
    content = load_artifact(path, "bilm", "classifier")
    if content["format"] == "elmo.bilm":
        return _load_elmo(content, path).eval().to(device)
    try:
        with torch.device("meta"):
            encoder = encoder_from_config(
                content["config"].get("encoder"), WordTokenizer(content["tokenizer"])
            )
        load_weights(encoder, _part_of(content["state"], "encoder."))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return encoder.eval().to(device)


def pretrained_elmo(
    corpus: Corpus, bilm_path: str | None, output_dir: str, finetune: bool = False
) -> ElmoEncoder:
    """Load the encoder of `encoder=elmo`: a pretrained biLM.

    Args:
        corpus: the corpus of the classifier.
        bilm_path: the biLM: a file, its run folder, `released` or `latest`; or a published model,
            see `load_bilm`, for which the corpus splits texts into words; None takes the latest of
            the corpus, or else, on a corpus of AG News whose words it knows, the released one.
        output_dir: where runs are written.
        finetune: see `ElmoEncoder`.

    Raises:
        MissingModelError: no biLM was pretrained on the corpus yet.
        ConfigError: the latest biLM was pretrained on other data, or the released one does not know
            the words, so `bilm_path` has to name it.
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    path = find_published(bilm_for(bilm_path, Path(output_dir), corpus.name))
    if is_published(path):
        tokenizer, bilm = load_published(path, corpus.pre_tokenizer)
        log.info(
            "biLM: %s, a published model; data.pre_tokenizer=%s splits the texts",
            *(path, corpus.pre_tokenizer),
        )
        return ElmoEncoder(tokenizer, bilm, finetune)
    content = load_artifact(path, "bilm")
    trained_on = content["facts"].get("data")
    if not isinstance(trained_on, dict) or not {"name", "fingerprint"} <= trained_on.keys():
        raise ArtifactError(f"{path}: does not name the data of its pretraining; train again")
    encoder = _load_elmo(content, path, finetune=finetune)
    encoder.bilm_path = path
    title = f"{title_of(path)}, pretrained on data={trained_on['name']}"
    if trained_on["fingerprint"] == corpus.fingerprint:
        log.info("biLM: %s", title)
        return encoder
    difference = (
        f"{shown(path)} was pretrained on data={trained_on['name']} "
        f"({trained_on['fingerprint']}), the classifier's data={corpus.name} is "
        f"{corpus.fingerprint}: another corpus, split or cleaning"
    )
    if bilm_path:
        log.info("biLM: %s", title)
        if trained_on["name"] == corpus.name:  # other splits of the same rows
            encoder.has_read = texts_read(path, corpus)
        counts = (
            f"its pretraining has read {count:,} of the {len(corpus.splits[split]):,} {split} "
            "texts, without their classes"
            for split, count in encoder.has_read.items()
        )
        log.warning(
            "%s; used because bilm_path names it, see the unknown rate",
            "; ".join([difference, *counts]),
        )
    elif is_released(path):
        rate = _check_words(encoder.tokenizer, corpus)
        log.warning(
            "biLM: %s, because none was pretrained on data=%s: about %.1f%% of the train words "
            "are unknown to it, and validation texts may have been in its pretraining",
            *(title, corpus.name, 100 * rate),
        )
    else:
        naming = " and name its folder with bilm_path" if corpus.variant else ""
        raise ConfigError(
            f"{difference}, so validation or test rows may have been in its pretraining; run "
            f"`python train_lm.py data={corpus.name}` with the same data settings{naming}, or "
            f"set bilm_path={shown(path)} or bilm_path=released to use that one anyway"
        )
    return encoder


def pretrained_side_by_side(
    corpus: Corpus, bilm_paths: str | list[str] | None, output_dir: str, finetune: bool = False
) -> SideBySideEncoder:
    """Load the encoder of `encoder=side_by_side`: several pretrained biLMs.

    Args:
        corpus: the corpus of the classifier.
        bilm_paths: the biLMs, each as in `pretrained_elmo`.
        output_dir: where runs are written.
        finetune: see `ElmoEncoder`.

    Raises:
        ConfigError: see `SideBySideEncoder` and `pretrained_elmo`.
        MissingModelError: a biLM does not exist.
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    paths = [bilm_paths] if isinstance(bilm_paths, str) else bilm_paths or []
    encoders = [pretrained_elmo(corpus, path, output_dir, finetune) for path in paths]
    return SideBySideEncoder(encoders)


def _check_words(tokenizer: WordTokenizer, corpus: Corpus) -> float:
    """Return the share of unknown words in a sample of the train documents.

    Raises:
        ConfigError: it is above `MAX_UNKNOWN`.
    """
    words = unknown = 0
    for ids in tokenizer.encode_ids(islice(texts_of(corpus.splits["train"]), SAMPLE)):
        words += len(ids) - 2  # without <s> and </s>
        unknown += int((ids == UNK).sum())
    rate = unknown / max(1, words)
    if rate > MAX_UNKNOWN:
        raise ConfigError(
            f"no biLM was pretrained on data={corpus.name} yet, and {rate:.1%} of its words are "
            f"unknown to the released one, more than {MAX_UNKNOWN:.0%}; run `python train_lm.py "
            f"data={corpus.name}` first, or set bilm_path=released to use the released one anyway"
        )
    return rate
