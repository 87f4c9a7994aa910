"""A multi-layer perceptron, for feature vectors and for quick runs on small images."""

import itertools
import math
from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from vicinal.models.arguments import at_least_one


class MLP(nn.Module):
    """Hidden layers of equal width; images are flattened."""

    def __init__(
        self, width: int, hidden_layers: int, *, num_classes: int, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        at_least_one(width=width, hidden_layers=hidden_layers)
        sizes = [math.prod(shape), *[width] * hidden_layers]
        layers = (hidden_layer(*ends) for ends in itertools.pairwise(sizes))
        self.hidden = nn.Sequential(*layers)
        self.fc = nn.Linear(width, num_classes)
        self.stages = tuple(f"hidden.{i}" for i in range(hidden_layers))

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Logits."""
        return self.fc(self.hidden(x.flatten(1)))


def hidden_layer(in_features: int, out_features: int) -> nn.Sequential:
    """A linear layer and its ReLU."""
    linear = nn.Linear(in_features, out_features)
    return nn.Sequential(OrderedDict(linear=linear, relu=nn.ReLU()))
