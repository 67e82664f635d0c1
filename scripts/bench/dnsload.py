"""Asks 127.0.0.11 for one name as fast as it is answered.

    dnsload.py NAME SECONDS WINDOW      with WINDOW questions under way
"""

import select
import socket
import struct
import sys
import time


def main():
    name, seconds, window = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0\0\1\0\1"
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.setblocking(False)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    channel.connect(("127.0.0.11", 53))
    number, under_way, times, codes = 0, {}, [], {}

    def ask():
        nonlocal number
        number = (number + 1) & 0xFFFF
        channel.send(struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0) + question)
        under_way[number] = time.perf_counter()

    end = time.perf_counter() + seconds
    for _ in range(window):
        ask()
    while time.perf_counter() < end:
        if not select.select([channel], [], [], 0.5)[0]:
            continue
        while True:
            try:
                answer = channel.recv(4096)
            except BlockingIOError:
                break
            asked = under_way.pop(struct.unpack(">H", answer[:2])[0], None)
            if asked is None:
                continue
            times.append(time.perf_counter() - asked)
            code = answer[3] & 15
            codes[code] = codes.get(code, 0) + 1
            ask()
    if not times:
        sys.exit(f"{name}: no answer")
    times.sort()
    middle, most = times[len(times) // 2], times[int(len(times) * 0.99)]
    print(
        f"  {len(times) / seconds:.0f} answers a second, median {middle * 1e3:.2f} ms, 99 % within {most * 1e3:.2f} ms;"
        f" by DNS's code: {codes}"
    )


main()
