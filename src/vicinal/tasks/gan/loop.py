"""Training a GAN on toy data: a game of two networks, which the loop of a classifier cannot train.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; §3.7 (3 hidden layers of 512 ReLU units,
          2-D Gaussian noise, batches of 128, 5 discriminator steps per generator step, Adam)
Code:     hongyi-zhang/mixup gan/example_gan.py at 80000ce
Differs:  nothing known
Cost:     a step is 6 forward and backward passes of the discriminator, 6 or (CodeMixup) 11 forward
          and 1 backward of the generator
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vicinal.draws import Rng, derived_seed
from vicinal.errors import DivergedError
from vicinal.models.mlp import MLP
from vicinal.optim import Adam
from vicinal.tasks.gan.games import Game, loss
from vicinal.tasks.gan.mixtures import Mixture, Points


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is trained, except for the seed; by default as the paper has it."""

    data: Mixture
    game: Game
    noise: int = 2  # entries of z
    width: int = 512
    hidden_layers: int = 3
    batch_size: int = 128  # of real points, and as many fake ones
    discriminator_steps: int = 5  # per step of the generator
    lr: float = 1e-3

    def __post_init__(self) -> None:
        for key in ("noise", "batch_size", "discriminator_steps"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, got {getattr(self, key)}")


class GanLoop:
    """Trains both networks. Owns every draw; what a resumed run needs is in `state()`."""

    epoch = 0  # the points are drawn without end

    def __init__(self, setup: Setup, seed: int, device: str = "cpu") -> None:
        self.setup = setup
        self.rng = Rng.seeded(seed, device=device)
        body = (setup.width, setup.hidden_layers)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "torch"))
            self.generator = MLP(*body, num_classes=2, shape=(setup.noise,)).to(device)
            self.discriminator = MLP(*body, num_classes=1, shape=(2,)).to(device)
        adam = Adam(lr=setup.lr)
        self.generator_adam = adam(self.generator)
        self.discriminator_adam = adam(self.discriminator)
        self.steps_done = 0  # of the generator
        self.snapshots: dict[int, Points] = {}  # generated from the same noise, by step

    def step(self) -> None:
        """One update of the generator, after those of the discriminator."""
        for _ in range(self.setup.discriminator_steps):
            with torch.no_grad():
                batch = self.setup.game.for_discriminator(self._draw, self.rng)
            self.discriminator_adam.zero_grad()
            loss(self.discriminator, batch).backward()
            self.discriminator_adam.step()
        batch = self.setup.game.for_generator(self._draw, self.rng)
        self.generator_adam.zero_grad()
        (-loss(self.discriminator, batch)).backward(inputs=list(self.generator.parameters()))
        self.generator_adam.step()
        self.steps_done += 1

    def snapshot(self, noise: Float[Tensor, "n d"]) -> None:
        """Keep what the generator makes of some noise now."""
        self.snapshots[self.steps_done] = self.generated(noise)

    def generated(self, noise: Float[Tensor, "n d"]) -> Points:
        """Generate points from noise; on the CPU."""
        device = self.rng.device.device
        with torch.no_grad():
            points = self.generator(noise.to(device)).cpu()
        if not points.isfinite().all():
            raise DivergedError(f"the generator's points are not finite at step {self.steps_done}")
        return points

    def noise(self, count: int, rng: Rng) -> Float[Tensor, "n d"]:
        """Draw standard normal noise on the CPU, equal for every device."""
        return torch.randn((count, self.setup.noise), generator=rng.cpu)

    def state(self) -> dict[str, Any]:
        """Everything that continues this run, bit for bit on a CPU."""
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        counters = {"steps_done": self.steps_done, "snapshots": dict(self.snapshots)}
        return state | {"rng": self.rng.state()} | counters

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.rng.restore(state["rng"])
        self.steps_done, self.snapshots = state["steps_done"], state["snapshots"]

    def check_weights(self) -> None:
        """Stop a training whose weights are not finite."""
        for name in ("generator", "discriminator"):
            for weights in getattr(self, name).parameters():
                if not weights.isfinite().all():
                    raise DivergedError(f"the {name} is not finite at step {self.steps_done}")

    def _draw(self) -> tuple[Points, Points]:
        count = self.setup.batch_size
        real = self.setup.data.sample(count, self.rng)
        return real, self.generator(self.noise(count, self.rng).to(real.device))

    def _parts(self) -> dict[str, Any]:
        names = ("generator", "discriminator", "generator_adam", "discriminator_adam")
        return {name: getattr(self, name) for name in names}
