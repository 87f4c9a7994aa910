"""Spectrograms of spoken clips: z-scores of log(1 + |STFT|), 161 frequencies x 101 frames.

Paper:    Zhang et al., mixup, ICLR 2018, arXiv 1710.09412; Sec. 3.3 (normalised spectrograms of
          160 x 101)
Code:     adiyoss/GCommandsPytorch gcommand_loader.py: windows of 20 ms every 10 ms (Hamming,
          periodic), centred, with the clip reflected at its ends, as librosa did in 2018
Differs:  161 frequencies, as in the code; the paper names 160. A clip whose spectrogram is constant
          (silence) is not divided by its standard deviation, 0, which in the code makes it NaN.
Cost:     0.4 ms per clip on one CPU core
"""

import torch
from jaxtyping import Float
from torch import Tensor

RATE = 16_000  # samples per second
WINDOW, HOP = 320, 160
FREQUENCIES, FRAMES = WINDOW // 2 + 1, 101  # one second has 101 frames
SHORTEST = WINDOW // 2 + 1  # samples: a reflection shows half a window, without the end itself

Spectrogram = Float[Tensor, "1 161 101"]


def spectrogram(samples: Float[Tensor, " t"]) -> Spectrogram:
    """The clip as a network sees it: cut, or filled up with zeros, before it is normalised.

    The standard deviation is the code's, torch's: of n - 1.
    """
    window = torch.hamming_window(WINDOW, periodic=True, dtype=samples.dtype)
    frames = torch.stft(
        samples, WINDOW, HOP, WINDOW, window, center=True, pad_mode="reflect", return_complex=True
    )
    levels = frames[:, :FRAMES].abs().log1p()
    whole = levels.new_zeros(1, FREQUENCIES, FRAMES)
    whole[0, :, : levels.shape[1]] = levels
    centred, std = whole - whole.mean(), whole.std()
    return centred / std if std > 0 else centred
