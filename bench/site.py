"""A course of 300 submissions x 12 labs: how long its pages take to write and to open.

    python -m bench.site [--students 300] [--labs 12] [--json]

Evidence is that of real gradings (out/demo, which `make demo` writes), with points, findings and
names varied by a seed. Class pages and the course page are written as `course grade` and `course
site` do once evidence is there; students' own pages are written when each is graded, and are not
counted. Opening is headless Chromium's own account of the page: from navigation to its load event.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from autograder import evidence
from autograder.book import summary
from autograder.book.totals import total_of
from autograder.lab import Lab
from autograder.records import Evidence
from autograder.report import Graded, write_class_page
from autograder.report.site import write_site
from autograder.verdict import decide
from course_config import LAB_3_1

DEMO = Path("out/demo/evidence")
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const entry = performance.getEntriesByType("navigation")[0];
  document.title = `${Math.round(entry.loadEventEnd)} ms`;
}));
</script>"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--labs", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not DEMO.is_dir():
        parser.error(f"{DEMO} is not there; run `make demo` first")
    with tempfile.TemporaryDirectory() as work:
        found = measured(arguments.students, arguments.labs, Path(work))
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:32} {value}")


def measured(students: int, labs: int, work: Path) -> dict[str, float | str]:
    samples = [evidence.read(path) for path in sorted(DEMO.glob("*.jsonl"))]
    course = [replace(LAB_3_1, number=f"3.{n + 1}") for n in range(labs)]
    classes = [_class(lab, samples, students) for lab in course]
    start = time.perf_counter()
    graded = []
    for lab, rows in zip(course, classes, strict=True):
        out = work / lab.folder
        write_class_page(lab, rows, [], out)
        summary.write([row.total for row in rows], out)
        graded.append((lab, out))
    written = time.perf_counter()
    page = write_site(graded, work / "site")
    done = time.perf_counter()
    class_page = graded[0][1] / "index.html"
    return {
        "submissions": f"{students} x {labs}",
        "class pages, s": round(written - start, 2),
        "course page, s": round(done - written, 2),
        "course page, KiB": round(page.stat().st_size / 1024),
        "class page, KiB": round(class_page.stat().st_size / 1024),
        "course page opens, ms": _opening_ms(page),
        "class page opens, ms": _opening_ms(class_page),
    }


def _class(lab: Lab, samples: list[Evidence], students: int) -> list[Graded]:
    draw = random.Random(lab.number)
    return [_one(lab, draw.choice(samples), f"student{n:03}", draw) for n in range(students)]


def _one(lab: Lab, sample: Evidence, student: str, draw: random.Random) -> Graded:
    exercises = [replace(e, passed=e.passed and draw.random() > 0.2) for e in sample.exercises]
    found = replace(
        sample,
        submission=replace(sample.submission, student=student, lab=lab.folder),
        exercises=tuple(exercises),
    )
    verdict = decide(lab, found)
    return Graded.of(found, verdict, total_of(lab, found, verdict))


def _opening_ms(page: Path) -> float | str:
    chromium = shutil.which("chromium")
    if chromium is None:
        return "chromium is not installed"
    # The page's own policy forbids scripts of others, so a copy without it is timed.
    text = re.sub(r"<meta http-equiv=.*?>", "", page.read_text("utf-8"), count=1)
    copy = page.with_name("timed.html")
    copy.write_text(text.replace("</head>", PROBE + "</head>", 1), encoding="utf-8")
    with tempfile.TemporaryDirectory() as profile:
        command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update"]
        command += ["--disable-sync", f"--user-data-dir={profile}", "--timeout=20000", "--dump-dom"]
        done = subprocess.run(
            [*command, copy.absolute().as_uri()], capture_output=True, text=True, check=False
        )
    title = re.search(r"<title>(\d+) ms</title>", done.stdout)
    return float(title[1]) if title else "no answer"


if __name__ == "__main__":
    main()
