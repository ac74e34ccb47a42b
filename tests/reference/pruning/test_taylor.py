import copy

import torch
from gradient_nets import chain, conv_net, loss_of, pictures, vectors
from torch import nn

from labkit.models import GptSpec, build
from reference.pruning.gradient.obd import fisher_diagonal
from reference.pruning.gradient.snip import snip_scores
from reference.pruning.gradient.taylor import (
    absolute_taylor_scores,
    output_taylor_scores,
    squared_taylor_scores,
)
from reference.pruning.weights import prunable_weights

STEP = 1e-6  # as in test_snip.py


def test_the_squared_score_is_fishers_times_the_squared_weight():
    model, batches = chain([5, 4, 3]), vectors(5, 3, count=4)
    fisher = fisher_diagonal(model, batches, loss_of)
    for name, score in squared_taylor_scores(model, batches, loss_of).items():
        expected = prunable_weights(model)[name].square() * fisher[name]
        assert torch.allclose(score, expected, rtol=1e-12)


def test_of_one_batch_all_are_snips():
    model, batches = chain([5, 4, 3]), vectors(5, 3, count=1)
    snip = snip_scores(model, batches, loss_of)
    absolute = absolute_taylor_scores(model, batches, loss_of)
    squared = squared_taylor_scores(model, batches, loss_of)
    assert all(torch.equal(snip[name], absolute[name]) for name in snip)
    assert all(torch.equal(snip[name].square(), squared[name]) for name in snip)


def test_what_cancels_between_batches_is_not_lost():
    model, batches = chain([5, 4, 3]), vectors(5, 3, count=4)
    snip = snip_scores(model, batches, loss_of)
    found = absolute_taylor_scores(model, batches, loss_of)
    assert all((found[name] >= snip[name] - 1e-15).all() for name in snip)
    assert any((found[name] > 2 * snip[name]).any() for name in snip)


def test_an_outputs_score_is_the_squared_derivative_by_its_gate():
    model, batch = conv_net().eval(), pictures(count=1)[0]
    for name, scores in output_taylor_scores(model, [batch], loss_of).items():
        assert scores.shape == (len(model.get_parameter(name)),)
        for output, score in enumerate(scores.tolist()):
            slope = (
                _gated(model, name, output, 1 + STEP, batch)
                - _gated(model, name, output, 1 - STEP, batch)
            ) / (2 * STEP)
            assert abs(score - slope**2) < 1e-8


def _gated(model, name, output, factor, batch):
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.get_parameter(name)[output] *= factor
        return loss_of(changed, batch).item()


def test_outputs_of_a_transposed_layer_are_its_columns():
    gpt = build(GptSpec(vocabulary=20, width=16, depth=1, heads=2, context=8))
    tokens = torch.randint(0, 20, (2, 6))
    found = output_taylor_scores(gpt, [tokens], lambda m, b: m(b, labels=b).loss)
    assert found["transformer.h.0.attn.c_attn.weight"].shape == (48,)
    assert found["transformer.h.0.mlp.c_proj.weight"].shape == (16,)


def test_an_output_that_nothing_reads_scores_zero():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[2].weight[:, 1] = 0
    scores = output_taylor_scores(model, vectors(4, 2), loss_of)
    assert scores["0.weight"][1] == 0
    assert scores["0.weight"][[0, 2]].any()
