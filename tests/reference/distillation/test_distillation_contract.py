"""Claims about all objectives at once. A new one is a row of ROWS."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from answers import Words, labels
from features import conv_net, images
from small import CLASSES, FEATURES, net
from torch import nn

from reference.distillation.committee.average import AverageLogits, AverageProbabilities
from reference.distillation.divergences import reverse_kl
from reference.distillation.feature.attention_transfer import attention_transfer
from reference.distillation.feature.contrastive import InBatch, Projections
from reference.distillation.feature.correlation import correlation_congruence
from reference.distillation.feature.factor_transfer import (
    FactorTransfer,
    Paraphraser,
    Translator,
)
from reference.distillation.feature.flow import FlowLoss
from reference.distillation.feature.hints import hint_loss
from reference.distillation.feature.neuron_selectivity import selectivity_transfer
from reference.distillation.feature.pairs import (
    FeatureLoss,
    PairLoss,
    Regressed,
    Term,
    WeightedSum,
)
from reference.distillation.feature.probabilistic import knowledge_transfer
from reference.distillation.feature.relational import angle_loss, distance_loss
from reference.distillation.feature.similarity import similarity_preserving
from reference.distillation.feature.variational import Variational
from reference.distillation.loop import LoopConfig, Objective, Taps, distill_
from reference.distillation.online.mutual import Mutual
from reference.distillation.outputs import Batch, observe, taught
from reference.distillation.progressive.annealing import AnnealedLogits
from reference.distillation.progressive.dense_guidance import Committee, DenseGuidance
from reference.distillation.progressive.on_policy import TokenLoss
from reference.distillation.response.curriculum_temperature import CurriculumTemperature
from reference.distillation.response.dist import DIST
from reference.distillation.response.dkd import DKD
from reference.distillation.response.mixing import HardAndSoft
from reference.distillation.response.sequence import WordLevel, sequence_mean
from reference.distillation.response.smoothing import LabelSmoothing, TeacherFree
from reference.distillation.response.soft_labels import (
    jensen_shannon,
    logit_mse,
    soft_cross_entropy,
    total_variation,
)
from reference.distillation.response.standardise import standardised_divergence
from reference.distillation.response.triple import TripleLoss
from reference.distillation.response.vocabulary import Shared, SharedVocabulary

VOCABULARY = 9


class Lesson(NamedTuple):
    """What an objective is asked about."""

    student: nn.Module
    teacher: nn.Module
    batch: Batch
    taps: Taps = Taps()


def pictures(rows: int) -> Lesson:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(rows, FEATURES, generator=generator)
    return Lesson(net(), net(16, seed=1), Batch(inputs, labels(0, CLASSES, rows)))


def of_several(rows: int) -> Lesson:
    teacher = Committee([net(16, seed=1), net(4, seed=2)])
    return pictures(rows)._replace(teacher=teacher)


def of_peers(rows: int) -> Lesson:
    return pictures(rows)._replace(student=Committee([net(), net(4, seed=2)]))


def texts(rows: int) -> Lesson:
    inputs = {
        "input_ids": labels(1, VOCABULARY, rows, 5),
        "attention_mask": torch.tensor([1, 1, 1, 1, 0]).repeat(rows, 1),
    }
    wanted = labels(2, VOCABULARY, rows, 5)
    wanted[:, 3:] = -100
    student, teacher = Words(VOCABULARY, 4, 0), Words(VOCABULARY, 4, 1)
    return Lesson(student, teacher, Batch(inputs, wanted), Taps(["hidden"], ["hidden"]))


def maps(rows: int) -> Lesson:
    return Lesson(
        conv_net(4), conv_net(6, seed=1), images(0, rows)[0], Taps(["0", "2"], ["0", "2"])
    )


def with_labels(objective: Objective) -> Objective:
    """Without labels no gradient reaches what comes after the last tap."""
    return WeightedSum([Term(1.0, HardAndSoft(0.0)), Term(1.0, objective)])


def of_layers(loss: PairLoss) -> Objective:
    taps = Taps(["0", "2"], ["0", "2"])
    return with_labels(FeatureLoss(taps, [loss, loss]))


def carried() -> nn.Module:
    return nn.Conv2d(4, 6, 1)


def flows() -> Objective:
    return with_labels(FlowLoss(Taps(["0", "2"], ["0", "2"]), (carried(), carried())))


def contrast() -> Objective:
    projections = Projections(4 * 4 * 4, 6 * 4 * 4, width=5)
    return with_labels(InBatch(("2", "2"), projections))


class Row(NamedTuple):
    make: Callable[[], Objective]
    lesson: Callable[[int], Lesson] = pictures
    alone: str | None = None  # how a batch of one is refused; None where it is defined


TOKENS = torch.arange(VOCABULARY - 2)
ROWS = {
    "hard and soft": Row(HardAndSoft),
    "soft alone": Row(partial(HardAndSoft, 1.0)),
    "cross-entropy": Row(partial(HardAndSoft, soft=soft_cross_entropy)),
    "jensen-shannon": Row(partial(HardAndSoft, soft=jensen_shannon)),
    "total variation": Row(partial(HardAndSoft, soft=total_variation)),
    "logits": Row(partial(HardAndSoft, soft=logit_mse)),
    "standardised": Row(partial(HardAndSoft, soft=standardised_divergence)),
    "hard and soft words": Row(HardAndSoft, texts),
    "dkd": Row(DKD),
    "dkd of words": Row(DKD, texts),
    "dist": Row(DIST, alone="at least two examples, got 1"),
    "label smoothing": Row(LabelSmoothing),
    "teacher-free": Row(TeacherFree),
    "word level": Row(WordLevel, texts),
    "word level by text": Row(partial(WordLevel, mean=sequence_mean), texts),
    "triple": Row(partial(TripleLoss, "hidden", "hidden"), texts),
    "shared vocabulary": Row(partial(SharedVocabulary, Shared(TOKENS, TOKENS)), texts),
    "curriculum temperature": Row(partial(CurriculumTemperature, CLASSES)),
    "annealed logits": Row(partial(AnnealedLogits, 5)),
    "token loss": Row(partial(TokenLoss, reverse_kl), texts),
    "dense guidance": Row(partial(DenseGuidance, HardAndSoft()), of_several),
    "average probabilities": Row(partial(AverageProbabilities, HardAndSoft(), 4.0), of_several),
    "average logits": Row(partial(AverageLogits, HardAndSoft()), of_several),
    "mutual": Row(Mutual, of_peers),
    "hints": Row(lambda: of_layers(Regressed(carried(), hint_loss)), maps),
    "attention": Row(lambda: of_layers(attention_transfer), maps),
    "flow": Row(flows, maps),
    "nst": Row(lambda: of_layers(selectivity_transfer), maps),
    "factors": Row(lambda: of_layers(FactorTransfer(Paraphraser(6, 3), Translator(4, 3))), maps),
    "vid": Row(lambda: of_layers(Variational(carried(), 6)), maps),
    "pkt": Row(lambda: of_layers(knowledge_transfer), maps, "at least 2 rows, got 1"),
    "sp": Row(lambda: of_layers(similarity_preserving), maps, "at least 2 rows, got 1"),
    "cc": Row(lambda: of_layers(correlation_congruence), maps, "at least 2 rows, got 1"),
    "rkd distance": Row(lambda: of_layers(distance_loss), maps, "at least 2 rows, got 1"),
    "rkd angle": Row(lambda: of_layers(angle_loss), maps, "at least 3 rows, got 1"),
    "crd in the batch": Row(contrast, maps, "at least 2 rows, got 1"),
}
every = pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))


def asked(objective: Objective, lesson: Lesson, progress: float = 0.5) -> torch.Tensor:
    student, teacher, batch, taps = lesson
    said = taught(teacher, batch.inputs, taps.teacher)
    return objective(observe(student, batch.inputs, taps.student), said, batch, progress)


def tensors_of(lesson: Lesson) -> list[torch.Tensor]:
    inputs = lesson.batch.inputs
    seen = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs.values())
    return [*seen, lesson.batch.labels, *lesson.teacher.state_dict().values()]


@every
@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_a_loss_is_one_finite_number(row: Row, progress: float):
    loss = asked(row.make(), row.lesson(6), progress)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


@every
def test_a_gradient_reaches_all_of_the_student_and_nothing_of_the_teacher(row: Row):
    lesson = row.lesson(6)
    asked(row.make(), lesson).backward()
    for name, parameter in lesson.student.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    assert all(parameter.grad is None for parameter in lesson.teacher.parameters())


@every
def test_a_batch_of_one_is_defined_or_refused(row: Row):
    lesson = row.lesson(1)
    if row.alone is not None:
        with pytest.raises(ValueError, match=row.alone):
            asked(row.make(), lesson)
        return
    loss = asked(row.make(), lesson)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each.grad).all() for each in lesson.student.parameters())


@every
def test_inputs_answers_and_the_teacher_are_not_modified(row: Row):
    lesson, objective = row.lesson(6), row.make()
    student, teacher, batch, taps = lesson
    said = taught(teacher, batch.inputs, taps.teacher)
    answer = observe(student, batch.inputs, taps.student)
    given = [*tensors_of(lesson), answer.logits, said.logits]
    given += [*answer.features.values(), *said.features.values()]
    before = [each.detach().clone() for each in given]
    objective(answer, said, batch, 0.5).backward()
    assert all(torch.equal(each, was) for each, was in zip(given, before, strict=True))


@every
def test_the_same_answers_give_the_same_loss(row: Row):
    objective, lesson = row.make(), row.lesson(6)
    first = asked(objective, lesson)
    torch.manual_seed(12345)
    assert torch.equal(asked(objective, lesson), first)


@every
def test_the_order_of_a_batch_does_not_matter(row: Row):
    objective, lesson = row.make(), row.lesson(6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    inputs = lesson.batch.inputs
    moved = (
        inputs[order]
        if isinstance(inputs, torch.Tensor)
        else {name: each[order] for name, each in inputs.items()}
    )
    other = lesson._replace(batch=Batch(moved, lesson.batch.labels[order]))
    torch.testing.assert_close(asked(objective, other), asked(objective, lesson))


@every
def test_the_loop_lowers_the_loss_and_leaves_the_teacher_as_it_was(row: Row):
    lesson = row.lesson(6)
    student, teacher, batch, taps = lesson
    before = [each.clone() for each in tensors_of(lesson)]
    constant = _at_the_end(row.make())
    config = LoopConfig(25, learning_rate=0.02)
    losses = distill_(student, teacher, constant, lambda _: [batch], config, taps)
    assert losses[-1] < losses[0]
    assert all(torch.equal(each, was) for each, was in zip(tensors_of(lesson), before, strict=True))


def _at_the_end(objective: Objective) -> Objective:
    """Without schedules, whose losses cannot be compared. Parameters stay as they are."""
    return lambda student, teacher, batch, progress: objective(student, teacher, batch, 1.0)
