"""Download data sets ahead of a run and verify them: vicinal fetch cifar10 svhn

Shifted test sets too, as cifar10_c, ahead of their evaluation.
"""

import argparse
from pathlib import Path

from vicinal.cli.failures import one_line_errors
from vicinal.data import cifar, coco, language, speech_commands, stl10, svhn, tiny_imagenet, uci
from vicinal.data.download import fetch
from vicinal.data.shifted import cifar10_1, cifar_c, folder_c

FILES = {
    "cifar10": (cifar.CIFAR10,),
    "cifar100": (cifar.CIFAR100,),
    "stl10": (stl10.STL10,),
    "svhn": (svhn.TRAIN, svhn.TEST),
    "tiny_imagenet": (tiny_imagenet.TINY_IMAGENET,),
    "coco": coco.COCO,
    "speech_commands": (speech_commands.SPEECH_COMMANDS,),
    "ptb": language.PTB,
    "wikitext2": language.WIKITEXT2,
    "uci_abalone": (uci.ABALONE,),
    "uci_arcene": uci.ARCENE,
    "uci_arrhythmia": (uci.ARRHYTHMIA,),
    "uci_htru2": (uci.HTRU2,),
    "uci_phishing": (uci.PHISHING,),
    "cifar10_1": tuple(file for version in cifar10_1.FILES.values() for file in version),
    "cifar10_c": (cifar_c.CIFAR10_C,),
    "cifar100_c": (cifar_c.CIFAR100_C,),
    "tiny_imagenet_c": (folder_c.TINY_IMAGENET_C,),
    "imagenet_c_noise": (folder_c.NOISE,),
    "imagenet_c_blur": (folder_c.BLUR,),
    "imagenet_c_weather": (folder_c.WEATHER,),
    "imagenet_c_digital": (folder_c.DIGITAL,),
    "imagenet_c_extra": (folder_c.EXTRAS,),
}


@one_line_errors()
def main() -> None:
    """Fetch the named data sets; stop at the first failure."""
    sizes = [f"{n} ({megabytes(sum(f.size for f in files))} MB)" for n, files in FILES.items()]
    parser = argparse.ArgumentParser(
        description="Download data sets ahead of a run and verify their checksums. An interrupted "
        "download continues; files already there are only verified.",
    )
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help=f"one or more of: {', '.join(sizes)}"
    )
    parser.add_argument("--root", type=Path, default=Path("data"), help="a folder")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in FILES]
    if unknown:
        parser.error(f"unknown data set {', '.join(unknown)}; known: {', '.join(FILES)}")
    for name in arguments.names:
        for file in FILES[name]:
            print(f"{name}: {fetch(file, arguments.root)}, verified")


def megabytes(size: int) -> str:
    """Rounded to one, or to tenths below 10."""
    return f"{size / 1e6:,.{0 if size >= 1e7 else 1}f}"
