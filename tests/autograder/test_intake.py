import stat
import zipfile
from pathlib import Path

import minilab
import pytest

from autograder.intake import seal
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
        file.writestr("bomb", bytes(8 * 1024**2))
    sealed = _submission(seal(archive, LAB, tmp_path / "vault"))
    assert sealed.files == ()
    assert "may have at most 2 MiB" in sealed.findings[0].message


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
