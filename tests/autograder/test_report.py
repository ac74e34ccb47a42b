"""The pages say what the records say, and nothing that a student put there to be believed."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_samples import (
    BASIS,
    GRADER_ROOT,
    HIDDEN,
    LAB,
    SETUP,
    STATIC,
    UNSAFE,
    Sample,
    artefact,
    assemble,
    crashed,
    graded,
    hostile,
    measurements,
    not_timed,
)

from autograder.book.decisions import Decision, now
from autograder.book.lateness import Lateness
from autograder.lab import Threshold
from autograder.records import Cell, Exercise, Interval, Measurement, Refusal, Verdict
from autograder.report import write_class_page, write_report
from autograder.report.charts import chart
from autograder.report.page import table_script
from autograder.report.text import SHOWN_CHARACTERS, clean, excerpt, file_name, points

PAYLOAD = "<script>alert('$x^2$')</script><img src=x onerror=alert(1)>\" onload=\"x"
SIZE, ACCURACY, SPEED = LAB.thresholds


def page_of(one: Sample, folder: Path) -> str:
    return write_report(LAB, one.evidence, one.verdict, one.total(), folder).read_text(
        encoding="utf-8"
    )


def without_our_script(page: str) -> str:
    """A class page's own script, which its policy names by hash, is the only one that may run."""
    script = table_script()
    policy = re.search(r"script-src ([^;]*);", page)
    assert policy is not None
    ours = f"<script>{script.text}</script>"
    assert page.count(ours) == (policy[1] == f"'{script.hash}'")
    assert policy[1] in ("'none'", f"'{script.hash}'")
    return page.replace(ours, "")


class Visible(HTMLParser):
    """The text that a reader sees, the tags, and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("code", "b", "a"):  # these stand within a sentence
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"] or "{" not in data:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def test_full_marks_say_that_nothing_is_open(tmp_path: Path) -> None:
    exercises = (Exercise(SETUP, "scale_test", 5, True),)
    measured = (
        measurements()[0],
        replace(measurements()[1], value=Interval(99.2, 98.8, 99.6)),
        measurements()[2],
    )
    one = assemble("ada", exercises, measured, artefact(), {})
    text = Visible(page_of(replace(one, verdict=Verdict(one.verdict.checks, ())), tmp_path)).text
    assert "65 of 65 points" in text
    assert "Nothing is open" in text
    assert "failed" not in text.replace("failed on our side", "")


def test_open_and_hand_graded_points_are_stated_apart_from_the_points(tmp_path: Path) -> None:
    text = Visible(page_of(not_timed(), tmp_path)).text
    assert "of 90 points" in text
    assert "20 points of these still open" in text
    assert "10 points for written answers still to come" in text


def test_an_exercise_says_what_was_asked_and_where_to_look(tmp_path: Path) -> None:
    one = graded()
    source = 'def scale(x):\n    """The step of a grid.\n\n    Raises ValueError."""\n    return 1'
    cells = (Cell("scale", source, of_student=True), *one.evidence.notebooks[0].cells)
    books = (replace(one.evidence.notebooks[0], cells=cells), one.evidence.notebooks[1])
    found = Sample(replace(one.evidence, notebooks=books), one.verdict)
    text = Visible(page_of(found, tmp_path)).text
    assert "scale_test The step of a grid. look at cell scale" in text


@pytest.mark.parametrize("source", ["def (", "x = 1", "", "\0", "(" * 10_000, "def f():\n  1"])
def test_a_cell_without_a_contract_is_no_error(source: str, tmp_path: Path) -> None:
    one = graded()
    cells = (Cell("scale", source, of_student=True), *one.evidence.notebooks[0].cells)
    books = (replace(one.evidence.notebooks[0], cells=cells), one.evidence.notebooks[1])
    found = Sample(replace(one.evidence, notebooks=books), one.verdict)
    assert "look at cell scale" in Visible(page_of(found, tmp_path)).text


def test_what_people_decided_is_shown_with_who_and_why(tmp_path: Path) -> None:
    one = not_timed()
    decided = [
        Decision(now(), "tutor", "grace", "hand", f"{STATIC}/reflection", 7.5, "clear"),
        Decision(now(), "tutor", "grace", "override", "speedup", 20.0, "timed by hand"),
        Decision(now(), "lead", "grace", "comment", "", None, "come and see me"),
    ]
    path = write_report(LAB, one.evidence, one.verdict, one.total(*decided), tmp_path)
    text = Visible(path.read_text(encoding="utf-8")).text
    before = one.total().points
    assert f"{points(before + 27.5)} of 90 points" in text
    assert "Nothing is open" in text
    assert "tutor: timed by hand" in text
    assert "7.5 of 10 tutor: clear" in text
    assert "lead on your submission" in text and "come and see me" in text


def test_lateness_says_what_it_cost_and_an_extension_that_there_was_one(tmp_path: Path) -> None:
    one = graded()
    due = "2026-02-28T12:00:00+00:00"
    for lost, extension in ((0.1, ""), (0.0, "illness")):
        late = Lateness(due, one.evidence.submission.received_at, round(lost * 20), lost, extension)
        total = replace(one.total(), lateness=late)
        path = write_report(LAB, one.evidence, one.verdict, total, tmp_path)
        text = Visible(path.read_text(encoding="utf-8")).text
        assert ("points lost for lateness" in text) == (lost > 0)
        assert ("extended to 2026-02-28 12:00 UTC: illness" in text) == bool(extension)
    assert f"{points(total.points)} of 90 points" in text


def test_a_check_that_we_could_not_do_says_why_and_is_never_zero(tmp_path: Path) -> None:
    text = Visible(page_of(not_timed(), tmp_path)).text
    assert "What could not be graded" in text
    assert "the A/A run on this machine differed by 11 %" in text
    assert "not graded open, of 20 points" in text
    assert " 0 of 20" not in text


def test_a_crashed_submission_without_a_model_gets_words_and_no_charts(tmp_path: Path) -> None:
    page = page_of(crashed(), tmp_path)
    text = Visible(page).text
    assert "The last notebook wrote no model." in text
    assert "ValueError: shapes (3, 4) and (5,) do not match" in text
    assert 'class="chart"' not in page
    assert "0 of 90 points" in text


def test_a_value_stands_with_interval_unit_and_what_full_points_need(tmp_path: Path) -> None:
    text = Visible(page_of(graded(), tmp_path)).text
    assert "2.31 times faster, 98 % interval 2.27 to 2.35" in text
    assert "at least 2 times faster; no points at 1.1" in text
    assert "times smaller, exact" in text


def test_the_visible_tests_are_told_apart_from_the_outcome(tmp_path: Path) -> None:
    text = Visible(page_of(graded(), tmp_path)).text
    assert "Visible test in your process (feedback only)" in text
    assert "failed: AssertionError: range is too narrow" in text
    assert "They never come from what a notebook prints." in text


@pytest.mark.parametrize("payload", [PAYLOAD, f"{{{{ 7 * 7 }}}}{PAYLOAD}"])
def test_hostile_text_comes_out_as_text_wherever_it_was_put(payload: str, tmp_path: Path) -> None:
    one = hostile(payload, payload)
    student_page = page_of(one, tmp_path)
    path = write_class_page(LAB, [one.row], [Refusal(payload, payload)], tmp_path)
    for page in (student_page, path.read_text(encoding="utf-8")):
        seen = Visible(without_our_script(page))
        assert "script" not in seen.tags
        assert "img" not in seen.tags
        assert not [name for name, _ in seen.attributes if name.startswith("on")]
        assert "<script>alert('$x^2$')</script>" in seen.text


def test_terminal_codes_and_control_characters_do_not_reach_the_page(tmp_path: Path) -> None:
    page = page_of(crashed(), tmp_path)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page)
    assert "[0;31m" not in page
    assert "50 %" not in page  # a progress bar's earlier state


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "link"),
        ("\x1b", ""),
        ("a\x00b\x08c", "abc"),
        ("\u202edessap", "dessap"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("10 %\r100 %\r\nnext", "100 %\nnext"),
        ('File "/srv/a/b/c.py", line 1', 'File "…/b/c.py", line 1'),
        ("file:///srv/a/b/c.py and //srv/a/c.py", "file:…/b/c.py and …/a/c.py"),
        ("error:/srv/a", "error:…/a"),
        ("see https://example.org/a/b/c, or 3/4 of ./a/b", None),
    ],
)
def test_text_is_cleaned(written: str, shown: str | None) -> None:
    assert clean(written) == (written if shown is None else shown)
    assert clean(clean(written)) == clean(written)


def test_a_long_output_keeps_its_beginning_and_its_end() -> None:
    shown = excerpt("first " + "x" * 10 * SHOWN_CHARACTERS + " last")
    assert shown.startswith("first")
    assert shown.endswith("last")
    assert len(shown) < SHOWN_CHARACTERS + 100


@pytest.mark.parametrize(
    "student",
    ["../../x", "/etc/passwd", "..", "", "index", "Index", "a/b", "a\x00b", "é", "x" * 999],
)
def test_no_student_name_leaves_the_folder_or_takes_the_class_page(
    student: str, tmp_path: Path
) -> None:
    folder = tmp_path / "reports"
    one = graded(student)
    path = write_report(LAB, one.evidence, one.verdict, one.total(), folder)
    assert path.resolve().parent == folder.resolve()
    assert path.name.lower() != "index.html"
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


def test_a_plain_name_is_kept_and_different_names_get_different_files() -> None:
    assert file_name("ada.lovelace@example.org") == "ada.lovelace@example.org.html"
    names = ["a b", "a_b", "a/b", "../a_b", file_name("a b").removesuffix(".html")]
    assert len({file_name(name) for name in names}) == len(names)


def test_two_renders_are_equal_byte_for_byte(tmp_path: Path) -> None:
    pages = [page_of(graded(), tmp_path / name) for name in ("first", "second")]
    assert pages[0] == pages[1]
    both = [graded("ada"), crashed("bob")]
    paths = [
        write_class_page(LAB, [one.row for one in order], [], tmp_path / name)
        for name, order in (("third", both), ("fourth", both[::-1]))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("sample", [graded, crashed, not_timed])
def test_neither_basis_nor_hidden_tests_nor_our_paths_are_shown(sample, tmp_path: Path) -> None:
    page = page_of(sample(), tmp_path)
    assert BASIS not in page
    assert HIDDEN not in page
    assert GRADER_ROOT not in page
    assert "secret-grader" not in page


def test_a_page_loads_nothing(tmp_path: Path) -> None:
    pages = [page_of(graded(), tmp_path)]
    pages.append(write_class_page(LAB, [graded().row], [], tmp_path).read_text(encoding="utf-8"))
    for page in map(without_our_script, pages):
        seen = Visible(page)
        assert not {"script", "link", "img", "iframe", "object"} & set(seen.tags)
        loaded = [value for name, value in seen.attributes if name in ("src", "xlink:href")]
        assert all(str(value).startswith("#") for value in loaded)
        assert "url(http" not in page
        assert "@import" not in page


def test_ids_are_unique_and_every_reference_finds_one(tmp_path: Path) -> None:
    seen = Visible(page_of(graded(), tmp_path))
    ids = [value for name, value in seen.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    used = {str(value)[1:] for name, value in seen.attributes if name == "xlink:href"}
    used |= {
        word
        for name, value in seen.attributes
        if name == "aria-labelledby"
        for word in value.split()
    }
    assert used <= set(ids)


def test_charts_have_a_title_a_description_and_the_page_s_colours(tmp_path: Path) -> None:
    page = page_of(graded(), tmp_path)
    charts = re.findall(r'<svg role="img".*?</svg>', page, flags=re.DOTALL)
    assert len(charts) == 3
    for found in charts:
        assert "<title" in found
        assert "<desc" in found
        assert "<style" not in found
        assert set(re.findall(r"(?:fill|stroke): ?#(\w+)", found)) == set()


@pytest.mark.parametrize(
    "samples",
    [
        {},
        {"baseline_cpu_ms": [1.0] * 9},
        {"baseline_cpu_ms": [1.0] * 9, "candidate_cpu_ms": [0.0] * 9},
    ],
)
def test_timings_without_pairs_make_no_picture(samples: dict[str, list[float]]) -> None:
    measurement = Measurement("speedup", Interval(2.0, 1.9, 2.1), samples=samples)
    assert chart(SPEED, measurement, artefact()) is None


def test_a_threshold_where_less_is_better_says_so(tmp_path: Path) -> None:
    falling = Threshold("speedup", full=1.0, none=3.0, unit="points lost", points=20, basis=BASIS)
    one = graded()
    checks = tuple(
        replace(check, threshold=falling) if check.name == "speedup" else check
        for check in one.verdict.checks
    )
    text = Visible(page_of(replace(one, verdict=Verdict(checks, ())), tmp_path)).text
    assert "at most 1 points lost; no points at 3" in text


def test_a_missing_sandbox_is_the_first_thing_on_the_page(tmp_path: Path) -> None:
    one = graded()
    unsafe = replace(one, evidence=replace(one.evidence, machine=UNSAFE))
    alarm = "Graded without a sandbox"
    path = write_class_page(LAB, [one.row, unsafe.row], [], tmp_path)
    for page in (page_of(unsafe, tmp_path), path.read_text(encoding="utf-8")):
        assert page.index(alarm) < page.index("<main>")
    assert alarm not in page_of(one, tmp_path)


def test_the_class_page_has_all_submissions_and_names_who_is_near_a_threshold(
    tmp_path: Path,
) -> None:
    all_graded = [graded("ada"), crashed("charles"), not_timed("grace")]
    refused = [Refusal("mallory", "the archive holds a link to a file outside of it")]
    paths = [
        write_report(LAB, one.evidence, one.verdict, one.total(), tmp_path) for one in all_graded
    ]
    page = write_class_page(LAB, [one.row for one in all_graded], refused, tmp_path).read_text(
        encoding="utf-8"
    )
    seen = Visible(page)
    linked = {value for name, value in seen.attributes if name == "href"}
    assert linked == {path.name for path in paths}
    assert "3 submissions graded, 1 refused" in seen.text
    assert "mallory the archive holds a link" in seen.text
    near = seen.text.partition("Near a threshold")[2].partition("Alike")[0]
    assert "ada Accuracy kept 98.2 % kept, 95 % interval 97.7 to 98.7 98.5 % kept" in near
    assert "charles" not in near
    assert "scale_test 2 0 1 0 3.33 5" in seen.text


def test_a_class_page_without_any_submission_can_be_written(tmp_path: Path) -> None:
    page = write_class_page(LAB, [], [], tmp_path).read_text(encoding="utf-8")
    assert "0 submissions graded, 0 refused" in page


def test_every_colour_of_text_has_the_contrast_that_wcag_aa_asks_for(tmp_path: Path) -> None:
    page = page_of(graded(), tmp_path)
    palettes = re.findall(r":root \{(.*?)\}", page, flags=re.DOTALL)
    assert len(palettes) == 2
    for palette in palettes:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", palette))
        for name in ("ink", "muted", "link", "pass", "part", "fail", "open"):
            assert contrast(colours[name], colours["paper"]) >= 4.5, name
        assert contrast(colours["ink"], colours["raised"]) >= 4.5
        assert contrast(colours["alarm-ink"], colours["alarm-paper"]) >= 4.5
        for name in ("mine", "baseline"):
            assert contrast(colours[name], colours["paper"]) >= 3, name  # bars, not text


def contrast(first: str, second: str) -> float:
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
