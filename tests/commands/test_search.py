from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import elmo.runs.identity  # noqa: F401  # its resolvers
from conftest import ROOT, error_line
from elmo.commands.search import main
from elmo.errors import ConfigError
from elmo.runs.trials import draw, read_space
from elmo.utils import shipped

SPACES = sorted((ROOT / "conf").glob("search_*.yaml"))
CHOICES: dict[str, list] = {"mixer": ["concat", "learned"], "head.dropout": [0.1, 0.2, 0.3]}


def test_trials_are_different_and_follow_the_seed() -> None:
    trials = draw(CHOICES, 6, seed=0)
    assert len({str(trial) for trial in trials}) == 6  # all combinations
    assert draw(CHOICES, 3, seed=0) == trials[:3]  # more trials begin with the same ones
    assert draw(CHOICES, 6, seed=1) != trials
    with pytest.raises(ConfigError, match="1 to 6"):
        draw(CHOICES, 7, seed=0)


def search(*arguments: object) -> None:
    main(list(map(str, arguments)))


@pytest.mark.parametrize("space", SPACES, ids=lambda file: file.stem)
def test_every_trial_composes_with_what_it_sets(
    space: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    search(space, "--trials", 5, "-o", tmp_path)
    script, fixed, choices = read_space(space)
    printed = capsys.readouterr().out
    assert printed.startswith(f"python {script} --config-dir {tmp_path} '+trial=glob(*)'")
    files = sorted((tmp_path / "trial").iterdir())
    drawn = draw(choices, 5, seed=0)
    assert len(files) == 5
    for file, trial in zip(files, drawn, strict=True):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            overrides = [f"hydra.searchpath=[file://{tmp_path}]", f"+trial={file.stem}"]
            cfg = compose(script.removesuffix(".py"), overrides, return_hydra_config=True)
        chosen = OmegaConf.to_container(cfg.hydra.runtime.choices)
        assert isinstance(chosen, dict)
        for key, value in (fixed | trial).items():
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
    (tmp_path / "out" / "trial").mkdir(parents=True)
    (tmp_path / "out" / "trial" / "00.yaml").write_text("")
    assert "contains trials already" in error("{script: a.py, fixed: {}, choices: {seed: [1, 2]}}")
