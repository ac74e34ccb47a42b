"""Claims about word-level distillation, the triple loss and vocabularies that differ."""

import math

import pytest
import torch
import torch.nn.functional as F
from answers import Words, batch, gradient, labels, logits, padded_labels
from hypothesis import given
from hypothesis import strategies as st

from reference.distillation.loop import LoopConfig, Taps, distill_
from reference.distillation.outputs import IGNORED, Batch, Outputs, observe, taught
from reference.distillation.response.mixing import HardAndSoft
from reference.distillation.response.sequence import (
    WordLevel,
    next_token_labels,
    sequence_mean,
    token_mean,
)
from reference.distillation.response.soft_labels import hard_loss, soft_divergence
from reference.distillation.response.triple import TripleLoss, cosine_distance
from reference.distillation.response.vocabulary import (
    Shared,
    SharedVocabulary,
    Translated,
    comparable,
    lumped,
    shared_tokens,
)

SEED = st.integers(0, 999)


def test_labels_are_the_tokens_one_place_on_and_never_of_padding():
    tokens = torch.tensor([[5, 6, 7, 0], [0, 0, 8, 9], [4, 0, 0, 0]])
    stands = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0]]).bool()
    expected = [[6, 7, -100, -100], [-100, -100, 9, -100], [-100, -100, -100, -100]]
    assert next_token_labels(tokens, stands).tolist() == expected
    assert tokens[0].tolist() == [5, 6, 7, 0]


def test_shifted_labels_make_the_loss_of_hugging_face_models():
    tokens = labels(0, 7, 2, 5)
    z = logits(0, 2, 5, 7)
    found = hard_loss(z, next_token_labels(tokens, torch.ones(2, 5).bool()))
    expected = F.cross_entropy(z[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


@given(SEED, st.floats(0, 1), st.floats(0.5, 9))
def test_the_token_mean_is_hard_and_soft_over_all_tokens(seed, alpha, temperature):
    z, v = Outputs(logits(seed, 3, 6, 5)), Outputs(logits(seed + 1, 3, 6, 5))
    wanted = batch(padded_labels(seed, 5))
    found = WordLevel(alpha, temperature)(z, v, wanted, 0.0)
    expected = HardAndSoft(alpha, temperature)(z, v, wanted, 0.0)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@given(SEED, st.floats(0, 1))
def test_the_sequence_mean_counts_every_text_once(seed, alpha):
    z, v, wanted = logits(seed, 3, 6, 5), logits(seed + 1, 3, 6, 5), padded_labels(seed, 5)
    wanted[1] = IGNORED  # a text without labels is no text

    def loss(rows, mean):
        one = batch(wanted[rows])
        return WordLevel(alpha, 2.0, mean)(Outputs(z[rows]), Outputs(v[rows]), one, 0.0)

    alone = [loss(slice(row, row + 1), token_mean) for row in (0, 2)]
    found = loss(slice(None), sequence_mean)
    torch.testing.assert_close(found, torch.stack(alone).mean(), rtol=1e-12, atol=0)
    weighted = (5 * alone[0] + 4 * alone[1]) / 9
    torch.testing.assert_close(loss(slice(None), token_mean), weighted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("mean", [token_mean, sequence_mean])
@pytest.mark.parametrize("side", [(0, 3), (3, 0)])
def test_padding_contributes_nothing_on_either_side(mean, side):
    z, v, wanted = logits(0, 3, 6, 5), logits(1, 3, 6, 5), padded_labels(0, 5)
    objective = WordLevel(0.5, 2.0, mean)

    def loss(x, teacher, here):
        return objective(Outputs(x), Outputs(teacher), batch(here), 0.0)

    wide = [F.pad(each, (0, 0, *side), value=7.0) for each in (z, v)]
    longer = F.pad(wanted, side, value=IGNORED)
    torch.testing.assert_close(loss(*wide, longer), loss(z, v, wanted), rtol=1e-12, atol=0)
    found = gradient(lambda x: loss(x, wide[1], longer), wide[0])
    assert not found[longer == IGNORED].any()
    assert found[longer != IGNORED].any(-1).all()


def test_gradients_of_words_are_those_of_finite_differences():
    z, v, wanted = logits(0, 3, 6, 3).requires_grad_(), logits(1, 3, 6, 3), padded_labels(0, 3)
    objective = WordLevel(0.5, 2.0, sequence_mean)
    assert torch.autograd.gradcheck(
        lambda x: objective(Outputs(x), Outputs(v), batch(wanted), 0.0), (z,)
    )


def masked_words(places: int = 5) -> Batch:
    tokens = labels(0, 9, 2, places)
    stands = torch.ones(2, places, dtype=torch.int64)
    stands[1, 3:] = 0
    wanted = torch.full((2, places), IGNORED)
    wanted[0, 1], wanted[1, 2] = 4, 5
    return Batch({"input_ids": tokens, "attention_mask": stands}, wanted)


def test_the_triple_loss_has_each_mean_over_its_own_places():
    student, teacher, words = Words(9, 4, 0), Words(9, 4, 1), masked_words()
    s = observe(student, words.inputs, ["hidden"])
    t = taught(teacher, words.inputs, ["hidden"])
    stands = words.inputs["attention_mask"].bool()
    soft = soft_divergence(s.logits[stands], t.logits[stands], 2.0)
    hard = F.cross_entropy(s.logits[[0, 1], [1, 2]], torch.tensor([4, 5]))
    mine, theirs = (each.features["hidden"][stands] for each in (s, t))
    cosine = 1 - ((mine * theirs).sum(-1) / (mine.norm(dim=-1) * theirs.norm(dim=-1))).mean()
    found = TripleLoss("hidden", "hidden", 5.0, 2.0, 1.0)(s, t, words, 0.0)
    torch.testing.assert_close(found, 5 * soft + 2 * hard + cosine)
    only = TripleLoss("hidden", "hidden", 0.0, 0.0, 1.0)(s, t, words, 0.0)
    torch.testing.assert_close(only, cosine)


def test_padding_contributes_nothing_to_the_triple_loss():
    student, teacher, words = Words(9, 4, 0), Words(9, 4, 1), masked_words()
    longer = Batch(
        {name: F.pad(each, (0, 3)) for name, each in words.inputs.items()},
        F.pad(words.labels, (0, 3), value=IGNORED),
    )
    found = [
        TripleLoss("hidden", "hidden")(
            observe(student, each.inputs, ["hidden"]),
            taught(teacher, each.inputs, ["hidden"]),
            each,
            0.0,
        )
        for each in (words, longer)
    ]
    torch.testing.assert_close(*found)


def test_the_triple_loss_of_texts_with_one_label_each():
    z, v, wanted = logits(0, 3, 4), logits(1, 3, 4), labels(0, 4, 3)
    hidden = logits(2, 3, 5, 6), logits(3, 3, 5, 6)
    found = TripleLoss("s", "t", 3.0, 2.0, 1.0)(
        Outputs(z, {"s": hidden[0]}), Outputs(v, {"t": hidden[1]}), batch(wanted), 0.0
    )
    soft = 3 * soft_divergence(z, v, 2.0) + 2 * F.cross_entropy(z, wanted)
    cosine = cosine_distance(*hidden, torch.ones(3, 5).bool())
    torch.testing.assert_close(found, soft + cosine, rtol=1e-12, atol=0)


def test_the_cosine_sees_directions_alone_and_has_no_nan():
    mine, theirs, stands = logits(0, 2, 3, 4), logits(1, 2, 3, 4), torch.ones(2, 3).bool()
    expected = cosine_distance(mine, theirs, stands)
    torch.testing.assert_close(cosine_distance(7 * mine, 0.1 * theirs, stands), expected)
    assert cosine_distance(mine, mine, stands).item() == pytest.approx(0, abs=1e-12)
    nothing = torch.zeros(2, 3, 4).double()
    found = gradient(lambda x: cosine_distance(x, theirs, stands), nothing)
    assert torch.isfinite(found).all()


def test_a_student_of_the_triple_loss_turns_its_hidden_states_to_the_teachers():
    student, teacher, words = Words(9, 4, 0), Words(9, 4, 1), masked_words()
    objective = TripleLoss("hidden", "hidden")

    def apart():
        s, t = (taught(each, words.inputs, ["hidden"]) for each in (student, teacher))
        stands = words.inputs["attention_mask"].bool()
        return cosine_distance(s.features["hidden"], t.features["hidden"], stands).item()

    before = apart()
    config = LoopConfig(100, learning_rate=0.05)
    distill_(student, teacher, objective, lambda _: [words], config, Taps(["hidden"], ["hidden"]))
    assert apart() < 0.2 * before


STUDENT = {"a": 0, "b": 1, "c": 2, "only student": 3}
TEACHER = {"only teacher": 0, "c": 1, "b": 2, "a": 3, "also teacher": 4}


def test_shared_tokens_are_found_by_what_they_are():
    shared = shared_tokens(STUDENT, TEACHER)
    assert shared.student.tolist() == [0, 1, 2]
    assert shared.teacher.tolist() == [3, 2, 1]


@given(SEED)
def test_lumping_keeps_probabilities_and_never_enlarges_a_divergence(seed):
    z, v, kept = logits(seed, 4, 6), logits(seed + 1, 4, 6), torch.tensor([4, 1])
    found = lumped(z, kept).softmax(-1)
    torch.testing.assert_close(found[:, :2], z.softmax(-1)[:, kept])
    coarse = soft_divergence(lumped(z, kept), lumped(v, kept)).item()
    assert coarse <= soft_divergence(z, v).item() + 1e-12


@given(SEED, st.floats(0.5, 5))
def test_one_vocabulary_in_another_order_changes_nothing(seed, temperature):
    z, v, wanted = logits(seed, 4, 6), logits(seed + 1, 4, 6), labels(seed, 6, 4)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    shared = Shared(order, torch.arange(6))  # number i of the teacher is order[i] of the student
    found = SharedVocabulary(shared, 0.7, temperature)(
        Outputs(z), Outputs(v[:, order]), batch(wanted), 0.0
    )
    expected = HardAndSoft(0.7, temperature)(Outputs(z), Outputs(v), batch(wanted), 0.0)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_divergence_of_bins_is_that_of_the_rest_and_of_the_shared():
    z, v = logits(0, 1, 4), logits(1, 1, 5)
    shared = shared_tokens(STUDENT, TEACHER)
    q, p = z.softmax(-1)[0, shared.student], v.softmax(-1)[0, shared.teacher]
    rest = (1 - p.sum()) * ((1 - p.sum()) / (1 - q.sum())).log() + p.sum() * (
        p.sum() / q.sum()
    ).log()
    among = (p / p.sum() * (p / p.sum() / (q / q.sum())).log()).sum()
    found = soft_divergence(*comparable(z, v, shared))
    torch.testing.assert_close(found, rest + p.sum() * among, rtol=1e-9, atol=1e-12)


def test_a_teacher_with_padded_embeddings_teaches_what_it_would_without():
    z, v, wanted = logits(0, 4, 6), logits(1, 4, 8), labels(0, 6, 4)
    shared = Shared(torch.arange(6), torch.arange(6))
    found = SharedVocabulary(shared, 1.0)(Outputs(z), Outputs(v), batch(wanted), 0.0)
    torch.testing.assert_close(found, soft_divergence(z, v[:, :6]), rtol=1e-12, atol=0)


def test_a_student_with_more_tokens_unlearns_those_that_its_teacher_has_not():
    z, v, wanted = logits(0, 4, 8), logits(1, 4, 6), labels(0, 6, 4)
    objective = SharedVocabulary(Shared(torch.arange(6), torch.arange(6)), 1.0)

    def loss(x):
        return objective(Outputs(x), Outputs(v), batch(wanted), 0.0)

    assert torch.isfinite(loss(z))
    assert (gradient(loss, z)[:, 6:] > 0).all()


def test_bins_have_finite_gradients_when_the_rest_is_excluded():
    z = torch.cat([logits(0, 3, 4), torch.full((3, 2), -math.inf)], -1)
    kept = torch.arange(4)
    found = gradient(lambda x: soft_divergence(lumped(x, kept), lumped(z.flip(0), kept)), z)
    assert torch.isfinite(found).all()
    assert not found[:, 4:].any()


def test_a_translated_teacher_says_what_it_says_of_its_own_tokens():
    teacher, shared = Words(5, 4, 0), shared_tokens(STUDENT, TEACHER)
    mine, theirs = torch.tensor([[0, 1, 2, 0]]), torch.tensor([[3, 2, 1, 3]])
    stands = torch.ones(1, 4)
    translated = Translated(teacher, shared)
    assert torch.equal(translated(mine), teacher(theirs))
    found = translated(input_ids=mine, attention_mask=stands)
    assert torch.equal(found, teacher(theirs, stands))


def test_a_student_learns_from_a_teacher_of_another_vocabulary():
    shared = shared_tokens(STUDENT, TEACHER)
    student, teacher = Words(4, 8, 0), Translated(Words(5, 8, 1), shared)
    tokens = labels(0, 3, 4, 6)
    words = Batch(tokens, next_token_labels(tokens, torch.ones(4, 6).bool()))
    objective = SharedVocabulary(shared, 1.0)
    config = LoopConfig(60, learning_rate=0.05, warmup=0.0)
    losses = distill_(student, teacher, objective, lambda _: [words], config)
    assert losses[-1] < 0.1 * losses[0]


Z, V, Y = logits(0, 2, 3, 4), logits(1, 2, 3, 4), labels(0, 4, 2, 3)
HIDDEN = logits(2, 2, 3, 6)


def ask_triple(width: int = 6, mask: torch.Tensor | None = None, teacher: bool = True):
    inputs = torch.zeros(2, 3) if mask is None else {"input_ids": Y, "attention_mask": mask}
    theirs = Outputs(V, {"t": HIDDEN[..., :width]}) if teacher else None
    return TripleLoss("s", "t")(Outputs(Z, {"s": HIDDEN}), theirs, Batch(inputs, Y), 0.0)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: next_token_labels(Y, torch.eye(3)[:2].bool()), "two tokens"),
        (lambda: WordLevel(1.1), "alpha must be within 0 and 1, got 1.1"),
        (lambda: WordLevel(0.5, 0.0), "temperature must be positive, got 0.0"),
        (
            lambda: WordLevel()(Outputs(Z[:, 0]), Outputs(V[:, 0]), batch(Y[:, 0]), 0.0),
            r"must be \(texts, places\), got \(2,\)",
        ),
        (lambda: WordLevel()(Outputs(Z), None, batch(Y), 0.0), "need a teacher, got none"),
        (lambda: ask_triple(teacher=False), "the triple loss needs a teacher"),
        (lambda: ask_triple(width=5), r"of one width, got \(2, 3, 6\) and \(2, 3, 5\)"),
        (lambda: ask_triple(mask=torch.ones(2, 4)), r"one place in the mask, .* \(2, 4\)"),
        (lambda: ask_triple(mask=torch.zeros(2, 3)), "everything is padding"),
        (lambda: shared_tokens(STUDENT, {"a": 0}), "share 1 tokens; at least two"),
        (lambda: SharedVocabulary(Shared(Y[0], Y[0]), -0.5), "within 0 and 1, got -0.5"),
        (lambda: SharedVocabulary(Shared(Y[0], Y[0]), 0.5, 0.0), "must be positive, got 0.0"),
        (
            lambda: Translated(Words(5, 4, 0), shared_tokens(STUDENT, TEACHER))(
                torch.tensor([[0, 3]])
            ),
            "token 3 of the student is not in the teacher's vocabulary",
        ),
        (
            lambda: Translated(Words(5, 4, 0), Shared(torch.arange(0, 4, 2), torch.arange(2)))(
                torch.tensor([[0, 1]])
            ),
            "token 1 of the student",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
