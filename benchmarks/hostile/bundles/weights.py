"""Files of weights that are hostile."""

import json
from collections.abc import Iterator

from benchmarks.hostile.bundles.honest import CARD, Write, write_bundle, zip_archive


def bundles_with_hostile_weights() -> Iterator[Write]:
    """Yield a bundle for each hostile file of weights."""
    yield from (_weights(name, content) for name, content in _WEIGHTS)


def _weights(name: str, content: bytes) -> Write:
    return lambda folder: write_bundle(folder, json.dumps(CARD), None, (name, content))


def _many_parts(count: int) -> bytes:
    return zip_archive({f"n/{number}": b"" for number in range(count)})


def _false_end(size: int, offset: int) -> bytes:
    end = b"PK\x05\x06" + bytes(4) + b"\xff\xff\xff\xff"
    return (
        b"PK\x03\x04"
        + bytes(60)
        + end
        + size.to_bytes(4, "little")
        + offset.to_bytes(4, "little")
        + bytes(2)
    )


def _program(text: str) -> bytes:
    return zip_archive({"n/code/x.py": text.encode(), "n/data.pkl": b".", "n/version": b"3"})


_WEIGHTS: list[tuple[str, bytes]] = [
    ("model.pt", b""), ("model.pt", b"PK"), ("model.pt", b"PK" + bytes(100)),
    ("model.pt", _false_end(1 << 31, 0)), ("model.pt", _false_end(10, 1 << 31)),
    ("model.pt", _false_end(0xFFFFFFFF, 0xFFFFFFFF)), ("model.pt", _many_parts(20_000)),
    ("model.ts", zip_archive({"n/data.pkl": bytes(1 << 27)}, compressed=True)),
    ("model.ts", _program("(" * 100_000)), ("model.ts", _program("x = " + "-" * 50_000 + "1")),
    ("model.ts", _program("def f(x):\n  print(x)\n")), ("model.ts", _program("\x00")),
    ("model.ts", _program("x = " + "f(" * 80 + ")" * 80)), ("model.ts", _many_parts(10)),
    ("model.ts", _program("def f(x: Tensor):\n  torch.warn(x, 2)\n  return x\n")),
    ("model.pt2", zip_archive({"n/models/model.json": b"[" * 200_000})),
    ("model.pt2", zip_archive({"n/models/model.json": b"{}", "n/data.so": b"\x7fELF"})),
    ("model.pt2", _many_parts(10)), ("model.ts", b"PK\x03\x04" + bytes(500)),
]  # fmt: skip
