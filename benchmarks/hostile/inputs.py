"""Hostile requests, drawn from a seed: scans, gzips, forms, JSON bodies and HTTP heads.

Each kind is an endless generator of requests; the same seed yields the same bytes.
"""

import gzip
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.common.plain_nifti import HEADER_BYTES, plain_nifti

RAW = "application/octet-stream"
SHAPE = (16, 16, 16)

#: Values that replace numbers of a header, beside random ones.
_EXTREMES = (0, 1, -1, 2**15 - 1, -(2**15), 2**31 - 1, 1e37, -1e37, 1e-37, float("nan"),
             float("inf"), float("-inf"))  # fmt: skip
_WORDS = ("scan", "model", "priority", "t1", "name", "wait", "limit", "cursor", "status", "jobs",
          "predict", "..", "%2e%2e", "%00", "\u00e9", "*", "@", "[]", "scan_path")  # fmt: skip


@dataclass(frozen=True)
class Hostile:
    """One request; if ``raw`` is given, exactly these bytes are sent."""

    method: str = "POST"
    path: str = "/jobs"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None


def scan(rng: random.Random) -> bytes:
    """Return a small and valid NIfTI-1 file."""
    return plain_nifti(SHAPE, rng.randbytes(2 * SHAPE[0] * SHAPE[1] * SHAPE[2]))


def headers(rng: random.Random) -> Iterator[Hostile]:
    """Yield scans with a damaged header: changed bits or numbers, or another length."""
    while True:
        content = bytearray(scan(rng))
        for _ in range(rng.randint(1, 6)):
            _damage_header(rng, content)
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        if rng.random() < 0.2:
            content += rng.randbytes(rng.randint(1, 5000))
        body = gzip.compress(bytes(content), 1) if rng.random() < 0.5 else bytes(content)
        yield _upload(rng, body)


def _damage_header(rng: random.Random, content: bytearray) -> None:
    at = rng.randrange(0, HEADER_BYTES)
    match rng.randrange(4):
        case 0:
            content[at] ^= 1 << rng.randrange(8)
        case 1:
            content[at] = rng.randrange(256)
        case 2:
            value = rng.choice(_EXTREMES)
            struct.pack_into("<f", content, 4 * rng.randrange(10, 86), float(value))
        case _:
            place = 40 + 2 * rng.randrange(0, 30)
            struct.pack_into("<h", content, place, rng.randint(-(2**15), 2**15 - 1))


def gzips(rng: random.Random) -> Iterator[Hostile]:
    """Yield gzips that are truncated, damaged, nested, of many members, or bombs."""
    zeros = gzip.compress(bytes(32 << 20), 9)
    announcing = bytearray(scan(rng)[:352])
    struct.pack_into("<8h", announcing, 40, 3, 512, 512, 64, 1, 1, 1, 1)
    bomb = gzip.compress(bytes(announcing), 1)
    while True:
        content = scan(rng)
        packed = bytearray(gzip.compress(content, rng.randint(0, 9)))
        match rng.randrange(9):
            case 0:
                del packed[rng.randrange(len(packed)) :]
            case 1:
                for _ in range(rng.randint(1, 8)):
                    packed[rng.randrange(len(packed))] ^= 1 << rng.randrange(8)
            case 2:
                packed = bytearray(gzip.compress(bytes(packed)))
            case 3:
                size = rng.choice((1, 7, 300, 4000))
                pieces = (content[at : at + size] for at in range(0, len(content), size))
                packed = bytearray(b"".join(gzip.compress(piece, 1) for piece in pieces))
            case 4:
                packed = bytearray(bomb + zeros * rng.randint(0, 3))
            case 5:
                packed = bytearray(gzip.compress(content) + zeros)
            case 6:
                packed += rng.randbytes(rng.randint(1, 100))
            case 7:
                packed = bytearray(gzip.compress(b"") * rng.randint(0, 3000))
            case _:
                packed[-8:] = struct.pack("<2I", zlib.crc32(b"other"), rng.randrange(2**32))
        yield _upload(rng, bytes(packed))


def forms(rng: random.Random) -> Iterator[Hostile]:
    """Yield multipart bodies with damaged boundaries, headers, fields and ends."""
    while True:
        boundary = rng.choice((b"b", b"-" * 30 + rng.randbytes(4).hex().encode(), b"'()+_,-./:=?"))
        parts = [_part(rng) for _ in range(rng.randint(0, 5))]
        lines = [b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts]
        body = bytearray(b"".join(lines) + b"--" + boundary + b"--\r\n")
        match rng.randrange(7):
            case 0:
                del body[rng.randrange(len(body)) :]
            case 1:
                body = bytearray(bytes(body).replace(b"\r\n", rng.choice((b"\n", b"\r", b""))))
            case 2:
                for _ in range(rng.randint(1, 10)):
                    body[rng.randrange(len(body))] = rng.randrange(256)
            case 3:
                body = bytearray(b"preamble" * rng.randint(1, 1000) + bytes(body))
            case 4:
                boundary = rng.choice((b"", b"x" * 500, b'"', b"b; charset=\xff", b"other"))
            case _:
                pass
        content_type = b"multipart/form-data; boundary=" + boundary
        yield Hostile(
            headers={"Content-Type": content_type.decode("latin-1")},
            path=rng.choice(("/jobs", "/predict?wait=0")),
            body=bytes(body),
        )


def _part(rng: random.Random) -> bytes:
    name = rng.choice((*_WORDS, "scan", "scan", "x" * 2000)).encode()
    head = b'Content-Disposition: form-data; name="' + name + b'"'
    match rng.randrange(6):
        case 0:
            head += b'; filename="' + rng.randbytes(20) + b'"'
        case 1:
            head = b"X" * rng.randint(1, 9000) + b": y"
        case 2:
            head = b"\r\n".join([b"X-Many: y"] * rng.randint(1, 200)) + b"\r\n" + head
        case 3:
            head += b"\r\nContent-Type: multipart/mixed; boundary=inner"
        case _:
            pass
    content = rng.choice((scan(rng), gzip.compress(scan(rng)), b"stat", rng.randbytes(3000), b""))
    return head + b"\r\n\r\n" + content


def json_bodies(rng: random.Random) -> Iterator[Hostile]:
    """Yield JSON that is deep, wide, of wrong types, or not JSON at all."""
    while True:
        match rng.randrange(7):
            case 0:
                depth = rng.choice((10, 1000, 30_000))
                body = b"[" * depth + b"]" * rng.choice((depth, 0))
            case 1:
                body = b'{"scan_path":' + b'{"a":' * rng.randint(1, 9000) + b"1"
            case 2:
                body = b'{"scan_of": ' + b"9" * rng.randint(1, 60_000) + b"}"
            case 3:
                body = rng.randbytes(rng.randint(0, 2000))
            case 4:
                body = json.dumps({"scan_path": _path(rng)}).encode()
            case 5:
                members = {rng.choice(_WORDS): _value(rng) for _ in range(rng.randint(0, 6))}
                body = json.dumps({"scan_of": _value(rng), **members}).encode()
            case _:
                body = json.dumps(_value(rng)).encode() * rng.randint(1, 3)
        yield Hostile(headers={"Content-Type": "application/json"}, body=body)


def _path(rng: random.Random) -> str:
    parts = ("..", "", ".", "etc", "passwd", "a\0b", "\u202e", "x" * 300, "~", "proc/self/mem")
    return "/".join(rng.choice(parts) for _ in range(rng.randint(0, 9)))


def _value(rng: random.Random) -> object:
    values: tuple[object, ...] = (
        *(None, True, 0, -1.5, 1e308, 10**400, float("nan"), "", "x" * 5000, "01K" + "A" * 23),
        *("\ud800", [], {}, [[]], {"scan": None}, "stat"),
    )
    return rng.choice(values)


def heads(rng: random.Random) -> Iterator[Hostile]:
    """Yield request targets, queries and headers, some of which are not HTTP at all."""
    while True:
        target = "/" + "/".join(rng.choice(_WORDS) for _ in range(rng.randint(0, 4)))
        pairs = (f"{rng.choice(_WORDS)}={rng.choice(_WORDS)}" for _ in range(rng.randint(0, 4)))
        target += "?" + "&".join(pairs)
        method = rng.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "BREW"))
        lines = [f"{method} {target} HTTP/{rng.choice(('1.1', '1.1', '1.0', '2.0', '9'))}"]
        lines += ["Host: localhost"] * rng.choice((1, 1, 1, 0, 2))
        lines += [_header(rng) for _ in range(rng.randint(0, 4))]
        head = bytearray("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape"))
        if rng.random() < 0.3:
            for _ in range(rng.randint(1, 6)):
                head[rng.randrange(len(head))] = rng.randrange(256)
        if rng.random() < 0.3:
            head += rng.randbytes(rng.randint(0, 300))
        yield Hostile(raw=bytes(head))


def _header(rng: random.Random) -> str:
    return rng.choice(
        (
            "Content-Length: " + rng.choice(("0", "-1", "5", "99999999999999999999", "1, 2", "x")),
            "Transfer-Encoding: " + rng.choice(("chunked", "gzip, chunked", "identity", "x")),
            "Expect: 100-continue",
            "Prefer: wait=" + rng.choice(("0", "-1", "1e9", "nan", '"')),
            "Idempotency-Key: " + rng.choice(("", "a", "x" * 300, "\u00e9")),
            "Last-Event-ID: " + rng.choice(("", "1", "-1", "9" * 40, "\u0661")),
            "Origin: " + rng.choice(("null", "http://evil.example", "http://localhost", "")),
            "Connection: " + rng.choice(("close", "keep-alive", "Upgrade")),
            "Upgrade: " + rng.choice(("h2c", "websocket")),
            "If-None-Match: " + rng.choice(("*", '"x"', "W/")),
            "X-Large: " + "x" * rng.choice((10, 9000, 90_000)),
        )
    )


def _upload(rng: random.Random, body: bytes) -> Hostile:
    media = rng.choice((RAW, "application/gzip", "application/x-gzip"))
    return Hostile(
        path=rng.choice(("/jobs", "/jobs", "/predict?wait=0")),
        headers={"Content-Type": media},
        body=body,
    )


#: Each kind of request by name.
REQUESTS: dict[str, Callable[[random.Random], Iterator[Hostile]]] = {
    "headers": headers,
    "gzips": gzips,
    "forms": forms,
    "JSON": json_bodies,
    "heads": heads,
}
