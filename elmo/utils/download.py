"""Downloading a file: resumed after a break, and never taken for whole when it is cut."""

from __future__ import annotations

import functools
import json
import os
import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
from tqdm import tqdm

from elmo.errors import ArtifactError
from elmo.utils.files import write_json
from elmo.utils.terminal import say

ATTEMPTS = 4  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second attempt, twice as long before each further one
TIMEOUT = 30.0  # seconds in which no byte arrives
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # a later attempt may succeed


def download(
    url: str,
    file: Path,
    *,
    at_least: int,
    at_most: int,
    check: Callable[[Path], object],
    way_out: str,
) -> None:
    """Download a file, after several attempts if need be.

    What arrives is kept in `FILE.part`, so that a later call continues where this one ended, as
    long as the server still has the same file. It gets its name once all its bytes are on disk and
    `check` has passed; where `check` fails, it is deleted. The caller keeps other processes out.

    Args:
        at_least: bytes that the file must have; a smaller one is refused before it is read.
        at_most: bytes that the file may have; a larger one is refused before it is read.
        check: raises ValueError with a finding where the file is not what it should be.
        way_out: what a user may do instead, for the message.

    Raises:
        ArtifactError: there is no connection, or the server has no such file, or another one.
        OSError: the file cannot be written, for example because the disk is full.
    """
    part = _Part(file, url)
    with _client(url, way_out) as client:
        furthest, failures = part.have, 0
        while not part.is_whole:
            try:
                _receive(client, part, at_least, at_most)
            except _RefusedError as error:
                raise ArtifactError(f"{url}: {error}; {way_out}") from error
            except (_BrokenError, httpx2.RequestError) as error:
                finding = str(error) or type(error).__name__
                failures = 0 if part.have > furthest else failures + 1
                furthest = max(furthest, part.have)
                if failures == ATTEMPTS or isinstance(error, httpx2.TooManyRedirects):
                    again = "try again later" + (", which continues it" if part.have else "")
                    raise ArtifactError(
                        f"{url}: download failed ({finding}); {again}, or {way_out}"
                    ) from error
                pause = PAUSE * 2 ** max(failures - 1, 0)
                say(f"{url}: {finding}; next attempt in {pause:g} s")
                time.sleep(pause)
    try:
        check(part.file)
    except ValueError as error:
        part.discard()
        raise ArtifactError(f"{url}: {error}; {way_out}") from error
    part.finish(file)


class _RefusedError(Exception):
    """An answer that no further attempt changes."""


class _BrokenError(Exception):
    """An answer that may be another one at the next attempt."""


class _Part:
    """The bytes of a file that have arrived, and what is known of the whole file."""

    def __init__(self, file: Path, url: str) -> None:
        self.file = file.with_name(f"{file.name}.part")
        self.record = file.with_name(f"{file.name}.part.json")
        self.url = url
        self.size = -1  # bytes of the whole file; unknown as long as nothing has arrived
        self.validator = ""  # that the server gave with it: what it sends is the same file
        try:
            record = json.loads(self.record.read_bytes())
            if record["url"] == url:
                self.size, self.validator = int(record["size"]), str(record["validator"])
        except (OSError, ValueError, TypeError, KeyError):
            pass  # nothing was begun, or what was cannot be continued
        if not 0 <= self.have <= self.size:
            self.discard()

    @property
    def have(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def is_whole(self) -> bool:
        return self.have == self.size

    def begin(self, size: int, validator: str) -> None:
        """Drop what has arrived, and note what the server says of the file."""
        self.discard()
        self.size, self.validator = size, validator
        write_json(self.record, {"url": self.url, "size": size, "validator": validator})

    def discard(self) -> None:
        # In this order: bytes are never found beside the record of another file.
        self.file.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)
        self.size, self.validator = -1, ""

    def finish(self, file: Path) -> None:
        with self.file.open("rb") as handle:
            os.fsync(handle.fileno())
        self.file.replace(file)
        self.record.unlink(missing_ok=True)


def _client(url: str, way_out: str) -> httpx2.Client:
    def check_redirect(request: httpx2.Request) -> None:
        if request.url.scheme != "https" and request.url != httpx2.URL(url):
            raise ArtifactError(
                f"{url}: the server redirects to {request.url}; only https is followed; {way_out}"
            )

    return httpx2.Client(
        follow_redirects=True,
        timeout=TIMEOUT,
        verify=_certificates(),
        event_hooks={"request": [check_redirect]},
        # A compressed answer would have another length than the file.
        headers={"Accept-Encoding": "identity"},
    )


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return the certificates that are trusted, which take long to read."""
    return httpx2.create_ssl_context()


def _receive(client: httpx2.Client, part: _Part, at_least: int, at_most: int) -> None:
    """Ask for the missing bytes, or for all, and append what arrives to the part."""
    have, headers = part.have, {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if part.validator:
            headers["If-Range"] = part.validator
    with client.stream("GET", part.url, headers=headers) as response:
        answer = f"the server answers {response.status_code} {response.reason_phrase}"
        if response.status_code in TRANSIENT:
            raise _BrokenError(answer)
        if response.status_code == 200:  # after a request for a range: that is not possible
            part.begin(_size(response, at_least, at_most), _validator(response))
        elif not have or response.status_code not in (206, 416):
            raise _RefusedError(answer)
        elif not _continues(response, part):
            part.discard()
            raise _BrokenError(f"{answer}, which does not continue the download")
        _append(response, part)


def _size(response: httpx2.Response, at_least: int, at_most: int) -> int:
    """Return the length of a file that is about to be sent, after checking it."""
    if not (length := response.headers.get("Content-Length", "")).isdecimal():
        raise _RefusedError("the server does not say how long the file is")
    size = int(length)
    if not at_least <= size <= at_most:
        kind = response.headers.get("Content-Type", "no type")
        raise _RefusedError(
            f"the file has {size:,} bytes ({kind}); expected {at_least:,} to {at_most:,}"
        )
    return size


def _validator(response: httpx2.Response) -> str:
    """Return what `If-Range` takes: a strong ETag, else the date of the last change."""
    etag: str = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


def _continues(response: httpx2.Response, part: _Part) -> bool:
    """Tell whether an answer holds exactly the missing bytes of the same file."""
    missing = f"bytes {part.have}-{part.size - 1}/{part.size}"
    content_range = re.sub(r"\s+", " ", response.headers.get("Content-Range", "").strip())
    return (
        response.status_code == 206
        and content_range == missing
        and _validator(response) in ("", part.validator)
    )


def _append(response: httpx2.Response, part: _Part) -> None:
    have = part.have
    bar = tqdm(
        desc=response.request.url.path.split("/")[-1],
        initial=have,
        total=part.size,
        unit="B",
        unit_scale=True,
        disable=None,
    )
    with bar, part.file.open("ab") as handle:
        # In the pieces that arrive: what is collected first is lost when the connection breaks.
        for chunk in response.iter_raw():
            have += len(chunk)
            if have > part.size:
                raise _BrokenError(f"the server sends more than {part.size:,} bytes")
            handle.write(chunk)
            bar.update(len(chunk))
    if have < part.size:
        raise _BrokenError(f"the connection ended after {have:,} of {part.size:,} bytes")
