"""`vicinal COMMAND ...`. A command is imported when it is called, so that help answers at once."""

import os
import sys
from importlib import import_module

from vicinal.cli.failures import quiet_pipe
from vicinal.cli.garbage import uncollected
from vicinal.cli.messages import did_you_mean
from vicinal.cli.versions import versions

COMMANDS = {
    "train": "train a network, a sweep of them, or the missing runs of a paper's table",
    "tables": "print and write tables: the papers' numbers beside yours",
    "report": "write the tables as one HTML page",
    "evaluate": "measure networks that are trained already",
    "export": "write a trained network as safetensors",
    "fetch": "download data ahead of a run",
    "figures": "draw figures of the papers",
}
HELP = """\
vicinal trains networks on mixed, worst-case or adversarial data, as five papers do: mixup, MaxUp,
GradAug, AugMax and PatchUp.

{commands}

  vicinal train dataset=digits model=wrn10_2 schedule.epochs=5 method=mixup
  vicinal train -m table=mixup/table4 +only=Iris
  vicinal tables mixup/table4

vicinal COMMAND --help says more about a command; vicinal --version says the version."""


def main() -> None:
    """Call the command that the first word names."""
    with quiet_pipe():
        name, *words = sys.argv[1:] or ["--help"]
        if "COMP_LINE" in os.environ:
            _complete(os.environ["COMP_LINE"])
        elif name in ("-h", "--help"):
            print(HELP.format(commands=_listed()))
        elif name == "--version":
            print(versions())
        elif name not in COMMANDS:
            print(f"vicinal: {_unknown(name)}", file=sys.stderr)
            sys.exit(2)
        else:
            _call(name, words)


def _call(name: str, words: list[str]) -> None:
    sys.argv = [f"vicinal {name}", *words]
    with uncollected():
        command = import_module(f"vicinal.commands.{name}")
    command.main()


def _complete(line: str) -> None:
    """Answer a shell in which Tab was pressed: with commands, or with what `train` takes."""
    command, space, rest = line.partition(" ")[2].lstrip().partition(" ")
    if not space:
        print(" ".join(name for name in COMMANDS if name.startswith(command)))
    elif command == "train":
        os.environ["COMP_LINE"] = f"vicinal-train {rest}"
        _call(command, sys.argv[1:])


def _listed() -> str:
    return "\n".join(f"  vicinal {name:10}{says}" for name, says in COMMANDS.items())


def _unknown(word: str) -> str:
    near = did_you_mean(word, COMMANDS)
    if not near and (word.startswith("-") or "=" in word):
        near = f"; did you mean vicinal train {word} ...?"
    return f"{word} is not a command{near} (commands: {', '.join(COMMANDS)})"


if __name__ == "__main__":
    main()
