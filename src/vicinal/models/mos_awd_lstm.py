"""AWD-LSTM with a mixture of softmaxes: p = Σ_k π_k softmax(W tanh(V_k h)), π = softmax(U h).

Paper:    Yang, Dai, Salakhutdinov, Cohen, Breaking the Softmax Bottleneck: A High-Rank RNN Language
          Model, ICLR 2018, arXiv 1711.03953; §2.3; a row of Gong et al., arXiv 2002.09024; Tables 6
          and 7
Code:     zihangdai/mos (commit 6f89b28) model.py: U has no bias, V_k and W have; W's weight is the
          embedding's; of tanh(V_k h) the same features are dropped in every word
Differs:  log p is computed from logarithms; theirs adds 1e-8 to p
"""

import torch
from torch import nn

from vicinal.models.arguments import at_least_one
from vicinal.models.awd_lstm import Dropped, LockedDropout, LstmStack, Scores


class MosAwdLstm(LstmStack):
    """The last layer has `last_hidden` features. `shape` is ignored: a text has none.

    Logits are log p, in float32 at least, even under autocast: a softmax of them is p.
    """

    def __init__(  # noqa: PLR0913 (as many numbers as the paper gives it)
        self,
        embedding: int = 280,
        hidden: int = 960,
        last_hidden: int = 620,
        layers: int = 3,
        experts: int = 15,
        *,
        input_dropout: float = 0.4,
        hidden_dropout: float = 0.225,
        output_dropout: float = 0.4,
        latent_dropout: float = 0.29,
        weight_dropout: float = 0.5,
        num_classes: int,
        shape: tuple[int, ...],
    ) -> None:
        counts = {"embedding": embedding, "hidden": hidden, "last_hidden": last_hidden}
        at_least_one(**counts, layers=layers, experts=experts)
        dropouts = {"input": input_dropout, "hidden": hidden_dropout, "output": output_dropout}
        super().__init__(
            embedding,
            [*[hidden] * (layers - 1), last_hidden],
            num_classes,
            weight_dropout=weight_dropout,
            dropouts=dropouts | {"latent": latent_dropout},
        )
        self.experts = experts
        self.prior = nn.Linear(last_hidden, experts, bias=False)
        self.latent = nn.Linear(last_hidden, experts * embedding)
        self.latent_dropout = LockedDropout(latent_dropout)

    @property
    def num_softmaxes(self) -> int:
        return self.experts

    def scores(self, features: Dropped, versions: int) -> Scores:
        latent = self.latent(features).tanh().transpose(0, 1)
        kept = self.latent_dropout(latent, versions).transpose(0, 1)
        logits = self.softmax(kept.unflatten(2, (self.experts, -1)))
        exact = torch.promote_types(logits.dtype, torch.float32)
        log_prior = self.prior(features).to(exact).log_softmax(2)
        return (logits.to(exact).log_softmax(3) + log_prior[..., None]).logsumexp(2)
