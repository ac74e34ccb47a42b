import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from autograder import hidden
from labkit import baselines, data, tokenizers
from labkit.baselines import low_rank
from labkit.evaluation import accuracy, perplexity
from labkit.models import GptSpec, LlamaSpec, spec_of
from labkit.text import tokenise, windows

IMAGES = [name for name in baselines.names() if baselines.record(name).dataset in data.IMAGE_SETS]
TEXTS = [name for name in baselines.names() if baselines.record(name).dataset == "movie_reviews"]
LANGUAGE = [name for name in baselines.names() if name.endswith("_sotu")]


def test_every_baseline_is_evaluated_again_by_a_test_here() -> None:
    assert sorted(IMAGES + TEXTS + LANGUAGE) == baselines.names()


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_baseline_is_as_good_as_its_record(name: str) -> None:
    """On 2,000 hidden images the standard error is at most 1 point; four of them are allowed."""
    record = baselines.record(name)
    found = accuracy(baselines.load(name), hidden.load(record.dataset, 2000))
    assert abs(found - record.test.value) < 0.04


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_baseline_is_as_good_as_its_record(name: str) -> None:
    """On 500 validation sentences the standard error is at most 2 points; four are allowed."""
    from labkit import pretrained

    tokenizer = (
        pretrained.tokenizer("minilm")
        if name.startswith("bert")
        else tokenizers.load("movie_reviews")
    )
    rows = data.movie_reviews("validation").select(range(500))
    batch = tokenise(list(rows["text"]), tokenizer, 48, list(rows["label"]))
    found = accuracy(baselines.load(name), batch)
    assert abs(found - baselines.record(name).validation.value) < 0.08


@pytest.mark.parametrize("name", LANGUAGE)
def test_a_language_model_is_as_good_as_its_record(name: str) -> None:
    """The first 40 windows of validation: the interval of so few is about a tenth wide."""
    tokenizer = tokenizers.load("state_of_the_union")
    texts = data.state_of_the_union("validation")["text"]
    spec = spec_of(baselines.load(name))
    assert isinstance(spec, GptSpec | LlamaSpec)
    cut = windows(texts, tokenizer, spec.context)
    sample = cut[:: len(cut) // 40]
    found = perplexity(baselines.load(name), sample)
    assert found == pytest.approx(baselines.record(name).validation.value, rel=0.2)


@pytest.mark.parametrize("name", LANGUAGE)
def test_a_language_model_beats_counting(name: str) -> None:
    record = baselines.record(name)
    assert record.test.high < record.comparisons["trigram"] < record.comparisons["unigram"]


@pytest.mark.parametrize("name", baselines.names())
def test_a_baseline_is_small_enough_to_ship(name: str) -> None:
    assert baselines.weights_path(name).stat().st_size < 10_000_000


@pytest.mark.parametrize("name", baselines.names())
def test_a_record_s_figures_lie_in_their_intervals(name: str) -> None:
    record = baselines.record(name)
    for score in (record.validation, record.test):
        assert score.low < score.value < score.high
    model = baselines.load(name)
    assert record.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert not model.training


@pytest.mark.parametrize("name", baselines.names())
def test_a_model_card_names_data_figures_and_command(name: str) -> None:
    card, record = baselines.card(name), baselines.record(name)
    assert record.command in card
    assert record.dataset in card
    assert data.SETS[record.dataset].about.licence in card
    assert f"{record.test.count:,}" in card


def test_an_unknown_baseline_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="resnet_cifar10"):
        baselines.load("resnet_imagenet")


def test_low_rank_updates_applied_to_the_base_give_the_tuned_model() -> None:
    def base() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    tuned = base()
    low_rank.attach(tuned, tuned[0], rank=2)
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    x = torch.randn(4, 6)
    wanted = tuned(x)
    updates = low_rank.merge(tuned)
    assert set(updates) == {"0.weight.down", "0.weight.up"}
    again = base()
    low_rank.apply(again, updates)
    assert torch.equal(again(x), tuned(x))
    assert torch.allclose(again(x), wanted, atol=1e-6)  # float32 sums in one order or another


def test_a_fresh_update_changes_nothing() -> None:
    layer = nn.Sequential(nn.Linear(4, 4))
    x = torch.randn(2, 4)
    before = layer(x)
    low_rank.attach(layer, layer, rank=1)
    assert torch.equal(layer(x), before)


def test_weights_that_layers_share_are_stored_once() -> None:
    for name in LANGUAGE:
        stored = sum(part.numel() for part in load_file(baselines.weights_path(name)).values())
        assert stored == baselines.record(name).parameters
