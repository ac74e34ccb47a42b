"""Labels: which unit each place of a value belongs to, and which units turned out to be one.

A value of shape (batch, channels, height, width) has labels of the same shape, constant along all
axes but one. Whatever moves values about moves labels in the same way, so that reshaping, slicing
and concatenation need no thought. What forces channels to go together joins their units, and what
would break without a channel keeps its unit, with the reason.

Source    Tarjan, "Efficiency of a Good But Not Linear Set Union Algorithm", 1975 (joining sets).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

Labels = Int[Tensor, "..."]


class Units:
    def __init__(self) -> None:
        self._parent: list[int] = []
        self._why: dict[int, str] = {}  # by the root of a unit that stays

    def new(self, count: int) -> Int[Tensor, " count"]:
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def staying(self, why: str) -> Int[Tensor, ""]:
        unit = self.new(1)
        self.keep(unit, why)
        return unit[0]

    def keep(self, labels: Labels, why: str) -> None:
        """These units stay. The first reason counts."""
        for root in self._roots(thin(labels).unique().tolist()):
            self._why.setdefault(root, why)

    def join(self, one: Labels, other: Labels) -> None:
        """Units at the same place of two values, whose shapes broadcast, are one."""
        pairs = torch.stack([each.flatten() for each in torch.broadcast_tensors(one, other)])
        for left, right in pairs.unique(dim=1).T.tolist():
            low, high = sorted(self._roots((left, right)))
            if low != high:
                self._parent[high] = low
                if high in self._why:
                    self._why.setdefault(low, self._why[high])

    def join_along(self, labels: Labels, axis: int) -> None:
        """All places along an axis are one unit."""
        self.join(thin(labels, axis), thin(labels, axis).narrow(axis, 0, 1))

    def current(self, labels: Labels) -> Labels:
        """The same labels, with one number for what has been joined."""
        small = thin(labels)
        values, places = small.unique(return_inverse=True)
        roots = torch.tensor(self._roots(values.tolist()), dtype=torch.int64)
        return roots[places].reshape(small.shape).expand(labels.shape)

    def whys(self, units: Sequence[int]) -> list[str | None]:
        """The reason of each unit that stays, None for one that may go."""
        return [self._why.get(root) for root in self._roots(units)]

    def all_stay(self, labels: Labels) -> bool:
        return self._why.keys() >= set(self._roots(thin(labels).unique().tolist()))

    def _roots(self, units: Sequence[int]) -> list[int]:
        """Of many at once: calls are what following a network costs."""
        parent, found = self._parent, []
        for unit in units:
            root = unit
            while parent[root] != root:
                parent[root] = parent[parent[root]]
                root = parent[root]
            found.append(root)
        return found


def varying(labels: Labels) -> list[int]:
    """The axes along which labels differ."""
    small = thin(labels)
    return [
        axis
        for axis, size in enumerate(small.shape)
        if size > 1 and not (small == small.narrow(axis, 0, 1)).all()
    ]


def thin(labels: Labels, spared: int | None = None) -> Labels:
    """One place of each axis that is only expanded, so that images cost no more than channels."""
    for axis, stride in enumerate(labels.stride()):
        if stride == 0 and axis != spared and labels.shape[axis] > 1:
            labels = labels.narrow(axis, 0, 1)
    return labels


def over(labels: Labels, shape: tuple[int, ...], axes: list[int]) -> Labels:
    """Labels that are constant along some axes, for a value that has other sizes there."""
    for axis in axes:
        labels = labels.narrow(axis, 0, 1)
    return labels.expand(shape)
