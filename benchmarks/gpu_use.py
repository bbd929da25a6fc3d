"""The card, and what a trained biLM is used for on it: embedding and classifying."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks import embedding, harness
from benchmarks.gpu_parts import Named, Options, against_textbook, attempt, overrides, speed
from benchmarks.lm_training import TRAINING
from benchmarks.models import Textbook, TextbookClassifier, make, mirrored_pair
from benchmarks.place import Place
from benchmarks.turns import Turns, fit
from elmo.data.classification_data import ClassificationData
from elmo.data.text import TokenizedText, WordTokenizer, clean
from elmo.models.classifier import build_classifier
from elmo.models.encoders import ElmoEncoder
from elmo.modules.bilm import BiLM
from elmo.training.classification_task import ClassificationTask
from elmo.training.layer_store import DiskStore

BATCH = 32  # documents in a batch of the textbook
BUDGETS = (4096, 16_384, 65_536)  # padded tokens in a batch of `embed`; the first is its default
STEPS = 8  # of a turn


def card(options: Options) -> Iterator[Named]:
    """Yield what is known of the device, and how PyTorch computes in single precision on it."""
    facts: dict[str, Any] = {"device": options.device}
    if options.device.startswith("cuda"):
        found = torch.cuda.get_device_properties(options.device)
        facts |= {
            "name": found.name,
            "compute capability": f"{found.major}.{found.minor}",
            "memory (GiB)": round(found.total_memory / 2**30, 1),
            "multiprocessors": found.multi_processor_count,
            "driver": driver(),
        }
    rnn: Any = torch.backends.cudnn.rnn
    facts |= {
        "CUDA": torch.version.cuda or "none",
        "cuDNN": torch.backends.cudnn.version() or "none",
        "torch": torch.__version__,
        "products by default": torch.get_float32_matmul_precision(),
        "LSTMs by default": rnn.fp32_precision,
    }
    yield "card", facts


def driver() -> str:
    """Return the version of the NVIDIA driver, which PyTorch does not tell."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        lines = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return lines.stdout.splitlines()[0].strip()
    return "unknown"


def embed(options: Options) -> Iterator[Named]:
    """Yield the speed of embedding raw texts, to vectors in the memory of the processor."""
    place = options.of_commands()
    for width in options.widths:
        few = -(-options.texts // 8)
        peers: dict[str, tuple[harness.Peer, tuple]] = {
            f"elmo, {budget:,} tokens a batch": (in_bulk, (width, options.texts, budget, place))
            for budget in BUDGETS
        }
        peers |= {
            "elmo, one by one": (one_by_one, (width, few, place)),
            "textbook": (embed_textbook, (width, options.texts, place)),
        }
        yield from _compare("embedding", peers, place, {"width": width}, options)


def classify(options: Options) -> Iterator[Named]:
    """Yield the speed of training a classifier on a frozen biLM, and of predicting with it."""
    training, predicting = options.of_experiment(), options.of_commands()
    for width in options.widths:
        peers: dict[str, tuple[harness.Peer, tuple]] = {
            "elmo": (train_classifier, (width, False, training)),
            "elmo, stored layers": (train_classifier, (width, True, training)),
            "textbook": (train_textbook, (width, training)),
        }
        yield from _compare("training a classifier", peers, training, {"width": width}, options)
        peers = {
            "elmo": (predict, (width, options.texts, predicting)),
            "textbook": (predict_textbook, (width, options.texts, predicting)),
        }
        yield from _compare("predicting", peers, predicting, {"width": width}, options)


def _compare(
    title: str,
    peers: dict[str, tuple[harness.Peer, tuple]],
    place: Place,
    found: dict[str, Any],
    options: Options,
) -> Iterator[Named]:
    rows = {
        name: attempt(place, partial(speed, peer, args, options.seconds))
        for name, (peer, args) in peers.items()
    }
    for row in against_textbook(rows):
        yield title, {**found, "precision": place.precision, **row}


def in_bulk(turn: harness.Turn, width: int, count: int, budget: int, place: Place) -> None:
    """Embed as the command does, in batches of this many padded tokens."""
    encoder, texts = embedding.encoder_and_texts(width, count)
    encoder.to(place.device)

    def work() -> int:
        return sum(embedding.tokens_of(one) for _, one in encoder.embed_by_length(texts, budget))

    embedding.measure(turn, encoder.bilm, work, place=place)


def one_by_one(turn: harness.Turn, width: int, count: int, place: Place) -> None:
    """Embed each text in its own call."""
    encoder, texts = embedding.encoder_and_texts(width, count)
    encoder.to(place.device)

    def work() -> int:
        return sum(embedding.tokens_of(encoder.embed([text])[0]) for text in texts)

    embedding.measure(turn, encoder.bilm, work, place=place)


def timed(turn: harness.Turn, work: Callable[[], int], place: Place) -> None:
    """Call `work`, which returns the number of tokens, in turns without end."""
    turn(None)
    while True:
        place.synchronize()
        start = time.perf_counter()
        tokens = work()
        place.synchronize()
        turn({"tokens/s": tokens / (time.perf_counter() - start)})


def tokenized(tokenizer: WordTokenizer, texts: Sequence[str]) -> Iterator[list[TokenizedText]]:
    """Yield the tokenized texts in batches of the textbook, in the order of the file."""
    for start in range(0, len(texts), BATCH):
        yield tokenizer.encode([clean(text) for text in texts[start : start + BATCH]])


def embed_textbook(turn: harness.Turn, width: int, count: int, place: Place) -> None:
    """Embed with the textbook biLM: its top layer, in batches in the order of the file."""
    encoder, texts = embedding.encoder_and_texts(width, count)
    model = Textbook(len(encoder.tokenizer), width).eval().to(place.device)

    @torch.no_grad()
    def work() -> int:
        tokens = 0
        for documents in tokenized(encoder.tokenizer, texts):
            pair = mirrored_pair([document.ids for document in documents])
            states = model.states(*(ids.to(place.device) for ids in pair)).cpu()  # (B, T, D)
            vectors = [states[n, 1 : len(one.words) + 1].clone() for n, one in enumerate(documents)]
            tokens += sum(len(one) + 2 for one in vectors)
        return tokens

    timed(turn, work, place)


def classifier_parts(
    width: int, place: Place
) -> tuple[Any, ClassificationTask, ClassificationData]:
    """Return settings, task and data of `train_cls.py` on an untrained biLM of this width."""
    only_training = [change for change in TRAINING if "samples" not in change]
    cfg = harness.settings("train_cls", *overrides(place), *only_training)
    corpus = make(cfg.data)
    torch.manual_seed(cfg.seed)
    bilm = BiLM(len(corpus.tokenizer), embedding_dim=width, hidden_dim=width)
    encoder = ElmoEncoder(corpus.tokenizer, bilm)
    data = make(cfg.datamodule)(corpus=corpus, tokenizer=encoder.tokenizer)
    model = build_classifier(encoder, make(cfg.mixer), make(cfg.head), corpus.class_names)
    rates = (cfg.label_smoothing, cfg.finetune_lr, cfg.layer_decay)
    task = ClassificationTask(model, *rates, optimizer=make(cfg.optimizer), warmup=cfg.warmup)
    return cfg, task, data


def train_classifier(turn: harness.Turn, width: int, stored: bool, place: Place) -> None:
    """Train as `train_cls.py` does; if `stored`, on layers that were computed before."""
    cfg, task, data = classifier_parts(width, place)
    with tempfile.TemporaryDirectory() as folder:
        if stored:
            store = DiskStore(str(Path(folder) / "layers"), max_gigabytes=10)
            store.attach(task.model.encoder, data, torch.device(place.device), test=False)
        fit(cfg, task, data, Turns(turn, STEPS, place, None))


def predict(turn: harness.Turn, width: int, count: int, place: Place) -> None:
    """Predict the classes of raw texts."""
    _, task, _ = classifier_parts(width, place)
    model = task.model.to(place.device)
    encoder, texts = embedding.encoder_and_texts(width, count)
    documents = encoder.tokenizer.encode([clean(text) for text in texts])
    tokens = sum(len(document.ids) for document in documents)

    def work() -> int:
        model.predict(texts)
        return tokens

    timed(turn, work, place)


def train_textbook(turn: harness.Turn, width: int, place: Place) -> None:
    """Train a linear layer on the textbook biLM, which is computed again in every step."""
    cfg, _, data = classifier_parts(width, place)
    split = data.splits["train"]
    model = TextbookClassifier(
        Textbook(len(data.tokenizer), width), len(data.corpus.class_names)
    ).to(place.device)
    optimizer = torch.optim.Adam(model.output.parameters())
    generator = torch.Generator().manual_seed(cfg.seed)

    def work() -> int:
        tokens = 0
        for _ in range(STEPS):
            rows = torch.randint(len(split), (BATCH,), generator=generator).tolist()
            documents = [split.ids(row) for row in rows]
            pair = (ids.to(place.device) for ids in mirrored_pair(documents))
            labels = torch.as_tensor(split.labels[rows]).to(place.device)
            optimizer.zero_grad()
            with place.autocast():
                loss = functional.cross_entropy(model(*pair), labels)
            loss.backward()
            optimizer.step()
            tokens += sum(map(len, documents))
        return tokens

    timed(turn, work, place)


def predict_textbook(turn: harness.Turn, width: int, count: int, place: Place) -> None:
    """Predict with the textbook, in batches in the order of the file."""
    encoder, texts = embedding.encoder_and_texts(width, count)
    model = TextbookClassifier(Textbook(len(encoder.tokenizer), width), 4).to(place.device)

    @torch.no_grad()
    def work() -> int:
        tokens = 0
        for documents in tokenized(encoder.tokenizer, texts):
            ids = [document.ids for document in documents]
            model(*(each.to(place.device) for each in mirrored_pair(ids))).argmax(1).tolist()
            tokens += sum(map(len, ids))
        return tokens

    timed(turn, work, place)
