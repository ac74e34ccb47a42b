"""Our own Transformer encoder, with every linear layer in sight: what labs 3.2 and 3.9 change.

The projections of query, key and value are layers of their own, so that each can have its own
scale, mask or rank, and attention is written out, so that its probabilities can be looked at.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.models.specs import TextTransformerSpec


class TextTransformer(nn.Module):
    def __init__(self, spec: TextTransformerSpec) -> None:
        super().__init__()
        if spec.width % spec.heads:
            raise ValueError(f"width {spec.width} does not divide into {spec.heads} heads")
        self.spec = spec
        self.tokens = nn.Embedding(spec.vocabulary, spec.width)
        self.positions = nn.Embedding(spec.max_tokens, spec.width)
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec.depth))
        self.norm = nn.LayerNorm(spec.width)
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(spec.width, spec.classes)
        for embedding in (self.tokens, self.positions):  # torch's unit variance drowns the layers
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"],  # 1 where a token stands, 0 for padding
    ) -> Float[Tensor, "batch classes"]:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.dropout(self.tokens(input_ids) + self.positions(places))
        stands = attention_mask.bool()
        for layer in self.layers:
            x = layer(x, stands)
        weights = attention_mask.unsqueeze(-1).to(x.dtype)
        mean = (self.norm(x) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return self.head(self.dropout(mean))


class Layer(nn.Module):
    """Attention and a feed-forward network, each behind a norm and beside a shortcut."""

    def __init__(self, spec: TextTransformerSpec) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(spec.width)
        self.attention = Attention(spec)
        self.ffn_norm = nn.LayerNorm(spec.width)
        self.expand = nn.Linear(spec.width, spec.ffn)
        self.contract = nn.Linear(spec.ffn, spec.width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(
        self, x: Float[Tensor, "batch tokens width"], stands: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        x = x + self.dropout(self.attention(self.attention_norm(x), stands))
        return x + self.dropout(self.contract(F.gelu(self.expand(self.ffn_norm(x)))))


class Attention(nn.Module):
    def __init__(self, spec: TextTransformerSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(spec.width, spec.width) for _ in range(4)
        )

    def forward(
        self, x: Float[Tensor, "batch tokens width"], stands: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        # The lowest finite number, not -inf: a row of padding alone must not become NaN.
        lowest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~stands[:, None, None, :], lowest)
        return self.out((scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2))

    def _split(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch heads tokens head_width"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)
