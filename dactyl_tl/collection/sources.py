"""The ways of collecting, by name."""

from __future__ import annotations

from dactyl_tl.collection.collectors import Asynchronous, InProcess, MultiProcess
from dactyl_tl.collection.remote import Remote

SOURCES: dict[str, type[InProcess] | type[MultiProcess] | type[Remote]] = {
    "multiprocess": MultiProcess,
    "inprocess": InProcess,
    "asynchronous": Asynchronous,
    "ray": Remote,
}
"""The ways of collecting by the name that the configuration uses."""
