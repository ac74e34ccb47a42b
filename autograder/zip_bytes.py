"""The bytes of zip archives: only what every unpacker would read in the same way.

An archive describes each file twice, in a directory at its end and again before the file's bytes,
and nothing makes the two agree, or keeps two files from sharing bytes (Fifield, A better zip
bomb, WOOT 2019). Here the directory rules; a member that contradicts it, overlaps another or does
not unpack to what it declares is damaged. Format: PKWARE, APPNOTE.TXT 6.3.10.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import BinaryIO

MAX_ENTRIES = 65_534  # one more, and the archive is in the 64-bit form
MAX_DIRECTORY_BYTES = 16 * 1024**2
MAX_COMMENT = 2**16 - 1
MAX_RATIO = 250  # unpacked to packed; deflate reaches 1032 on zeros, notebooks and weights 30
FREE_BYTES = 1024**2  # below it no ratio is too high
CHUNK = 64 * 1024

_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MARK, _ENTRY_MARK, _LOCAL_MARK = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_SIZES_FOLLOW, _UTF8 = 0x8, 0x800
_WIDE = 0xFFFFFFFF  # the value stands in a 64-bit extra field


class NotAZip(Exception):
    """The archive as a whole cannot be read in one way. The message continues `NAME is ...`."""


class Damaged(Exception):
    """One member cannot be unpacked. The message continues `This file ...`."""


@dataclass(frozen=True)
class Member:
    """A file of an archive, as the directory describes it."""

    name: str  # with forward slashes; nothing about it is checked
    raw_name: bytes
    mode: int  # of Unix; 0 where the archive comes from elsewhere
    flags: int
    method: int
    crc: int
    packed_bytes: int
    size_bytes: int
    offset: int
    room: int = 0  # bytes up to what comes next in the archive

    @property
    def problem(self) -> str:
        """Why it must not be unpacked; empty if it may be."""
        if self.flags & _ENCRYPTED:
            return "is protected by a password; pack it without one"
        if self.method not in (_STORED, _DEFLATED):
            return f"is packed by method {self.method}; expected 0 (stored) or 8 (deflate)"
        if _WIDE in (self.size_bytes, self.packed_bytes, self.offset):
            return "is larger than 4 GiB"
        if _LOCAL.size + len(self.raw_name) + self.packed_bytes > self.room:
            return "shares bytes with another file of the archive"
        if self.size_bytes > max(FREE_BYTES, MAX_RATIO * self.packed_bytes):
            ratio = self.size_bytes // max(1, self.packed_bytes)
            return f"unpacks to {ratio} times its size; expected at most {MAX_RATIO} times"
        return ""


def members(file: BinaryIO) -> list[Member]:
    """The files of an archive, without its folders, in the directory's order.

    Raises:
        NotAZip: the directory is missing, too large, or not where the archive says.
    """
    end, count, start, size = _end(file)
    if size > MAX_DIRECTORY_BYTES:
        raise NotAZip(
            f"a zip file with a directory of {size:,} bytes; at most {MAX_DIRECTORY_BYTES:,}"
        )
    file.seek(start)
    directory = file.read(size)
    if len(directory) != size or start + size != end:
        raise NotAZip(f"a zip file whose directory does not end where its last record, {end}, is")
    found = list(_entries(directory, count))
    edges = sorted([start, *(member.offset for member in found if member.offset < start)])
    # Of several that begin at the same byte none has room, and none that begins behind the last.
    room = {offset: after - offset for offset, after in pairwise(edges)}
    room |= {offset: 0 for offset, after in pairwise(edges) if offset == after}
    return [
        replace(member, room=room.get(member.offset, 0))
        for member in found
        if not member.name.endswith("/")
    ]


def unpacked(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The bytes of a member, no more of them than it declares, in pieces of at most CHUNK.

    Raises:
        Damaged: the bytes or what stands before them contradict the directory.
    """
    if member.problem:
        raise Damaged(member.problem)
    _seek_to_bytes(file, member)
    crc = size = 0
    pieces = _packed(file, member) if member.method == _STORED else _inflated(file, member)
    for piece in pieces:
        size, crc = size + len(piece), zlib.crc32(piece, crc)
        if size > member.size_bytes:
            raise Damaged(f"unpacks to more than the {member.size_bytes} bytes that it declares")
        yield piece
    if size != member.size_bytes:
        raise Damaged(f"unpacks to {size} bytes and declares {member.size_bytes}")
    if crc != member.crc:
        raise Damaged("is damaged: its checksum does not fit its bytes")


def _end(file: BinaryIO) -> tuple[int, int, int, int]:
    """Where the last record lies, the number of entries, and where and how long the directory is.

    The record is found from the end, behind a comment of any length, and must be the only one
    whose comment reaches exactly to the end of the file.
    """
    length = file.seek(0, os.SEEK_END)
    tail_at = max(0, length - _END.size - MAX_COMMENT)
    file.seek(tail_at)
    tail = file.read(length - tail_at)
    fitting, at = [], tail.rfind(_END_MARK)
    while at >= 0:
        if at + _END.size <= len(tail):
            record = _END.unpack_from(tail, at)
            if at + _END.size + record[-1] == len(tail):
                fitting.append((tail_at + at, record))
        at = tail.rfind(_END_MARK, 0, at)
    if len(fitting) != 1:
        what = "several last records" if fitting else "no last record that ends the file"
        raise NotAZip(f"not a zip file that can be read in one way: it has {what}")
    ((place, (_, disk, first_disk, here, count, size, start, _)),) = fitting
    if disk or first_disk or here != count:
        raise NotAZip("one part of a zip file in several parts; hand in one file")
    if count > MAX_ENTRIES or _WIDE in (size, start):
        raise NotAZip(
            f"a zip file of more than {MAX_ENTRIES} files or 4 GiB; hand in the notebooks alone, "
            "without environments and data"
        )
    return place, count, start, size


def _entries(directory: bytes, count: int) -> Iterator[Member]:
    at = 0
    for _ in range(count):
        try:
            (mark, made_by, _, flags, method, _, _, crc, packed, size, name_bytes, extra, comment,
             _, _, attributes, offset) = _ENTRY.unpack_from(directory, at)  # fmt: skip
        except struct.error as error:
            raise NotAZip("a zip file whose directory is cut off") from error
        at += _ENTRY.size
        raw_name = directory[at : at + name_bytes]
        if mark != _ENTRY_MARK or len(raw_name) != name_bytes:
            raise NotAZip("a zip file whose directory is damaged")
        at += name_bytes + extra + comment
        mode = attributes >> 16 if made_by >> 8 in (3, 19) else 0  # Unix and macOS
        name = _name(raw_name, flags)
        yield Member(name, raw_name, mode, flags, method, crc, packed, size, offset)
    if at != len(directory):
        raise NotAZip(f"a zip file with {len(directory) - at} bytes too many in its directory")


def _name(raw: bytes, flags: int) -> str:
    """macOS writes UTF-8 without saying so; what is neither is shown with escapes."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace") if flags & _UTF8 else raw.decode("cp437")


def _seek_to_bytes(file: BinaryIO, member: Member) -> None:
    """To the member's first byte, past a description that must agree with the directory's."""
    file.seek(member.offset)
    head = file.read(_LOCAL.size)
    if len(head) != _LOCAL.size or not head.startswith(_LOCAL_MARK):
        raise Damaged("does not lie where the archive's directory says")
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra = _LOCAL.unpack(head)
    same = (flags & (_ENCRYPTED | _SIZES_FOLLOW), method, file.read(name_bytes)) == (
        member.flags & (_ENCRYPTED | _SIZES_FOLLOW), member.method, member.raw_name
    )  # fmt: skip
    follow = bool(flags & _SIZES_FOLLOW)
    pairs = ((crc, member.crc), (packed, member.packed_bytes), (size, member.size_bytes))
    agree = all(t in (k, _WIDE) or (follow and t == 0) for t, k in pairs)
    if not same or not agree:
        raise Damaged("is described in two ways by the archive; pack it again")
    if _LOCAL.size + name_bytes + extra + member.packed_bytes > member.room:
        raise Damaged("shares bytes with another file of the archive")
    file.seek(extra, os.SEEK_CUR)


def _packed(file: BinaryIO, member: Member) -> Iterator[bytes]:
    left = member.packed_bytes
    while left:
        piece = file.read(min(left, CHUNK))
        if not piece:
            raise Damaged("is cut off")
        left -= len(piece)
        yield piece


def _inflated(file: BinaryIO, member: Member) -> Iterator[bytes]:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in _packed(file, member):
            if engine.eof:
                break
            yield engine.decompress(piece, CHUNK)
            while engine.unconsumed_tail:
                yield engine.decompress(engine.unconsumed_tail, CHUNK)
        else:
            while not engine.eof and (rest := engine.decompress(b"", CHUNK)):
                yield rest
            if engine.eof and not engine.unused_data:
                return
    except zlib.error as error:
        raise Damaged(f"is damaged ({error})") from error
    raise Damaged("is damaged: its packed bytes end elsewhere than they should")
