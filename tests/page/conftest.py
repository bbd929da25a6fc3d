"""A folder of small, untrained models with invented records, and the page that serves them."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from elmo.data.corpora import toy_grammar
from elmo.data.text import WordTokenizer
from elmo.models.classifier import TextClassifier
from elmo.models.encoders import ElmoEncoder, Encoder
from elmo.models.language_model import LanguageModel
from elmo.models.static import StaticEncoder
from elmo.modules.bilm import BiLM
from elmo.modules.heads import PoolHead
from elmo.modules.mixers import LearnedMix, Mixer, ScalarMix
from elmo.modules.softmax import FullSoftmax
from elmo.page.app import create_app, create_server
from elmo.page.models import Models
from elmo.page.texts import SearchedTexts
from elmo.utils.files import write_text
from report_runs import CLASSES, write_bilm, write_classifier

FACTS = {"data": {"name": "toy", "fingerprint": "aaaa1111"}}
TEXT = "The bank raised its interest rates."
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
# As root, as in a container, Chromium has no sandbox; and it looks for nothing on its own.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--no-first-run"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A biLM, two classifiers on it, one on static vectors; the records of further runs."""
    folder = tmp_path_factory.mktemp("outputs")
    torch.manual_seed(1)
    texts, _ = toy_grammar.generate(300, seed=0)
    tokenizer = WordTokenizer.train(texts, 1, None)
    bilm = BiLM(len(tokenizer), 6, 8)
    for parameter in bilm.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    write_bilm(folder / "lm")
    LanguageModel(bilm, FullSoftmax(8, len(tokenizer)), tokenizer).save(
        folder / "lm" / "bilstm.pt", FACTS
    )
    static = StaticEncoder(tokenizer, 6)
    torch.nn.init.normal_(static.embedding.table.weight, std=0.5)
    for name, accuracy, encoder, mixer in (
        ("learned", 0.9, ElmoEncoder(tokenizer, bilm), LearnedMix(3, 16)),
        ("trainable", 0.8, ElmoEncoder(tokenizer, bilm), ScalarMix(3, 16)),
        ("word2vec", 0.7, static, ScalarMix(1, 6)),
    ):
        kind = "word2vec" if name == "word2vec" else "elmo"
        choices = {"encoder": kind, "mixer": "trainable" if kind == "word2vec" else name}
        write_classifier(folder / name, accuracy, 0, choices)
        _save_classifier(folder / name, encoder, mixer)
    few = {"encoder": "elmo", "mixer": "learned", "labels": "percent_10"}
    write_classifier(folder / "few", 0.5, 0, few, share=0.1)
    write_classifier(folder / "svm", 0.72, 0, {"classifier": "svm"})
    for kind in ("", "-classifier"):
        write_text(folder / "latest" / f"toy{kind}", "learned\n" if kind else "lm\n")
    return folder


def _save_classifier(folder: Path, encoder: Encoder, mixer: Mixer) -> None:
    head = PoolHead(encoder.dim, len(CLASSES), 8)
    for parameter in [*mixer.parameters(), *head.parameters()]:
        torch.nn.init.normal_(parameter, std=0.5)
    TextClassifier(encoder, mixer, head, CLASSES).save(folder / "classifier.pt", FACTS)


@pytest.fixture(scope="module")
def models(runs: Path) -> Models:
    return Models([], runs, torch.device("cpu"), SearchedTexts())


@pytest.fixture(scope="module")
def address(runs: Path, models: Models, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, served as `elmo page` serves it."""
    cache = tmp_path_factory.mktemp("cache")
    app = create_app(models, runs, str(cache), "http://localhost:6006/")
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(app, listener)
    threading.Thread(target=server.run, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; Debian's package chromium has it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """A window whose tabs share what was loaded before."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    yield context
    context.close()


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    """A browser tab in which a fault of the page or a request to elsewhere fails the test."""
    page = window.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: faults.append(r.url) if _is_elsewhere(r.url) else None)
    page.on("response", lambda r: faults.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.set_default_timeout(20_000)
    yield page
    page.close()
    assert faults == []


def _is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
