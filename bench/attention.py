"""Why the course's Hugging Face models attend eagerly: a training step against the fused one.

`python -m bench.labkit` prints it. Steps are interleaved in random order, and the fastest of each
kind counts, because what else the machine does can only add to wall time.
"""

import random
import time
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from labkit import models

BATCH, STEPS = 128, 14


class Step(NamedTuple):
    forward_s: float
    backward_s: float


@dataclass(frozen=True)
class Comparison:
    """Seconds of the fastest forward and backward pass, on a batch of the course's ViT."""

    eager: Step
    fused: Step  # torch's scaled_dot_product_attention
    threads: int

    def __str__(self) -> str:
        rows = [
            f"ViT for CIFAR-10, batch {BATCH}, bfloat16 autocast, {self.threads} threads",
            f"{'':<14}{'eager ms':>10}{'fused ms':>10}{'eager/fused':>13}",
        ]
        whole = (sum(self.eager), sum(self.fused))
        pairs = [*zip(self.eager, self.fused, strict=True), whole]
        for name, (eager, fused) in zip(("forward", "backward", "both"), pairs, strict=True):
            rows.append(f"{name:<14}{eager * 1e3:>10.0f}{fused * 1e3:>10.0f}{eager / fused:>13.2f}")
        return "\n".join(rows)


def compare() -> Comparison:
    spec = models.VitSpec()
    generator = torch.Generator().manual_seed(0)
    shape = (BATCH, spec.in_channels, spec.image_size, spec.image_size)
    images = torch.randn(shape, generator=generator)
    labels = torch.randint(spec.classes, (BATCH,), generator=generator)
    kinds = {kind: _vit(spec, kind) for kind in ("eager", "sdpa")}
    timed: dict[str, list[Step]] = {kind: [] for kind in kinds}
    order = random.Random(0)
    for _ in range(STEPS):
        for kind in order.sample(sorted(kinds), len(kinds)):
            timed[kind].append(_step(kinds[kind], images, labels))
    eager, fused = (
        Step(*(min(part) for part in zip(*timed[kind], strict=True))) for kind in ("eager", "sdpa")
    )
    return Comparison(eager, fused, torch.get_num_threads())


def _vit(spec: models.VitSpec, kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    model = models.huggingface.build(spec)
    model.set_attn_implementation(kind)
    return model.train()


def _step(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Step:
    model.zero_grad()
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(models.logits_in(model(images)).float(), labels)
    between = time.perf_counter()
    loss.backward()
    return Step(between - start, time.perf_counter() - between)
