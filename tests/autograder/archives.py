"""Zip archives that no packer writes, byte by byte."""

import struct
import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One file, and what is said of it. A field of None says what is true."""

    name: str | bytes
    content: bytes = b""
    deflate: bool = False
    local_name: bytes | None = None
    says_size: int | None = None  # in the directory
    local_size: int | None = None
    says_crc: int | None = None
    method: int | None = None
    flags: int = 0
    mode: int = 0
    at: int | None = None  # where the directory says that it lies
    after: bytes = b""  # behind its bytes, and counted among them

    @property
    def raw_name(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @property
    def packed(self) -> bytes:
        if not self.deflate:
            return self.content + self.after
        engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return engine.compress(self.content) + engine.flush() + self.after

    def _numbers(self, size: int | None) -> tuple[int, int, int, int]:
        method = self.method if self.method is not None else 8 if self.deflate else 0
        crc = self.says_crc if self.says_crc is not None else zlib.crc32(self.content)
        return method, crc, len(self.packed), size if size is not None else len(self.content)

    def local(self) -> bytes:
        method, crc, packed, size = self._numbers(self.local_size)
        name = self.local_name if self.local_name is not None else self.raw_name
        head = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, self.flags, method, 0, 0,
                           crc, packed, size, len(name), 0)  # fmt: skip
        return head + name + self.packed

    def central(self, at: int) -> bytes:
        method, crc, packed, size = self._numbers(self.says_size)
        where = self.at if self.at is not None else at
        head = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 3 << 8 | 20, 20, self.flags, method, 0, 0,
                           crc, packed, size, len(self.raw_name), 0, 0, 0, 0,
                           self.mode << 16, where)  # fmt: skip
        return head + self.raw_name


def archive(*entries: Entry, count: int | None = None, comment: bytes = b"") -> bytes:
    body, directory = b"", b""
    for entry in entries:
        directory += entry.central(len(body))
        body += entry.local()
    return body + directory + end(len(directory), len(body), count or len(entries), comment)


def end(size: int, start: int, count: int, comment: bytes = b"") -> bytes:
    numbers = (0, 0, count, count, size, start, len(comment))
    return struct.pack("<4s4H2LH", b"PK\x05\x06", *numbers) + comment
