"""Claims about rotations. 1e-12 is float64's, 1e-4 float32's over a whole network's logits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.models import LlamaSpec, build
from reference.quantization.affine import asymmetric_grid, fake_quantize, token_range
from reference.quantization.hadamard import hadamard, kurtosis, random_hadamard, transform
from reference.quantization.rotation import rotate_llama


@pytest.mark.parametrize("size", [1, 2, 4, 12, 20, 24, 44, 48, 64, 352])
def test_matrix_is_orthogonal_with_entries_of_one_size(size):
    matrix = hadamard(size)
    assert torch.allclose(matrix @ matrix.T, torch.eye(size, dtype=matrix.dtype), atol=1e-12)
    assert torch.allclose(matrix.abs(), torch.full_like(matrix, size**-0.5))


@pytest.mark.parametrize("size", [0, 3, 6, 28, 36])
def test_sizes_that_cannot_be_built_are_refused(size):
    with pytest.raises(ValueError, match=f"no Hadamard matrix of size {size} is"):
        hadamard(size)


@given(st.integers(0, 7), st.integers(0, 100))
def test_fast_transform_is_the_matrix(log_size, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 2**log_size, generator=generator, dtype=torch.float64)
    sylvester = torch.ones(1, 1, dtype=x.dtype)
    for _ in range(log_size):
        sylvester = torch.kron(torch.tensor([[1, 1], [1, -1]], dtype=x.dtype), sylvester)
    assert torch.allclose(transform(x), x @ sylvester / 2 ** (log_size / 2), atol=1e-12)
    assert torch.allclose(transform(transform(x)), x, atol=1e-12)


def test_fast_transform_refuses_other_sizes():
    with pytest.raises(ValueError, match="12 features are not a power of two"):
        transform(torch.randn(2, 12))


def test_rotation_spreads_outliers_and_rounding_loses_less():
    x = torch.randn(200, 128, dtype=torch.float64)
    x[:, 5] *= 100
    rotation = random_hadamard(128, torch.Generator().manual_seed(0))
    rotated = x @ rotation

    def error(values):
        return (values - fake_quantize(values, asymmetric_grid(token_range(values), 4))).square()

    assert kurtosis(rotated) < kurtosis(x) / 10
    assert error(rotated).sum() < error(x).sum() / 3


def test_kurtosis_of_a_gaussian_is_three():
    """Its standard error is sqrt(24 / n), 0.011 here."""
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    assert kurtosis(x) == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("tied", [True, False])
def test_a_rotated_llama_gives_the_same_logits(tied):
    model = build(LlamaSpec(width=48, depth=2, heads=4, kv_heads=2, ffn=64, context=32)).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 2)  # trained norms are not ones
    model.config.tie_word_embeddings = tied
    if tied:
        model.tie_weights()
    tokens = torch.randint(0, 100, (2, 9))
    before = model(tokens).logits
    rotated = rotate_llama(model, random_hadamard(48, torch.Generator().manual_seed(0)))
    assert torch.allclose(rotated(tokens).logits, before, atol=1e-4)
    assert torch.equal(model(tokens).logits, before)
    first = rotated.model.layers[0].self_attn.q_proj.weight
    assert not torch.allclose(first, model.model.layers[0].self_attn.q_proj.weight)


def test_what_is_not_a_rotation_is_refused():
    model = build(LlamaSpec(width=32, depth=1, heads=2, kv_heads=1, ffn=32, context=16))
    with pytest.raises(ValueError, match=r"\(16, 16\) for 32 features"):
        rotate_llama(model, hadamard(16))
    with pytest.raises(ValueError, match="not orthogonal"):
        rotate_llama(model, 2 * hadamard(32))
