import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import data, tokenizers
from labkit.baselines import ngram
from labkit.evaluation import perplexity, text_logits
from labkit.intervals import accuracy_score, perplexity_score
from labkit.models import GptSpec, TextTransformerSpec, build
from labkit.text import IGNORED, tokenise, windows
from labkit.tokenizers.train import VOCABULARIES, train


@pytest.mark.parametrize("name", tokenizers.names())
def test_a_tokenizer_s_vocabulary_is_small(name: str) -> None:
    assert tokenizers.load(name).get_vocab_size() == VOCABULARIES[name] <= 2048
    assert tokenizers.load(name).token_to_id(tokenizers.END) == 0


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_every_text_survives_its_tokens(text: str) -> None:
    tokenizer = tokenizers.load("movie_reviews")
    decoded = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids)
    assert decoded in (text, f" {text}")  # a space is put before the first word


def test_a_tokenizer_is_what_its_script_makes() -> None:
    texts = list(data.movie_reviews("train")["text"])
    shipped = tokenizers.load("movie_reviews")
    assert train(texts, VOCABULARIES["movie_reviews"]).to_str() == shipped.to_str()


def test_an_unknown_tokenizer_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="movie_reviews"):
        tokenizers.load("wordpiece")


def test_texts_are_cut_and_padded_to_one_length() -> None:
    tokenizer = tokenizers.load("movie_reviews")
    batch = tokenise(["good", "a very long and winding tale " * 9], tokenizer, 16, [1, 0])
    assert batch.input_ids.shape == (2, 16)
    assert batch.attention_mask.sum(dim=1).tolist()[1] == 16
    assert batch.attention_mask.sum(dim=1).tolist()[0] < 4
    assert batch.rows(torch.tensor([0])).trimmed().input_ids.shape[1] < 4
    assert tokenise(["good"], tokenizer, 4).labels.tolist() == [IGNORED]


def test_texts_and_labels_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 texts with 1 labels"):
        tokenise(["a", "b"], tokenizers.load("movie_reviews"), 4, [1])


def test_windows_hold_the_stream_in_order_with_every_text_s_end() -> None:
    tokenizer = tokenizers.load("state_of_the_union")
    texts = ["We the people.", "Fellow citizens, peace."]
    cut = windows(texts, tokenizer, 4)
    stream = [token for text in texts for token in (*tokenizer.encode(text).ids, 0)]
    assert cut.flatten().tolist() == stream[: cut.numel()]
    assert len(stream) - cut.numel() < 4


def test_a_tokenizer_without_the_end_token_is_named() -> None:
    with pytest.raises(ValueError, match=r"<\|endoftext\|>"):
        windows(["a"], tokenizers.load("state_of_the_union"), 4, end="<|endoftext|>")


def test_texts_answer_in_the_order_in_which_they_were_asked() -> None:
    """They are computed sorted by length. 1e-5: float32 sums over padding in another order."""
    tokenizer = tokenizers.load("movie_reviews")
    texts = ["fine " * count for count in (9, 1, 5, 3)]
    model = build(TextTransformerSpec(width=16, depth=1, heads=2, ffn=16, max_tokens=16)).eval()
    batch = tokenise(texts, tokenizer, 16)
    one_by_one = torch.cat([text_logits(model, tokenise([t], tokenizer, 16)) for t in texts])
    assert torch.allclose(text_logits(model, batch, chunk=2), one_by_one, atol=1e-5)


def test_a_model_that_knows_nothing_is_as_perplexed_as_its_vocabulary_is_large() -> None:
    model = build(GptSpec(vocabulary=37, width=8, depth=1, heads=1, context=8))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    assert perplexity(model, torch.randint(37, (5, 8))) == pytest.approx(37, rel=1e-6)


def test_a_unigram_model_s_perplexity_is_the_exponential_of_the_entropy() -> None:
    """Drawn from 1/2, 1/4, 1/4 the entropy is 1.5 bits; 100,000 draws put it within 1 %."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.multinomial(torch.tensor([0.5, 0.25, 0.25]), 200_000, True, generator=draw)
    train, test = tokens.view(2, 1000, 100)
    found = ngram.perplexities(train, test, vocabulary=3)
    assert found["unigram"] == pytest.approx(2**1.5, rel=0.01)
    assert found["trigram"] == pytest.approx(2**1.5, rel=0.01)


def test_a_trigram_model_knows_a_sequence_whose_next_token_two_decide() -> None:
    """0 0 1 1 repeated: one token leaves two continuations, two tokens leave one.

    The first predicted token of a window of 16 has one token before it: a fifteenth of a bit.
    """
    tokens = torch.tensor([0, 0, 1, 1] * 4000).view(-1, 16)
    found = ngram.perplexities(tokens, tokens, vocabulary=2)
    assert found["unigram"] == pytest.approx(2, rel=0.01)
    assert found["trigram"] == pytest.approx(2 ** (1 / 15), rel=0.01)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_probabilities_of_all_next_tokens_sum_to_one(order: int) -> None:
    """Also after histories that training never saw."""
    draw = torch.Generator().manual_seed(0)
    train = torch.randint(4, (20, 6), generator=draw)
    for history in ([0, 1], [4, 4], [3, 4], [2, 2]):
        asked = torch.tensor([[*history, token] for token in range(5)])
        last = ngram.probabilities(train, asked, vocabulary=5, order=order)[:, -1]
        assert last.sum() == pytest.approx(1)
        assert (last > 0).all()


def test_wilson_s_interval_holds_the_share_and_stays_within_0_and_1() -> None:
    for right, count in ((0, 10), (10, 10), (5, 10), (9263, 10_000)):
        score = accuracy_score(right, count)
        assert 0 <= score.low <= score.value <= score.high <= 1
    # Brown, Cai and DasGupta 2001: 0 of 10 has the upper end z^2 / (10 + z^2).
    assert accuracy_score(0, 10).high == pytest.approx(1.95996**2 / (10 + 1.95996**2), rel=1e-4)


def test_a_perplexity_s_interval_narrows_with_the_root_of_the_windows() -> None:
    losses = torch.randn(4000, 8, generator=torch.Generator().manual_seed(1)) + 3
    wide, narrow = perplexity_score(losses[:1000]), perplexity_score(losses)
    ratio = math.log(wide.high / wide.low) / math.log(narrow.high / narrow.low)
    assert ratio == pytest.approx(2, rel=0.1)
    half = math.log(narrow.high / narrow.low) / 2
    assert abs(math.log(narrow.value) - 3) < 2 * half  # missed by chance once in 10,000 seeds
