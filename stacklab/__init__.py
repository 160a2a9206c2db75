"""StackLab: see how a Django + Channels site carries heavy traffic."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def hands_out(wing: str, homes: dict[str, str]) -> Callable[[str], Any]:
    """A wing's `__getattr__`: its public names, {name: the module it lives in}, imported when they are first asked for."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {wing!r} has no attribute {name!r}")
        return getattr(import_module(f"{wing}.{homes[name]}"), name)

    return get
