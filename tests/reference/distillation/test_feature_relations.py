"""Claims about losses that compare rows of a batch. 1e-9 is float64's over a hundred terms."""

import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from features import rotation, rows
from hypothesis import given
from hypothesis import strategies as st

from reference.distillation.feature.contrastive import (
    InBatch,
    IndexedBatch,
    Projections,
    WithMemory,
    info_nce,
    nce,
    other_class,
)
from reference.distillation.feature.correlation import (
    bilinear,
    correlation_congruence,
    gaussian,
    taylor,
)
from reference.distillation.feature.probabilistic import knowledge_transfer, neighbours
from reference.distillation.feature.relational import (
    angle_loss,
    angles,
    distance_loss,
    relative_distances,
)
from reference.distillation.feature.similarity import similarities, similarity_preserving
from reference.distillation.feature.vectors import unit
from reference.distillation.outputs import Batch, Outputs

SEED = st.integers(0, 999)
SCALE = st.floats(0.01, 100)
LOSSES = [
    distance_loss,
    angle_loss,
    similarity_preserving,
    knowledge_transfer,
    correlation_congruence,
]


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-9) -> bool:
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


def tensor(*values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("loss", LOSSES)
@given(SEED)
def test_relations_do_not_know_a_rotation_or_the_order_of_rows(loss, seed):
    student, teacher = rows(seed, 5, 3), rows(seed + 1, 5, 4)
    expected = loss(student, teacher)
    assert close(loss(student @ rotation(seed + 2, 3), teacher), expected)
    assert close(loss(student, teacher @ rotation(seed + 3, 4)), expected)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    assert close(loss(student[order], teacher[order]), expected)


@pytest.mark.parametrize("loss", LOSSES)
@given(SEED, SCALE)
def test_relations_do_not_know_a_common_scale(loss, seed, scale):
    student, teacher = rows(seed, 5, 3), rows(seed + 1, 5, 4)
    assert close(loss(scale * student, teacher), loss(student, teacher))


@pytest.mark.parametrize("loss", [distance_loss, angle_loss])
@given(SEED)
def test_distances_and_angles_do_not_know_where_zero_is(loss, seed):
    student, teacher = rows(seed, 5, 3), rows(seed + 1, 5, 4)
    assert close(loss(student + rows(seed + 2, 1, 3), teacher), loss(student, teacher))


@pytest.mark.parametrize(
    "loss", [similarity_preserving, knowledge_transfer, correlation_congruence]
)
def test_inner_products_know_where_zero_is(loss):
    student = rows(0, 5, 3)
    assert loss(student + 2, student) > 1e-3


@pytest.mark.parametrize("loss", [knowledge_transfer, correlation_congruence])
@given(SEED)
def test_directions_do_not_know_the_scale_of_a_row(loss, seed):
    student, teacher = rows(seed, 5, 3), rows(seed + 1, 5, 4)
    scales = rows(seed + 2, 5, 1).exp()
    assert close(loss(scales * student, teacher), loss(student, teacher))


@pytest.mark.parametrize("loss", [distance_loss, angle_loss, similarity_preserving])
def test_the_others_know_the_scale_of_a_row(loss):
    student = rows(0, 5, 3)
    scales = tensor(1.0, 1.0, 5.0, 1.0, 1.0).reshape(5, 1)
    assert loss(scales * student, student) > 1e-3


def test_shapes_that_no_scale_and_no_rotation_explains_cost_something():
    student = rows(0, 5, 3)
    stretched = student * tensor(1.0, 1.0, 4.0)
    assert min(loss(stretched, student).item() for loss in LOSSES) > 1e-4


@pytest.mark.parametrize("loss", [distance_loss, knowledge_transfer])
def test_of_two_rows_there_is_one_relation_and_nothing_to_learn(loss):
    assert loss(rows(0, 2, 3), rows(1, 2, 3)).item() == pytest.approx(0, abs=1e-12)


def test_distances_by_hand():
    student, teacher = tensor([0.0, 0.0], [3.0, 4.0], [3.0, 0.0]), tensor([0.0], [1.0], [5.0])
    psi = relative_distances(student).tolist()  # 5, 3, 4 over their mean of 4
    assert psi == pytest.approx([1.25, 0.75, 1.25, 1.0, 0.75, 1.0])
    # the teacher's: 1, 5, 4 over 10/3
    differences = [1.25 - 0.3, 0.75 - 1.5, 1.0 - 1.2]
    expected = sum(each**2 / 2 for each in differences) / 3
    assert distance_loss(student, teacher).item() == pytest.approx(expected)


def test_a_large_difference_of_distances_counts_linearly():
    student, teacher = rows(0, 5, 3), rows(0, 5, 3)
    student[0] += 100
    psi = relative_distances(student) - relative_distances(teacher)
    assert psi.abs().max() > 1
    huber = torch.where(psi.abs() < 1, psi**2 / 2, psi.abs() - 0.5).mean()
    assert close(distance_loss(student, teacher), huber)


def test_angles_by_hand():
    right = tensor([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    found = angles(right)
    assert found[0, 1, 2].item() == pytest.approx(0, abs=1e-12)
    assert found[1, 0, 2].item() == pytest.approx(math.sqrt(0.5))
    flat = tensor([0.0], [1.0], [2.0])  # cosines of 1, -1, 1
    # 0 to 1; sqrt(1/2) to -1, beyond 1 and linear; sqrt(1/2) to 1
    expected = (1 / 2 + (math.sqrt(0.5) + 1 - 1 / 2) + (1 - math.sqrt(0.5)) ** 2 / 2) / 3
    assert angle_loss(right, flat).item() == pytest.approx(expected)


@given(SEED)
def test_angles_are_those_at_the_middle_row_of_every_triplet(seed):
    student, teacher = rows(seed, 5, 3), rows(seed + 1, 5, 4)
    found = []
    for i, j, k in permutations(range(5), 3):
        cosines = [F.cosine_similarity(x[i] - x[j], x[k] - x[j], dim=0) for x in (student, teacher)]
        found.append(F.smooth_l1_loss(*cosines))
    assert close(angle_loss(student, teacher), torch.stack(found).mean())


def test_two_rows_that_coincide_pull_no_row_to_infinity():
    student, teacher = rows(0, 5, 3), rows(1, 5, 4)
    student[1] = student[0]
    student.requires_grad_()
    (distance_loss(student, teacher) + angle_loss(student, teacher)).backward()
    assert student.grad.abs().max() < 10
    assert student.grad[2:].any()


def test_a_direction_is_not_asked_of_a_zero_vector():
    vectors = tensor([3.0, 4.0], [0.0, 0.0]).requires_grad_()
    assert close(unit(vectors), tensor([0.6, 0.8], [0.0, 0.0]))
    unit(vectors).sum().backward()
    assert vectors.grad[0].any() and not vectors.grad[1].any()


def test_similarities_by_hand():
    student, teacher = tensor([1.0, 0.0], [1.0, 1.0]), tensor([2.0], [0.0])
    a, b = 1 / math.sqrt(2), 1 / math.sqrt(5)
    assert close(similarities(student), tensor([a, a], [b, 2 * b]))
    assert similarities(teacher).tolist() == [[1, 0], [0, 0]]
    expected = ((a - 1) ** 2 + a**2 + b**2 + 4 * b**2) / 4
    assert similarity_preserving(student, teacher).item() == pytest.approx(expected)


@given(SEED)
def test_neighbours_are_a_distribution_over_the_other_rows(seed):
    p = neighbours(rows(seed, 5, 3))
    assert close(p.sum(1), torch.ones(5, dtype=torch.float64))
    assert not p.diagonal().any() and (p >= 0).all()


def test_knowledge_transfer_is_the_divergence_from_the_teacher_by_hand():
    student, teacher = tensor([1.0, 0.0], [0.0, 1.0], [0.0, 3.0]), tensor([1.0], [2.0], [-1.0])
    p, q = neighbours(teacher), neighbours(student)
    assert q[1].tolist() == pytest.approx([1 / 3, 0, 2 / 3])  # kernels of 1/2 and 1
    assert p[0].tolist() == pytest.approx([0, 1, 0], abs=2e-7)  # kernels of 1 and the smallest
    expected = sum(
        (p[i, j] * (p[i, j] / q[i, j]).log()).item() for i, j in permutations(range(3), 2)
    )
    assert knowledge_transfer(student, teacher).item() == pytest.approx(expected / 3)
    assert knowledge_transfer(student, teacher) != knowledge_transfer(teacher, student)


@given(SEED)
def test_a_divergence_of_neighbours_is_not_negative(seed):
    assert knowledge_transfer(rows(seed, 5, 3), rows(seed + 1, 5, 3)) > 0


@given(SEED)
def test_the_bilinear_correlation_is_the_cosine(seed):
    student, teacher = rows(seed, 5, 3), rows(seed + 1, 5, 4)
    cosines = [F.cosine_similarity(x[:, None], x[None], dim=2) for x in (student, teacher)]
    expected = F.mse_loss(*cosines)
    assert close(correlation_congruence(student, teacher, bilinear), expected)


@given(SEED, st.floats(0.05, 1.0))
def test_the_gaussian_correlation_is_that_of_distances_and_taylor_comes_to_it(seed, gamma):
    directions = unit(rows(seed, 5, 3))
    inner = directions @ directions.mT
    exact = (-gamma * torch.cdist(directions, directions).square()).exp()
    assert close(gaussian(inner, gamma), exact, 1e-7)  # cdist loses half the digits near 0
    errors = [(taylor(inner, gamma, order) - exact).abs().max() for order in (1, 2, 12)]
    assert errors[0] >= errors[1] > errors[2]
    assert errors[2] < 1e-6  # 2^13 / 13!


def test_taylor_by_hand():
    expected = math.exp(-0.8) * (1 + 0.8 * 0.5 + 0.32 * 0.25)
    assert taylor(tensor([0.5])).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        taylor(tensor([0.5]), order=0)


def free(count: int) -> torch.Tensor:
    return ~torch.eye(count, dtype=torch.bool)


def test_in_a_batch_of_two_by_hand():
    student, teacher = tensor([1.0, 0.0], [0.0, 1.0]), tensor([1.0, 0.0], [0.6, 0.8])

    # s't: rows (1, 0.6), (0, 0.8)
    def lost(own: float, other: float) -> float:
        return math.log(1 + math.exp((other - own) / 0.5))

    to_teacher = lost(1, 0.6) + lost(0.8, 0)
    to_student = lost(1, 0) + lost(0.8, 0.6)
    expected = (to_teacher + to_student) / 4
    assert info_nce(student, teacher, 0.5, free(2)).item() == pytest.approx(expected)


@given(SEED)
def test_views_that_tell_nothing_cost_the_logarithm_of_how_many_there_are(seed):
    same = unit(rows(seed, 1, 3)).repeat(6, 1)
    assert info_nce(same, same, 0.1, free(6)).item() == pytest.approx(math.log(6))


@given(SEED)
def test_rows_of_ones_own_class_are_no_negatives(seed):
    student, teacher = unit(rows(seed, 4, 3)), unit(rows(seed + 1, 4, 3))
    labels = torch.tensor([0, 1, 0, 2])
    negatives = other_class(labels, labels)
    expected = info_nce(student, teacher, 0.5, negatives)
    scores = student @ teacher.mT / 0.5
    by_hand = []
    for table in (scores, scores.mT):
        for i in range(4):
            compared = [j for j in range(4) if j == i or labels[j] != labels[i]]
            by_hand.append(table[i, compared].logsumexp(0) - table[i, i])
    assert close(expected, torch.stack(by_hand).mean())
    alone = torch.zeros(4, 4, dtype=torch.bool)
    assert info_nce(student, teacher, 0.5, alone).item() == 0


def test_nce_by_hand():
    student, teacher = tensor([1.0, 0.0]), tensor([0.8, 0.6])
    negatives = tensor([[0.0, 1.0], [-1.0, 0.0]])

    def h(inner: float) -> float:
        return math.exp(inner / 0.5) / (math.exp(inner / 0.5) + 2 / 10)

    expected = -2 * math.log(h(0.8))
    expected -= math.log(1 - h(0.0)) + math.log(1 - h(-1.0))  # the student among the teacher's
    expected -= math.log(1 - h(0.6)) + math.log(1 - h(-0.8))  # the teacher among the student's
    student, teacher = student.reshape(1, 2), teacher.reshape(1, 2)
    got = nce(student, teacher, negatives, negatives, 0.5, 10)
    assert got.item() == pytest.approx(expected)


def contrast(labels: torch.Tensor, objective: type, **options: object) -> torch.nn.Module:
    projections = Projections(3, 4, width=5).double()
    if objective is InBatch:
        return InBatch(("s", "t"), projections)
    return WithMemory(("s", "t"), projections, labels, **options).double()


def said(student: torch.Tensor, teacher: torch.Tensor) -> tuple[Outputs, Outputs]:
    return Outputs(student, {"s": student}), Outputs(teacher, {"t": teacher})


@pytest.mark.parametrize("objective", [InBatch, WithMemory])
def test_contrast_does_not_know_the_scale_of_a_row_of_the_projections(objective):
    labels = torch.tensor([0, 1, 2, 0])
    loss = contrast(labels, objective, negatives=3).eval()
    with torch.no_grad():
        loss.projections.student.bias.zero_()
        loss.projections.teacher.bias.zero_()
    batch = IndexedBatch(torch.zeros(4), labels, torch.arange(4))
    student, teacher = rows(0, 4, 3), rows(1, 4, 4)
    scales = rows(2, 4, 1).exp()
    found = []
    for pair in (said(student, teacher), said(scales * student, teacher / scales)):
        torch.manual_seed(0)  # the same negatives
        found.append(loss(*pair, batch, 0.0))
    assert close(*found)


def test_negatives_in_the_batch_are_of_other_classes():
    labels = torch.tensor([0, 1, 0, 2])
    loss = contrast(labels, InBatch)
    student, teacher = rows(0, 4, 3), rows(1, 4, 4)
    views = loss.projections(student, teacher)
    found = loss(*said(student, teacher), Batch(torch.zeros(4), labels), 0.0)
    assert close(found, info_nce(*views, 0.07, other_class(labels, labels)))
    assert found < info_nce(*views, 0.07, free(4))


@pytest.mark.parametrize("objective", [InBatch, WithMemory])
def test_contrast_trains_both_projections_and_the_student(objective):
    labels = torch.tensor([0, 1, 2, 0])
    loss = contrast(labels, objective, negatives=3)
    batch = IndexedBatch(torch.zeros(4), labels, torch.arange(4))
    student = rows(0, 4, 3).requires_grad_()
    loss(*said(student, rows(1, 4, 4)), batch, 0.0).backward()
    assert student.grad.any()
    assert len(list(loss.parameters())) == 4
    assert all(each.grad.any() for each in loss.parameters())


def test_the_memory_follows_the_rows_of_a_batch_in_training_alone():
    labels = torch.arange(6) % 3
    loss = contrast(labels, WithMemory, negatives=3, kept=0.25)
    before = loss.student_memory.clone(), loss.teacher_memory.clone()
    pair = said(rows(0, 2, 3), rows(1, 2, 4))
    batch = IndexedBatch(torch.zeros(2), labels[[4, 1]], torch.tensor([4, 1]))
    loss.eval()(*pair, batch, 0.0)
    assert torch.equal(loss.student_memory, before[0])
    loss.train()(*pair, batch, 0.0)
    seen = loss.projections(pair[0].features["s"], pair[1].features["t"])
    memories = loss.student_memory, loss.teacher_memory
    for memory, old, new in zip(memories, before, seen, strict=True):
        assert close(memory[[4, 1]], unit(0.25 * old[[4, 1]] + 0.75 * new))
        assert torch.equal(memory[[0, 2, 3, 5]], old[[0, 2, 3, 5]])
        assert close(memory.norm(dim=1), torch.ones(6).double(), 1e-6)  # drawn in float32


def test_negatives_of_the_memory_are_of_other_classes():
    labels = torch.tensor([0] * 5 + [1])
    loss = contrast(labels, WithMemory, negatives=4).eval()
    student, teacher = rows(0, 1, 3), rows(1, 1, 4)
    batch = IndexedBatch(torch.zeros(1), torch.tensor([0]), torch.tensor([0]))
    mine, theirs = loss.projections(student, teacher)
    only = [memory[[5]].expand(1, 4, -1) for memory in (loss.teacher_memory, loss.student_memory)]
    expected = nce(mine, theirs, *only, 0.07, 6)
    assert close(loss(*said(student, teacher), batch, 0.0), expected)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: info_nce(rows(0, 1, 3), rows(1, 1, 3), 0.1, free(1)), "at least 2 rows, got 1"),
        (lambda: info_nce(rows(0, 2, 3), rows(1, 2, 3), 0.0, free(2)), r"positive .* got 0\.0"),
        (lambda: contrast(torch.zeros(4).long(), WithMemory), "two classes.* got 1, 16384"),
        (
            lambda: contrast(torch.arange(4), WithMemory, kept=2.0),
            r"within 0 and 1, got 4, .* 2\.0",
        ),
        (
            lambda: contrast(torch.arange(4), WithMemory)(
                *said(rows(0, 4, 3), rows(1, 4, 4)), Batch(torch.zeros(4), torch.arange(4)), 0.0
            ),
            "needs an IndexedBatch, got Batch",
        ),
        (
            lambda: contrast(torch.arange(4), InBatch)(
                *said(rows(0, 4, 3), rows(1, 4, 4))[::-1],
                Batch(torch.zeros(4), torch.arange(4)),
                0.0,
            ),
            r"'s' of the student was not watched \(taps: 't'\)",
        ),
    ],
)
def test_what_cannot_be_contrasted_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
