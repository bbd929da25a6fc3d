from __future__ import annotations

from pathlib import Path

import pytest
import torch

from elmo.errors import ArtifactError
from elmo.models.artifacts import build, describe, load_artifact, load_weights
from elmo.models.classifier import TextClassifier, load_classifier
from elmo.models.encoders import ElmoEncoder
from elmo.models.language_model import LanguageModel
from elmo.models.loading import load_bilm
from elmo.modules.bilm import BiLM
from elmo.modules.heads import BiLSTMHead, Head, PoolHead
from elmo.modules.mixers import AverageMix, LayerMix, LearnedMix, Mixer, ScalarMix
from elmo.modules.softmax import AdaptiveSoftmax, FullSoftmax, SampledSoftmax, Softmax

COMPONENTS: list[tuple[torch.nn.Module, type[torch.nn.Module]]] = [
    (BiLM(50, embedding_dim=6, hidden_dim=8, residual=False), BiLM),
    (FullSoftmax(8, 50), Softmax),
    (AdaptiveSoftmax(8, 50, div_value=3.0), Softmax),
    (SampledSoftmax(8, 50, samples=7), Softmax),
    (ScalarMix(3, 16, layer_norm=False), Mixer),
    (ScalarMix(3, 16, trainable=False, seed=4), Mixer),
    (LearnedMix(3, 16, hidden_dim=5), Mixer),
    (PoolHead(16, 4, hidden_dim=5), Head),
    (BiLSTMHead(16, 4, hidden_dim=5, dropout=0.1), Head),
]


@pytest.fixture
def bilm_file(encoder: ElmoEncoder, tmp_path: Path) -> Path:
    model = LanguageModel(encoder.bilm, FullSoftmax(8, len(encoder.tokenizer)), encoder.tokenizer)
    model.save(tmp_path / "bilstm.pt", {"data": {"name": "toy"}})
    return tmp_path / "bilstm.pt"


@pytest.mark.parametrize(("module", "base"), COMPONENTS, ids=lambda value: type(value).__name__)
def test_described_components_are_built_again(
    module: torch.nn.Module, base: type[torch.nn.Module]
) -> None:
    again = build(describe(module), base)
    assert type(again) is type(module)
    assert describe(again) == describe(module)
    load_weights(again, module.state_dict())


def test_a_saved_bilm_is_loaded_unchanged(encoder: ElmoEncoder, bilm_file: Path) -> None:
    texts = ["the bank raised its rates", "unheard words"]
    for path in (bilm_file, bilm_file.parent, str(bilm_file)):
        loaded = load_bilm(path)
        for expected, actual in zip(encoder.embed(texts), loaded.embed(texts), strict=True):
            assert actual.tokens == expected.tokens
            assert torch.equal(actual.vectors, expected.vectors)


@pytest.mark.parametrize(
    "mixer",
    [
        ScalarMix(3, 16),
        LearnedMix(3, 16),
        ScalarMix(3, 16, seed=1, trainable=False),
        AverageMix(3, 16),
        LayerMix(3, 16, layer=2),
        LayerMix(3, 16, layer=1, projection_dim=16),
    ],
)
@pytest.mark.parametrize("head", [PoolHead(16, 4), BiLSTMHead(16, 4)])
def test_a_saved_classifier_needs_no_other_file(
    encoder: ElmoEncoder, mixer: Mixer, head: Head, tmp_path: Path
) -> None:
    model = TextClassifier(encoder, mixer, head, ["a", "b", "c", "d"]).eval()
    model.save(tmp_path / "classifier.pt", {})
    texts = ["the bank raised its rates", ""]
    loaded = load_classifier(tmp_path)
    assert loaded.predict(texts) == model.predict(texts)
    assert torch.equal(loaded.mixer.lambdas(), mixer.lambdas())
    assert loaded.mixer.scale == mixer.scale
    assert not any("softmax" in name for name in load_artifact(tmp_path, "classifier")["state"])


def test_other_files_are_refused(bilm_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no such file.*train_lm\.py"):
        load_bilm(tmp_path / "missing.pt")
    with pytest.raises(ArtifactError, match=r"expected .elmo\.classifier."):
        load_classifier(bilm_file)
    other = tmp_path / "other.pt"
    torch.save({"weights": torch.zeros(2)}, other)
    with pytest.raises(ArtifactError, match="not an artifact of this project"):
        load_bilm(other)


def test_a_folder_without_the_artifact_names_what_it_holds(bilm_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds bilstm\.pt, expected classifier\.pt"):
        load_classifier(bilm_file.parent)
    job = tmp_path / "sweep" / "0_seed-1"
    job.mkdir(parents=True)
    bilm_file.rename(job / "bilstm.pt")
    with pytest.raises(ArtifactError, match=rf"a sweep; name one of its jobs, such as {job}"):
        load_bilm(job.parent)
