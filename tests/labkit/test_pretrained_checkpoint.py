"""The reader of old checkpoints, against files that PyTorch wrote and files that attack it."""

import collections
import io
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labkit.pretrained.checkpoint import CheckpointRefused, read


def _written(objects: object) -> bytes:
    file = io.BytesIO()
    torch.save(objects, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def _state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(4, 6, generator=generator)
    return collections.OrderedDict(
        plain=torch.randn(2, 3, 5, generator=generator),
        scalar=torch.tensor(7),
        integers=torch.arange(300),
        transposed=whole.T,
        part=whole[1:3, 2:],  # shares its storage with the one before
        channels_last=torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    )


def test_every_layout_that_pytorch_writes_is_read_bit_for_bit() -> None:
    state = _state()
    found = read(_written(state))
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def test_a_modules_state_dict_with_its_version_numbers_is_read() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    found = read(_written(module.state_dict()))
    assert all(torch.equal(found[name], tensor) for name, tensor in module.state_dict().items())


class _Attack:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.marker,))


def test_a_call_hidden_in_a_checkpoint_is_refused_and_never_made(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    raw = _written({"weight": torch.ones(2), "other": _Attack(marker)})
    with pytest.raises(CheckpointRefused, match=r"global|call"):
        read(raw)
    assert not marker.exists()
    torch.load(io.BytesIO(raw), weights_only=False)  # the attack is a real one
    assert marker.exists()


@pytest.mark.parametrize("called", ["builtins eval", "os system", "torch._utils _rebuild_tensor"])
def test_only_the_globals_of_a_state_dict_are_known(called: str) -> None:
    module, name = called.split()
    with pytest.raises(CheckpointRefused, match=name):
        read(f"c{module}\n{name}\n.".encode())


def test_a_file_of_the_newer_format_is_refused() -> None:
    file = io.BytesIO()
    torch.save(_state(), file)
    with pytest.raises(CheckpointRefused):
        read(file.getvalue())


def test_a_pickle_of_something_else_is_refused_by_its_beginning() -> None:
    with pytest.raises(CheckpointRefused, match="begins with"):
        read(b"".join(pickle.dumps(n, 2) for n in range(5)))


def test_a_list_of_tensors_is_not_a_state_dict() -> None:
    with pytest.raises(CheckpointRefused, match="dictionary"):
        read(_written([torch.ones(2)]))


def test_a_truncated_file_is_refused() -> None:
    raw = _written(_state())
    for length in range(0, len(raw), 97):
        with pytest.raises(CheckpointRefused):
            read(raw[:length])


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_byte_gives_tensors_or_a_refusal_and_nothing_else(
    position: int, value: int
) -> None:
    raw = bytearray(_written(_state()))
    raw[position % len(raw)] = value
    try:
        found = read(bytes(raw))
    except CheckpointRefused:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())
