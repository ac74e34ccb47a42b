"""What a process sees from inside, whatever shuts it in: paths, variables, users."""

import sys
from pathlib import Path

import labkit
from autograder.lab import Limits

MODEL_UID = 60000  # runs models that are measured, never student code
STUDENT_UID = 60001
UIDS = range(STUDENT_UID, STUDENT_UID + 32)  # one per process that lives at the same time
HOME, OUT, DATA, COURSE = "/home/student", "/out", "/data", "/course"
WRITABLE = ("/dev/shm", "/tmp", HOME, OUT)
MPL_CONFIG = "/tmp/matplotlib"
_NAMES = {MODEL_UID: "model"} | {uid: f"student{uid - STUDENT_UID}" for uid in UIDS}
PASSWD = "".join(f"{name}:x:{uid}:{uid}::{HOME}:/bin/sh\n" for uid, name in _NAMES.items())
GROUP = "".join(f"{name}:x:{uid}:\n" for uid, name in _NAMES.items())


def environment(limits: Limits) -> dict[str, str]:
    """All variables that the process sees, in every kind of sandbox."""
    return {
        "PATH": f"{sys.prefix}/bin:/usr/bin:/bin",
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "PYTHONPATH": COURSE,
        "PYTHONHASHSEED": "0",
        "LABKIT_CACHE": DATA,
        "LABKIT_OUT": OUT,
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": MPL_CONFIG,
        "HF_HOME": "/tmp/huggingface",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OMP_NUM_THREADS": str(limits.threads),
        "TMPDIR": "/tmp",
    }


def packages() -> Path:
    """The folder that holds labkit and autograder."""
    return Path(labkit.__file__).resolve().parent.parent


def limited(limits: Limits) -> list[str]:
    """What stands before a command so that it starts with its resource limits."""
    return [
        "prlimit",
        f"--as={limits.memory_bytes}",
        f"--nproc={limits.processes}",
        f"--fsize={limits.output_bytes}",
        "--core=0",
        "--nofile=1024",
        "--memlock=0",
        "--",
    ]
