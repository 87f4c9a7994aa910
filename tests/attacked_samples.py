"""What attacks leave in records, for tests of what the report shows of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from report_samples import laid_out, record, small

from vicinal.report.page import page
from vicinal.storage.evaluations import key
from vicinal.tables.plan import plan_evaluation

ERM, MIXUP = "cifar10/wrn28_10/erm/1", "cifar10/wrn28_10/mixup/2"
HEADING = "APGD + Square, 1,000 images L\u221e 8/255"
MASKED = {"zero_gradients": 100.0, "random_logits": 0.0, "probabilities": 0.0}


def entry(
    name: str, metrics: Mapping[str, float], report: str = "last", **config: Any
) -> dict[str, Any]:
    """One evaluation by its key, as a record has it."""
    found = {"name": name, "config": config, "report": report, "metrics": dict(metrics)}
    return {key(name, report, config): found}


def attacked(
    clean: float,
    under: Mapping[str, float],
    epsilons: Sequence[float] | None = None,
    source: tuple[str, int] | None = None,
    report: str = "last",
    **more: float,
) -> dict[str, Any]:
    """Accuracies by attack; along a curve an attack has 10 points less per 0.1 of ε."""
    config = {
        "_target_": "vicinal.evaluation.attacked.Attacked",
        "attacks": {name: pgd(4 / 255) for name in under},
        "epsilons": epsilons,
        "source": f"{source[0]}/seed{source[1]}" if source else None,
    }
    metrics = {"clean_top1": clean, **more}
    for name, top1 in under.items():
        parts = {f"{name}_{e:g}": top1 - 100 * e for e in epsilons} if epsilons else {name: top1}
        metrics |= {f"{part}_top1": found for part, found in parts.items()}
        metrics |= {f"{part}_l2": 0.5 for part in parts}
    found = entry("attacked", metrics, report, **config)
    if source:
        for each in found.values():
            each["source"] = {"name": source[0], "seed": source[1], "weights": None}
    return found


def pgd(epsilon: float, norm: str = "linf", units: str = "pixels") -> dict[str, Any]:
    threat = {"epsilon": epsilon, "norm": norm, "units": units}
    return {"_target_": "vicinal.attacks.pgd.Pgd", "threat": threat}


def yardstick(robust: float, report: str = "last", **changed: Any) -> dict[str, Any]:
    """All numbers but changed settings as `evaluation=yardstick` leaves them."""
    numbers = {"clean_top1": 95.0, "apgd_top1": robust + 0.1, "square_top1": robust}
    checks = {check: changed.pop(check, 0.0) for check in MASKED}
    config = plan_evaluation("yardstick", {}) | changed
    return entry("yardstick", numbers | {"robust_accuracy": robust} | checks, report, **config)


def both() -> list[dict[str, Any]]:
    """ERM over two seeds, with a yardstick, and mixup without."""
    under = {"fgsm": 40.0, "pgd": 10.0}
    more = {name: top1 + 2 for name, top1 in under.items()}
    return [
        record(ERM, 0, 5.0, attacked(94.0, under), yardstick(0.5)),
        record(ERM, 1, 5.0, attacked(96.0, more), yardstick(0.7)),
        record(MIXUP, 0, 5.0, attacked(97.0, {"fgsm": 75.0, "pgd": 20.0})),
    ]


def section(found: Sequence[dict[str, Any]]) -> str:
    return page([small()], found, "").split('<section id="attacks"')[1].split("</main>")[0]


def rows(markup: str) -> list[list[str]]:
    """The cells of a section's first table."""
    places = laid_out(markup.split('<table class="plain measured">')[1].split("</table>", 1)[0])
    height, width = (1 + max(each[i] for each in places) for i in (0, 1))
    return [[places[i, j] for j in range(width)] for i in range(height)]
