"""The model card: what the records say, and the card that is shipped beside them."""

from __future__ import annotations

from typing import Any

from elmo.report.model_card import model_card
from elmo.runs.latest import RELEASED, released_run
from elmo.runs.record import read_record


def records() -> tuple[dict[str, Any], dict[str, Any]]:
    return read_record(released_run("bilm")), read_record(released_run("classifier"))


def test_the_card_of_a_student_names_its_teachers() -> None:
    bilm, classifier = records()
    alone = {key: value for key, value in classifier.items() if key != "teachers"}
    settings = {**classifier["settings"], "teacher": {"weight": 0.3}}
    card = model_card(bilm, {**alone, "settings": settings, "teachers": 7})
    assert "30% of each target are the mean probabilities of 7 other classifiers" in card
    assert "minutes, without the teachers." in card
    (command,) = (line for line in card.splitlines() if line.startswith("python train_cls.py "))
    assert command.endswith(" teacher.runs=FOLDER")
    for taught_by_none in (model_card(bilm, alone), model_card(bilm, None)):
        assert "teacher.runs" not in taught_by_none
        assert "teachers" not in taught_by_none


def test_the_shipped_card_says_what_its_records_say() -> None:
    """Sentences may be added to the card by hand; none that was computed may differ."""
    shipped = (RELEASED / "README.md").read_text().splitlines()
    assert [line for line in model_card(*records()).splitlines() if line not in shipped] == []
