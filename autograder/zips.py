"""A zip file that was handed in, as files that may be read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from autograder import zip_bytes
from autograder.offered import Offered, ignored
from autograder.records import Finding
from autograder.zip_bytes import Damaged as Damaged
from autograder.zip_bytes import Member
from autograder.zip_bytes import NotAZip as NotAZip


class Zip:
    def __init__(self, path: Path) -> None:
        """Raises NotAZip if the path leads to no file, by a link, or to no readable archive."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise NotAZip(f"a file that cannot be read ({error})") from error
        self._file = os.fdopen(descriptor, "rb")
        try:
            _check_own(os.fstat(descriptor))
            self._members = zip_bytes.members(self._file)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def offered(self) -> tuple[list[Offered], list[Finding]]:
        """Of a name that stands twice the last, as all unpackers do, which is said."""
        kept = self._kept()
        prefix = self.folder
        last = {self._members[place].name: place for place in kept}
        offered, findings = [], []
        for place in kept:
            member = self._members[place]
            item = Offered(
                member.name.removeprefix(prefix), member.size_bytes, _problem(member), place
            )
            if last[member.name] == place:
                offered.append(item)
            else:
                findings.append(
                    item.set_aside("stands in the archive again, further on, and that one is read")
                )
        return offered, findings

    @property
    def folder(self) -> str:
        """The one folder that all files lie in, with its slash, or nothing: paths leave it out."""
        return _common_folder([self._members[place].name for place in self._kept()])

    def _kept(self) -> list[int]:
        return [place for place, member in enumerate(self._members) if not ignored(member.name)]

    def read(self, item: Offered) -> Iterator[bytes]:
        return zip_bytes.unpacked(self._file, self._members[item.place])


def _check_own(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise NotAZip("a special file; expected a folder or a zip file")
    if info.st_nlink > 1:
        raise NotAZip(
            f"a file with {info.st_nlink} names on the disk (hard links), so its content may be "
            "another's; copy it to a file of its own"
        )


def _problem(member: Member) -> str:
    if stat.S_IFMT(member.mode) not in (0, stat.S_IFREG):
        return "is a link or a special file"
    return member.problem


def _common_folder(names: list[str]) -> str:
    """The one folder that a zip made from a folder begins with, or nothing."""
    tops = {name.split("/")[0] for name in names}
    if len(tops) == 1 and all("/" in name for name in names) and tops.isdisjoint({"", ".", ".."}):
        return tops.pop() + "/"
    return ""
