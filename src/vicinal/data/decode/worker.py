"""A process that decodes images for another, over a socket, until that one is gone.

A request is a crop and a list of (path, seed). The answer is the pixels of all of them, each as it
is ready; then what was wrong, by place in the list, or why nothing can go on. Free of torch, so
that it starts at once.
"""

import json
import signal
import socket
import struct
from collections.abc import Sequence
from typing import Any

from vicinal.data.decode.crops import CorruptError, Crop, render
from vicinal.errors import RunError

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)  # meant for the run
LENGTH = struct.Struct("!Q")

Asked = Sequence[tuple[str, int | None]]  # path, seed
Faults = dict[int, str]  # Pillow's reasons, by place in the list


def serve(descriptor: int) -> None:
    """Answer requests until there is nobody to ask."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as channel:
        try:
            while True:
                crop, tasks = receive(channel)
                _answer(channel, Crop(**crop), tasks)
        except (EOFError, ConnectionError):
            return


def _answer(channel: socket.socket, crop: Crop, tasks: Asked) -> None:
    faults: Faults = {}
    refused: str | None = None
    blank = bytes(3 * crop.size**2)
    for place, (path, seed) in enumerate(tasks):
        pixels = blank
        if refused is None:
            try:
                pixels = render(crop, path, seed)
            except CorruptError as error:
                faults[place] = str(error)
            except RunError as error:
                refused = str(error)
        channel.sendall(pixels)
    send(channel, [list(faults.items()), refused])


def send(channel: socket.socket, value: Any) -> None:
    """A message of whatever length."""
    content = json.dumps(value).encode()
    channel.sendall(LENGTH.pack(len(content)) + content)


def receive(channel: socket.socket) -> Any:
    """The next message."""
    length = bytearray(LENGTH.size)
    fill(channel, memoryview(length))
    content = bytearray(LENGTH.unpack(length)[0])
    fill(channel, memoryview(content))
    return json.loads(content)


def fill(channel: socket.socket, buffer: memoryview) -> None:
    """As many bytes as the buffer holds, in one call to the system where that is possible."""
    got = 0
    while got < len(buffer):
        count = channel.recv_into(buffer[got:], len(buffer) - got, socket.MSG_WAITALL)
        if count == 0:
            raise EOFError
        got += count
