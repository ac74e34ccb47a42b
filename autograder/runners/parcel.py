"""What crosses to a runner and back: JSON text and named files. No object of ours, or of a student.

A parcel is bytes on the way (a length, a table of contents in JSON, the contents) and a folder at
both ends. Names are paths below that folder; one that leads out of it is refused.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LENGTH = struct.Struct(">Q")
TEXT, FILES = "text.json", "files"
FAULT = "fault"


class TornParcel(ValueError):
    """Bytes or a folder that are no parcel."""


@dataclass(frozen=True)
class Parcel:
    text: str  # JSON
    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for name in self.files:
            parts = PurePosixPath(name).parts
            if not parts or name.startswith("/") or ".." in parts or "\0" in name:
                raise TornParcel(f"{name!r} names no file below a folder")

    def pack(self) -> bytes:
        text = self.text.encode()
        contents = {"text": len(text), "files": [[n, len(c)] for n, c in self.files.items()]}
        table = json.dumps(contents).encode()
        return b"".join([LENGTH.pack(len(table)), table, text, *self.files.values()])

    @classmethod
    def unpack(cls, packed: bytes) -> "Parcel":
        """Raises TornParcel if the bytes are not what `pack` makes."""
        try:
            (length,) = LENGTH.unpack_from(packed)
            place = LENGTH.size + length
            contents = json.loads(packed[LENGTH.size : place])
            sizes = [("", contents["text"]), *contents["files"]]
            parts = {}
            for name, size in sizes:
                parts[name] = packed[place : place + size]
                place += size
        except (struct.error, ValueError, TypeError, KeyError) as error:
            raise TornParcel(f"{len(packed)} bytes that are no parcel ({error})") from error
        if place != len(packed):
            raise TornParcel(f"{len(packed)} bytes where the table of contents says {place}")
        return cls(parts.pop("").decode(), parts)

    def write(self, folder: Path) -> None:
        """As a folder, which is there whole or not at all."""
        partial = folder.with_name(f".{folder.name}.partial")
        (partial / FILES).mkdir(parents=True)
        (partial / TEXT).write_text(self.text, encoding="utf-8")
        for name, content in self.files.items():
            path = partial / FILES / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        partial.rename(folder)

    @classmethod
    def read(cls, folder: Path) -> "Parcel":
        """Raises FileNotFoundError if there is none."""
        files = folder / FILES
        return cls(
            (folder / TEXT).read_text(encoding="utf-8"),
            {
                path.relative_to(files).as_posix(): path.read_bytes()
                for path in sorted(files.rglob("*"))
                if path.is_file()
            },
        )


@dataclass(frozen=True)
class Fault:
    """A job has no answer, and that is no fault of a student's."""

    reason: str

    @property
    def parcel(self) -> Parcel:
        """As a job's process answers it."""
        return Parcel(json.dumps({FAULT: self.reason}), {})
