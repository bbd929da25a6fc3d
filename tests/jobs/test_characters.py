"""The whole job with models that read characters: trained here, or published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import elmo
from conftest import TINY, TINY_CLS, Script, scalars
from elmo.data.batches import text_batches
from elmo.data.corpora.toy import ToyNews
from elmo.data.language_model_data import LanguageModelData
from elmo.inference.explanation import explain
from elmo.models.generation import Direction, generate
from elmo.models.language_model import LanguageModel, load_language_model
from elmo.models.loading import load_encoder
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from models.published_reference import DEV

SPELLED = (
    "embedding=char_cnn",
    "embedding.char_dim=4",
    "embedding.filters=[[1,4],[2,8],[3,12]]",
    "embedding.max_characters=20",
    "embedding.lr_share=1",
    "bilm=published_tiny",
    "bilm.hidden_dim=16",
    "bilm.cell_dim=24",
    "datamodule.evaluation_rows=100",
)
CHARACTERS_LM = (*TINY, *SPELLED)
DIRECTIONS: list[Direction] = ["forward", "backward"]
WITHOUT_SAMPLES = "callbacks.samples.prompts=[]"


@pytest.fixture(scope="module")
def spelled(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder in which a tiny biLM with characters was pretrained on the toy corpus."""
    output_dir = tmp_path_factory.mktemp("spelled")
    script("train_lm", *CHARACTERS_LM, "callbacks.samples.prompts=[bank]", output_dir=output_dir)
    return output_dir


@pytest.fixture(scope="module")
def model(spelled: Path) -> LanguageModel:
    return load_language_model(latest_run(spelled, "toy"))


@pytest.fixture(scope="module")
def classified(script: Script, spelled: Path) -> Path:
    folder = spelled / "classified"
    script(
        "train_cls", *TINY_CLS, "mixer=learned", f"hydra.run.dir={folder}", output_dir=spelled
    )  # fmt: skip
    return folder


def logged_again(model: LanguageModel, toy: ToyNews) -> float:
    """The validation perplexity of a loaded model."""
    data = LanguageModelData(
        corpus=toy, tokenizer=model.tokenizer, token_budget=2048, num_workers=0, seed=0,
        evaluation_rows=100,
    )  # fmt: skip
    with torch.no_grad():
        losses = [model(b.tokens, b.lengths, b.spellings) for b in data.val_dataloader()]
    return torch.cat(losses, 1).double().mean().exp().item()


def test_the_loaded_model_has_the_logged_perplexity(
    spelled: Path, model: LanguageModel, toy: ToyNews
) -> None:
    record = read_record(latest_run(spelled, "toy"))
    assert model.tokenizer.max_characters == 20
    assert record["metrics"]["val/perplexity"] == pytest.approx(logged_again(model, toy), rel=1e-5)
    assert record["metrics"]["val/perplexity"] < record["data"]["vocabulary_size"]  # not uniform
    curves = scalars(latest_run(spelled, "toy"))
    assert {"grad_norm/embedding", "grad_norm/forward_lstm"} <= set(curves)


@pytest.mark.parametrize("name", ["full", pytest.param("sampled", marks=pytest.mark.slow)])
def test_other_softmaxes(name: str, script: Script, toy: ToyNews, tmp_path: Path) -> None:
    softmax = [f"softmax={name}", *(["softmax.samples=64"] if name == "sampled" else [])]
    small = [WITHOUT_SAMPLES, "datamodule.train_rows=300", "evaluate_test=false"]
    script("train_lm", *CHARACTERS_LM, *softmax, *small, output_dir=tmp_path)
    run = latest_run(tmp_path, "toy")
    again = logged_again(load_language_model(run), toy)
    assert read_record(run)["metrics"]["val/perplexity"] == pytest.approx(again, rel=1e-5)


def test_unknown_words_have_vectors_of_their_own(spelled: Path) -> None:
    """And a rare word has that of its letters as they are written, not lower-cased."""
    encoder = elmo.load_bilm(latest_run(spelled, "toy"))
    one, other, upper, mark = (
        embedding.vectors for embedding in encoder.embed([["qqq"], ["zzzq"], ["QQQ"], ["<S>"]])
    )
    for vectors in (other, upper, mark):
        assert not torch.allclose(one, vectors, atol=1e-3)


def test_it_generates_in_both_directions(model: LanguageModel) -> None:
    for direction in DIRECTIONS:
        texts = generate(model, "The unheardof Bank", direction, count=3, max_words=5)
        for words in texts:
            prompt = words[:3] if direction == "forward" else words[-3:]
            assert prompt == ["The", "unheardof", "Bank"]
            assert len(words) <= 8
    assert generate(model, "", count=2, seed=3) == generate(model, "", count=2, seed=3)


@torch.no_grad()
def test_generation_reads_what_the_training_read(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state before the next word is that of an ordinary forward pass, in both directions."""
    read: list[torch.Tensor] = []
    log_prob = model.softmax.log_prob

    def recorded(hidden: torch.Tensor) -> torch.Tensor:
        read.append(hidden)
        return log_prob(hidden)

    monkeypatch.setattr(model.softmax, "log_prob", recorded)
    for prompt in ("The Bank of", "unheardof rates"):
        ((_, batch),) = text_batches([prompt], model.tokenizer, None)
        top = model.bilm(batch.tokens, batch.lengths, batch.spellings)[-1, 0]  # (T, D)
        for half, direction in enumerate(DIRECTIONS):
            read.clear()
            (words,) = generate(model, prompt, direction, temperature=0, count=1, max_words=2)
            expected = top.chunk(2, -1)[half][-2 if half == 0 else 1]
            torch.testing.assert_close(read[0][0], expected, rtol=0, atol=1e-6)
            # And with the word that was drawn.
            assert len(words) == len(prompt.split()) + 2
            nearer = words[:-1] if half == 0 else words[1:]
            ((_, batch),) = text_batches([nearer], model.tokenizer, None)
            layers = model.bilm(batch.tokens, batch.lengths, batch.spellings)[-1, 0]
            expected = layers.chunk(2, -1)[half][-2 if half == 0 else 1]
            torch.testing.assert_close(read[1][0], expected, rtol=0, atol=1e-6)


def test_a_classifier_on_characters(classified: Path, toy: ToyNews) -> None:
    """The loaded classifier predicts as the run did, so it reads characters as well."""
    classifier = elmo.load_classifier(classified)
    assert classifier.encoder.tokenizer.max_characters == 20
    table = pq.read_table(classified / "predictions/test.parquet").to_pydict()
    predictions = classifier.predict(list(toy.splits["test"]["text"]))
    assert [prediction.label for prediction in predictions] == table["predicted"]
    assert [p.probabilities["World"] for p in predictions] == pytest.approx(
        table["p(World)"], abs=1e-5
    )
    one, other = classifier.predict(["qqqq rates", "Zzz-zz rates"])
    assert one.probabilities != other.probabilities


def test_the_encoder_of_a_classifier_is_the_bilm(classified: Path, spelled: Path) -> None:
    texts = ["The Bank raised qqq rates", ""]
    for one, other in zip(
        load_encoder(classified).embed(texts),
        elmo.load_bilm(latest_run(spelled, "toy")).embed(texts),
        strict=True,
    ):
        assert torch.equal(one.vectors, other.vectors)


def test_an_explanation_hides_each_word_unknown_ones_too(classified: Path) -> None:
    classifier = elmo.load_classifier(classified)
    text = "The bank raised qqq rates"
    prediction, _, words = explain(classifier, text)
    assert prediction == classifier.predict([text])[0]
    assert [word for word, _ in words] == text.split()
    assert all(effect != 0 for _, effect in words)
    (whole,) = (effect for word, effect in words if word == "qqq")
    cnn = classifier.encoder.get_submodule("bilm.embedding")
    hidden = cnn.register_forward_hook(
        lambda _, __, vectors: vectors.index_fill(1, torch.tensor([4]), 0)
    )
    (without,) = classifier.predict([text])
    hidden.remove()
    label = prediction.label
    expected = prediction.probabilities[label] - without.probabilities[label]
    assert whole == pytest.approx(expected, abs=1e-5)


def test_fine_tuning_trains_the_characters(script: Script, spelled: Path) -> None:
    folder = spelled / "finetuned"
    tuned = ["encoder.finetune=true", "datamodule.label_share=0.3", f"hydra.run.dir={folder}"]
    script("train_cls", *TINY_CLS, *tuned, output_dir=spelled)
    before = elmo.load_bilm(latest_run(spelled, "toy")).state_dict()
    after = elmo.load_classifier(folder).encoder.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert not same
    assert not after["bilm.embedding.characters.weight"][0].any()


@pytest.mark.parametrize("name", ["released_shape", "word_level"])
def test_a_classifier_on_a_published_model(
    name: str, script: Script, tmp_path: Path, toy: ToyNews
) -> None:
    """It has words of its own; the data's rule splits the texts. The weights come out unchanged."""
    run = tmp_path / "run"
    small = ["datamodule.label_share=0.3", f"hydra.run.dir={run}"]
    script("train_cls", *TINY_CLS, f"bilm_path={DEV / name}", *small, output_dir=tmp_path)
    assert "published" in (run / "train_cls.log").read_text()
    classifier, published = elmo.load_classifier(run), elmo.load_bilm(DEV / name)
    table = pq.read_table(run / "predictions/test.parquet").to_pydict()
    predictions = classifier.predict(list(toy.splits["test"]["text"]))
    assert [prediction.label for prediction in predictions] == table["predicted"]
    state = classifier.encoder.state_dict()
    for key, value in published.state_dict().items():
        assert torch.equal(state[key], value)
    texts = ["The bank raised its rates", ["Oil", "falls"]]
    for one, other in zip(classifier.encoder.embed(texts), published.embed(texts), strict=True):
        np.testing.assert_array_equal(one.vectors, other.vectors)


def test_settings_that_cannot_be_end_in_one_line(script: Script, tmp_path: Path) -> None:
    for wrong, message in (
        ("embedding.filters=[[1,2,3]]", "embedding.filters is [[1, 2, 3]]; expected pairs"),
        ("embedding.filters=[[a,b]]", "embedding.filters is"),
        ("embedding.activation=[relu]", "embedding.activation is"),
        ("embedding.lr_share=0", "embedding.lr_share is 0"),
        ("bilm.cell_dim=8", "bilm.cell_dim is 8; expected at least bilm.hidden_dim, 16"),
        ("bilm.cell_clip=0", "bilm.cell_clip is 0"),
        ("bilm.cell_dim=null", "bilm.cell_clip is 3, but bilm.cell_dim is null"),
    ):
        result = script("train_lm", *CHARACTERS_LM, wrong, output_dir=tmp_path, code=1)
        assert message in result.stderr, result.stderr
        assert "Traceback" not in result.stderr
