"""What the server answers: to many visitors at once, to strangers, and for the files of runs."""

from __future__ import annotations

import json
import shutil
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from elmo.page.found_runs import key_of
from page.test_answers import keys

SENTENCES = [f"The {word} raised its rates in {place}." for word in ("bank", "club", "army", "chip",
             "court") for place in ("Toronto", "Paris")]  # fmt: skip


def post(address: str, text: str, chosen: list[str]) -> str:
    """Ask as the page does; return the answer as text."""
    inputs = [("tab", "data", "classify"), ("classify-go", "n_clicks", 1),
              ("classify-example", "value", None)]  # fmt: skip
    state = [("classify-text", "value", text), ("classify-models", "value", chosen)]
    body = {
        "output": "classify-answer.children",
        "outputs": {"id": "classify-answer", "property": "children"},
        "inputs": [dict(zip(("id", "property", "value"), i, strict=True)) for i in inputs],
        "state": [dict(zip(("id", "property", "value"), s, strict=True)) for s in state],
        "changedPropIds": ["classify-go.n_clicks"],
    }
    request = urllib.request.Request(
        f"{address}/_dash-update-component",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.dumps(json.load(response)["response"]["classify-answer"], sort_keys=True)


def test_ten_visitors_at_once_get_their_own_answers(address: str, runs: Path) -> None:
    chosen = keys(runs, "learned", "trainable", "word2vec")
    alone = [post(address, text, chosen) for text in SENTENCES]
    assert len(set(alone)) == 10
    start = threading.Barrier(10)

    def ask(text: str) -> list[str]:
        start.wait()
        return [post(address, text, chosen) for _ in range(3)]

    with ThreadPoolExecutor(10) as visitors:
        together = list(visitors.map(ask, SENTENCES))
    assert together == [[answer] * 3 for answer in alone]


def status(address: str, path: str, host: str | None = None) -> int:
    headers = {"Host": host} if host else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address + path, headers=headers)) as r:
            return r.status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_answers_to_this_machine_alone(address: str) -> None:
    assert status(address, "/") == 200
    assert status(address, "/", "localhost:1") == 200
    assert status(address, "/", "evil.example:8051") == 403
    with urllib.request.urlopen(f"{address}/") as response:
        policy = response.headers["Content-Security-Policy"]
        body = response.read().decode()
    assert "default-src 'self'" in policy
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    assert 'src="http' not in body


def test_a_new_run_is_there_at_the_next_visit(address: str, runs: Path) -> None:
    def lists(folder: Path) -> bool:
        with urllib.request.urlopen(f"{address}/_dash-layout") as response:
            return key_of(folder) in response.read().decode()

    assert not lists(runs / "new")
    shutil.copytree(runs / "svm", runs / "new")
    assert lists(runs / "new")
    shutil.rmtree(runs / "new")


def test_files_of_runs_are_read_and_nothing_else(address: str, runs: Path) -> None:
    key = key_of(runs / "trainable")
    assert status(address, f"/run/{key}/") == 200
    assert status(address, f"/run/{key}/metrics.json") == 200
    assert status(address, f"/run/{key}/tables/curves.csv") == 200
    odd = ("%00", "a" * 400)  # no file can have such a name
    for path in ("../learned/metrics.json", "%2e%2e/learned/metrics.json", "none", *odd):
        assert status(address, f"/run/{key}/{path}") == 404
    with urllib.request.urlopen(f"{address}/run/{key}//etc/passwd") as response:
        assert b"root:" not in response.read()
    assert status(address, "/run/0123/") == 404
    (runs / "trainable" / "link").symlink_to("/etc/passwd")
    assert status(address, f"/run/{key}/link") == 404
    (runs / "trainable" / "link").unlink()
    with urllib.request.urlopen(f"{address}/run/{key}/classifier.pt") as response:
        assert response.headers["Content-Disposition"].startswith("attachment")
