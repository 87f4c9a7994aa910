"""A clip's spectrogram from the definition, one frame and one frequency at a time."""

from cmath import exp, pi
from math import cos, log

import numpy as np


def spectrogram(clip: list[float], window: int = 320, hop: int = 160, frames: int = 101):
    half = window // 2
    before = [clip[half - i] for i in range(half)]  # clip[half], ..., clip[1]
    after = [clip[-2 - i] for i in range(half)]  # clip[-2], clip[-3], ...
    padded = np.array(before + list(clip) + after)
    weights = np.array([0.54 - 0.46 * cos(2 * pi * n / window) for n in range(window)])
    n = np.arange(window)
    waves = [
        np.array([exp(-2j * pi * k * int(m) / window) for m in n]) for k in range(window // 2 + 1)
    ]
    count = 1 + len(clip) // hop
    whole = np.zeros((len(waves), frames))
    for t in range(min(count, frames)):
        frame = padded[t * hop : t * hop + window] * weights
        for k, wave in enumerate(waves):
            whole[k, t] = log(1 + abs((frame * wave).sum()))
    centred = whole - whole.sum() / whole.size
    std = ((centred**2).sum() / (whole.size - 1)) ** 0.5
    return centred / std if std > 0 else centred
