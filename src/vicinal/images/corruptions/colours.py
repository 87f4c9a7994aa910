"""HSV and back, step by step as scikit-image does it, because truncation keeps the last bit."""

import torch
from jaxtyping import Float64
from torch import Tensor

Images = Float64[Tensor, "n 3 h w"]
Planes = Float64[Tensor, "n h w"]


def hsv(x: Images) -> tuple[Planes, Planes, Planes]:
    """Hue, saturation and value, each in [0, 1]; grey has the hue of red."""
    red, green, blue = x.unbind(1)
    value = x.amax(dim=1)
    span = value - x.amin(dim=1)
    divisor = span.masked_fill(span == 0, 1)
    hue = torch.where(green == value, 2 + (blue - red) / divisor, (green - blue) / divisor)
    hue = torch.where(blue == value, 4 + (red - green) / divisor, hue)
    hue = (hue / 6).remainder_(1).masked_fill_(span == 0, 0)
    return hue, span / value.masked_fill(value == 0, 1), value


def rgb(hue: Planes, saturation: Planes, value: Planes) -> Images:
    """Red, green and blue."""
    sixth = (hue * 6).floor()
    part = hue * 6 - sixth
    least = value * (1 - saturation)
    falling = value * (1 - part * saturation)
    rising = value * (1 - (1 - part) * saturation)
    choices = torch.stack([value, falling, least, rising])
    order = torch.tensor(ORDER, device=hue.device)[:, sixth.long() % 6]
    return choices.gather(0, order).movedim(0, 1)


# Which of (value, falling, least, rising) each channel takes in each sixth of the circle.
ORDER = [[0, 1, 2, 2, 3, 0], [3, 0, 0, 1, 2, 2], [2, 2, 3, 0, 0, 1]]
