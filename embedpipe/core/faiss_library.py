"""FAISS, told which processor this is: it is imported from here alone.

The OpenBLAS in FAISS's packages is of 2021. It takes processors of later years for one without AVX, and multiplies
matrices four times slower than it could: on a Zen 5 a search among 8,000 pages took 0.93 s instead of 0.23 s. numpy
brings an OpenBLAS of its own, a newer one, that knows them. What it found is named to FAISS's while that is loaded,
unless the user has said what to take.
"""

import os

import numpy as np  # noqa: F401 - its OpenBLAS is asked below
from threadpoolctl import ThreadpoolController

_VARIABLE = "OPENBLAS_CORETYPE"

_NAMES = {"SapphireRapids": "SkylakeX", "Cooperlake": "SkylakeX", "SkylakeX": "SkylakeX", "Zen": "Zen"}
_NAMES |= dict.fromkeys(("Haswell", "Excavator"), "Haswell")
"""What the newer OpenBLAS calls processors with AVX2 or more, and the nearest that the older one has code for."""


def processor() -> str | None:
    """What FAISS's OpenBLAS is to take this processor for; None where it is to look itself."""
    if _VARIABLE in os.environ:
        return None
    found = (library.get("architecture") for library in ThreadpoolController().info())
    return next((_NAMES[name] for name in found if name in _NAMES), None)


_name = processor()
if _name is not None:
    os.environ[_VARIABLE] = _name
try:
    import faiss
finally:
    if _name is not None:
        del os.environ[_VARIABLE]

__all__ = ["faiss"]
