"""A small language model to try text on: words to vectors, a gated sum over time, tied softmax."""

import torch
from torch import Tensor, nn

from vicinal.contracts import Embedded, LanguageModel, Read, Words


class Small(LanguageModel):
    """h' = tanh(W e + U h), logits = e · h' + b; dropout when it trains."""

    def __init__(
        self, num_classes: int, shape: tuple[int, ...] = (), width: int = 4, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.encoder = nn.Embedding(num_classes, width)
        self.inner, self.carried = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.drop, self.decoder = nn.Dropout(dropout), nn.Linear(width, num_classes)
        self.decoder.weight = self.encoder.weight

    @property
    def classifier(self) -> nn.Linear:
        return self.decoder

    def embed(self, words: Words) -> Embedded:
        return self.encoder(words)

    def forward(self, x: Words | Embedded, state: tuple[Tensor, ...] = ()) -> Read:
        vectors = x if x.is_floating_point() else self.embed(x)
        (h,) = state or (vectors.new_zeros(len(vectors), vectors.shape[2]),)
        outputs = []
        for vector in vectors.unbind(1):
            h = torch.tanh(self.inner(vector) + self.carried(h))
            outputs.append(h)
        read = torch.stack(outputs, 1)
        features = self.drop(read)
        return Read(self.decoder(features), features, read, (h,))


def small(words: int = 11, seed: int = 0, dropout: float = 0.5) -> Small:
    """In float64, so that equal numbers are equal to many digits."""
    torch.manual_seed(seed)
    return Small(words, dropout=dropout).double()


def ids(count: int, words: int = 11, seed: int = 0) -> Tensor:
    return torch.randint(words, (count,), generator=torch.Generator().manual_seed(seed))
