"""Metadata, configurations and expressions that are hostile."""

import json
from collections.abc import Iterator
from typing import Any

from benchmarks.hostile.bundles.honest import CARD, CONFIGURATION, ZOO, Write, write_bundle


def bundles_with_hostile_documents() -> Iterator[Write]:
    """Yield a bundle for each hostile document."""
    yield from (_metadata(text) for text in _METADATA)
    yield from (_metadata(json.dumps(CARD | change)) for change in _CARD_CHANGES)
    yield from (_zoo(change) for change in _ZOO_CHANGES)
    yield from (_configuration(text) for text in _CONFIGURATIONS)
    yield from (_expression(text) for text in _EXPRESSIONS)


def _metadata(text: str | bytes) -> Write:
    return lambda folder: write_bundle(folder, text)


def _zoo(change: Any) -> Write:
    text = json.dumps(ZOO | {"network_data_format": change})
    return lambda folder: write_bundle(folder, text, json.dumps(CONFIGURATION))


def _configuration(text: str | bytes) -> Write:
    return lambda folder: write_bundle(folder, json.dumps(ZOO), text)


def _expression(text: str) -> Write:
    return _configuration(json.dumps(CONFIGURATION | {"inferer": text}))


def _doubling(steps: int) -> str:
    """Return macros that each expand to two of the next: 600 bytes that would fill any memory."""
    parts = {f"a{step}": [f"%a{step + 1}"] * 2 for step in range(steps)}
    return json.dumps({**CONFIGURATION, **parts, f"a{steps}": 0, "inferer": "%a0"})


def _aliases(count: int) -> str:
    """Return references to one large part, each spelled differently."""
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
