"""Choose the decoder of a run's images."""

from vicinal.data.decode.pool import Decoder, InProcessDecoder, WorkerPool
from vicinal.machine.runtime import Runtime


def decoder_for(runtime: Runtime) -> Decoder:
    """The GPU, a pool of worker processes, or this process."""
    if runtime.decode == "gpu":
        from vicinal.data.decode.gpu import GpuDecoder  # noqa: PLC0415 (torchvision may drop it)

        return GpuDecoder()
    if runtime.num_workers:
        return WorkerPool(runtime.num_workers, pinned=runtime.target == "cuda")
    return InProcessDecoder()
