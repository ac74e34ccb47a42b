"""What must go together: the slices of parameters that are one channel, and the sets of such units.

    slice     (tensor, axis, indices)            rows of a weight, entries of a norm, columns read
    unit      all slices that are one channel    removed as a whole, or not at all
    group     units that lie in the same tensors and so can be compared with each other

Layers whose outputs are added have no channels of their own: a unit has a row in each. After a
flattening a unit has a run of columns, after a concatenation an offset.

Source    Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900
          (groups of coupled parameters); Li et al., ICLR 2017, arXiv:1608.08710, section 3.3
          (filters tied by a residual connection).
Differs   Their group is one layer's channels with all that hangs on them; here channels of a layer
          that hang on different things, as behind a padded shortcut, are in different groups.
Read      graph.py finds the groups of a network, channels.py chooses units, remove.py removes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Int
from torch import Tensor, nn

Kind = Literal["makes", "reads", "carries"]


@dataclass(frozen=True)
class Member:
    """Where the units of a group lie in one tensor."""

    tensor: str  # a parameter or a buffer, by its first name
    axis: int
    kind: Kind  # outputs of a convolution, linear layer or table; inputs; a value per channel
    indices: Int[Tensor, "units run"]  # ascending in each row


@dataclass(frozen=True)
class Group:
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        return len(self.members[0].indices)

    @property
    def channels(self) -> int:
        """How many channels one unit is, where it is made: more than one where convolutions have
        groups, since each of them gives up a channel."""
        return self.makers[0].indices.shape[1] if self.makers else 1

    @property
    def makers(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.kind == "makes")

    @property
    def readers(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.kind == "reads")


@dataclass(frozen=True)
class Graph:
    """The groups of a network by the tensor that makes them, and why other channels stay."""

    groups: Mapping[str, Group]
    staying: Mapping[str, str]  # by the name of a weight, some of whose outputs cannot be removed


def tensor_of(model: nn.Module, name: str) -> Tensor:
    """A parameter or a buffer."""
    parent, _, child = name.rpartition(".")
    found = getattr(model.get_submodule(parent), child)
    if not isinstance(found, Tensor):
        raise ValueError(f"{name!r} is {type(found).__name__}; expected a parameter or a buffer")
    return found


def slices(model: nn.Module, member: Member) -> Tensor:
    """(units, values): what each unit owns of this tensor. Gradients pass."""
    moved = tensor_of(model, member.tensor).movedim(member.axis, 0)
    return moved[member.indices].flatten(1)
