"""Training of language models: its equations, MaxUp's copies of texts, and the contract."""

from dataclasses import replace
from itertools import chain

import pytest
import torch
from composing import TEXT, compose
from hydra.utils import instantiate
from oracles import language as oracle
from test_contract import COST
from torch import Tensor
from torch.nn import functional as F
from wording import says

from vicinal.contracts import Memory, Vicinity
from vicinal.draws import Rng
from vicinal.methods import next_word
from vicinal.methods.next_word import NextWord
from vicinal.models.awd_lstm import AwdLstm
from vicinal.models.mos_awd_lstm import MosAwdLstm
from vicinal.vicinities.gaussian_noise import GaussianNoise
from vicinal.vicinities.identity import Identity
from vicinal.vicinities.mixup import Mixup
from vicinal.vicinities.word_dropout import WordDropout

WORDS, ROWS, LENGTH = 11, 4, 6
DROPOUTS = {"input_dropout": 0.3, "hidden_dropout": 0.4, "output_dropout": 0.35}
Outputs = tuple[Tensor, Tensor, list[Tensor]]  # raw, dropped, and the state
EXACT = {"rtol": 1e-10, "atol": 1e-10}
PLAIN = NextWord(WordDropout(0.0), Identity(), alpha=0.0, beta=0.0)


def network(weight_dropout: float = 0.5) -> AwdLstm:
    torch.manual_seed(0)
    dropouts = DROPOUTS | {"weight_dropout": weight_dropout}
    model = AwdLstm(5, 7, 3, **dropouts, num_classes=WORDS, shape=()).double()
    with torch.no_grad():  # so that no loss is that of a uniform guess
        model.classifier.weight.mul_(20)
        model.classifier.bias.normal_()
    return model


def text() -> tuple[Tensor, Tensor]:
    drawn = torch.randint(WORDS, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(1))
    return drawn[:, :-1], drawn[:, 1:]


def remembered(model: AwdLstm) -> Memory:
    generator = torch.Generator().manual_seed(2)
    widths = chain.from_iterable((width, width) for width in model.widths)
    draw = lambda width: torch.rand(ROWS, width, generator=generator, dtype=torch.float64)  # noqa: E731
    return Memory(tuple(map(draw, widths)))


def step(method: NextWord, model: AwdLstm, seed: int = 0, memory: Memory | None = None) -> Tensor:
    x, y = text()
    torch.manual_seed(seed)
    (loss,) = method(model, x, y, Rng.seeded(seed), memory=memory or remembered(model))
    return loss


def gradients(model: AwdLstm, loss: Tensor) -> dict[str, Tensor]:
    names, weights = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, weights), strict=True))


def masks(model: AwdLstm, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Factors of features (before each layer and after the last) and of matrices, as drawn."""
    torch.manual_seed(seed)
    locked, dropped, p = [], [], list(DROPOUTS.values())
    rates, widths = [p[0], p[1], p[1], p[2]], [5, *model.widths]
    for number, (rate, width) in enumerate(zip(rates, widths, strict=True)):
        kept = torch.empty(ROWS, width, dtype=torch.float64).bernoulli_(1 - rate)
        locked.append(kept / (1 - rate))
        if number < 3:
            matrix = model.get_parameter(f"layers.{number}.lstm.weight_hh_l0")
            dropped.append(F.dropout(torch.ones_like(matrix), model.layers[number].p))
    return locked, dropped


class Literal:
    """The loss of one batch from the papers' equations, text by text and word by word."""

    def __init__(self, model: AwdLstm, seed: int) -> None:
        self.weights = {k: v.detach().clone().requires_grad_() for k, v in model.named_parameters()}
        self.locked, self.dropped = masks(model, seed)
        self.state = remembered(model).state
        self.embedding = self.weights["softmax.weight"]

    def outputs(self, row: int, factors: Tensor | None = None) -> Outputs:
        matrix = self.embedding if factors is None else self.embedding * factors[:, None]
        return self.of_vectors(row, torch.stack([matrix[word] for word in text()[0][row].tolist()]))

    def of_vectors(self, row: int, vectors: Tensor) -> Outputs:
        layers = []
        for number, dropped in enumerate(self.dropped):
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            own = [self.weights[f"layers.{number}.lstm.{name}"] for name in names]
            layers.append([own[0], own[1] * dropped, *own[2:]])
        locked = [factors[row] for factors in self.locked]
        return oracle.read(vectors, layers, locked, [each[row] for each in self.state])

    def loss(self, row: int, hidden: Tensor, epsilon: float = 0, smoothing: float = 0) -> Tensor:
        """The mean CE of a text's words, from the outputs that the softmax layer gets."""
        return self.loss_of(text()[1][row], hidden, epsilon, smoothing)

    def loss_of(self, y: Tensor, hidden: Tensor, epsilon: float, smoothing: float = 0) -> Tensor:
        losses = []
        for h, target in zip(hidden, y.tolist(), strict=True):
            logits = self.embedding @ h + self.weights["softmax.bias"]
            logits = oracle.lowered(logits, h, self.embedding, target, epsilon)
            losses.append(oracle.word_loss(logits, target, smoothing))
        return torch.stack(losses).mean()

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad(loss, list(self.weights.values()))
        return dict(zip(self.weights, found, strict=True))


def factors_of(p: float, rng: Rng) -> Tensor:
    """A draw of word dropout, a factor per word of the vocabulary."""
    kept = torch.rand(WORDS, generator=rng.device) >= p
    factors = [1 / (1 - p) if each else 0.0 for each in kept.tolist()]
    return torch.tensor(factors, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_a_training_step_is_that_of_awd_lstms_equations(seed: int) -> None:
    model, method = network(), NextWord(WordDropout(0.3), Identity(), alpha=2.0, beta=1.0)
    memory = remembered(model)
    loss = step(method, model, seed, memory)
    literal, factors = Literal(model, seed), factors_of(0.3, Rng.seeded(seed))
    raw, dropped, states = zip(*[literal.outputs(i, factors) for i in range(ROWS)], strict=True)
    ce = torch.stack([literal.loss(i, dropped[i]) for i in range(ROWS)]).mean()
    expected = ce + 2 * oracle.activation(dropped) + oracle.temporal(raw)
    torch.testing.assert_close(loss, expected, **EXACT)
    for number, found in enumerate(memory.state):
        assert not found.requires_grad
        torch.testing.assert_close(found, torch.stack([s[number] for s in states]), **EXACT)
    after = oracle.clipped_step(literal.weights, literal.gradients(expected), 0.25, rate=30)
    loss.backward()
    assert torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25) > 0.25
    torch.optim.SGD(model.parameters(), lr=30).step()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, after[name], **EXACT)


@pytest.mark.parametrize("copies", [1, 2])
def test_a_mixture_of_softmaxes_is_trained_on_its_own_probabilities(copies: int) -> None:
    """CE of log p, the mean square of the last LSTM's dropped outputs, and that of differences."""
    torch.manual_seed(0)
    model = MosAwdLstm(5, 7, 4, 2, 3, **DROPOUTS, num_classes=WORDS, shape=()).double()
    (x, y), rng = text(), Rng.seeded(0)
    method = NextWord(WordDropout(0.3), Identity(), copies, alpha=2.0, beta=1.0)
    assert method.prepare(model) is model
    torch.manual_seed(3)
    (loss,) = method(model, x, y, rng, memory=Memory())
    found = []
    for _ in range(copies):
        factors = WordDropout(0.3)(x, WORDS, rng := rng if found else Rng.seeded(0))
        torch.manual_seed(3)
        read = model(model.embed(x) * factors[..., None])
        own = -read.logits.exp().gather(2, y[..., None]).log()[..., 0].mean(1)
        found.append((own, read))
    worst = torch.stack([own for own, _ in found]).argmax(0).tolist()
    pick = lambda name: torch.stack([getattr(found[j][1], name)[i] for i, j in enumerate(worst)])  # noqa: E731
    ce = torch.stack([found[j][0][i] for i, j in enumerate(worst)]).mean()
    raw = pick("outputs")
    expected = ce + 2 * oracle.activation(list(pick("features"))) + oracle.temporal(list(raw))
    torch.testing.assert_close(loss, expected, **EXACT)


@pytest.mark.parametrize("name", ["adversarial_softmax", "maxup_words"])
def test_the_adversarial_softmax_is_refused_for_a_mixture(name: str) -> None:
    method = instantiate(compose(f"method={name}").method)
    model = MosAwdLstm(5, 7, 5, 2, 3, num_classes=WORDS, shape=())
    with pytest.raises(ValueError, match=says("^method.epsilon ... 0 ... 3 ... 0.005")):
        method.prepare(model)
    assert method.prepare(network()) is not None
    assert replace(method, epsilon=0.0).prepare(model) is model


def test_word_dropout_masks_rows_of_the_embedding_matrix() -> None:
    """As salesforce's embed_regularize does, gradients included; every word as one."""
    x, _ = text()
    matrix = torch.rand(WORDS, 5, dtype=torch.float64, requires_grad=True)
    ours = F.embedding(x, matrix) * WordDropout(0.4)(x, WORDS, Rng.seeded(0))[..., None]
    rows = F.embedding(x, matrix * factors_of(0.4, Rng.seeded(0))[:, None])
    assert torch.equal(ours, rows)
    found, expected = (torch.autograd.grad(each.sin().sum(), matrix)[0] for each in (ours, rows))
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)


def test_words_are_dropped_at_their_rate_and_keep_their_mean() -> None:
    every = torch.arange(20_000).view(1, -1)
    factors = WordDropout(0.1)(every, 20_000, Rng.seeded(0))
    assert sorted(set(factors.flatten().tolist())) == [0, 1 / 0.9]
    assert abs(float((factors == 0).double().mean()) - 0.1) < 4 * (0.09 / 20_000) ** 0.5


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_adversarial_softmax_lowers_the_logits_of_targets(smoothing: float) -> None:
    model = network()
    method = replace(PLAIN, epsilon=0.4, smoothing=smoothing)
    loss, literal = step(method, model), Literal(model, 0)
    hidden = [literal.outputs(i)[1] for i in range(ROWS)]
    expected = torch.stack([literal.loss(i, hidden[i], 0.4, smoothing) for i in range(ROWS)]).mean()
    torch.testing.assert_close(loss, expected, **EXACT)
    found = gradients(model, loss)
    for name, gradient in literal.gradients(expected).items():
        torch.testing.assert_close(found[name], gradient, **EXACT)


def test_logits_are_lowered_by_epsilon_times_both_norms_where_the_word_was_likely() -> None:
    model, (_, y) = network(), text()
    read = model(text()[0])
    shift = replace(PLAIN, epsilon=0.4)._shift(model, read, y[..., None])[..., 0]
    signs = []
    for i in range(ROWS):
        for t in range(LENGTH):
            w, h = model.classifier.weight[y[i, t]], read.features[i, t]
            expected = -0.4 * float(w.detach().norm() * h.detach().norm()) * float(bool(w @ h > 0))
            assert shift[i, t].item() == pytest.approx(expected, rel=1e-12)
            signs.append(expected < 0)
    assert any(signs)
    assert not all(signs)


def test_label_smoothing_is_torchs() -> None:
    model = network()
    torch.manual_seed(0)
    logits = model(text()[0], remembered(model).state).logits
    expected = F.cross_entropy(logits.flatten(0, 1), text()[1].flatten(), label_smoothing=0.1)
    torch.testing.assert_close(step(replace(PLAIN, smoothing=0.1), model), expected, **EXACT)


@pytest.mark.parametrize("epsilon", [0.0, 0.4])
@pytest.mark.parametrize("per", ["batch", "sample"])
def test_mixup_of_embedded_words_is_the_loss_of_both_texts(per: str, epsilon: float) -> None:
    model, literal, (_, y) = network(), Literal(network(), 0), text()
    method = replace(PLAIN, features=Mixup(alpha=0.5, per=per), epsilon=epsilon)
    rng = Rng.seeded(0)
    WordDropout(0.0)(y, WORDS, rng)
    _, weights = method.features(y[..., None].double(), torch.eye(ROWS).double(), rng)
    losses = []
    for i in range(ROWS):
        others = [j for j in range(ROWS) if weights[i, j] > 0]
        rows = [literal.embedding[text()[0][j]] for j in others]
        mixed = sum(weights[i, j] * row for j, row in zip(others, rows, strict=True))
        _, hidden, _ = literal.of_vectors(i, mixed)
        losses += [weights[i, j] * literal.loss_of(y[j], hidden, epsilon) for j in others]
    assert len(losses) > ROWS
    loss, expected = step(method, model), sum(losses) / ROWS
    torch.testing.assert_close(loss, expected, **EXACT)
    found = gradients(model, loss)
    for name, gradient in literal.gradients(expected).items():
        torch.testing.assert_close(found[name], gradient, **EXACT)


VICINITIES = [Identity(), GaussianNoise(0.3), Mixup()]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("epsilon", [0.0, 0.4])
def test_maxup_trains_each_text_on_its_worst_mask(seed: int, epsilon: float) -> None:
    """Two masks are drawn; all texts of the batch are tried under each."""
    model, literal, rng = network(), Literal(network(), seed), Rng.seeded(seed)
    method = NextWord(WordDropout(0.5), Identity(), copies=2, epsilon=epsilon)
    drawn = [factors_of(0.5, rng) for _ in range(2)]
    worst, chosen = [], []
    for i in range(ROWS):
        read = [literal.outputs(i, factors) for factors in drawn]
        losses = [literal.loss(i, hidden, epsilon) for _, hidden, _ in read]
        number = 1 if losses[1] > losses[0] else 0
        chosen.append(number)
        worst.append((losses[number], *read[number]))
    ce, raw, hidden, states = zip(*worst, strict=True)
    expected = torch.stack(ce).mean() + 2 * oracle.activation(hidden) + oracle.temporal(raw)
    memory = remembered(model)
    loss = step(method, model, seed, memory)
    torch.testing.assert_close(loss, expected, **EXACT)
    torch.testing.assert_close(memory.state[4], torch.stack([s[4] for s in states]), **EXACT)
    found = gradients(model, loss)
    for name, gradient in literal.gradients(expected).items():
        torch.testing.assert_close(found[name], gradient, **EXACT)
    if seed == 0:
        assert set(chosen) == {0, 1}


def two_steps(method: NextWord) -> tuple[list[Tensor], Tensor, dict[str, Tensor]]:
    """The weights after them, the state of torch's generator, and those of the step's own."""
    model, (x, y), rng, memory = network(), text(), Rng.seeded(3), Memory()
    torch.manual_seed(3)
    for _ in range(2):
        (loss,) = method(model, x, y, rng, memory=memory)
        model.zero_grad()
        loss.backward()
        torch.optim.SGD(model.parameters(), lr=0.5).step()
    return [*model.parameters(), *memory.state], torch.get_rng_state(), rng.state()


@pytest.mark.parametrize("vicinity", VICINITIES, ids=repr)
def test_copies_of_equal_texts_change_nothing(vicinity: Vicinity) -> None:
    """Selection leaves weights, state and the noise of dropouts as they are with one copy."""
    one = NextWord(Undropped(), vicinity)
    (weights, drawn, own), found = (two_steps(replace(one, copies=m)) for m in (1, 3))
    assert all(torch.equal(a, b) for a, b in zip(weights, found[0], strict=True))
    assert torch.equal(drawn, found[1])
    assert all(torch.equal(own[name], found[2][name]) for name in own)


class Undropped(WordDropout):
    """Masks of ones, which draw nothing, so that features meet the same stream of draws."""

    def __call__(self, x: Tensor, num_words: int, rng: Rng) -> Tensor:
        return torch.ones(x.shape, dtype=torch.float64)


@pytest.mark.parametrize("vicinity", VICINITIES, ids=repr)
def test_the_selected_loss_is_the_trained_one(
    vicinity: Vicinity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All noise but the masks is that of every copy: the update's loss is the largest tried."""
    model, tried = network(), list[Tensor]()
    method = replace(PLAIN, word_dropout=WordDropout(0.5), features=vicinity, copies=3)
    losses = NextWord._losses

    def noted(*args: object) -> Tensor:
        tried.append(losses(*args))  # pyright: ignore
        return tried[-1]

    monkeypatch.setattr(NextWord, "_losses", noted)
    step(method, model)
    *copies, trained = tried
    assert len(copies) == 3
    assert not any(each.requires_grad for each in copies)
    torch.testing.assert_close(trained, torch.stack(copies).amax(0), **EXACT)
    assert not torch.equal(copies[0], copies[1])


def test_a_text_that_diverges_in_a_copy_is_trained_on_it() -> None:
    """So that the run is stopped. Of equal copies the first is kept."""
    model, (x, y) = network(), text()
    copies = [next_word.Copy(model.embed(x), None) for _ in range(3)]
    copies[1].embedded[2] = torch.nan
    kept = PLAIN._worst(model, copies, y, Memory())
    assert kept[2].isnan().all()
    assert torch.equal(kept[[0, 1, 3]], copies[0].embedded[[0, 1, 3]])


def test_a_stretch_of_one_word_has_no_differences() -> None:
    model, (x, y) = network(), text()
    method = replace(PLAIN, beta=1.0)
    (loss,) = method(model, x[:, :1], y[:, :1], Rng.seeded(0), memory=Memory())
    assert loss.isfinite()


def test_the_state_of_one_step_is_read_in_the_next() -> None:
    model, memory, (x, y) = network(), Memory(), text()
    list(PLAIN(model, x, y, Rng.seeded(0), memory=memory))
    torch.manual_seed(5)
    (carried,) = PLAIN(model, x, y, Rng.seeded(0), memory=memory)
    torch.manual_seed(5)
    (fresh,) = PLAIN(model, x, y, Rng.seeded(0), memory=Memory())
    assert not torch.isclose(carried, fresh)


@pytest.fixture(params=TEXT)
def method(request: pytest.FixtureRequest) -> NextWord:
    return instantiate(compose(f"method={request.param}").method, _convert_="all")


def test_one_step_reaches_every_parameter_and_leaves_texts_alone(method: NextWord) -> None:
    model, (x, y) = network(), text()
    given = x.clone(), y.clone()
    (loss,) = method(model, x, y, Rng.seeded(0), memory=Memory())
    assert loss.isfinite()
    assert all(gradient.any() for gradient in gradients(model, loss).values())
    assert torch.equal(x, given[0])
    assert torch.equal(y, given[1])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_cost_is_what_the_docstring_says(method: NextWord) -> None:
    found, forwards = COST.search(next_word.__doc__ or ""), list[tuple[bool, int]]()
    model = network()
    model.register_forward_hook(
        lambda _model, given, _read: forwards.append((torch.is_grad_enabled(), len(given[0])))
    )
    step(method, model)
    assert found
    assert eval(found["forwards"], {}, dict(vars(method))) == len(forwards)
    selection = [(False, method.copies * ROWS)] if method.copies > 1 else []
    assert forwards == [*selection, (True, ROWS)]
    assert method.work == pytest.approx(sum(rows for _, rows in selection) / ROWS / 3 + 1)


def test_steps_are_reproduced_from_the_generators_alone(method: NextWord) -> None:
    one, two = (gradients(model, step(method, model)) for model in (network(), network()))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(step(method, network()), step(method, network(), seed=1))


def test_what_the_table_trains_with() -> None:
    """The sheet: m = 2 and ADV-AWD-LSTM's ε = .005 and noise .15, over AWD-LSTM's α and β."""
    maxup, adversarial, plain = (
        instantiate(compose(f"method={name}").method, _convert_="all")
        for name in ("maxup_words", "adversarial_softmax", "next_word")
    )
    assert plain == NextWord(WordDropout(0.1), Identity(), alpha=2.0, beta=1.0)
    assert adversarial == replace(plain, features=GaussianNoise(0.15), epsilon=0.005)
    assert maxup == replace(adversarial, copies=2)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"copies": 0}, "^copies ... 1 ... 0 ... m = 1"),
        ({"epsilon": -0.1}, "^epsilon ... 0 ... -0.1"),
        ({"alpha": -1.0}, "^alpha ... 0 ... -1.0"),
        ({"beta": -1.0}, "^beta ... 0 ... -1.0"),
        ({"smoothing": 1.5}, "^smoothing ... 0 ... 1 ... 1.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=says(rule)):
        replace(PLAIN, **settings)  # pyright: ignore[reportArgumentType]


def test_to_drop_every_word_is_refused() -> None:
    with pytest.raises(ValueError, match=says("^p ... 0 ... 1 ... 1.0")):
        WordDropout(1.0)
