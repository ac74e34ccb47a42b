"""The cache of decoded data sets: NAME/DIGEST/SPLIT, so that a new definition is fetched anew."""

import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.data.records import ImageSet, TextSet
from labkit.sources import images, text_sets
from labkit.sources.images import Images
from labkit.sources.texts import Rows

if TYPE_CHECKING:
    from datasets import Dataset, Features

log = logging.getLogger(__name__)


def folder() -> Path:
    """Where decoded data sets are kept; LABKIT_CACHE overrides it."""
    default = Path.home() / ".cache" / "labkit"
    return Path(os.environ.get("LABKIT_CACHE", default))


def read(data_set: ImageSet | TextSet, split: str) -> "Dataset":
    """One split from the cache; fetched and verified on first use.

    Raises:
        SourceUnavailable: it is not in the cache, and no source had it.
    """
    from datasets import load_from_disk

    place = folder() / data_set.name / data_set.public_digest[:12]
    if not place.is_dir():
        _fill(data_set, place)
    return load_from_disk(str(place / split))


def _fill(data_set: ImageSet | TextSet, place: Path) -> None:
    log.info("fetching %s (once; kept in %s)", data_set.name, place)
    parts = _image_parts(data_set) if isinstance(data_set, ImageSet) else _text_parts(data_set)
    place.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its final place and renamed, so that an interrupted run leaves no half cache.
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".partial-") as scratch:
        whole = Path(scratch) / place.name
        for split, rows in parts.items():
            rows.save_to_disk(str(whole / split))
        try:
            whole.rename(place)
        except OSError:
            if not place.is_dir():  # else another process was faster, with the same content
                raise


def _image_parts(image_set: ImageSet) -> Mapping[str, "Dataset"]:
    from datasets import Array3D, ClassLabel, Features

    fetched = images.fetch(image_set.name, "train", image_set.train_digest)
    features = Features(
        image=Array3D(image_set.shape, "uint8"), label=ClassLabel(names=list(image_set.classes))
    )

    def part(rows: slice) -> "Dataset":
        taken = Images(fetched.pixels[rows], fetched.labels[rows])
        columns = {"image": taken.pixels, "label": taken.labels}
        return _dataset(image_set, columns, features)

    count = image_set.validation_count
    return {"train": part(slice(count, None)), "validation": part(slice(None, count))}


def _text_parts(text_set: TextSet) -> Mapping[str, "Dataset"]:
    public = text_sets.fetch(text_set.name, text_set.public_digest)
    return {
        split: _dataset(text_set, _columns(rows), _text_features(text_set))
        for split, rows in public._asdict().items()
    }


def _columns(rows: Rows) -> dict[str, list[Any]]:
    return {name: [getattr(row, name) for row in rows] for name in rows[0]._fields}


def _text_features(text_set: TextSet) -> "Features":
    from datasets import ClassLabel, Features, Value

    types = {
        "text": Value("string"),
        "year": Value("int32"),
        "president": Value("string"),
        "source": Value("string"),
    }
    if text_set.classes:
        types["label"] = ClassLabel(names=list(text_set.classes))
    return Features({name: types[name] for name, _ in text_set.about.columns})


def _dataset(
    data_set: ImageSet | TextSet, columns: dict[str, Any], features: "Features"
) -> "Dataset":
    from datasets import Dataset, DatasetInfo

    info = DatasetInfo(
        dataset_name=data_set.name,
        description=data_set.about.description,
        license=data_set.about.licence,
        citation=data_set.about.citation,
        features=features,
    )
    return Dataset.from_dict(columns, features=features, info=info)
