"""StackLab: see how a Django + Channels site carries heavy traffic."""

__version__ = "0.1.0"
