"""EfficientNet-lite against the published sizes of its family and TensorFlow's padding."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from labkit.models.efficientnet import EfficientNetLite, EfficientNetLiteSpec, SameConvNorm


@pytest.mark.parametrize(
    ("width", "depth", "millions"),
    [(1.0, 1.0, 4.7), (1.0, 1.1, 5.4), (1.1, 1.2, 6.1), (1.2, 1.4, 8.2), (1.4, 1.8, 13.0)],
)
def test_the_family_has_its_published_sizes(width: float, depth: float, millions: float) -> None:
    """lite0 to lite4 in the table of Google's README, given to a tenth of a million."""
    with torch.device("meta"):
        model = EfficientNetLite(EfficientNetLiteSpec(width=width, depth=depth))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


def _ones(kernel: int, stride: int) -> SameConvNorm:
    """Counts the pixels that a window sees."""
    layer = SameConvNorm(1, 1, kernel, stride).eval()
    torch.nn.init.ones_(layer.conv.weight)
    layer.norm.eps = 0.0
    return layer


def test_an_even_size_is_padded_on_the_right_and_below_alone() -> None:
    """TensorFlow's SAME: 4 pixels, kernel 3, stride 2 need one more pixel, at the end."""
    counted = _ones(3, 2)(torch.ones(1, 1, 4, 4))
    assert counted.squeeze().tolist() == [[9, 6], [6, 4]]


def test_an_odd_size_is_padded_on_both_sides() -> None:
    counted = _ones(3, 2)(torch.ones(1, 1, 5, 5))
    assert counted.squeeze().tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


@given(size=st.integers(1, 40), kernel=st.sampled_from([1, 3, 5]), stride=st.sampled_from([1, 2]))
def test_a_convolution_gives_one_pixel_per_stride_begun(
    size: int, kernel: int, stride: int
) -> None:
    found = _ones(kernel, stride)(torch.randn(1, 1, size, size + 1))
    assert found.shape[2:] == (-(-size // stride), -(-(size + 1) // stride))


@given(size=st.integers(5, 24))
def test_with_stride_one_padding_is_what_pytorch_calls_same(size: int) -> None:
    layer, images = _ones(5, 1), torch.randn(1, 1, size, size)
    expected = F.conv2d(images, layer.conv.weight, padding="same")
    assert torch.allclose(layer(images), expected, atol=1e-5)  # float32 sums of 25


@pytest.mark.parametrize("size", [33, 64, 224])
def test_every_image_size_gives_one_answer_per_class(size: int) -> None:
    model = EfficientNetLite(EfficientNetLiteSpec(classes=7)).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, size, size)).shape == (2, 7)


def test_no_activation_before_a_projection_leaves_zero_to_six() -> None:
    """What makes its activations fit eight bits."""
    model = EfficientNetLite(EfficientNetLiteSpec(classes=2)).eval()
    seen = []
    for block in model.blocks:
        block.project.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(torch.randn(1, 3, 64, 64) * 50)
    assert len(seen) == 16
    assert all(x.min() >= 0 and x.max() <= 6 for x in seen)
