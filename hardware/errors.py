"""What can go wrong with hardware in a way that a person can put right."""

from __future__ import annotations


class HardwareError(RuntimeError):
    """Hardware, or what speaks for it, fails or cannot be reached; the text says what to do."""
