"""Every file under conf/ composes, has keys that its class takes, and builds what it names."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

import elmo.runs.identity  # noqa: F401  # its resolvers
from conftest import ROOT
from elmo.data.corpora.toy import ToyNews
from elmo.models.classifier import TextClassifier
from elmo.models.encoders import Encoder
from elmo.runs.latest import latest_run, released_run
from elmo.runs.record import read_record
from elmo.runs.settings import check_settings
from elmo.utils.tensor_files import state_checksum

CONF = ROOT / "conf"
JOBS = {"train_lm", "train_cls"}
GROUPS = {  # which jobs know a group
    "data": JOBS | {"train_tfidf", "train_ngram"},
    "optimizer": JOBS,
    "trainer": JOBS,
    "callbacks": JOBS,
    "embedding": {"train_lm"},
    "bilm": {"train_lm"},
    "softmax": {"train_lm"},
    "encoder": {"train_cls"},
    "mixer": {"train_cls"},
    "head": {"train_cls"},
    "store": {"train_cls"},
    "labels": {"train_cls"},
    "teacher": {"train_cls"},
    "label_weights": {"train_cls"},
    "augmentation": {"train_cls"},
    "classifier": {"train_tfidf"},
    "experiment": JOBS,
}
CASES = [
    (job, file.parent.name, file.stem)
    for file in sorted(CONF.glob("*/*.yaml"))
    for job in sorted(GROUPS.get(file.parent.name, ()))
]
CASES += [  # experiments that are another for each script
    (job, "experiment", file.stem)
    for job in sorted(JOBS)
    for file in sorted(CONF.glob(f"only_{job}/experiment/*.yaml"))
]

Composer = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composer]:
    """Composes the settings of a job, those of the same overrides once; nobody changes them."""
    folder = tmp_path_factory.mktemp("run")

    @functools.cache
    def run(job: str, *overrides: str) -> DictConfig:
        extra = [f"hydra.runtime.output_dir={folder}"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose(job, [*overrides, *extra], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg

    yield run
    HydraConfig.instance().cfg = None


def test_every_folder_is_a_known_group() -> None:
    apart = {f"only_{job}" for job in JOBS} | {"hydra"}
    assert {path.name for path in CONF.iterdir() if path.is_dir()} == set(GROUPS) | apart | {
        "hydra"
    }


@pytest.mark.parametrize(("job", "group", "name"), CASES)
def test_file_composes(composed: Composer, job: str, group: str, name: str) -> None:
    cfg = composed(job, f"{group}={name}")
    settings = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(settings, dict)
    check_settings(cast(dict[str, Any], settings))


@pytest.mark.parametrize("file", sorted(CONF.glob("**/*.yaml")), ids=lambda f: f.stem)
def test_file_opens_with_its_command(file: Path) -> None:
    head = file.read_text().splitlines()[:2]
    if file.stem != "base":
        assert any(line.startswith("# python train_") for line in head)


@pytest.mark.parametrize(
    ("job", "group", "name"),
    [case for case in CASES if case[1] not in ("callbacks", "experiment", "labels")],
)
def test_keys_are_arguments_of_the_class(
    composed: Composer, job: str, group: str, name: str
) -> None:
    node = composed(job, f"{group}={name}")[group]
    target = get_object(node._target_)
    taken: set[str] = set()
    # A subclass passes what it does not know on to its base.
    for owner in target.__mro__ if inspect.isclass(target) else [target]:
        taken |= set(inspect.signature(owner).parameters)
    assert {key for key in node if not key.startswith("_")} <= taken


@pytest.mark.parametrize(
    ("job", "group", "name"), [case for case in CASES if case[1] not in ("experiment", "labels")]
)
def test_file_instantiates(composed: Composer, job: str, group: str, name: str) -> None:
    node = composed(job, f"{group}={name}")[group]
    if group == "trainer" and node.accelerator == "gpu" and not torch.cuda.is_available():
        return
    made = instantiate(node, _convert_="all" if group == "optimizer" else "none")
    arguments: dict[str, dict] = {
        "bilm": {"vocab_size": 20, "embedding_dim": 4},
        "softmax": {"dim": 8, "vocab_size": 20},
        "mixer": {"num_layers": 3, "dim": 8},
        "head": {"dim": 8, "num_classes": 4},
        "optimizer": {"params": [torch.nn.Parameter(torch.zeros(2))]},
        "trainer": {"logger": False, "precision": "32-true"},  # as a run tells it
    }
    if group in arguments:
        assert made(**arguments[group])


def names(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


@pytest.fixture(scope="module")
def encoders(composed: Composer, pretrained: Path, toy: ToyNews) -> Callable[[str], Encoder]:
    """Each encoder as its file makes it, once."""

    @functools.cache
    def build(name: str) -> Encoder:
        run = latest_run(pretrained, "toy")
        bilm = f"bilm_path={run}"
        several = [f"encoder.bilm_paths=[{run},{run}]"] if name == "side_by_side" else []
        cfg = composed("train_cls", f"encoder={name}", bilm, *several)
        return instantiate(cfg.encoder)(corpus=toy)

    return build


@pytest.mark.parametrize("head", names("head"))
@pytest.mark.parametrize("mixer", names("mixer"))
@pytest.mark.parametrize("encoder", names("encoder"))
def test_every_encoder_mixer_and_head_runs_a_step(
    composed: Composer,
    encoders: Callable[[str], Encoder],
    toy: ToyNews,
    encoder: str,
    mixer: str,
    head: str,
) -> None:
    source = encoders(encoder)
    cfg = composed("train_cls", f"head={head}")
    mixing = instantiate(composed("train_cls", f"mixer={mixer}").mixer)(
        num_layers=source.num_layers, dim=source.dim
    )
    scoring = instantiate(cfg.head)(dim=mixing.output_dim, num_classes=len(toy.class_names))
    model = TextClassifier(source, mixing, scoring, toy.class_names)
    few = instantiate(cfg.datamodule, token_budget=512)
    data = few(corpus=toy, tokenizer=source.tokenizer)
    batch = next(iter(data.val_dataloader()))
    before = state_checksum(source.state_dict())
    optimizer = instantiate(cfg.optimizer, _convert_="all")(
        [parameter for parameter in model.parameters() if parameter.requires_grad]
    )
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model.eval()(batch), batch.label)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert state_checksum(source.state_dict()) == before


def test_both_jobs_share_rows_and_split(composed: Composer) -> None:
    assert composed("train_lm", "seed=7").data == composed("train_cls", "seed=3").data


def test_the_frozen_lambdas_follow_the_seed(composed: Composer) -> None:
    assert composed("train_cls", "mixer=frozen", "seed=7").mixer.seed == 7
    assert composed("train_cls", "mixer=frozen", "seed=7", "mixer.seed=2").mixer.seed == 2


def test_the_demo_runs_on_the_toy_corpus(composed: Composer) -> None:
    for job in JOBS:
        assert composed(job, "experiment=demo").data._target_ == "elmo.data.corpora.toy.ToyNews"


def test_the_wide_recipe_is_what_the_released_bilm_was_trained_with(composed: Composer) -> None:
    script, *typed = read_record(released_run("bilm"))["command"]
    assert "experiment=ag_news" in typed
    kept = [words for words in typed if words.startswith(("data=", "seed=", "trainer.precision="))]
    assert composed(script, "experiment=ag_news_wide", *kept) == composed(script, *typed)
