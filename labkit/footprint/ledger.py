"""The account of a whole model: each tensor once, with how it is stored and what that takes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from labkit.footprint.storage import Dense, Parts, Storage, whole_bytes
from labkit.footprint.tensors import StoredTensor, tensors

Rule = Callable[[StoredTensor], Storage]


@dataclass(frozen=True)
class Line:
    """One tensor as it is stored."""

    tensor: StoredTensor
    storage: Storage
    parts: Parts  # bytes

    @property
    def stored_bytes(self) -> int:
        return self.parts.total

    @property
    def resident_bytes(self) -> int:
        return self.parts.total * len(self.tensor.uses)


@dataclass(frozen=True)
class Ledger:
    lines: tuple[Line, ...]

    @property
    def parameters(self) -> int:
        """Of the original model; shared ones once, buffers not at all."""
        return sum(line.tensor.elements for line in self._parameter_lines)

    @property
    def stored_bytes(self) -> int:
        return sum(line.stored_bytes for line in self.lines)

    @property
    def resident_bytes(self) -> int:
        """In memory, if packed weights stay packed, and every use of a shared one has a copy."""
        return sum(line.resident_bytes for line in self.lines)

    @property
    def parts(self) -> Parts:
        """Stored bytes by what they hold."""
        fields = Parts.__dataclass_fields__
        return Parts(*(sum(getattr(line.parts, name) for line in self.lines) for name in fields))

    @property
    def ratio_to_fp32(self) -> float:
        """Bytes of the original with every float in 32 bits, shared ones once, over the bytes."""
        return self._dense_bytes(32) / self.stored_bytes

    @property
    def ratio_to_fp16(self) -> float:
        return self._dense_bytes(16) / self.stored_bytes

    @property
    def bits_per_weight(self) -> float:
        """All stored bits over the original's parameters."""
        return 8 * self.stored_bytes / self.parameters

    @property
    def embedding_share(self) -> float:
        """Of the parameters, those in tables: embeddings of any kind, and the output layer."""
        return sum(line.tensor.elements for line in self._table_lines) / self.parameters

    @property
    def embedding_byte_share(self) -> float:
        """The same tables' share of the stored bytes."""
        return sum(line.stored_bytes for line in self._table_lines) / self.stored_bytes

    @property
    def _parameter_lines(self) -> Iterable[Line]:
        return (line for line in self.lines if line.tensor.kind != "buffer")

    @property
    def _table_lines(self) -> Iterable[Line]:
        return (line for line in self.lines if line.tensor.kind in ("embedding", "head"))

    def _dense_bytes(self, bits: int) -> int:
        return sum(
            whole_bytes(
                line.tensor.elements * (bits if line.tensor.floating else line.tensor.dtype_bits)
            )
            for line in self.lines
        )


def account(model: nn.Module, rule: Rule) -> Ledger:
    """The ledger of a model, on any device, stored as the rule says.

    The rule is asked for every tensor of floating point; integers, such as a counter of batches,
    are stored as they are.

    Raises:
        ValueError: the rule chose a storage that a tensor's shape does not fit.
    """
    return Ledger(tuple(_line(tensor, rule) for tensor in tensors(model)))


def always(storage: Storage) -> Rule:
    """Everything in one way: `always(INT8_CHANNEL)`."""
    return lambda tensor: storage


def as_it_is(tensor: StoredTensor) -> Storage:
    """Every value in its own dtype: what the model takes now."""
    return Dense(tensor.dtype_bits)


def where(
    holds: Callable[[StoredTensor], bool], storage: Storage, otherwise: Storage | Rule
) -> Rule:
    """One storage where a condition holds: `where(in_block, W4_G128, FP16)`.

    Args:
        otherwise: a storage, or another rule: `where(in_block, W4_G128, where(is_embedding, ...))`.
    """
    rest = otherwise if callable(otherwise) else always(otherwise)
    return lambda tensor: storage if holds(tensor) else rest(tensor)


def in_block(tensor: StoredTensor) -> bool:
    """A linear layer's weight in one of the repeated layers, where GPTQ and its kin quantize.

    Output layers, poolers and classifiers stand outside of them.
    """
    return tensor.kind == "linear" and tensor.in_block


def is_matrix(tensor: StoredTensor) -> bool:
    """A linear or convolutional layer's weight, wherever it stands."""
    return tensor.prunable


def is_embedding(tensor: StoredTensor) -> bool:
    """A table of embeddings: tokens, positions, segments."""
    return tensor.kind == "embedding"


def _line(tensor: StoredTensor, rule: Rule) -> Line:
    storage = rule(tensor) if tensor.floating else as_it_is(tensor)
    return Line(tensor, storage, storage.parts(tensor))
