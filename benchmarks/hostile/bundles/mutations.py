"""Honest bundles with random changes to their files."""

import json
import random
from typing import Any

from benchmarks.hostile.bundles.honest import (
    CARD,
    CONFIGURATION,
    ZOO,
    Write,
    write_bundle,
    zip_archive,
)


def mutated_bundle(seed: int) -> Write:
    """Return an honest bundle with a few random changes."""
    rng = random.Random(seed)
    metadata: Any = json.loads(json.dumps(rng.choice([CARD, ZOO, {**CARD, **ZOO}])))
    configuration: Any = json.loads(json.dumps(CONFIGURATION))
    for _ in range(rng.randint(1, 4)):
        _change(rng, rng.choice([metadata, configuration]))
    texts = [json.dumps(metadata).encode(), json.dumps(configuration).encode()]
    if rng.random() < 0.3:
        which = rng.randrange(2)
        texts[which] = _damaged(rng, texts[which])
    weights = zip_archive({"n/data.pkl": rng.randbytes(50)})
    if rng.random() < 0.5:
        weights = _damaged(rng, weights)
    name = rng.choice(["model.pt", "model.ts", "model.pt2"])
    configured = texts[1] if rng.random() < 0.7 else None
    return lambda folder: write_bundle(folder, texts[0], configured, (name, weights))


def _change(rng: random.Random, document: Any) -> None:
    """Replace a random part of a document by an odd value."""
    place = document
    while True:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        inner = place[key]
        if not (isinstance(inner, (dict, list)) and inner) or rng.random() < 0.3:
            break
        place = inner
    place[key] = rng.choice(
        [
            None, True, -1, 0, 10**17, 1e308, "", "x" * 5000, "\u202e\x1b[31m", [], {}, [[[[1]]]],
            "$1", "@network_def", "%inferer", "$lambda x: x", "@" + str(key), {"_target_": "UNet"},
            [rng.choice([1, "a", None])] * rng.randint(1, 500), {"0": {"0": 0}}, f"%{key}",
            "$" + "".join(rng.choices("()[]{}+-*/.,:@$%a1' ", k=rng.randint(1, 200))),
        ]
    )  # fmt: skip


def _damaged(rng: random.Random, content: bytes) -> bytes:
    """Return the bytes with some of them removed, changed or repeated."""
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(damaged)) if damaged else 0
        match rng.randrange(4):
            case 0:
                del damaged[at : at + rng.randint(1, 40)]
            case 1:
                damaged[at : at + 1] = rng.randbytes(1)
            case 2:
                damaged[at:at] = damaged[at : at + rng.randint(1, 40)] * rng.randint(1, 3)
            case _:
                del damaged[at:]
    return bytes(damaged)
