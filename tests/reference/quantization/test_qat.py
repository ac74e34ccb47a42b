import copy
from functools import partial

import pytest
import torch
from nets import images, randomise_norms_, resnet
from qat_runs import every_config, learned, observed, train_
from torch import nn

from reference import walk
from reference.quantization.batch_norm import fold_model
from reference.quantization.lsq import LsqQuantizer
from reference.quantization.pact import pact_activation
from reference.quantization.qat import (
    LayerConfig,
    QatLayer,
    Schedule,
    Stage,
    prepare,
    qat_layers,
    set_stage_,
)


@every_config
def test_every_layer_is_replaced_and_no_other_module_changes(make_config):
    model = resnet()
    prepared = prepare(model, [images()], make_config(8))
    assert set(qat_layers(prepared)) == set(walk.named_layers(model))
    norms = {id(layer.norm): layer.norm for layer in qat_layers(prepared).values() if layer.norm}
    assert len(norms) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    others = (QatLayer, nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.Identity)
    for name, module in model.named_modules():
        if not isinstance(module, others):
            assert type(prepared.get_submodule(name)) is type(module)


def test_prepare_keeps_the_settings_of_norms_and_dropout():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=0.3, momentum=0.7), nn.Dropout(0.6)
    )
    prepared = prepare(model, [images()])
    assert (prepared[0].norm.eps, prepared[0].norm.momentum) == (0.3, 0.7)
    assert prepared[2].p == 0.6
    assert prepared.training


def test_prepare_does_not_modify_the_model():
    model = resnet().train()
    before = copy.deepcopy(model.state_dict())
    train_(prepare(model, [images()], learned(4)))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@every_config
def test_training_before_quantization_is_the_float_run_bit_for_bit(make_config):
    model = resnet()
    prepared = prepare(model, [images(size=8)], make_config(4))
    assert train_(prepared, schedule=Schedule(quantize_from=9)) == train_(model)
    floats = dict(model.named_parameters())
    trained = {name: layer.layer.weight for name, layer in qat_layers(prepared).items()}
    assert trained
    assert all(torch.equal(w, floats[f"{name}.weight"]) for name, w in trained.items())


def test_observers_watch_before_quantization_begins():
    prepared = prepare(resnet(), [images(size=8)], observed(4))
    before = [layer.input_quantizer.high.clone() for layer in qat_layers(prepared).values()]
    train_(prepared, schedule=Schedule(quantize_from=9))
    after = [layer.input_quantizer.high for layer in qat_layers(prepared).values()]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_eight_bits_are_close_to_the_folded_float_model():
    model, x = resnet(), images(8)
    logits = fold_model(model)(x)
    found = prepare(model, [x], observed(8))(x)
    assert (found - logits).square().mean() < 0.01 * logits.square().mean()  # 20 dB, as static


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_training_with_a_fine_grid_is_convolution_and_norm(bias, affine):
    """Batch statistics, their gradients and the running ones, through the folded weight."""
    pair = randomise_norms_(
        nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5, affine=affine))
    )
    x, upstream = images(), torch.randn(4, 5, 14, 14)
    layer = prepare(pair, [x], observed(16))[0].train()
    pair.train()
    y, expected = layer(x), pair(x)
    # 16 bits round at 1e-5 of the range, and 27 terms are summed
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(layer.norm.running_mean, pair[1].running_mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(layer.norm.running_var, pair[1].running_var, rtol=0, atol=1e-4)
    (y * upstream).sum().backward()
    (expected * upstream).sum().backward()
    for ours, theirs in (
        (layer.layer.weight, pair[0].weight),
        *([(layer.norm.weight, pair[1].weight), (layer.norm.bias, pair[1].bias)] if affine else []),
    ):
        scale = theirs.grad.abs().max()
        assert (ours.grad - theirs.grad).abs().max() < 1e-3 * scale


@pytest.mark.parametrize("stage", [Stage(), Stage(norms_frozen=True)])
def test_frozen_norm_and_eval_are_the_same_function(stage):
    prepared = prepare(resnet(), [images()], learned(4))
    set_stage_(prepared, stage)
    prepared.train(stage.norms_frozen)
    x = images()
    found = prepared(x)
    assert torch.equal(found, prepared.eval()(x))


@every_config
def test_gradients_reach_every_parameter(make_config):
    prepared = prepare(resnet(), [images(8)], make_config(3)).train()
    prepared(images(8)).square().sum().backward()
    names = dict(prepared.named_parameters())
    if make_config is learned:
        assert sum(name.endswith("quantizer.step") for name in names) == 2 * len(
            qat_layers(prepared)
        )
    for name, parameter in names.items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_every_step_of_lsq_learns():
    prepared = prepare(resnet(), [images(size=8)], learned(3))
    steps = {n: p.detach().clone() for n, p in prepared.named_parameters() if n.endswith("step")}
    train_(prepared)
    assert steps
    for name, before in steps.items():
        assert not torch.equal(prepared.get_parameter(name), before), name


@every_config
def test_frozen_grids_do_not_move_by_one_bit(make_config):
    prepared = prepare(resnet(), [images(size=8)], make_config(4))
    schedule = Schedule(freeze_grids_at=2)
    train_(prepared, steps=2, schedule=schedule)

    def grids():
        return {
            (name, kind): getattr(layer, kind).grid()
            for name, layer in qat_layers(prepared).items()
            for kind in ("input_quantizer", "weight_quantizer")
        }

    set_stage_(prepared, schedule.stage(2))
    before, weights = grids(), copy.deepcopy(dict(prepared.named_parameters()))
    train_(prepared, steps=3)
    for key, grid in grids().items():
        assert torch.equal(grid.scale, before[key].scale), key
        assert torch.equal(grid.zero_point, before[key].zero_point), key
    name = next(name for name in weights if name.endswith("layer.weight"))
    assert not torch.equal(prepared.get_parameter(name), weights[name])  # training went on


def test_frozen_norms_do_not_move_by_one_bit_and_gamma_learns_on():
    prepared = prepare(resnet(), [images(size=8)], observed(8))
    set_stage_(prepared, Schedule(freeze_norms_at=0).stage(0))
    norms = [layer.norm for layer in qat_layers(prepared).values() if layer.norm is not None]
    before = copy.deepcopy(norms)
    train_(prepared, steps=3)  # calls train(), which must not thaw them
    for norm, old in zip(norms, before, strict=True):
        assert torch.equal(norm.running_mean, old.running_mean)
        assert torch.equal(norm.running_var, old.running_var)
        assert norm.num_batches_tracked == old.num_batches_tracked
        assert not torch.equal(norm.weight, old.weight)


def test_stage_depends_on_the_step_alone():
    schedule = Schedule(quantize_from=2, freeze_norms_at=5, freeze_grids_at=4)
    assert schedule.stage(1) == Stage(quantizing=False)
    assert schedule.stage(2) == Stage()
    assert schedule.stage(4) == Stage(grids_frozen=True)
    assert schedule.stage(5) == Stage(norms_frozen=True, grids_frozen=True)
    assert Schedule().stage(10**6) == Stage()


def test_norms_thaw_when_the_stage_says_so():
    prepared = prepare(resnet(), [images(size=8)]).train()
    set_stage_(prepared, Stage(norms_frozen=True))
    set_stage_(prepared, Stage())
    norms = [layer.norm for layer in qat_layers(prepared).values() if layer.norm is not None]
    assert all(norm.training for norm in norms)


def test_overrides_choose_for_one_layer_and_none_leaves_it_in_float():
    model = resnet()
    names = list(walk.named_layers(model))
    overrides = {names[0]: None, names[-1]: learned(8)}
    layers = qat_layers(prepare(model, [images()], observed(4), overrides))
    assert set(layers) == set(names) - {names[0]}
    assert isinstance(layers[names[-1]].weight_quantizer, LsqQuantizer)
    assert layers[names[-1]].weight_quantizer.grid().qmax == 127
    assert layers[names[1]].weight_quantizer.grid().qmax == 7


def test_pact_fits_where_activations_come_from_a_relu():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    config = LayerConfig(activation=partial(pact_activation, bits=4))
    prepared = prepare(model, [torch.rand(20, 6)], config)
    prepared(torch.rand(20, 6)).sum().backward()
    assert prepared[2].input_quantizer.alpha.grad is not None
    with pytest.raises(ValueError, match="PACT keeps only those above 0"):
        prepare(model, [torch.randn(20, 6)], config)


def test_linear_layers_take_sequences():
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 2, bias=False))
    prepared = prepare(model, [torch.randn(3, 5, 6)], learned(8))
    assert prepared(torch.randn(2, 7, 6)).shape == (2, 7, 2)


def test_bad_schedules_overrides_and_batches_are_refused():
    with pytest.raises(ValueError, match="freeze_norms_at is step -1"):
        Schedule(freeze_norms_at=-1)
    with pytest.raises(ValueError, match=r"no layers \['tail'\]"):
        prepare(resnet(), [images()], overrides={"tail": None})
    with pytest.raises(ValueError, match="was not reached by 0 batches"):
        prepare(resnet(), [])
    with pytest.raises(ValueError, match="inf or nan"):
        prepare(resnet(), [images() * float("nan")])
    with pytest.raises(ValueError, match="prepare"):
        set_stage_(resnet(), Stage())


def test_norm_without_running_statistics_is_refused():
    pair = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, track_running_stats=False))
    with pytest.raises(ValueError, match="track_running_stats"):
        prepare(pair, [images()])
