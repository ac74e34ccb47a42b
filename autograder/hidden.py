"""The data that students never get: the hidden parts, in a folder that only the grader can read."""

import io
import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labkit import data, sources
from labkit.data import Batch
from labkit.sources import Images, text_sets
from labkit.sources.texts import Labelled, Rows


class LabelledText(NamedTuple):
    texts: list[str]
    labels: list[int] | None  # of the texts, in their order; None: the set has no classes


def load(name: str, count: int) -> Batch:
    """The first `count` images of the hidden part, fetched and verified on first use.

    The canonical order is by hash, so the first ones are a random sample of all classes.
    """
    image_set = data.IMAGE_SETS[name]
    path = folder() / f"{name}.npz"
    if not path.is_file():
        images = sources.fetch(name, "test", image_set.test_digest)
        content = io.BytesIO()
        np.savez(content, pixels=images.pixels, labels=images.labels)
        _store(path, content.getbuffer())
    with np.load(path, allow_pickle=False) as archive:
        images = Images(archive["pixels"][:count], archive["labels"][:count])
    return data.normalise(image_set, images)


def load_text(name: str, count: int) -> LabelledText:
    """The first `count` texts of the hidden part, fetched and verified on first use.

    Like images, they are in an order by hash: the first ones are a random sample.

    Raises:
        ValueError: nothing of this set is hidden.
    """
    text_set = data.TEXT_SETS[name]
    if text_set.hidden_digest is None:
        raise ValueError(f"nothing of {name} is hidden, so nothing can be graded on it")
    path = folder() / f"{name}-{text_set.hidden_digest[:12]}.jsonl"
    if not path.is_file():
        rows = text_sets.fetch_hidden(name, text_set.public_digest, text_set.hidden_digest)
        _store(path, _json_lines(rows))
    with path.open(encoding="utf-8") as file:
        taken = [json.loads(line) for _, line in zip(range(count), file, strict=False)]
    labels = [row["label"] for row in taken] if text_set.classes else None
    return LabelledText([row["text"] for row in taken], labels)


def folder() -> Path:
    """Never below labkit's cache, which the sandbox shows to students. COURSE_HIDDEN overrides."""
    default = Path.home() / ".local" / "share" / "course-hidden"
    return Path(os.environ.get("COURSE_HIDDEN", default))


def _json_lines(rows: Rows) -> memoryview:
    kept = [
        {"text": row.text, "label": row.label} if isinstance(row, Labelled) else {"text": row.text}
        for row in rows
    ]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    return memoryview("".join(lines).encode())


def _store(path: Path, content: memoryview) -> None:
    """Written under a name of this process, then renamed: no reader meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    partial.rename(path)
