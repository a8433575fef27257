"""Weights of networks: files with a known hash, from an offline folder or a resumable download."""

import http.client
import logging
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from filelock import FileLock

from citysplat_core.errors import ConfigError, StorageError
from citysplat_core.storage.files import full_disk_is_clear, published
from citysplat_core.storage.fingerprint import sha256_of
from citysplat_core.storage.report import Progress

log = logging.getLogger(__name__)

_BLOCK: Final = 1 << 20
_TRIES: Final = 5
_TIMEOUT_S: Final = 60
_GONE_ON: Final = 206
_TOO_FAR: Final = 416


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file of weights, as its publisher describes it.

    Attributes:
        name: Short name, used in settings.
        url: Where it is published (http or https).
        sha256: Hash of the whole file, 64 hex digits: what it is, wherever it came from.
        licence: SPDX identifier or the publisher's own words.
        size_bytes: Its size, None if the publisher does not say.
        is_commercial: Whether the licence allows commercial use.
    """

    name: str
    url: str
    sha256: str
    licence: str
    size_bytes: int | None = None
    is_commercial: bool = True

    @property
    def file_name(self) -> str:
        """Name of the file: the last part of its address."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1] or self.name


KNOWN_MODELS: Final[Mapping[str, ModelFile]] = {
    model.name: model
    for model in (
        # Address and hash are those that COLMAP's own source declares.
        ModelFile(
            name="vocab-tree-256k",
            url="https://github.com/colmap/colmap/releases/download/3.11.1/"
            "vocab_tree_faiss_flickr100K_words256K.bin",
            sha256="96ca8ec8ea60b1f73465aaf2c401fd3b3ca75cdba2d3c50d6a2f6f760f275ddc",
            licence="BSD-3-Clause",
        ),
    )
}
"""Models that can be named without being described. Networks whose weights lie in an installed
package (XFeat, LighterGlue) need no entry."""


def fetch_model(
    model: ModelFile,
    folder: Path,
    *,
    offline: Path | None = None,
    allow_noncommercial: bool = False,
    progress: Progress,
    pause_s: float = 2.0,
) -> Path:
    """Bring a file of weights, unless a whole one is there; it never stands there unverified.

    A download that is cut off goes on where it stopped, also in a later call.

    Args:
        model: What is wanted.
        folder: Where it is kept; made if needed. Unfinished parts stay there as ``*.part``.
        offline: Folder to take it from instead of downloading: nothing goes over the network.
        allow_noncommercial: Accept licences that forbid commercial use.
        progress: Called with bytes done and in all.
        pause_s: Pause before the second try, seconds; it grows with every further one.

    Returns:
        The file, with the right hash.

    Raises:
        ConfigError: The licence is refused, or the address is none of http.
        StorageError: The offline folder lacks the file, a file has another hash, the host does not
            give it, or the disk is full.
    """
    if not model.is_commercial and not allow_noncommercial:
        raise ConfigError(
            f"model {model.name} has the licence {model.licence!r}",
            expected="a licence that allows commercial use",
            fix="Choose another model, or set weights.allow_noncommercial = true in city.toml.",
        )
    if urlsplit(model.url).scheme not in ("http", "https"):
        raise ConfigError(
            f"model {model.name} has the address {model.url!r}",
            expected="an http or https address",
            fix="Correct it in city.toml.",
        )
    target = folder / model.file_name
    folder.mkdir(parents=True, exist_ok=True)
    with full_disk_is_clear(target), FileLock(target.with_name(f".{target.name}.lock")):
        if target.is_file() and sha256_of(target) == model.sha256:
            return target  # another process was faster
        if offline is not None:
            _take(model, offline / model.file_name, target)
        else:
            _download(model, target, progress, pause_s)
    return target


def _take(model: ModelFile, source: Path, target: Path) -> None:
    if not source.is_file():
        raise StorageError(
            f"{source} does not exist and nothing may be downloaded",
            expected=f"the file of model {model.name}",
            fix=f"Download {model.url} elsewhere and put it there,"
            " or empty weights.offline_folder.",
        )
    seen = sha256_of(source)
    if seen != model.sha256:
        raise _wrong_hash(model, str(source), seen)
    with source.open("rb") as stream, published(target) as out:
        shutil.copyfileobj(stream, out, _BLOCK)


def _download(model: ModelFile, target: Path, progress: Progress, pause_s: float) -> None:
    # The hash is part of the name: a part of another file is never continued.
    part = target.with_name(f"{target.name}.{model.sha256[:12]}.part")
    problem = "no answer"
    for attempt in range(_TRIES):
        if attempt:
            log.warning("%s: %s; trying again", model.name, problem)
            time.sleep(pause_s * attempt)
        was_begun = part.exists()
        try:
            is_whole = _continue(model, part, progress)
        except urllib.error.HTTPError as error:
            problem = f"the host answered {error.code}"
            is_whole = error.code == _TOO_FAR  # the part has all that there is, or too much
            if not is_whole and error.code < http.client.INTERNAL_SERVER_ERROR:
                raise _no_file(model, problem) from error
        except (ConnectionError, TimeoutError, urllib.error.URLError, HTTPException) as error:
            problem, is_whole = f"{type(error).__name__}: {error}", False
        else:
            problem = "the connection ended early"
        if not is_whole:
            continue
        seen = sha256_of(part)
        if seen == model.sha256:
            part.replace(target)
            return
        part.unlink()
        if not was_begun:
            raise _wrong_hash(model, model.url, seen)
        problem = "the part from before does not fit"
    raise _no_file(model, problem)


def _continue(model: ModelFile, part: Path, progress: Progress) -> bool:
    """Ask for what is missing and append it; say whether the host says that this is all."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
    request = urllib.request.Request(model.url, headers=headers)  # noqa: S310 - checked above
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        goes_on = answer.status == _GONE_ON
        start = have if goes_on else 0  # a host that knows no ranges sends everything again
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else model.size_bytes or 0
        done = start
        with part.open("ab" if goes_on else "wb") as out:
            while block := answer.read(_BLOCK):
                out.write(block)
                done += len(block)
                progress(done, total, f"bytes of {model.name}")
    if model.size_bytes is not None:
        return done >= model.size_bytes
    return not total or done >= total


def _wrong_hash(model: ModelFile, where: str, seen: str) -> StorageError:
    return StorageError(
        f"{where} has sha256 {seen[:12]}... and model {model.name} is {model.sha256[:12]}...",
        expected="the file that was published",
        fix="Do not use it. If the publisher replaced the file, describe the new one in city.toml.",
    )


def _no_file(model: ModelFile, problem: str) -> StorageError:
    return StorageError(
        f"model {model.name} could not be downloaded from {model.url} ({problem})",
        expected="its file; what came is kept and continued",
        fix="Run again later, or put the file into a folder and set weights.offline_folder.",
    )
