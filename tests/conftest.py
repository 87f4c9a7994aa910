"""Shapes are checked while tests run; networks this small are fastest on one thread."""

import torch
from jaxtyping import install_import_hook

install_import_hook("vicinal", "typecheck.check")
torch.set_num_threads(1)
