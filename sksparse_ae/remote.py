"""Rows that lie elsewhere, on a cluster of any kind."""

from ._network.remote import RemoteBlocks

__all__ = ["RemoteBlocks"]
