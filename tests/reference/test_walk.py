import pytest
import torch
from nets import images, resnet
from torch import nn

from reference import walk


class Renamed(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model.eval()

    def forward(self, *, pixels: torch.Tensor) -> torch.Tensor:
        return self.model(pixels)


def test_layers_are_found_in_nested_modules_and_nothing_else():
    names = list(walk.named_layers(resnet()))
    assert names[0] == "stem.conv"
    assert names[-1] == "head"
    assert len(names) == 1 + 3 * 2 + 2 + 1  # stem, blocks, two projections, head


def test_inputs_are_what_the_layer_receives_from_each_batch():
    model, batches = resnet(), [images(2), images(3)]
    inputs = walk.layer_inputs(model, ["stem.conv", "head"], batches)
    assert all(map(torch.equal, inputs["stem.conv"], batches))
    assert torch.equal(model.head(inputs["head"][1]), model(batches[1]))


def test_output_means_are_over_batches_and_positions():
    model, batches = resnet(), [images(2), images(3)]
    mean = walk.output_means(model, ["stem.conv"], batches)["stem.conv"]
    expected = model.stem.conv(torch.cat(batches)).mean((0, 2, 3))
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-6)  # float32 means of size 0.1


def test_a_batch_of_named_arguments_is_taken_by_name():
    model, batch = resnet(), images(2)
    renamed = Renamed(model)
    inputs = walk.layer_inputs(renamed, ["model.head"], [{"pixels": batch}])["model.head"]
    assert torch.equal(model.head(inputs[0]), walk.answer(renamed, {"pixels": batch}))


def test_walking_leaves_no_hook_and_no_changed_mode():
    model = resnet().train()
    model.stem.eval()
    walk.layer_inputs(model, ["head"], [images()])
    walk.output_means(model, ["head"], [images()])
    assert not model.head._forward_hooks
    assert not model.head._forward_pre_hooks
    assert model.training
    assert not model.stem.training


def test_hooks_are_removed_when_the_model_fails():
    model = resnet()
    with pytest.raises(RuntimeError):
        walk.layer_inputs(model, ["head"], [torch.randn(1, 4, 8, 8)])
    assert not model.head._forward_pre_hooks


def test_name_that_is_no_layer_is_refused():
    assert walk.layer(resnet(), "head").out_features == 10
    with pytest.raises(ValueError, match=r"'stem\.norm' is BatchNorm2d; expected Conv2d or Linear"):
        walk.layer(resnet(), "stem.norm")


def test_replacing_a_layer_by_its_name():
    model = resnet()
    walk.replace_(model, "blocks.0.first.conv", nn.Identity())
    assert isinstance(model.blocks[0].first.conv, nn.Identity)
    walk.replace_(model, "head", nn.Flatten())
    assert isinstance(model.head, nn.Flatten)


def test_layer_that_nothing_reaches_is_named():
    model = nn.Sequential()
    model.add_module("used", nn.Linear(2, 2))
    model.used.add_module("unused", nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"'used\.unused' was not reached by 1 batches"):
        walk.layer_inputs(model, ["used", "used.unused"], [torch.randn(1, 2)])


def test_what_was_seen_is_not_overwritten_by_an_operation_in_place():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True))
    x = -torch.ones(2, 3)
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(3))
        model[0].bias.zero_()
    assert torch.equal(walk.outputs(model, ["0"], [x])["0"][0], x)
    model = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    assert torch.equal(walk.layer_inputs(model, ["0"], [x.clone()])["0"][0], x)
