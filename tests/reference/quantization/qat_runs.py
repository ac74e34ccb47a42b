"""Configurations of quantization-aware training, and a short run of it."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from reference.quantization.lsq import lsq_activation, lsq_weight
from reference.quantization.observers import observed_activation, observed_weight
from reference.quantization.qat import LayerConfig, set_stage_


def observed(bits):
    return LayerConfig(partial(observed_weight, bits=bits), partial(observed_activation, bits=bits))


def learned(bits):
    return LayerConfig(partial(lsq_weight, bits=bits), partial(lsq_activation, bits=bits))


every_config = pytest.mark.parametrize("make_config", [observed, learned])


def train_(model, steps=4, schedule=None, seed=1, rate=0.01):
    """SGD on random images and labels; returns the losses."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    model.train()
    losses = []
    for step in range(steps):
        if schedule:
            set_stage_(model, schedule.stage(step))
        x = torch.randn(8, 3, 8, 8, generator=draw)
        labels = torch.randint(0, 10, (8,), generator=draw)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
