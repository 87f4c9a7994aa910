"""The forms in which a network can be trained, as overrides, on a GPU and in a rehearsal."""

_EAGER = "runtime.compile=false runtime.cuda_graphs=false"
_LAST = "runtime.precision=bf16 runtime.channels_last=true"
FORMS = {
    "fp32": f"runtime=cuda runtime.precision=fp32 runtime.channels_last=false {_EAGER}",
    "bf16": f"runtime=cuda runtime.precision=bf16 runtime.channels_last=false {_EAGER}",
    "channels_last": f"runtime=cuda {_LAST} {_EAGER}",
    "compiled": f"runtime=cuda {_LAST} runtime.compile=true runtime.cuda_graphs=false",
    "graphs": f"runtime=cuda {_LAST} runtime.compile=true runtime.cuda_graphs=true",
}
_CPU = "runtime=cpu runtime.threads=1"
REHEARSED = {
    "fp32": f"{_CPU} runtime.precision=fp32",
    "bf16": f"{_CPU} runtime.precision=bf16",
    "channels_last": f"{_CPU} runtime.precision=fp32 runtime.channels_last=true",
    "compiled": f"{_CPU} runtime.precision=fp32 runtime.compile=true",
}
EAGER = ("fp32", "bf16", "channels_last")


def forms(rehearse: bool) -> dict[str, str]:
    """By name; the slowest to build is last."""
    return REHEARSED if rehearse else FORMS
