"""Claims about collecting: whose is what, every attempt kept, receipts that cannot be made up."""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograder.collecting import platforms, receipts
from autograder.collecting.collect import ATTEMPTS, CannotCollect, collect, read_times
from autograder.files import AlreadyGrading, alone_in
from autograder.intake import seal
from autograder.lab import Lab
from autograder.records import Submission

LAB = Lab("0.5", "Mini", "A lab", ("01-Start", "02-End"), ())
NOTEBOOKS = {"01-Start.ipynb", "02-End.ipynb"}
CANVAS = {
    "lovelaceada_111_9001_01-Start.ipynb": "ada 1",
    "lovelaceada_111_9002_02-End-2.ipynb": "ada 2",
    "hoppergrace_LATE_222_9003_lab.zip": "no zip, and that is for intake to say",
}
MOODLE = {
    "Ada Lovelace_111_assignsubmission_file_/01-Start.ipynb": "ada 1",
    "Ada Lovelace_111_assignsubmission_file_/submission/model.onnx": "model",
    "José Núñez_222_assignsubmission_file_/02-End.ipynb": "jose",
}
EXCHANGE = {
    f"ada+{LAB.folder}+2027-03-01 20:00:00.000000 UTC/01-Start.ipynb": "first",
    f"ada+{LAB.folder}+2027-03-02 20:00:00.000000 UTC+abc/01-Start.ipynb": "second",
    "ada+Lab-9.9-Other+2027-03-02 20:00:00.000000 UTC/01-Start.ipynb": "another lab",
    f"bob+{LAB.folder}+2027-03-01 21:00:00.000000 UTC/01-Start.ipynb": "bob",
}
PLAIN = {"ada/01-Start.ipynb": "ada", "bob.zip": "zip", "notes.txt": "the instructor's"}
DOWNLOADS = {"canvas": CANVAS, "moodle": MOODLE, "nbgrader": EXCHANGE, "folder": PLAIN}
every_platform = pytest.mark.parametrize("platform", DOWNLOADS)


def _folder(files: Mapping[str, str], root: Path) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def _zip(files: Mapping[str, str], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@every_platform
def test_a_platform_is_known_by_its_names(platform: str) -> None:
    assert platforms.told_apart(list(DOWNLOADS[platform]), LAB.folder, NOTEBOOKS) == platform


@every_platform
@pytest.mark.parametrize("zipped", [False, True])
def test_a_download_and_what_it_unpacks_to_are_the_same(
    platform: str, zipped: bool, tmp_path: Path
) -> None:
    files = DOWNLOADS[platform]
    where = _zip(files, tmp_path / "d.zip") if zipped else _folder(files, tmp_path / "d")
    found = collect(LAB, where, tmp_path / "in")
    students = {
        "canvas": {"lovelaceada_111", "hoppergrace_222"},
        "moodle": {"Ada-Lovelace_111", "Jose-Nunez_222"},
        "nbgrader": {"ada", "bob"},
        "folder": {"ada", "bob"},
    }[platform]
    assert found.platform == platform
    assert {receipt.student for receipt in found.new} == students
    assert found.known == 0


def test_a_files_own_name_comes_back_from_canvas_without_its_resubmission_number(
    tmp_path: Path,
) -> None:
    found = collect(LAB, _zip(CANVAS, tmp_path / "d.zip"), tmp_path / "in")
    ada = tmp_path / "in" / "lovelaceada_111"
    assert {path.name: path.read_text() for path in ada.iterdir()} == {
        "01-Start.ipynb": "ada 1",
        "02-End.ipynb": "ada 2",
    }
    assert (tmp_path / "in" / "hoppergrace_222.zip").is_file()
    assert {r.student: (r.late, r.platform_id) for r in found.new} == {
        "lovelaceada_111": (False, "111"),
        "hoppergrace_222": (True, "222"),
    }


def test_the_zip_of_one_student_is_that_students(tmp_path: Path) -> None:
    files = {name: text for name, text in MOODLE.items() if name.startswith("Ada")}
    collect(LAB, _zip(files, tmp_path / "d.zip"), tmp_path / "in")
    ada = tmp_path / "in" / "Ada-Lovelace_111"
    assert (ada / "submission" / "model.onnx").read_text() == "model"


def test_of_two_attempts_the_later_counts_and_both_are_kept(tmp_path: Path) -> None:
    found = collect(LAB, _folder(EXCHANGE, tmp_path / "inbound"), tmp_path / "in")
    into = tmp_path / "in"
    assert (into / "ada" / "01-Start.ipynb").read_text() == "second"
    kept = sorted(path.read_text() for path in (into / ATTEMPTS / "ada").rglob("*.ipynb"))
    assert kept == ["first", "second"]
    assert [r.received_at for r in found.new if r.student == "ada"] == [
        "2027-03-01T20:00:00+00:00",
        "2027-03-02T20:00:00+00:00",
    ]
    assert [finding.subject.split("+")[1] for finding in found.left] == ["Lab-9.9-Other"]


def test_collecting_again_takes_what_is_new_alone(tmp_path: Path) -> None:
    where, into = _folder(PLAIN, tmp_path / "d"), tmp_path / "in"
    first = collect(LAB, where, into)
    (where / "ada" / "01-Start.ipynb").write_text("ada, better")
    second = collect(LAB, where, into)
    assert [(r.student, r.number) for r in second.new] == [("ada", 2)]
    assert (second.known, len(first.new)) == (1, 2)
    assert (into / "ada" / "01-Start.ipynb").read_text() == "ada, better"
    assert collect(LAB, where, into).new == ()


def test_a_folder_after_a_zip_takes_its_place(tmp_path: Path) -> None:
    into = tmp_path / "in"
    collect(LAB, _folder({"ada.zip": "zip"}, tmp_path / "one"), into)
    collect(LAB, _folder({"ada/01-Start.ipynb": "ada"}, tmp_path / "two"), into)
    assert sorted(p.name for p in into.iterdir() if not p.name.startswith(".")) == ["ada"]


def test_what_was_handed_in_is_only_read(tmp_path: Path) -> None:
    where = _folder(MOODLE, tmp_path / "d")
    before = {p: p.read_bytes() for p in where.rglob("*") if p.is_file()}
    collect(LAB, where, tmp_path / "in")
    assert {p: p.read_bytes() for p in where.rglob("*") if p.is_file()} == before


def test_links_are_left_and_said(tmp_path: Path) -> None:
    where = _folder(PLAIN, tmp_path / "d")
    (tmp_path / "secret").write_text("secret")
    (where / "ada" / "02-End.ipynb").symlink_to(tmp_path / "secret")
    found = collect(LAB, where, tmp_path / "in")
    assert [f.subject for f in found.left if "link" in f.message] == ["ada/02-End.ipynb"]
    assert not (tmp_path / "in" / "ada" / "02-End.ipynb").exists()


@pytest.mark.parametrize(
    "name", ["ada/../../x.ipynb", "ada/..\\x.ipynb", "../ada/x.ipynb", "/ada/x.ipynb"]
)
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    files = {"bob/01-Start.ipynb": "bob", "eve/01-Start.ipynb": "eve", name: "outside"}
    found = collect(LAB, _zip(files, tmp_path / "d.zip"), tmp_path / "deep" / "in", "folder")
    written = {p.name for p in tmp_path.rglob("*") if p.is_file() and p.suffix == ".ipynb"}
    assert written == {"01-Start.ipynb"}
    assert len(found.left) == 1


@given(st.text(max_size=60), st.sampled_from(sorted(DOWNLOADS)))
def test_any_name_is_a_students_that_intake_takes_or_nobodys(name: str, platform: str) -> None:
    for path in (name, f"{name}/x", f"{name}_1_2_x", f"{name}_1_assignsubmission_file_/x"):
        handed = platforms.read(platform, path, LAB.folder, NOTEBOOKS)
        assert handed is None or platforms.STUDENT.fullmatch(handed.student)


def test_where_nothing_was_handed_in_is_said_with_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(CannotCollect, match=r"holds nothing .* with notes.txt"):
        collect(LAB, _folder({"notes.txt": ""}, tmp_path / "d"), tmp_path / "in")
    with pytest.raises(CannotCollect, match="is"):
        collect(LAB, _folder({"x": "no zip"}, tmp_path) / "x", tmp_path / "in")


def test_two_collections_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    with alone_in(tmp_path / "in"), pytest.raises(AlreadyGrading):
        collect(LAB, _folder(PLAIN, tmp_path / "d"), tmp_path / "in")


def test_a_collection_that_was_killed_goes_on(tmp_path: Path) -> None:
    where, into = _folder(PLAIN, tmp_path / "d"), tmp_path / "in"
    half = into / ATTEMPTS / "ada" / "1" / "files"
    half.mkdir(parents=True)
    (half / "torn.ipynb").write_text("half")
    collect(LAB, where, into)
    assert [p.name for p in (into / "ada").iterdir()] == ["01-Start.ipynb"]


def _sealed(into: Path, student: str, tmp_path: Path) -> Submission:
    sealed = seal(into / student, LAB, tmp_path / "vault")
    assert isinstance(sealed, Submission)
    return receipts.with_time(sealed, into / student)


def test_a_receipt_vouches_for_the_time_of_what_it_is_for(tmp_path: Path) -> None:
    into = tmp_path / "in"
    collect(LAB, _folder(EXCHANGE, tmp_path / "inbound"), into)
    assert _sealed(into, "ada", tmp_path).handed_in_at == "2027-03-02T20:00:00+00:00"


def test_what_was_changed_after_collection_has_no_time_and_a_finding(tmp_path: Path) -> None:
    into = tmp_path / "in"
    collect(LAB, _folder(EXCHANGE, tmp_path / "inbound"), into)
    (into / "ada" / "01-Start.ipynb").write_text("after the deadline")
    found = _sealed(into, "ada", tmp_path)
    assert found.handed_in_at == ""
    assert "changed since" in found.findings[-1].message


def test_a_receipt_that_was_edited_is_not_genuine(tmp_path: Path) -> None:
    into = tmp_path / "in"
    collect(LAB, _folder(EXCHANGE, tmp_path / "inbound"), into)
    path = into / receipts.FILE
    path.write_text(path.read_text().replace("2027-03-02T20", "2027-02-02T20"))
    assert _sealed(into, "ada", tmp_path).handed_in_at == ""


def test_another_key_makes_another_seal(tmp_path: Path) -> None:
    collect(LAB, _folder(PLAIN, tmp_path / "d"), tmp_path / "in")
    receipt = receipts.read(tmp_path / "in")[0]
    key = receipts.key_of(tmp_path / "in")
    assert receipts.is_genuine(receipt, key)
    assert not receipts.is_genuine(receipt, bytes(32))
    assert not receipts.is_genuine(replace(receipt, student="eve"), key)
    assert (tmp_path / "in" / receipts.KEY).stat().st_mode & 0o077 == 0


def test_late_without_a_time_is_left_to_the_instructor(tmp_path: Path) -> None:
    into = tmp_path / "in"
    collect(LAB, _zip(CANVAS, tmp_path / "d.zip"), into)
    receipt = receipts.receipt_for(into / "hoppergrace_222.zip")
    assert receipt is not None and receipt.late and not receipt.received_at


def test_times_of_the_platform_are_the_receipts(tmp_path: Path) -> None:
    times = tmp_path / "times.csv"
    times.write_text("id,received_at\n111,2027-03-01T10:00:00+01:00\n")
    found = collect(LAB, _zip(CANVAS, tmp_path / "d.zip"), tmp_path / "in", None, read_times(times))
    assert {r.platform_id: r.received_at for r in found.new} == {
        "111": "2027-03-01T10:00:00+01:00",
        "222": "",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,when\na,b\n", "lacks the columns id, received_at; it has name, when"),
        ("id,received_at\n1,yesterday\n", "line 2: 'yesterday' is no time with its zone"),
        ("id,received_at\n1,2027-03-01T10:00\n", "line 2: '2027-03-01T10:00' is no time"),
    ],
)
def test_a_file_of_times_is_checked(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text(text)
    with pytest.raises(CannotCollect, match=told):
        read_times(tmp_path / "times.csv")
