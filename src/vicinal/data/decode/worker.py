"""A process that decodes images for another one, over a socket, until that one ends.

A request is a crop and a list of (path, seed). The answer is the pixels of each image as soon as
it is ready, then the corrupt files by their place in the list, or the error that ends the run.
Imports no torch, so that it starts at once.
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

Requested = Sequence[tuple[str, int | None]]  # path, seed
Faults = dict[int, str]  # Pillow's reasons, by place in the list


def serve(descriptor: int) -> None:
    """Answer requests until the other end of the socket is closed."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as channel:
        try:
            while True:
                crop, tasks = receive(channel)
                _answer(channel, Crop(**crop), tasks)
        except (EOFError, ConnectionError):
            return


def _answer(channel: socket.socket, crop: Crop, tasks: Requested) -> None:
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
    """Send a value as one message: its length, then JSON."""
    content = json.dumps(value).encode()
    channel.sendall(LENGTH.pack(len(content)) + content)


def receive(channel: socket.socket) -> Any:
    """Receive the next message."""
    length = bytearray(LENGTH.size)
    receive_into(channel, memoryview(length))
    content = bytearray(LENGTH.unpack(length)[0])
    receive_into(channel, memoryview(content))
    return json.loads(content)


def receive_into(channel: socket.socket, buffer: memoryview) -> None:
    """Receive until the buffer is full, in one system call where possible."""
    got = 0
    while got < len(buffer):
        count = channel.recv_into(buffer[got:], len(buffer) - got, socket.MSG_WAITALL)
        if count == 0:
            raise EOFError
        got += count
