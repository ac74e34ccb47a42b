"""The zip that is uploaded to Gradescope as a lab's autograder."""

import subprocess
import zipfile
from pathlib import Path

from autograder.lab import Lab

PACKAGES = ("autograder", "labkit", "reference", "course_config.py", "pyproject.toml",
            "constraints.txt", "README.md")  # fmt: skip
EPOCH = (1980, 1, 1, 0, 0, 0)  # so that the same course makes the same bytes
EXECUTABLE = 0o755 << 16
SETUP = """\
#!/usr/bin/env bash
# When the container is built: Python packages, data, and what students must not read.
set -euo pipefail
root=${{AUTOGRADER_ROOT:-/autograder}}
export DEBIAN_FRONTEND=noninteractive
# Ubuntu's own Python 3.11 is older than what some pins ask for.
if ! python3.11 -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' 2>/dev/null; then
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends software-properties-common
  add-apt-repository -y ppa:deadsnakes/ppa
  apt-get install -y -qq --no-install-recommends python3.11 python3.11-venv
fi
command -v setpriv >/dev/null && command -v prlimit >/dev/null || {{
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends util-linux
}}
python3.11 -m venv "$root/venv"
cd "$root/source"
# PyTorch without CUDA, which is gigabytes and has no device there
pip_options=${{COURSE_PIP_OPTIONS---extra-index-url https://download.pytorch.org/whl/cpu}}
"$root/venv/bin/pip" install -q $pip_options -c constraints.txt -e .
export LABKIT_CACHE="$root/cache" COURSE_HIDDEN="$root/hidden"
"$root/venv/bin/python" -m autograder.gradescope.fetch {number}
chmod -R a+rX "$root/cache" "$root/source" "$root/venv"
chmod 755 "$root"
chmod -R go-rwx "$root/hidden" source reference course_config.py
"""
RUN = """\
#!/usr/bin/env bash
# For each submission. Student code runs in processes of another uid, which this one starts.
set -euo pipefail
root=${{AUTOGRADER_ROOT:-/autograder}}
export LABKIT_CACHE="$root/cache" COURSE_HIDDEN="$root/hidden"
mkdir -p "$root/results"
chmod go-rwx "$root/results" "$root/submission"
cd "$root/source"
exec "$root/venv/bin/python" -m autograder.gradescope.harness {number} "$root"
"""


def bundle(lab: Lab, course: Path, to: Path) -> Path:
    """Write the zip. It holds solutions and hidden tests: for instructors alone.

    Args:
        course: the course's folder, a git checkout: what git ignores stays out.

    Raises:
        FileNotFoundError: the lab has no source notebooks there.
    """
    source = Path("source") / lab.folder
    if not (course / source).is_dir():
        raise FileNotFoundError(f"{course / source} is not there, so {lab.folder} cannot be graded")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--",
               *PACKAGES, str(source)]  # fmt: skip
    found = subprocess.run(listing, cwd=course, check=True, stdout=subprocess.PIPE, text=True)
    names = sorted(name for name in set(found.stdout.split("\0")) if (course / name).is_file())
    to.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, script in (("setup.sh", SETUP), ("run_autograder", RUN)):
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = EXECUTABLE
            archive.writestr(info, script.format(number=lab.number), zipfile.ZIP_DEFLATED)
        for name in filter(None, names):
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, (course / name).read_bytes(), zipfile.ZIP_DEFLATED)
    return to
