"""Write bf16 copies of kept weights, to copy less: `python -m gpu_session.halve OUT`.

Vectors (biases, norms and their running statistics) keep their precision.
"""

import sys
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from gpu_session.carry import copy_of, kept


def main() -> None:
    """Write the copies that are missing."""
    for path in kept(Path(sys.argv[1])):
        if not copy_of(path).exists():
            save_file({name: halved(x) for name, x in load_file(path).items()}, copy_of(path))


def halved(values: Tensor) -> Tensor:
    """In bf16, if it is a matrix or kernel of floats."""
    return values.bfloat16() if values.ndim > 1 and values.is_floating_point() else values


if __name__ == "__main__":
    main()
