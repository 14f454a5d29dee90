"""Bundles that mean harm, or are merely broken, by a seed: what a models folder may hold at worst.

The first of them come from a table, each a way that once brought a process down or could; the rest
are honest bundles with a few random changes to what their files say, or to the files themselves.
"""

import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

#: A card, as small as it can be.
CARD: dict[str, Any] = {
    "name": "hostile",
    "version": "1.0.0",
    "description": "none",
    "inputs": [{"name": "scan", "modality": "FLAIR"}],
    "labels": [{"value": 1, "name": "lesion"}],
    "license": "none",
    "intended_use": "tests",
}
#: What the zoo's bundles say beside it.
ZOO: dict[str, Any] = {
    "version": "1.0.0",
    "name": "A sentence for people",
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "lesion"}}},
    },
}
#: How MONAI would run one.
CONFIGURATION: dict[str, Any] = {
    "network_def": {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16]},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "LoadImaged", "keys": "image"}],
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
    },
}

Write = Callable[[Path], None]


def hostile_bundles(folder: Path, seed: int, count: int) -> list[Path]:
    """Write ``count`` such bundles under ``folder`` as ``<name>/1.0.0`` and return their folders.

    The same seed writes the same bundles.
    """
    written = []
    for number, write in enumerate(islice(_writers(random.Random(seed)), count)):
        bundle = folder / f"hostile-{number}" / "1.0.0"
        bundle.mkdir(parents=True)
        write(bundle)
        written.append(bundle)
    return written


def whole_archive(parts: dict[str, bytes], *, compressed: bool = False) -> bytes:
    """Return an archive of ``parts``."""
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _writers(rng: random.Random) -> Iterator[Write]:
    yield from (_metadata(text) for text in _METADATA)
    yield from (_metadata(json.dumps(CARD | change)) for change in _CARD_CHANGES)
    yield from (_zoo(change) for change in _ZOO_CHANGES)
    yield from (_configuration(text) for text in _CONFIGURATIONS)
    yield from (_expression(text) for text in _EXPRESSIONS)
    yield from (_weights(name, content) for name, content in _WEIGHTS)
    yield from _ODD_FILES
    while True:
        yield _mutated(rng.randrange(1 << 30))


def _bundle(
    folder: Path,
    metadata: str | bytes,
    configuration: str | bytes | None = None,
    weights: tuple[str, bytes] = ("model.pt", whole_archive({})),
) -> None:
    for part in ("configs", "models"):
        (folder / part).mkdir()
    _write(folder / "configs" / "metadata.json", metadata)
    if configuration is not None:
        _write(folder / "configs" / "inference.json", configuration)
    _write(folder / "models" / weights[0], weights[1])


def _write(path: Path, content: str | bytes) -> None:
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    path.write_bytes(content)


def _metadata(text: str | bytes) -> Write:
    return lambda folder: _bundle(folder, text)


def _zoo(change: Any) -> Write:
    text = json.dumps(ZOO | {"network_data_format": change})
    return lambda folder: _bundle(folder, text, json.dumps(CONFIGURATION))


def _configuration(text: str | bytes) -> Write:
    return lambda folder: _bundle(folder, json.dumps(ZOO), text)


def _expression(text: str) -> Write:
    return _configuration(json.dumps(CONFIGURATION | {"inferer": text}))


def _weights(name: str, content: bytes) -> Write:
    return lambda folder: _bundle(folder, json.dumps(CARD), None, (name, content))


def _doubling(steps: int) -> str:
    """Return macros that double each other: 600 bytes that would fill any memory."""
    parts = {f"a{step}": [f"%a{step + 1}"] * 2 for step in range(steps)}
    return json.dumps({**CONFIGURATION, **parts, f"a{steps}": 0, "inferer": "%a0"})


def _aliases(count: int) -> str:
    """Return references that reach one large part by ever other spellings."""
    deep: Any = list(range(2000))
    for _ in range(20):
        deep = {"a": deep}
    spellings = [
        "@deep" + "".join("#a" if number >> bit & 1 else "::a" for bit in range(20))
        for number in range(count)
    ]
    return json.dumps({**CONFIGURATION, "deep": deep, "inferer": spellings})


_METADATA: list[str | bytes] = [
    "", "[]", "null", "3", '"text"', "{", "[" * 200_000, '{"a":' * 200_000,
    '{"name":' + "[" * 900 + "]" * 900 + "}",
    "{" + ",".join(f'"{number}": 1' for number in range(60_000)) + "}",
    '{"a": ' + "9" * 10_000 + "}", '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}',
    '{"a": "\\ud800"}', '{"\\udfff": 1}', b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"\x00" * 100,
    json.dumps(CARD) + " " * (2 << 20), '{"' + "k" * 300_000 + '": 1}',
    "[" + "[]," * 300_000 + "[]]", "\\" * 1000, '{"a": "' + "x" * (1 << 20) + '"}',
]  # fmt: skip

_CARD_CHANGES: list[dict[str, Any]] = [
    {"name": 3}, {"name": ["a"]}, {"name": "x" * 100_000}, {"name": "../../etc"}, {"name": ""},
    {"name": "a\nb"}, {"name": "healthy"}, {"version": 1}, {"version": "9" * 10_000},
    {"version": ".".join(["1"] * 10_000)}, {"version": ""}, {"version": "1.0.0\n"},
    {"version": "\u0661.\u0662"}, {"version": None}, {"inputs": {}}, {"inputs": []},
    {"inputs": "scan"}, {"inputs": [None]}, {"inputs": [{"name": "s", "modality": "m"}] * 18_000},
    {"inputs": [{"name": f"s{number}", "modality": "m"} for number in range(5000)]},
    {"inputs": [{"name": "x" * 50_000, "modality": "m"}]},
    {"inputs": [{"name": "\u202e", "modality": "\x1b[2J"}]},
    {"labels": [{"value": 10**17, "name": "x"}]}, {"labels": [{"value": -1, "name": "x"}] * 15_000},
    {"labels": [{"value": 1.5, "name": "x"}]}, {"labels": [[]]}, {"labels": 3},
    {"description": "\x1b]0;x\x07" * 50_000}, {"license": ["a"]}, {"resample_inputs": "maybe"},
    {"network": 3}, {"network": {"in_channels": 10**12, "out_channels": 1, "channels": [1, 1]}},
    {"network": {"in_channels": 1, "out_channels": 1, "channels": [10**9] * 9},
     "grid": {"shape": [16, 16, 16], "spacing_mm": 1},
     "mask": {"threshold": 0.5, "min_component_ml": 0},
     "presence": {"intercept": 0, "logit_weight": 1, "volume_weight": 0}},
]  # fmt: skip

_ODD_COUNTS: list[Any] = [-1, 0, 10**15, 1.5, "many", None, [], True]
_ZOO_CHANGES: list[Any] = [
    None, 3, [], {}, {"inputs": 3}, {"inputs": [], "outputs": []}, {"inputs": {"image": 3}},
    *(
        {"inputs": {"image": {"channel_def": channels}}, "outputs": {"pred": {}}}
        for channels in (
            [], [1], ["T1"], "T1", 3, {"x": "T1"}, {"0": ["T1"]}, {"0": {"0": "T1"}}, {"-1": "T1"},
            {"9" * 5000: "T1"}, {"\u0661": "T1"}, {"0": None}, {"0": "T1", "00": "T2"},
            {str(number): "T1" for number in range(15_000)}, {"1e3": "T1"}, {"0.5": "T1"},
        )
    ),
    *(
        {"inputs": {"image": {"num_channels": count}}, "outputs": {"pred": {}}}
        for count in _ODD_COUNTS
    ),
]  # fmt: skip

_CONFIGURATIONS: list[str | bytes] = [
    "", "[]", "{", "[" * 200_000, b"\xff", '{"a":' * 5000 + "1" + "}" * 5000,
    _doubling(20), _doubling(60), _aliases(3000), _aliases(200),
    json.dumps({**CONFIGURATION, "inferer": "%inferer"}),
    json.dumps({**CONFIGURATION, "a": ["%a", "%a"], "inferer": "%a"}),
    json.dumps({**CONFIGURATION, "inferer": "%" + "a::" * 5000}),
    json.dumps({**CONFIGURATION, "inferer": "@" + "a::" * 5000 + "a"}),
    json.dumps({**CONFIGURATION, "inferer": {"_target_": ["UNet"]}}),
    json.dumps({**CONFIGURATION, "inferer": {"_target_": "a." * 50_000}}),
    json.dumps({**CONFIGURATION, "inferer": {"_target_": "UNet", "_mode_": [[]]}}),
    json.dumps({**CONFIGURATION, "inferer": {"_target_": "UNet", "_disabled_": {}}}),
    json.dumps({**CONFIGURATION, "network_def": 3, "preprocessing": "text"}),
    json.dumps({**{f"a{n}": f"@a{n + 1}" for n in range(15_000)}, "inferer": "@a0"}),
    json.dumps({**CONFIGURATION, "run": ["$" + "1+" * 1500 + "1"] * 300}),
    json.dumps({**CONFIGURATION, "inferer": ["$@network_def + 1"] * 19_000}),
    json.dumps({**CONFIGURATION, "x" * 100_000: {"a": [1] * 1000}}),
]  # fmt: skip

_EXPRESSIONS = [
    "$" + "1+" * 200_000 + "1", "$" + "1+" * 1900 + "1", "$" + "(" * 3000, "$" + "-" * 3900 + "1",
    "$" + "not " * 900 + "1", "$" + "[" * 1900 + "]" * 1900, "$" + "lambda:" * 500 + "1",
    "$a" + ".b" * 1900, "$a" + "()" * 1900, "$a" + "[0]" * 1300, "$" + "1 if 1 else " * 300 + "1",
    "$" + "9" * 3900, "$" + "@a" * 1900, "$'" + "\\x" * 100 + "'", "$\x00", "$" + "\n" * 3000,
    "$" + "{" * 3000, "$f'" + "{1}" * 900 + "'", "$" + "x:=" * 1000 + "1", "$'\\d'", "$é",
    "$1" + " " * 3000, "$" + "1," * 1900, "$" + "**" * 1900, "$" + "1and " * 700 + "1", "$", "@",
    "$_reference_0", "$" + "a@b" * 1000, "$" + "[x for x in " * 300 + "1" + "]" * 300,
]  # fmt: skip


def _many_parts(count: int) -> bytes:
    return whole_archive({f"n/{number}": b"" for number in range(count)})


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
    return whole_archive({"n/code/x.py": text.encode(), "n/data.pkl": b".", "n/version": b"3"})


_WEIGHTS: list[tuple[str, bytes]] = [
    ("model.pt", b""), ("model.pt", b"PK"), ("model.pt", b"PK" + bytes(100)),
    ("model.pt", _false_end(1 << 31, 0)), ("model.pt", _false_end(10, 1 << 31)),
    ("model.pt", _false_end(0xFFFFFFFF, 0xFFFFFFFF)), ("model.pt", _many_parts(20_000)),
    ("model.ts", whole_archive({"n/data.pkl": bytes(1 << 27)}, compressed=True)),
    ("model.ts", _program("(" * 100_000)), ("model.ts", _program("x = " + "-" * 50_000 + "1")),
    ("model.ts", _program("def f(x):\n  print(x)\n")), ("model.ts", _program("\x00")),
    ("model.ts", _program("x = " + "f(" * 80 + ")" * 80)), ("model.ts", _many_parts(10)),
    ("model.ts", _program("def f(x: Tensor):\n  torch.warn(x, 2)\n  return x\n")),
    ("model.pt2", whole_archive({"n/models/model.json": b"[" * 200_000})),
    ("model.pt2", whole_archive({"n/models/model.json": b"{}", "n/data.so": b"\x7fELF"})),
    ("model.pt2", _many_parts(10)), ("model.ts", b"PK\x03\x04" + bytes(500)),
]  # fmt: skip


def _fifo_metadata(folder: Path) -> None:
    _bundle(folder, "")
    (folder / "configs" / "metadata.json").unlink()
    os.mkfifo(folder / "configs" / "metadata.json")


def _fifo_weights(folder: Path) -> None:
    _bundle(folder, json.dumps(CARD))
    (folder / "models" / "model.pt").unlink()
    os.mkfifo(folder / "models" / "model.pt")


def _fifo_beside_weights(folder: Path) -> None:
    _bundle(folder, json.dumps(CARD))
    os.mkfifo(folder / "models" / "model.ts")


def _fifo_licence(folder: Path) -> None:
    _bundle(folder, json.dumps(ZOO))
    os.mkfifo(folder / "LICENSE")


def _directory_for_weights(folder: Path) -> None:
    _bundle(folder, json.dumps(CARD))
    (folder / "models" / "model.pt").unlink()
    (folder / "models" / "model.pt").mkdir()


def _directory_for_metadata(folder: Path) -> None:
    (folder / "configs" / "metadata.json").mkdir(parents=True)


def _links_in_a_circle(folder: Path) -> None:
    (folder / "configs").symlink_to(folder / "models")
    (folder / "models").symlink_to(folder / "configs")


def _metadata_that_links_to_itself(folder: Path) -> None:
    _bundle(folder, "{}")
    path = folder / "configs" / "metadata.json"
    path.unlink()
    path.symlink_to(path)


def _configuration_that_leads_nowhere(folder: Path) -> None:
    _bundle(folder, json.dumps(ZOO))
    (folder / "configs" / "inference.json").symlink_to("/nowhere/at/all")


def _device_for_metadata(folder: Path) -> None:
    (folder / "configs").mkdir()
    (folder / "configs" / "metadata.json").symlink_to("/dev/zero")


def _many_files(folder: Path) -> None:
    _bundle(folder, json.dumps(CARD))
    for number in range(3000):
        (folder / "models" / str(number)).touch()


def _deep_folders(folder: Path) -> None:
    _bundle(folder, json.dumps(CARD))
    (folder / "models" / "/".join(["d"] * 900)).mkdir(parents=True)


def _names_that_are_no_text(folder: Path) -> None:
    _bundle(folder, json.dumps(CARD))
    Path(os.fsdecode(os.fsencode(folder / "models") + b"/\xff\xfe")).touch()


def _forbidden(folder: Path) -> None:
    _bundle(folder, json.dumps(CARD))
    (folder / "configs").chmod(0)


_ODD_FILES: list[Write] = [
    _fifo_metadata, _fifo_weights, _fifo_beside_weights, _fifo_licence, _directory_for_weights,
    _directory_for_metadata,
    _links_in_a_circle, _metadata_that_links_to_itself, _configuration_that_leads_nowhere,
    _device_for_metadata, _many_files, _deep_folders, _names_that_are_no_text, _forbidden,
]  # fmt: skip


def _mutated(seed: int) -> Write:
    """Return a bundle of honest parts with a few changes."""
    rng = random.Random(seed)
    metadata: Any = json.loads(json.dumps(rng.choice([CARD, ZOO, {**CARD, **ZOO}])))
    configuration: Any = json.loads(json.dumps(CONFIGURATION))
    for _ in range(rng.randint(1, 4)):
        _change(rng, rng.choice([metadata, configuration]))
    texts = [json.dumps(metadata).encode(), json.dumps(configuration).encode()]
    if rng.random() < 0.3:
        which = rng.randrange(2)
        texts[which] = _spoilt(rng, texts[which])
    weights = whole_archive({"n/data.pkl": rng.randbytes(50)})
    if rng.random() < 0.5:
        weights = _spoilt(rng, weights)
    name = rng.choice(["model.pt", "model.ts", "model.pt2"])
    configured = texts[1] if rng.random() < 0.7 else None
    return lambda folder: _bundle(folder, texts[0], configured, (name, weights))


def _change(rng: random.Random, document: Any) -> None:
    """Put something odd in place of a random part."""
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


def _spoilt(rng: random.Random, content: bytes) -> bytes:
    """Return bytes of which some are cut, changed, doubled or moved."""
    spoilt = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(spoilt)) if spoilt else 0
        match rng.randrange(4):
            case 0:
                del spoilt[at : at + rng.randint(1, 40)]
            case 1:
                spoilt[at : at + 1] = rng.randbytes(1)
            case 2:
                spoilt[at:at] = spoilt[at : at + rng.randint(1, 40)] * rng.randint(1, 3)
            case _:
                del spoilt[at:]
    return bytes(spoilt)
