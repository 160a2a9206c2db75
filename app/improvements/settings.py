"""Django's settings, with the improvements that are switched on."""

import os

from config.settings import *  # noqa: F403
from config.settings import CHANNEL_LAYER, CHANNEL_LAYERS


def on(name: str) -> bool:
    """Whether the improvement is switched on (daphne.env)."""
    return os.environ.get(f"STACKLAB_{name}", "0") == "1"


LEAN_DISPATCH = on("LEAN_DISPATCH")
TIDY_CHANNELS = on("TIDY_CHANNELS")
ONE_SUBSCRIPTION = on("ONE_SUBSCRIPTION")
LAYER_RECONNECTS = on("LAYER_RECONNECTS")
CHAT_RESUME = on("CHAT_RESUME")

if CHANNEL_LAYER == "core" and LAYER_RECONNECTS:
    CHANNEL_LAYERS["default"]["BACKEND"] = "improvements.layer_reconnects.CoreLayer"
if CHANNEL_LAYER == "pubsub" and (LAYER_RECONNECTS or ONE_SUBSCRIPTION):
    CHANNEL_LAYERS["default"]["BACKEND"] = "improvements.layers.PubSubLayer"
