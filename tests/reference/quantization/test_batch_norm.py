import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import images, randomise_norms_, resnet
from torch import nn

from labkit.models import ResNetSpec, build
from reference.quantization.batch_norm import fold, fold_model, folded_conv, statistics

# One rounding in the factor, one in the product, and sums of up to 72 terms in another order:
# about 1e-6 of the output's size, which is around 10.
FOLDING_ERROR = 1e-5


@given(
    seed=st.integers(0, 10_000),
    bias=st.booleans(),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    groups=st.sampled_from([1, 4]),
)
def test_folding_keeps_the_output(seed, bias, stride, padding, groups):
    torch.manual_seed(seed)
    conv = nn.Conv2d(4, 8, 3, stride, padding, bias=bias, groups=groups)
    pair = randomise_norms_(nn.Sequential(conv, nn.BatchNorm2d(8))).double()
    x = torch.randn(2, 4, 9, 9).double()
    # float64: 36 terms, 1.1e-16 each
    torch.testing.assert_close(folded_conv(*pair)(x), pair(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gamma", [-1.5, 0.0, 1e-8])
def test_folding_keeps_the_output_with_negative_gamma_and_with_none(gamma):
    pair = randomise_norms_(nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)))
    nn.init.constant_(pair[1].weight, gamma)
    x = images()
    torch.testing.assert_close(fold_model(pair)(x), pair(x), rtol=0, atol=FOLDING_ERROR)


def test_folding_uses_the_equation_of_the_paper():
    weight = torch.full((1, 1, 1, 1), 6.0)
    norm = nn.BatchNorm2d(1, eps=0.0)
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    nn.init.constant_(norm.weight, -3.0)
    nn.init.constant_(norm.bias, 10.0)
    folded = fold(weight, torch.tensor([5.0]), statistics(norm))
    assert folded.weight.item() == 6 * -3 / 2
    assert folded.bias.item() == 10 + (5 - 1) * -3 / 2


def test_folding_norm_without_affine_keeps_the_output():
    norm = nn.BatchNorm2d(5, affine=False)
    pair = randomise_norms_(nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), norm))
    x = images()
    torch.testing.assert_close(fold_model(pair)(x), pair(x), rtol=0, atol=FOLDING_ERROR)


def test_folding_a_resnet_keeps_its_logits():
    model, x = resnet(), images()
    logits = model(x)
    difference = (fold_model(model)(x) - logits).abs().max()
    assert difference < FOLDING_ERROR * max(1.0, logits.abs().max().item())


def test_folded_resnet_has_biased_convolutions_and_no_norm():
    folded = fold_model(resnet())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert isinstance(folded.stem.norm, nn.Identity)
    convs = [module for module in folded.modules() if isinstance(module, nn.Conv2d)]
    assert all(conv.bias is not None for conv in convs)


def test_folded_state_fits_the_spec_without_batch_norm():
    model, x = resnet(), images()
    folded = fold_model(model)
    plain = build(ResNetSpec(width=8, blocks=1, batch_norm=False)).eval()
    plain.load_state_dict(folded.state_dict())
    assert torch.equal(plain(x), folded(x))


def test_folding_does_not_modify_the_model():
    model = resnet().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fold_model(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_folding_twice_is_folding_once():
    once = fold_model(resnet())
    x = images()
    assert torch.equal(fold_model(once)(x), once(x))


def test_norm_without_a_convolution_before_it_is_left():
    model = randomise_norms_(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 5, 3)))
    x = images()
    folded = fold_model(model)
    assert isinstance(folded[0], nn.BatchNorm2d)
    assert torch.equal(folded(x), model(x))


def test_norm_without_running_statistics_is_refused():
    pair = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False))
    with pytest.raises(ValueError, match="track_running_stats"):
        fold_model(pair)
