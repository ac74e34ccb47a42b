"""Claims about feature losses in the training loop, on networks that train in milliseconds."""

import copy

import pytest
import torch
import torch.nn.functional as F
from features import conv_net, image_epoch, images, rows
from torch import nn

from reference.distillation.feature.attention_transfer import attention_transfer
from reference.distillation.feature.contrastive import IndexedBatch, Projections, WithMemory
from reference.distillation.feature.hints import hint_loss, in_stages_
from reference.distillation.feature.pairs import FeatureLoss, Regressed, Term, WeightedSum
from reference.distillation.feature.regressors import (
    built,
    conv_1x1,
    fitted_conv,
    linear,
    mlp,
    same_shape,
    same_size,
)
from reference.distillation.feature.similarity import similarity_preserving
from reference.distillation.feature.variational import Variational
from reference.distillation.loop import LoopConfig, Taps, distill_
from reference.distillation.outputs import Batch, Outputs, observe
from reference.distillation.progressive.chain import Stage
from reference.distillation.response import schedules

NARROW, WIDE = 4, 6
TAPS = Taps(["0", "2"], ["0", "2"])  # both convolutions, before their ReLUs
INPUTS = images()[0].inputs


def plain(student, teacher, batch, progress):
    return F.cross_entropy(student.logits, batch.labels)


def hinted(taps: Taps = TAPS) -> FeatureLoss:
    torch.manual_seed(0)
    regressors = built(conv_1x1, conv_net(NARROW), conv_net(WIDE), INPUTS, taps)
    return FeatureLoss(taps, [Regressed(each, hint_loss) for each in regressors])


def varied(taps: Taps = TAPS) -> FeatureLoss:
    torch.manual_seed(0)
    regressors = built(conv_1x1, conv_net(NARROW), conv_net(WIDE), INPUTS, taps)
    return FeatureLoss(taps, [Variational(each, WIDE) for each in regressors])


def same(one: nn.Module, other: nn.Module) -> bool:
    there = other.state_dict()
    return all(torch.equal(each, there[name]) for name, each in one.state_dict().items())


@pytest.mark.parametrize("make", [hinted, varied])
def test_regressors_are_trained_with_the_student_and_are_absent_from_it(make):
    student, untouched, objective = conv_net(NARROW), conv_net(NARROW), make()
    before = copy.deepcopy(objective)
    teacher = conv_net(WIDE, seed=1)
    losses = distill_(student, teacher, objective, image_epoch, LoopConfig(40, 0.01), TAPS)
    assert sum(losses[-4:]) < sum(losses[:4])
    for loss, was in zip(objective.losses, before.losses, strict=True):
        pairs = list(zip(loss.parameters(), was.parameters(), strict=True))
        assert len(pairs) >= 2  # a weight and a bias
        assert not any(torch.equal(one, other) for one, other in pairs)
    names = [name for name, _ in student.named_parameters()]
    assert names == [name for name, _ in untouched.named_parameters()]
    counts = [sum(each.numel() for each in net.parameters()) for net in (student, untouched)]
    assert counts[0] == counts[1]
    assert not same(student, untouched)
    assert not any(each._forward_hooks for net in (student, teacher) for each in net.modules())
    assert student(INPUTS).shape == untouched(INPUTS).shape


def test_a_regressor_has_the_gradient_of_its_loss():
    objective, batch = hinted(), images()[0]
    student = observe(conv_net(NARROW), batch.inputs, TAPS.student)
    teacher = observe(conv_net(WIDE, seed=1), batch.inputs, TAPS.teacher)
    expected = sum(
        F.mse_loss(loss.regressor(student.features[tap]), teacher.features[tap])
        for loss, tap in zip(objective.losses, TAPS.student, strict=True)
    )
    assert torch.allclose(objective(student, teacher, batch, 0.0), expected)


def test_a_weight_of_0_trains_as_if_there_were_no_features():
    alone, accompanied = conv_net(NARROW), conv_net(NARROW)
    distill_(alone, None, plain, image_epoch, LoopConfig(8))
    objective = WeightedSum([Term(1.0, plain), Term(0.0, hinted())])
    distill_(accompanied, conv_net(WIDE), objective, image_epoch, LoopConfig(8), TAPS)
    assert same(alone, accompanied)


def test_the_regressors_of_a_term_are_trained_with_the_sum():
    hints = hinted()
    before = copy.deepcopy(hints)
    objective = WeightedSum([Term(1.0, plain), Term(1.0, hints)])
    distill_(conv_net(NARROW), conv_net(WIDE, seed=1), objective, image_epoch, LoopConfig(3), TAPS)
    pairs = list(zip(hints.parameters(), before.parameters(), strict=True))
    assert len(pairs) == 4
    assert not any(torch.equal(one, other) for one, other in pairs)


def test_terms_are_added_with_their_weights_at_the_time():
    student = Outputs(rows(0, 4, 3), {"a": rows(1, 4, 5)})
    teacher = Outputs(rows(2, 4, 3), {"b": rows(3, 4, 5)})
    batch = Batch(torch.zeros(4), torch.tensor([0, 1, 2, 0]))
    features = FeatureLoss(Taps(["a"], ["b"]), [similarity_preserving])
    both = WeightedSum([Term(2.0, plain), Term(schedules.linear(4.0, 0.0), features)])
    hard, soft = plain(student, teacher, batch, 0.0), features(student, teacher, batch, 0.0)
    for progress in (0.0, 0.5, 1.0):
        expected = 2 * hard + 4 * (1 - progress) * soft
        assert torch.allclose(both(student, teacher, batch, progress), expected)
    balanced = WeightedSum([Term(2.0, plain), Term(3.0, features)], balanced=True)
    assert balanced(student, teacher, batch, 0.0).item() == pytest.approx(5)
    nearer = Outputs(student.logits, {"a": teacher.features["b"] + rows(4, 4, 5) / 10})
    share = (features(nearer, teacher, batch, 0.0) / soft).item()
    assert balanced(nearer, teacher, batch, 0.0).item() == pytest.approx(2 + 3 * share)


def test_a_term_that_begins_at_0_is_balanced_by_its_first_other_value():
    values = iter([0.0, 4.0, 2.0])
    objective = WeightedSum([Term(3.0, lambda s, t, b, p: torch.tensor(next(values)))], True)
    nothing = Outputs(torch.zeros(1)), None, Batch(torch.zeros(1), torch.zeros(1).long()), 0.0
    assert [objective(*nothing).item() for _ in range(3)] == [0, 3, 1.5]


def test_in_stage_one_only_what_leads_to_the_hint_is_trained():
    student, teacher = conv_net(NARROW), conv_net(WIDE, seed=1)
    start = copy.deepcopy(student)
    taps = Taps(["0"], ["0"])
    hint = Stage(student, hinted(taps), LoopConfig(8, 0.01), taps)
    (losses,) = in_stages_(teacher, [hint], image_epoch)
    assert losses[-1] < losses[0]
    changed = {
        name
        for name, each in student.state_dict().items()
        if not torch.equal(each, start.state_dict()[name])
    }
    assert changed == {"0.weight", "0.bias"}


def test_stages_are_one_training_after_the_other():
    one, other = conv_net(NARROW), conv_net(NARROW)
    teacher, config = conv_net(WIDE, seed=1), LoopConfig(5, 0.01)
    stages = [Stage(one, hinted(), config, TAPS), Stage(one, plain, config)]
    losses = in_stages_(teacher, stages, image_epoch)
    expected = [
        distill_(other, teacher, hinted(), image_epoch, config, TAPS),
        distill_(other, teacher, plain, image_epoch, config),
    ]
    assert list(losses) == expected
    assert same(one, other)


def test_maps_of_other_sizes_are_learnt_from_without_a_regressor():
    taps = Taps(["0"], ["2"])  # 8 x 8 and 4 x 4
    objective = FeatureLoss(taps, [attention_transfer])
    student = conv_net(NARROW)
    teacher = conv_net(WIDE, seed=1)
    losses = distill_(student, teacher, objective, image_epoch, LoopConfig(40, 0.01), taps)
    assert sum(losses[-4:]) < sum(losses[:4])


def test_a_memory_is_learnt_with_in_the_loop_and_stays_out_of_the_student():
    rows_of = [torch.arange(i, i + 8) for i in range(0, 32, 8)]
    batches = [
        IndexedBatch(batch.inputs, batch.labels, where)
        for batch, where in zip(images(), rows_of, strict=True)
    ]
    labels = torch.cat([batch.labels for batch in batches])
    student, teacher = conv_net(NARROW), conv_net(WIDE, seed=1)
    memory = WithMemory(("5", "5"), Projections(NARROW, WIDE, 8), labels, negatives=16)
    before, names = memory.student_memory.clone(), list(student.state_dict())
    config, taps = LoopConfig(60, 0.01), Taps(["5"], ["5"])
    losses = distill_(student, teacher, memory, lambda _: batches, config, taps)
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])
    assert (memory.student_memory != before).any(1).all()  # every row was seen
    assert not memory.student_memory.requires_grad
    assert list(student.state_dict()) == names


@pytest.mark.parametrize(
    ("build", "student", "teacher"),
    [
        (linear, (2, 5, 3), (2, 5, 7)),
        (mlp, (2, 3), (2, 7)),
        (conv_1x1, (2, 3, 4, 4), (2, 7, 4, 4)),
        (fitted_conv, (2, 3, 6, 5), (2, 7, 4, 4)),
        (fitted_conv, (2, 3, 4, 4), (2, 7, 4, 4)),
    ],
)
def test_a_regressor_gives_the_shape_of_the_teacher(build, student, teacher):
    mine, theirs = rows(0, *student), rows(1, *teacher)
    answer = build(mine, theirs)(mine)
    assert answer.shape == theirs.shape
    assert answer.dtype == theirs.dtype
    assert hint_loss(answer, theirs).requires_grad


def test_an_mlp_bends_once():
    mine = rows(0, 5, 3)
    regressor = mlp(mine, rows(1, 5, 7))
    first, _, second = regressor
    assert torch.equal(regressor(mine), second(first(mine).relu()))
    assert (first(mine) < 0).any()


def test_regressors_are_built_from_what_models_say_and_leave_them_as_they_were():
    student, teacher = conv_net(NARROW), conv_net(WIDE).eval()
    modes = [each.training for net in (student, teacher) for each in net.modules()]
    regressors = built(conv_1x1, student, teacher, INPUTS, TAPS)
    assert [each.weight.shape[:2] for each in regressors] == [(WIDE, NARROW)] * 2
    assert modes == [each.training for net in (student, teacher) for each in net.modules()]
    assert not any(each._forward_hooks for net in (student, teacher) for each in net.modules())


def test_the_larger_map_is_averaged_in_each_direction():
    one, other = same_size(rows(0, 2, 3, 4, 2), rows(1, 2, 5, 2, 6))
    assert one.shape[2:] == other.shape[2:] == (2, 2)
    assert torch.allclose(one, rows(0, 2, 3, 4, 2).unflatten(2, (2, 2)).mean(3))
    vectors = rows(0, 2, 3), rows(1, 2, 5)
    assert all(a is b for a, b in zip(same_size(*vectors), vectors, strict=True))


def nothing_said() -> tuple[Outputs, Batch]:
    return Outputs(torch.zeros(1)), Batch(torch.zeros(1), torch.zeros(1).long())


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: fitted_conv(rows(0, 1, 2, 3, 3), rows(1, 1, 2, 4, 3)), r"\(3, 3\) and \(4, 3\)"),
        (lambda: same_shape(rows(0, 2, 3), rows(1, 2, 4)), r"\(2, 3\) and \(2, 4\); a regressor"),
        (lambda: same_size(rows(0, 2, 3), rows(1, 2, 3, 1, 1)), "as many axes"),
        (lambda: FeatureLoss(Taps(["0"], []), [hint_loss]), "at least one; got 1 and 0"),
        (lambda: FeatureLoss(Taps(), []), "at least one; got 0 and 0"),
        (lambda: FeatureLoss(TAPS, [hint_loss]), "2 pairs of taps need a loss each: 1"),
        (
            lambda: hinted()(nothing_said()[0], None, nothing_said()[1], 0.0),
            "'0' of the student was not watched",
        ),
        (
            lambda: hinted()(
                observe(conv_net(NARROW), INPUTS, ["0", "2"]), None, nothing_said()[1], 0.0
            ),
            "features need a teacher, got none",
        ),
        (lambda: WeightedSum([]), "at least one term, got none"),
        (
            lambda: WeightedSum([Term(-1.0, plain)])(nothing_said()[0], None, images()[0], 0.0),
            r"at least 0, got -1\.0",
        ),
        (
            lambda: WeightedSum([Term(0.0, plain)])(nothing_said()[0], None, images()[0], 0.5),
            r"all weights are 0 at progress 0\.5",
        ),
        (lambda: in_stages_(None, [], image_epoch), "must train one student, got 0"),
        (
            lambda: in_stages_(
                None,
                [
                    Stage(conv_net(3), plain, LoopConfig(1)),
                    Stage(conv_net(3), plain, LoopConfig(1)),
                ],
                image_epoch,
            ),
            "must train one student, got 2",
        ),
    ],
)
def test_what_cannot_be_learnt_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
