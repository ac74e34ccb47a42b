"""Capabilities in the words of Dask: a worker's resources, each a name with a number.

    cpu=2 memory=8e9 x86_64=1 avx512_vnni=1 timing=1 gpu:NVIDIA_H100_80GB_HBM3=1
    compute_capability=9.0 gpu_memory=85e9

What can be used up is taken by a job while it runs (cpu, memory, gpu, timing); the rest tells
workers apart. A name of a GPU stands with _ for its blanks; `gpu=1` is one without a name.
"""

from collections.abc import Mapping

from autograder.accelerators import Accelerator, wanted
from autograder.machine import ISA
from autograder.runners.capabilities import Capabilities, Needs

ARCHITECTURES = ("x86_64", "aarch64")
CPU, MEMORY, TIMING, GPU = "cpu", "memory", "timing", "gpu"
GPU_MEMORY, COMPUTE_CAPABILITY = "gpu_memory", "compute_capability"


def advertised(resources: Mapping[str, float]) -> Capabilities:
    """What a worker says that it has. A job looks at the machine itself before it measures."""
    gpus = {name: int(count) for name, count in resources.items() if _is_gpu(name)}
    each = (resources.get(COMPUTE_CAPABILITY, 0.0), int(resources.get(GPU_MEMORY, 0)))
    arch = next((arch for arch in ARCHITECTURES if resources.get(arch)), "unknown")
    return Capabilities(
        cpu="a CPU with " + (", ".join(flag for flag in ISA if resources.get(flag)) or "no flags"),
        arch=arch,
        isa=tuple(flag for flag in ISA if resources.get(flag)),
        cores=int(resources.get(CPU, 0)),
        memory_bytes=int(resources.get(MEMORY, 0)),
        accelerators=tuple(
            Accelerator(name.removeprefix("gpu:").replace("_", " "), *each)
            for name, count in gpus.items()
            for _ in range(count)
        ),
        exclusive_timing=resources.get(TIMING, 0.0) >= 1,
    )


def advertisement(has: Capabilities) -> dict[str, float]:
    """The resources of a worker that has all this, such that `advertised` says it again."""
    resources = {CPU: float(has.cores), MEMORY: float(has.memory_bytes), has.arch: 1.0}
    resources |= dict.fromkeys(has.isa, 1.0)
    if has.exclusive_timing:
        resources[TIMING] = 1.0
    for accelerator in has.accelerators:
        name = f"{GPU}:{accelerator.name.replace(' ', '_')}"
        resources[name] = resources.get(name, 0.0) + 1
        resources[COMPUTE_CAPABILITY] = accelerator.compute_capability
        resources[GPU_MEMORY] = float(accelerator.memory_bytes)
    return resources


def taken(needs: Needs, resources: Mapping[str, float]) -> dict[str, float]:
    """What a job takes of a worker that fits while it runs there."""
    asked = needs.machine
    found = {CPU: float(asked.cores)}
    if asked.memory_bytes:
        found[MEMORY] = float(asked.memory_bytes)
    if needs.timing:
        found[TIMING] = 1.0
    if wanted(asked):
        part = asked.accelerator.lower().replace(" ", "_")
        found[next(name for name in resources if _is_gpu(name) and part in name.lower())] = 1.0
    return found


def _is_gpu(name: str) -> bool:
    return name == GPU or name.startswith(f"{GPU}:")
