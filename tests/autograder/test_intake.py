"""Room 1: what is copied, what is set aside, what is refused, and that nothing else is touched."""

import hashlib
import io
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import minilab
import pytest
from archives import Entry, archive, end
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder import folders
from autograder.intake import seal
from autograder.offered import Offered
from autograder.records import Refusal, Submission

LAB = minilab.LAB


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _submission(sealed: Submission | Refusal) -> Submission:
    assert isinstance(sealed, Submission), sealed
    return sealed


def test_a_folder_and_a_zip_of_it_get_the_same_receipt(tmp_path: Path) -> None:
    folder = tmp_path / "alice"
    folder.mkdir()
    (folder / "01-Mini.ipynb").write_bytes(b"{}")
    archive = _zip(tmp_path / "alice.zip", {"alice/01-Mini.ipynb": b"{}"})
    one = _submission(seal(folder, LAB, tmp_path / "vault-1"))
    two = _submission(seal(archive, LAB, tmp_path / "vault-2"))
    assert one.receipt == two.receipt
    assert one.files[0].path == "01-Mini.ipynb"


def test_what_was_handed_in_stays_where_it_is(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "alice.zip", {"../evil": b"x", "01-Mini.ipynb": b"{}"})
    before = archive.read_bytes()
    seal(archive, LAB, tmp_path / "vault")
    assert archive.read_bytes() == before


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"])
def test_a_zip_member_never_leaves_its_folder(tmp_path: Path, name: str) -> None:
    archive = _zip(tmp_path / "mallory.zip", {name: b"x", "01-Mini.ipynb": b"{}"})
    sealed = _submission(seal(archive, LAB, tmp_path / "vault"))
    assert [file.path for file in sealed.files] == ["01-Mini.ipynb"]
    assert "leaves its folder" in sealed.findings[0].message
    assert not (tmp_path / "evil").exists()
    assert not Path("/etc/evil").exists()


def test_a_link_in_a_zip_is_set_aside_and_the_rest_graded(tmp_path: Path) -> None:
    archive = tmp_path / "mallory.zip"
    with zipfile.ZipFile(archive, "w") as file:
        link = zipfile.ZipInfo("02.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("01-Mini.ipynb", "{}")
    sealed = _submission(seal(archive, LAB, tmp_path / "vault"))
    assert [file.path for file in sealed.files] == ["01-Mini.ipynb"]
    assert "link" in sealed.findings[0].message


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "label").write_text("cat")
    folder = tmp_path / "mallory"
    folder.mkdir()
    (folder / "file").symlink_to(secret / "label")
    (folder / "folder").symlink_to(secret)
    sealed = _submission(seal(folder, LAB, tmp_path / "vault"))
    assert sealed.files == ()
    assert {finding.subject for finding in sealed.findings} == {"file", "folder"}


def test_a_huge_file_is_set_aside_without_being_read(tmp_path: Path) -> None:
    folder = tmp_path / "alice"
    folder.mkdir()
    (folder / "01-Mini.ipynb").write_bytes(b"{}")
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(2 * 1024**3)  # sparse: two gigabytes that take no disk
    sealed = _submission(seal(folder, LAB, tmp_path / "vault"))
    assert [file.path for file in sealed.files] == ["01-Mini.ipynb"]
    assert "2048 MiB" in sealed.findings[0].message


def test_a_zip_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    archive = tmp_path / "mallory.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", bytes(8 * 1024**2))  # in 8 kB
    sealed = _submission(seal(archive, LAB, tmp_path / "vault"))
    assert sealed.files == ()
    assert "unpacks to 1028 times its size" in sealed.findings[0].message


def test_a_file_that_is_no_zip_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "alice.zip"
    path.write_bytes(b"not a zip")
    refusal = seal(path, LAB, tmp_path / "vault")
    assert isinstance(refusal, Refusal)
    assert "not a zip file" in refusal.reason


@pytest.mark.parametrize("name", ["-rf", "a b", ".hidden"])
def test_a_name_that_could_be_an_option_or_a_path_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert isinstance(seal(tmp_path / name, LAB, tmp_path / "vault"), Refusal)


NOTEBOOK = Entry("01-Mini.ipynb", b"{}")


def _sealed(raw: bytes, tmp_path: Path) -> Submission | Refusal:
    path = tmp_path / "mallory.zip"
    path.write_bytes(raw)
    return seal(path, LAB, tmp_path / "vault")


def _told(raw: bytes, tmp_path: Path) -> str:
    """What is said of the one file beside the notebook, which is graded all the same."""
    sealed = _submission(_sealed(raw, tmp_path))
    assert [file.path for file in sealed.files] == ["01-Mini.ipynb"]
    (finding,) = sealed.findings
    assert "set aside" in finding.message
    return finding.message


def _reason(raw: bytes, tmp_path: Path) -> str:
    refusal = _sealed(raw, tmp_path)
    assert isinstance(refusal, Refusal)
    assert not (tmp_path / "vault" / "mallory").exists()
    return refusal.reason


BIG = b"x" * 3 * 1024**2


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Entry("x", b"secret", flags=1), "protected by a password"),
        (Entry("x", b"secret", method=14), "packed by method 14; expected 0 (stored) or 8"),
        (Entry("x", BIG), "has 3 MiB; a file may have at most 2 MiB"),
        (Entry("x", bytes(3 * 512 * 1024), deflate=True), "times its size; expected at most 250"),
        (Entry("x", bytes(600_000), deflate=True, says_size=9, local_size=9), "than the 9 bytes"),
        (Entry("x", b"four", says_size=9, local_size=9), "unpacks to 4 bytes and declares 9"),
        (Entry("x", b"four", local_size=5), "described in two ways"),
        (Entry("x", b"four", local_name=b"y"), "described in two ways"),
        (Entry("x", b"four", says_crc=7), "checksum"),
        (Entry("x", b"four", deflate=True, after=b"more"), "end elsewhere"),
        (Entry("x", b"\xff\xff\xff", method=8), "is damaged"),
        (Entry("x", b"", says_size=2**32 - 1), "larger than 4 GiB"),
        (Entry("x", b"four", at=10**6), "shares bytes"),
        (Entry("x", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "is a link or a special file"),
        (Entry("x", b"", mode=stat.S_IFIFO), "is a link or a special file"),
        (Entry("/x"), "leaves its folder"),
        (Entry("C:/x"), "leaves its folder"),
        (Entry("a//x"), "leaves its folder"),
        (Entry("./x"), "leaves its folder"),
        (Entry("x\0.ipynb"), "unprintable"),
        (Entry("x\u202egpj.ipynb"), "unprintable"),
        (Entry("x" * 300), "300 characters; at most 255"),
        (Entry("ü" * 200), "200 characters"),
        (Entry("a/" * 9 + "x"), "lies 9 folders deep; at most 8"),
        (Entry("01-MINI.ipynb", b"[]"), "cannot lie beside 01-Mini.ipynb"),
        (Entry("01-Mini.ipynb/x"), "cannot lie beside 01-Mini.ipynb"),
        (Entry("01-mini.IPYNB/a/b"), "cannot lie beside 01-Mini.ipynb"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_file_is_said_and_the_rest_graded(
    entry: Entry, words: str, tmp_path: Path
) -> None:
    assert words in _told(archive(NOTEBOOK, entry), tmp_path)


def test_accents_in_two_forms_are_one_name(tmp_path: Path) -> None:
    """One character, or a letter and its accent: macOS takes the two for the same file."""
    both = Entry("\u00fcbung", b"1"), Entry("u\u0308bung", b"2")
    sealed = _submission(_sealed(archive(*both), tmp_path))
    assert len(sealed.files) == 1
    assert "cannot lie beside" in sealed.findings[0].message


def test_of_a_name_that_stands_twice_the_last_is_read_as_unpackers_do(tmp_path: Path) -> None:
    raw = archive(Entry("01-Mini.ipynb", b"old"), Entry("01-Mini.ipynb", b"new"))
    sealed = _submission(_sealed(raw, tmp_path))
    assert (sealed.root / "01-Mini.ipynb").read_bytes() == b"new"
    assert "stands in the archive again" in sealed.findings[0].message


def test_files_that_share_their_bytes_are_not_unpacked(tmp_path: Path) -> None:
    """A thousand entries of the same megabyte would be a gigabyte (Fifield, WOOT 2019)."""
    kernel = Entry("k", BIG, deflate=True)
    again = [Entry(f"f{i}", BIG, deflate=True, at=0) for i in range(5)]
    body = kernel.local()
    directory = kernel.central(0) + b"".join(entry.central(0) for entry in again)
    sealed = _submission(_sealed(body + directory + end(len(directory), len(body), 6), tmp_path))
    assert sealed.files == ()
    assert all("shares bytes" in finding.message for finding in sealed.findings)


def test_a_file_whose_bytes_reach_into_the_next_is_not_unpacked(tmp_path: Path) -> None:
    inner = Entry("inner", b"x" * 50)
    outer = Entry("outer", inner.local())
    body = outer.local()
    directory = outer.central(0) + inner.central(len(body) - len(inner.local()))
    sealed = _submission(_sealed(body + directory + end(len(directory), len(body), 2), tmp_path))
    assert [file.path for file in sealed.files] == ["inner"]
    assert "shares bytes" in sealed.findings[0].message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: b"", "not a zip file"),
        (lambda raw: raw + b"x", "no last record that ends the file"),
        (lambda raw: b"#!/bin/sh\n" + raw, "directory does not end where"),
        (lambda raw: raw[:-22] + end(46, 0, 1, end(0, 0, 0)), "several last records"),
        (lambda raw: raw[: len(raw) // 2], "no last record"),
        (lambda raw: raw[:-22] + end(10**9, 0, 1), "directory of 1,000,000,000 bytes"),
        (lambda raw: raw[:-22] + end(2**32 - 1, 0, 65535), "more than 65534 files or 4 GiB"),
        (lambda raw: raw[:-18] + b"\1\0" + raw[-16:], "in several parts"),
        (lambda raw: archive(NOTEBOOK, count=2), "cut off"),
        (lambda raw: archive(NOTEBOOK, NOTEBOOK, count=1), "too many in its directory"),
    ],
)
def test_an_archive_that_can_be_read_in_two_ways_is_refused(
    change: Callable[[bytes], bytes], words: str, tmp_path: Path
) -> None:
    assert words in _reason(change(archive(NOTEBOOK)), tmp_path)


def test_a_comment_at_the_end_is_no_harm(tmp_path: Path) -> None:
    sealed = _submission(_sealed(archive(NOTEBOOK, comment=b"handed in late"), tmp_path))
    assert len(sealed.files) == 1


def test_sizes_that_follow_the_bytes_are_read(tmp_path: Path) -> None:
    """As packers write that do not know them before: zeros before the bytes, the rest behind."""

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.raw = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.raw += bytes(data)
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:  # type: ignore[arg-type]
        file.writestr("01-Mini.ipynb", b"{}" * 100)
    sealed = _submission(_sealed(stream.raw, tmp_path))
    assert (sealed.root / "01-Mini.ipynb").read_bytes() == b"{}" * 100


def test_findings_without_end_are_counted_not_listed(tmp_path: Path) -> None:
    entries = [Entry(f"../{i}") for i in range(1000)]
    sealed = _submission(_sealed(archive(NOTEBOOK, *entries), tmp_path))
    assert len(sealed.findings) == 50
    assert "951 more findings" in sealed.findings[-1].message


def test_what_is_too_much_is_not_the_notebooks(tmp_path: Path) -> None:
    """The limit of 20 files falls on what the lab did not ask for."""
    entries = [Entry(f"a/{i}.txt") for i in range(50)]
    sealed = _submission(_sealed(archive(*entries, Entry("z/01-Mini.ipynb", b"{}")), tmp_path))
    assert "z/01-Mini.ipynb" in {file.path for file in sealed.files}
    assert len(sealed.files) == 20


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mallory"
    folder.mkdir()
    (folder / "01-Mini.ipynb").write_bytes(b"{}")
    return folder


def test_another_students_file_is_not_graded_through_a_hard_link(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (tmp_path / "bobs.ipynb").write_bytes(b"bob's answer")
    (folder / "data").hardlink_to(tmp_path / "bobs.ipynb")
    sealed = _submission(seal(folder, LAB, tmp_path / "vault"))
    assert [file.path for file in sealed.files] == ["01-Mini.ipynb"]
    assert "has 2 names on the disk (hard links), 1 of them outside" in sealed.findings[0].message


def test_a_notebook_that_is_a_hard_link_is_refused_rather_than_worth_nothing(
    tmp_path: Path,
) -> None:
    folder = _folder(tmp_path)
    (tmp_path / "backup").hardlink_to(folder / "01-Mini.ipynb")
    refusal = seal(folder, LAB, tmp_path / "vault")
    assert isinstance(refusal, Refusal)
    assert "01-Mini.ipynb has 2 names on the disk" in refusal.reason
    assert "cp -r --no-preserve=links" in refusal.reason


def test_hard_links_within_a_submission_are_its_own(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "copy").hardlink_to(folder / "01-Mini.ipynb")
    sealed = _submission(seal(folder, LAB, tmp_path / "vault"))
    assert len(sealed.files) == 2
    assert sealed.findings == ()


def test_a_zip_that_is_a_hard_link_or_a_link_is_refused(tmp_path: Path) -> None:
    _zip(tmp_path / "bob.zip", {"01-Mini.ipynb": b"{}"})
    (tmp_path / "mallory.zip").hardlink_to(tmp_path / "bob.zip")
    (tmp_path / "eve.zip").symlink_to(tmp_path / "bob.zip")
    for name, words in (("mallory.zip", "2 names on the disk"), ("eve.zip", "a link")):
        refusal = seal(tmp_path / name, LAB, tmp_path / "vault")
        assert isinstance(refusal, Refusal)
        assert words in refusal.reason


def test_a_folder_that_becomes_a_link_is_not_gone_through(tmp_path: Path) -> None:
    """Swapped between being listed and being read."""
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "notes").write_bytes(b"bob's")
    folder = _folder(tmp_path)
    (folder / "sub").mkdir()
    (folder / "sub" / "notes").write_bytes(b"mine")
    with closing(folders.Folder(folder, set())) as source:
        (item,) = [item for item in source.offered()[0] if item.path == "sub/notes"]
        (folder / "sub").rename(folder / "before")
        (folder / "sub").symlink_to(tmp_path / "bob")
        with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
            list(source.read(item))


def test_a_file_that_becomes_a_link_or_another_students_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "bobs").write_bytes(b"bob's")
    folder = _folder(tmp_path)
    with closing(folders.Folder(folder, set())) as source:
        (item,) = source.offered()[0]
        (folder / "01-Mini.ipynb").unlink()
        (folder / "01-Mini.ipynb").hardlink_to(tmp_path / "bobs")
        with pytest.raises(folders.Unfit, match="hard links"):
            list(source.read(item))
        (folder / "01-Mini.ipynb").unlink()
        (folder / "01-Mini.ipynb").symlink_to(tmp_path / "bobs")
        with pytest.raises(OSError, match="Too many levels"):
            list(source.read(item))


def test_pipes_and_sockets_do_not_make_intake_wait(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    os.mkfifo(folder / "pipe")
    sealed = _submission(seal(folder, LAB, tmp_path / "vault"))
    assert "special file" in sealed.findings[0].message


def test_a_file_that_grows_while_it_is_read_is_stopped_at_the_limit(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "grown").write_bytes(b"x")

    class Growing(folders.Folder):
        def read(self, item: Offered) -> Iterator[bytes]:
            if item.path == "grown":
                return iter([bytes(1024**2)] * 3)
            return super().read(item)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folders, "Folder", Growing)
        sealed = _submission(seal(folder, LAB, tmp_path / "vault"))
    assert [file.path for file in sealed.files] == ["01-Mini.ipynb"]
    assert "grew while it was read" in sealed.findings[0].message
    assert not (sealed.root / "grown").exists()


def test_a_name_that_is_no_text_can_be_reported(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe"))).write_bytes(b"x")
    sealed = _submission(seal(folder, LAB, tmp_path / "vault"))
    assert sealed.findings[0].subject.encode() == rb"\udcff\udcfe"


def test_a_folder_without_end_is_looked_at_to_its_ninth_level(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / Path(*["deep"] * 30)).mkdir(parents=True)
    sealed = _submission(seal(folder, LAB, tmp_path / "vault"))
    assert "8 others above it" in sealed.findings[0].message


def _hash(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("killed_at", ["mkdir", "rename", "write", "rmtree"])
def test_a_killed_intake_is_done_again_by_the_next_run(killed_at: str, tmp_path: Path) -> None:
    """Ended as by kill -9, with no handler run, before one of the steps that change the vault."""
    folder, vault = _folder(tmp_path), tmp_path / "vault"
    seal(folder, LAB, vault)
    (folder / "01-Mini.ipynb").write_bytes(b'{"second": "attempt"}')
    before = _hash(folder)
    script = f"""
import os, pathlib, shutil, sys
sys.path[:0] = {sys.path!r}
import minilab
from autograder.intake import seal
kill = lambda *args, **kwargs: os.kill(os.getpid(), 9)
if {killed_at!r} == "rmtree":
    shutil.rmtree = kill
elif {killed_at!r} == "write":
    import hashlib; hashlib.sha256 = kill
else:
    setattr(pathlib.Path, {killed_at!r}, kill)
seal(pathlib.Path({str(folder)!r}), minilab.LAB, pathlib.Path({str(vault)!r}))
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    copy = vault / "mallory"
    assert not copy.exists() or _hash(copy) in ({"01-Mini.ipynb": b"{}"}, before)
    sealed = _submission(seal(folder, LAB, vault))
    assert _hash(sealed.root) == before == _hash(folder)
    assert [path.name for path in vault.iterdir()] == ["mallory"]


VALID = archive(NOTEBOOK, Entry("a/b.txt", b"some text " * 50, deflate=True), Entry("c", b"123"))
PLACES = st.floats(0, 1) | st.floats(0.7, 1)
EDITS = st.lists(st.tuples(PLACES, st.integers(0, 7), st.binary(max_size=4)), max_size=5)


@given(edits=EDITS, kept=st.just(1.0) | st.floats(0, 1))
@settings(max_examples=400, deadline=None)
def test_a_damaged_archive_is_a_submission_or_a_refusal(
    edits: list[tuple[float, int, bytes]], kept: float
) -> None:
    changed = bytearray(VALID)
    for place, bit, inserted in edits:
        at = min(int(place * len(changed)), len(changed) - 1)
        changed[at] ^= 1 << bit
        changed[at:at] = inserted
    with TemporaryDirectory() as scratch:
        sealed = _sealed(bytes(changed[: int(kept * len(changed))]), Path(scratch))
        if isinstance(sealed, Submission):
            for file in sealed.files:  # what is graded is what was hashed
                content = (sealed.root / file.path).read_bytes()
                assert hashlib.sha256(content).hexdigest() == file.sha256


@given(st.dictionaries(st.text(min_size=1, max_size=12), st.binary(max_size=40), max_size=6))
@settings(max_examples=150, deadline=None)
def test_no_name_leads_out_of_the_vault(files: dict[str, bytes]) -> None:
    entries = [Entry(name.encode("utf-8", "replace"), raw) for name, raw in files.items()]
    with TemporaryDirectory() as scratch:
        sealed = _submission(_sealed(archive(*entries), Path(scratch)))
        inside = {str(p.relative_to(sealed.root)) for p in sealed.root.rglob("*") if p.is_file()}
        assert inside == {file.path for file in sealed.files}
        assert {p.name for p in Path(scratch).iterdir()} == {"mallory.zip", "vault"}
        assert [p.name for p in (Path(scratch) / "vault").iterdir()] == ["mallory"]
