"""Hidden examples as a lab's models take them: images, texts to classify, or windows of tokens."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autograder import hidden
from autograder.hidden import LabelledText
from autograder.lab import Artefact
from labkit import baselines, data, pretrained, tokenizers
from labkit.export.signature import Signature, images, signature_of
from labkit.models import Spec, spec_of
from labkit.onnx_session import IDS, INPUT, MASK
from labkit.text import TokenBatch, tokenise, windows
from labkit.timing import Feed

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHIFT_PIXELS = 2
LARGEST_BATCH = {"images": 320, "texts": 128, "windows": 48}  # a vocabulary's logits take memory


@dataclass(frozen=True)
class Examples:
    """Inputs by name, each (count, ...), and the labels, which never leave the grader's process."""

    kind: str  # images, texts or windows
    inputs: dict[str, Tensor]
    labels: Int[Tensor, " count"] | None  # None: a language model's targets are its inputs
    takes: Signature

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def classes(self) -> int:
        """Logits of one answer: classes, or the vocabulary."""
        last = self.takes.output[-1]
        assert isinstance(last, int)
        return last

    @property
    def tokens(self) -> int:
        """Of each text or window, padding among them."""
        return self.inputs[IDS].shape[1]

    def rows(self, chosen: Int[Tensor, " rows"] | slice) -> "Examples":
        inputs = {name: values[chosen] for name, values in self.inputs.items()}
        return replace(
            self, inputs=inputs, labels=None if self.labels is None else self.labels[chosen]
        )

    def feed(self) -> Feed:
        """As one batch. Texts come without the columns in which all of them are padded."""
        inputs = self.inputs
        if self.kind == "texts":
            longest = max(1, int(inputs[MASK].sum(dim=1).max()))
            inputs = {name: values[:, :longest] for name, values in inputs.items()}
        return {name: values.contiguous().numpy() for name, values in inputs.items()}

    def score(
        self, answers: Float[Tensor, "count n"]
    ) -> Bool[Tensor, " count"] | Float[Tensor, "count n"]:
        """Of logits, whether each answer is right; nats per token are scores already."""
        return answers if self.labels is None else answers.argmax(dim=1) == self.labels

    def shifted(self) -> "Examples":
        """Nearly the same examples, of which no byte string is one that was seen before."""
        if self.kind == "images":
            return replace(self, inputs={INPUT: _moved(self.inputs[INPUT])})
        if self.kind == "texts":
            return replace(self, inputs=_without_the_middle(self.inputs))
        stream = self.inputs[IDS].flatten()
        context = self.inputs[IDS].shape[1]
        half = stream[context // 2 : context // 2 + (len(self) - 1) * context]
        return replace(self, inputs={IDS: half.view(-1, context)})

    def without_future(self) -> "Examples":
        """Windows that end in their middle: the last prediction must not miss what follows."""
        ids = self.inputs[IDS]
        return replace(self, inputs={IDS: ids[:, : ids.shape[1] // 2 + 1]})


@lru_cache(maxsize=1)
def load(wanted: Artefact) -> Examples:
    """The first hidden examples of a lab's data set, as its baseline takes them.

    Raises:
        ValueError: nothing of the data set is hidden.
    """
    if wanted.dataset in data.IMAGE_SETS:
        return _images(hidden.load(wanted.dataset, wanted.hidden_count), wanted)
    return _texts(hidden.load_text(wanted.dataset, wanted.hidden_count), wanted)


@lru_cache(maxsize=1)
def public(wanted: Artefact) -> Examples:
    """The validation part that students have, as the lab's models take it."""
    rows = data.load(data.SETS[wanted.dataset], "validation")
    if wanted.dataset in data.IMAGE_SETS:
        return _images(data.batch(rows), wanted)
    labels = list(rows["label"]) if "label" in rows.column_names else None
    return _texts(LabelledText(list(rows["text"]), labels), wanted)


def _images(found: data.Batch, wanted: Artefact) -> Examples:
    return Examples("images", {INPUT: found.images}, found.labels, takes_of(wanted))


def _texts(found: LabelledText, wanted: Artefact) -> Examples:
    takes, tokenizer = takes_of(wanted), _tokenizer(wanted)
    longest = min(wanted.tokens, takes.max_tokens)
    if MASK in takes.names:
        batch = tokenise(found.texts, tokenizer, longest, found.labels)
        return Examples("texts", _named(batch), batch.labels, takes)
    cut = windows(found.texts, tokenizer, longest)[: wanted.hidden_count]
    return Examples("windows", {IDS: cut}, None, takes)


@lru_cache
def takes_of(wanted: Artefact) -> Signature:
    """What a lab's model takes and answers: what its baseline does."""
    if wanted.dataset in data.IMAGE_SETS:  # a perceptron's own signature says rows
        image_set = data.IMAGE_SETS[wanted.dataset]
        return images(image_set.shape, classes=len(image_set.classes))
    return signature_of(baselines.load(wanted.baseline))


@lru_cache
def architecture_of(wanted: Artefact) -> Spec:
    """The spec of the lab's baseline, whose weights a checkpoint holds.

    Raises:
        ValueError: the baseline has no spec, so no lab can take checkpoints of it.
    """
    spec = spec_of(baselines.load(wanted.baseline))
    if spec is None:
        raise ValueError(f"{wanted.baseline} has settings that no spec holds")
    return spec


def _tokenizer(wanted: Artefact) -> "Tokenizer":
    name = wanted.tokenizer or wanted.dataset
    return pretrained.tokenizer(name) if name in pretrained.names() else tokenizers.load(name)


def _named(batch: TokenBatch) -> dict[str, Tensor]:
    return {IDS: batch.input_ids, MASK: batch.attention_mask}


def _moved(pictures: Float[Tensor, "count channels height width"]) -> Tensor:
    """To the right by a few pixels; the edge is repeated."""
    edge = pictures[..., :1].expand(*pictures.shape[:-1], SHIFT_PIXELS)
    return torch.cat([edge, pictures[..., :-SHIFT_PIXELS]], dim=-1)


def _without_the_middle(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each text without the token in its middle; the rest moves up, and one more is padding."""
    ids, mask = inputs[IDS], inputs[MASK]
    place = torch.arange(ids.shape[1] - 1)
    later = (place >= mask.sum(dim=1, keepdim=True) // 2).long()
    source = place + later
    return {IDS: ids.gather(1, source), MASK: mask.gather(1, source)}
