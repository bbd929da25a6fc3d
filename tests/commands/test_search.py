from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import elmo.runs.identity  # noqa: F401  # its resolvers
from conftest import ROOT, error_line
from elmo.commands.search import main
from elmo.errors import ConfigError
from elmo.runs.trials import Range, Space, as_overrides, draw, read_space
from elmo.utils import shipped

SPACES = sorted((ROOT / "conf").glob("search_*.yaml"))
CHOICES: dict[str, list] = {"mixer": ["concat", "learned"], "head.dropout": [0.1, 0.2, 0.3]}
SPACE = Space("train_cls.py", {}, CHOICES, {})
RANGES = {
    "optimizer.lr": Range(1e-4, 1e-1, log=True),
    "head.hidden_dim": Range(8, 64),
    "warmup": Range(0.0, 0.3, step=0.1),
    "trainer.max_epochs": Range(1, 32, log=True),
    "label_smoothing": Range(0.0, 0.2),
}


def test_trials_are_different_and_follow_the_seed() -> None:
    trials = draw(SPACE, 6, seed=0)
    assert len({str(trial) for trial in trials}) == 6  # all combinations
    assert draw(SPACE, 3, seed=0) == trials[:3]  # more trials begin with the same ones
    assert draw(SPACE, 6, seed=1) != trials
    with pytest.raises(ConfigError, match="1 to 6"):
        draw(SPACE, 7, seed=0)


def test_draws_from_ranges() -> None:
    trials = draw(SPACE._replace(choices={}, ranges=RANGES), 400, seed=0)
    found = {key: [trial[key] for trial in trials] for key in RANGES}
    for key, of in RANGES.items():
        assert of.low <= min(found[key])
        assert max(found[key]) <= of.high
    # As many below the geometric middle as above it: 3e-3, not 0.05.
    assert sum(value < 10**-2.5 for value in found["optimizer.lr"]) == pytest.approx(200, abs=40)
    assert sum(value < 0.1 for value in found["label_smoothing"]) == pytest.approx(200, abs=40)
    assert set(found["head.hidden_dim"]) == set(range(8, 65))
    assert {round(value, 9) for value in found["warmup"]} == {0.0, 0.1, 0.2, 0.3}
    assert set(map(type, found["trainer.max_epochs"])) == {int}
    assert sum(value < 6 for value in found["trainer.max_epochs"]) == pytest.approx(200, abs=40)


def test_settings_as_overrides() -> None:
    settings = {"mixer": "learned", "label": "it's 1, {a}", "average_weights": None, "seed": 3}
    parsed = OverridesParser.create().parse_overrides(
        as_overrides({**settings, "data.files": ["a b", "c"], "encoder.finetune": True, "lr": 1e-5})
    )
    assert {one.key_or_group: one.value() for one in parsed} == {
        **settings,
        "data.files": ["a b", "c"],
        "encoder.finetune": True,
        "lr": 1e-5,
    }


def search(*arguments: object) -> None:
    main(list(map(str, arguments)))


@pytest.mark.parametrize("space", SPACES, ids=lambda file: file.stem)
def test_every_trial_composes_with_what_it_sets(
    space: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    search(space, "--trials", 5, "-o", tmp_path)
    content = read_space(space)
    printed = capsys.readouterr().out
    assert printed.startswith(f"python {content.script} --config-dir {tmp_path} '+trial=glob(*)'")
    files = sorted((tmp_path / "trial").iterdir())
    drawn = draw(content, 5, seed=0)
    assert len(files) == 5
    for file, trial in zip(files, drawn, strict=True):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            overrides = [f"hydra.searchpath=[file://{tmp_path}]", f"+trial={file.stem}"]
            cfg = compose(content.script.removesuffix(".py"), overrides, return_hydra_config=True)
        chosen = OmegaConf.to_container(cfg.hydra.runtime.choices)
        assert isinstance(chosen, dict)
        for key, value in (content.fixed | trial).items():
            found = chosen[key] if key in chosen else OmegaConf.select(cfg, key)
            assert found == value


def test_a_shipped_space_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "INSTALLED", True)
    search("conf/search_cls.yaml", "--trials", 2, "-o", "out")
    assert capsys.readouterr().out.startswith("elmo train-cls --config-dir out '+trial=glob(*)'")
    assert len(list(Path("out/trial").iterdir())) == 2


def test_folders_and_spaces_that_will_not_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(content: str | None) -> str:
        space = tmp_path / "space.yaml"
        if content is not None:
            space.write_text(content)
        out = tmp_path / "out"
        return error_line(lambda: search(space, "--trials", 2, "-o", out), capsys)

    assert "space.yaml: no such file; expected a YAML" in error(None)
    assert "expected a YAML file" in error("a: [")
    assert "expected the keys" in error("choices: {}")
    assert "choices.seed is 3" in error("{script: a.py, fixed: {}, choices: {seed: 3}}")
    for wrong in (
        "3",
        "{low: 1}",
        "{low: 2, high: 1}",
        "{low: 0, high: 1, log: true}",
        "{low: 1, high: a}",
    ):
        space = f"{{script: a.py, fixed: {{}}, choices: {{}}, ranges: {{warmup: {wrong}}}}}"
        assert "ranges.warmup is" in error(space)
    (tmp_path / "out" / "trial").mkdir(parents=True)
    (tmp_path / "out" / "trial" / "00.yaml").write_text("")
    assert "contains trials already" in error("{script: a.py, fixed: {}, choices: {seed: [1, 2]}}")
