"""What is known of a pretrained model: what it is, where it comes from, what it is for."""

from dataclasses import dataclass
from typing import Literal

from labkit.pretrained.architectures import Architecture
from labkit.pretrained.pictures import Preparation
from labkit.registry import Package

Tier = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Hub:
    """A repository of the Hugging Face hub at one commit."""

    repository: str
    revision: str
    gated: bool = False  # its licence must be accepted by an account before a download


@dataclass(frozen=True)
class Entry:
    """One pretrained model."""

    name: str
    title: str
    architecture: Architecture
    parameters: int  # shared ones counted once
    tier: Tier
    purpose: str
    licence: str
    citation: str
    source: Package | Hub
    mirror: Hub | None = None  # the same bytes as the package's, and asked first
    pictures: Preparation | None = None  # how a vision model wants them
    caveat: str = ""
