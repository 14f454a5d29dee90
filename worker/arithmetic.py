"""How a network may be computed, and which way to take by what was measured."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last_3d"]


@dataclass(frozen=True)
class Arithmetic:
    """A number format, the order of the axes in memory, and whether the network is compiled."""

    precision: Precision = "fp32"
    memory_format: MemoryFormat = "contiguous"
    compiled: bool = False


#: What every chip computes and every answer is held against.
PLAIN = Arithmetic()
