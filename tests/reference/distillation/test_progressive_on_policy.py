import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformer_zoo import VOCABULARY, Sizes
from transformer_zoo import net as transformer

from reference.distillation.divergences import (
    forward_kl,
    generalised_jsd,
    reverse_kl,
    skew_kl,
    skew_reverse_kl,
)
from reference.distillation.loop import LoopConfig, distill_
from reference.distillation.outputs import IGNORED, Batch, Outputs, observe
from reference.distillation.progressive.on_policy import (
    TokenLoss,
    as_batch,
    on_policy,
    prompt_length,
)
from reference.distillation.progressive.sampling import Sampling, Written, write

ALL = {
    "forward": forward_kl,
    "reverse": reverse_kl,
    "jsd 0.1": lambda student, teacher: generalised_jsd(student, teacher, 0.1),
    "jsd 0.5": lambda student, teacher: generalised_jsd(student, teacher, 0.5),
    "jsd 0.9": lambda student, teacher: generalised_jsd(student, teacher, 0.9),
    "skew": skew_kl,
    "skew reverse": skew_reverse_kl,
}
each_divergence = pytest.mark.parametrize("divergence", ALL.values(), ids=ALL)
seeds = st.integers(0, 10_000)


def logits(seed: int, spread: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(spread * torch.randn(2, 4, 7, generator=generator, dtype=torch.float64))


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p * (p / q).log()).sum(-1)


@given(seeds)
def test_divergences_are_their_definitions(seed):
    student, teacher = logits(seed)
    q, p = student.softmax(-1), teacher.softmax(-1)
    pairs = [
        (forward_kl(student, teacher), kl(p, q)),
        (reverse_kl(student, teacher), kl(q, p)),
        (skew_kl(student, teacher, 0.3), kl(p, 0.3 * p + 0.7 * q)),
        (skew_reverse_kl(student, teacher, 0.3), kl(q, 0.7 * p + 0.3 * q)),
    ]
    m = 0.3 * p + 0.7 * q
    pairs.append((generalised_jsd(student, teacher, 0.3), 0.3 * kl(p, m) + 0.7 * kl(q, m)))
    for found, expected in pairs:
        assert found.shape == (4,)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@each_divergence
@given(seeds, st.floats(-50, 50))
def test_a_divergence_is_positive_and_zero_with_no_gradient_at_equals(divergence, seed, shift):
    student, teacher = logits(seed)
    assert (divergence(student, teacher) > 0).all()
    equal = (teacher + shift).requires_grad_()
    found = divergence(equal, teacher)
    (gradient,) = torch.autograd.grad(found.sum(), equal)
    assert found.abs().max() < 1e-12
    assert gradient.abs().max() < 1e-12


@each_divergence
def test_gradients_agree_with_finite_differences(divergence):
    student, teacher = logits(3)
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: divergence(z, teacher), student)


@given(seeds)
def test_gradients_of_both_kls_are_their_identities(seed):
    student, teacher = logits(seed)
    student.requires_grad_()
    q, p = student.detach().softmax(-1), teacher.softmax(-1)
    (forward,) = torch.autograd.grad(forward_kl(student, teacher).sum(), student)
    torch.testing.assert_close(forward, q - p, rtol=0, atol=1e-12)
    (reverse,) = torch.autograd.grad(reverse_kl(student, teacher).sum(), student)
    ratio = (q / p).log()
    expected = q * (ratio - (q * ratio).sum(-1, keepdim=True))
    torch.testing.assert_close(reverse, expected, rtol=1e-9, atol=1e-12)


def test_the_gradient_of_reverse_kl_is_what_a_policy_gradient_estimates():
    """grad KL(q || p) = E_q [log(q/p) grad log q]: by summing over all tokens, not by chance."""
    student, teacher = logits(5)
    student.requires_grad_()
    reward = (student.log_softmax(-1) - teacher.log_softmax(-1)).detach()
    surrogate = (student.softmax(-1).detach() * reward * student.log_softmax(-1)).sum()
    (by_policy,) = torch.autograd.grad(surrogate, student)
    (by_kl,) = torch.autograd.grad(reverse_kl(student, teacher).sum(), student)
    torch.testing.assert_close(by_policy, by_kl, rtol=1e-9, atol=1e-12)


@given(seeds)
def test_generalised_jsd_tends_to_both_kls(seed):
    student, teacher = logits(seed, spread=1.0)
    # With m = b p + (1 - b) q: KL(p || q) - KL(p || m) = E_p log(1 + b (p/q - 1)) <= b chi2, and
    # KL(q || m) (1 - b) / b <= b chi2, where chi2 = sum (p - q)^2 / q. Both are positive.
    q, p = student.softmax(-1), teacher.softmax(-1)
    for beta in (1e-3, 1e-5):
        low = generalised_jsd(student, teacher, beta) / beta - forward_kl(student, teacher)
        high = generalised_jsd(student, teacher, 1 - beta) / beta - reverse_kl(student, teacher)
        # The division by beta enlarges what float64 rounds, 1e-16 of numbers of about 10.
        rounding = 1e-13 / beta
        assert (low.abs() <= beta * ((p - q).square() / q).sum(-1) + rounding).all()
        assert (high.abs() <= beta * ((p - q).square() / p).sum(-1) + rounding).all()


@given(seeds, st.floats(0.01, 0.99))
def test_generalised_jsd_is_bounded_and_turns_with_its_arguments(seed, beta):
    student, teacher = logits(seed, spread=30.0)
    found = generalised_jsd(student, teacher, beta)
    entropy = -beta * math.log(beta) - (1 - beta) * math.log(1 - beta)
    assert found.max() <= entropy + 1e-12
    turned = generalised_jsd(teacher, student, 1 - beta)
    torch.testing.assert_close(found, turned, rtol=1e-9, atol=1e-12)


def test_skew_of_nothing_is_the_kl_and_of_more_is_smaller():
    student, teacher = logits(1)
    assert torch.equal(skew_kl(student, teacher, 0.0), forward_kl(student, teacher))
    assert torch.equal(skew_reverse_kl(student, teacher, 0.0), reverse_kl(student, teacher))
    values = torch.stack([skew_kl(student, teacher, a / 10) for a in range(10)])
    assert (values.diff(dim=0) < 0).all()


@each_divergence
def test_tokens_that_are_never_said_leave_numbers_finite(divergence):
    student, teacher = logits(2)
    both = torch.tensor([0, 0, 0, 0, 0, -math.inf, -math.inf])
    student = (student + both).requires_grad_()
    found = divergence(student, teacher + both)
    found.sum().backward()
    assert found.isfinite().all()
    assert student.grad[:, :5].isfinite().all()


def prompts() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.tensor([[0, 0, 5], [0, 7, 9], [4, 3, 2]])
    return tokens, torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 1]]).bool()


def student_of(family: str = "llama", seed: int = 0) -> nn.Module:
    return transformer(Sizes(family, seed=seed), dtype=torch.float32)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_what_is_written_keeps_prompts_and_pads_behind_the_end(family):
    tokens, stands = prompts()
    many = [each.repeat(20, 1) for each in (tokens, stands)]
    written = write(student_of(family), *many, Sampling(6, end=0, padding=0))
    assert torch.equal(written.tokens[:, :3], many[0])
    assert torch.equal(written.stands[:, :3], many[1])
    assert not written.answer[:, :3].any()
    assert torch.equal(written.stands[:, 3:], written.answer[:, 3:])
    lengths = written.answer.sum(1)
    assert lengths.min() >= 1
    assert lengths.unique().numel() > 1  # some ended, some did not
    for row, length in enumerate(lengths.tolist()):
        said = written.tokens[row, 3 : 3 + length].tolist()
        assert 0 not in said[:-1]
        assert length == written.tokens.shape[1] - 3 or said[-1] == 0
        assert written.answer[row, 3 : 3 + length].all()


def test_without_an_end_every_answer_has_all_tokens():
    written = write(student_of(), *prompts(), Sampling(5))
    assert written.tokens.shape == (3, 8)
    assert written.answer[:, 3:].all()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_padding_before_a_prompt_changes_nothing(family):
    model = student_of(family)
    texts = []
    for pad in (0, 3):
        tokens = torch.nn.functional.pad(torch.tensor([[4, 3, 2]]), (pad, 0))
        stands = torch.nn.functional.pad(torch.ones(1, 3), (pad, 0)).bool()
        torch.manual_seed(1)
        texts.append(write(model, tokens, stands, Sampling(4)))
    assert torch.equal(texts[0].tokens, texts[1].tokens[:, 3:])
    said = [observe(model, as_batch(text).inputs).logits for text in texts]
    torch.testing.assert_close(said[0], said[1][:, 3:], rtol=1e-4, atol=1e-4)


def test_tokens_are_drawn_as_often_as_the_model_says():
    model, draws = student_of(), 4000
    prompt = torch.tensor([[4, 3]])
    stands = torch.ones_like(prompt, dtype=torch.bool)
    written = write(model, prompt.repeat(draws, 1), stands.repeat(draws, 1), Sampling(1))
    counts = torch.bincount(written.tokens[:, 2], minlength=VOCABULARY)
    expected = observe(model, {"input_ids": prompt}).logits[0, -1].softmax(0)
    deviation = (expected * (1 - expected) / draws).sqrt()
    assert ((counts / draws - expected).abs() <= 5 * deviation + 1 / draws).all()


def test_a_checkpoints_own_settings_do_not_change_what_is_drawn():
    model = student_of()
    torch.manual_seed(3)
    plain = write(model, *prompts(), Sampling(4))
    model.generation_config.top_k, model.generation_config.eos_token_id = 1, 5
    model.generation_config.repetition_penalty = 9.0
    torch.manual_seed(3)
    again = write(model, *prompts(), Sampling(4))
    assert torch.equal(plain.tokens, again.tokens)
    assert model.generation_config.repetition_penalty == 9.0


def test_writing_leaves_the_mode_and_the_weights():
    model = student_of().train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    written = write(model, *prompts(), Sampling(3))
    assert model.training
    assert not written.tokens.requires_grad
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def text(answer: int = 11) -> Written:
    tokens, stands = prompts()
    answers = torch.full((3, 3), answer)
    answers[0, 2] = 0
    valid = torch.ones(3, 3, dtype=torch.bool)
    valid[0, 2] = False
    return Written(
        torch.cat([tokens, answers], 1),
        torch.cat([stands, valid], 1),
        torch.cat([torch.zeros(3, 3, dtype=torch.bool), valid], 1),
    )


def test_labels_are_the_next_tokens_of_the_answer_alone():
    batch = as_batch(text())
    assert batch.labels.tolist() == [
        [IGNORED, IGNORED, 11, 11, IGNORED, IGNORED],
        [IGNORED, IGNORED, 11, 11, 11, IGNORED],
        [IGNORED, IGNORED, 11, 11, 11, IGNORED],
    ]
    assert batch.inputs["position_ids"].tolist()[0] == [0, 0, 0, 1, 2, 2]
    assert batch.inputs["position_ids"].tolist()[2] == [0, 1, 2, 3, 4, 5]


def test_a_text_without_a_prompt_learns_all_but_its_first_token():
    tokens = torch.tensor([[3, 4, 5]])
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    assert as_batch(Written(tokens, everywhere, everywhere)).labels.tolist() == [[4, 5, IGNORED]]


def test_a_batch_of_ones_own_has_the_prompts_and_the_padding_of_the_data():
    epoch = on_policy(student_of(), lambda generator: [text()], 1.0, Sampling(4))
    (own,) = epoch(torch.Generator())
    tokens, stands = prompts()
    assert torch.equal(own.inputs["input_ids"][:, :3], tokens)
    assert torch.equal(own.inputs["attention_mask"][:, :3].bool(), stands)
    assert (own.labels[:, :2] == IGNORED).all()
    assert torch.equal(own.labels[:, 2:6], own.inputs["input_ids"][:, 3:])


def taken(share: float, count: int = 40) -> list[bool]:
    """Whether each batch is the student's own."""
    epoch = on_policy(student_of(), lambda generator: [text()] * count, share, Sampling(3))
    batches = list(epoch(torch.Generator().manual_seed(0)))
    data = as_batch(text())
    return [not torch.equal(each.inputs["input_ids"], data.inputs["input_ids"]) for each in batches]


def test_a_share_of_0_is_data_alone_and_of_1_the_students_own_alone():
    assert taken(0.0) == [False] * 40
    assert taken(1.0) == [True] * 40


def test_a_share_between_is_met_on_average():
    own = sum(taken(0.25, count=400))
    assert abs(own - 100) <= 5 * (400 * 0.25 * 0.75) ** 0.5


def test_a_share_of_0_trains_as_data_does_bit_for_bit():
    teacher, one, other = student_of(seed=1), student_of(), student_of()
    texts = lambda generator: [text(), text(12)]  # noqa: E731
    config = LoopConfig(4)
    distill_(one, teacher, TokenLoss(forward_kl), on_policy(one, texts, 0.0, Sampling(3)), config)
    data = lambda generator: [as_batch(each) for each in texts(generator)]  # noqa: E731
    distill_(other, teacher, TokenLoss(forward_kl), data, config)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_each_batch_is_written_by_the_student_as_it_is_then():
    student, answers = student_of("gpt2"), []

    def watching(answer, said, batch, progress):
        answers.append(batch.labels[batch.labels != IGNORED])
        return answer.logits.sum()

    @torch.no_grad()
    def speak_one_token(step):
        norm, table = student.transformer.ln_f, student.transformer.wte.weight
        norm.weight.zero_()
        norm.bias.fill_(1)
        table.zero_()
        table[7] = 10

    epoch = on_policy(student, lambda generator: [text()], 1.0, Sampling(4))
    distill_(student, None, watching, epoch, LoopConfig(2), after_step=speak_one_token)
    assert (answers[0] != 7).any()
    assert answers[1].tolist() == [7] * 12


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("divergence", [forward_kl, reverse_kl, ALL["jsd 0.5"], skew_kl])
def test_on_policy_distillation_brings_a_student_to_its_teacher(share, divergence):
    teacher = transformer(Sizes("llama", seed=1), dtype=torch.float32)
    student = transformer(Sizes("llama", depth=1, seed=2), dtype=torch.float32)
    epoch = on_policy(student, lambda generator: [text()], share, Sampling(3))
    config = LoopConfig(30, learning_rate=0.03)
    losses = distill_(student, teacher, TokenLoss(divergence), epoch, config)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@given(seeds)
def test_positions_without_a_label_contribute_nothing(seed):
    student, teacher = logits(seed)
    labels = torch.tensor([[0, IGNORED, 2, IGNORED]])
    batch = Batch(torch.zeros(1, 4), labels)
    given_student = student[None].clone().requires_grad_()
    objective = TokenLoss(reverse_kl)
    loss = objective(Outputs(given_student), Outputs(teacher[None]), batch, 0.0)
    torch.testing.assert_close(loss, reverse_kl(student, teacher)[[0, 2]].mean())
    loss.backward()
    assert not given_student.grad[0, [1, 3]].any()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: generalised_jsd(*logits(0), 0.0), "between 0 and 1, got 0.0"),
        (lambda: generalised_jsd(*logits(0), 1.0), "between 0 and 1, got 1.0"),
        (lambda: skew_kl(*logits(0), 1.0), "below 1, got 1.0"),
        (lambda: forward_kl(torch.zeros(2, 3), torch.zeros(2, 4)), "the same tokens"),
        (lambda: Sampling(0), "new_tokens must be at least 1, got 0"),
        (lambda: Sampling(1, temperature=0.0), "temperature must be above 0, got 0.0"),
        (lambda: Sampling(1, top_p=0.0), "top_p must be above 0"),
        (lambda: write(nn.Linear(2, 2), *prompts(), Sampling(1)), "Linear has no generate"),
        (lambda: write(student_of(), prompts()[0], ~prompts()[1], Sampling(1)), "prompt 0"),
        (lambda: on_policy(student_of(), lambda g: [], 1.5, Sampling(1)), "got 1.5"),
        (
            lambda: prompt_length(
                Written(text().tokens, text().stands, torch.zeros(3, 6, dtype=torch.bool))
            ),
            "needs an answer",
        ),
        (
            lambda: prompt_length(Written(text().tokens, text().stands, text().stands)),
            r"begin at one place, got \[0, 1, 2\]",
        ),
        (
            lambda: TokenLoss(forward_kl)(
                Outputs(torch.zeros(1, 2, 3)),
                None,
                Batch(torch.zeros(1, 2), torch.zeros(1, 2)),
                0.0,
            ),
            "needs a teacher",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, told):
    with pytest.raises(ValueError, match=told):
        call()
