"""The environments' names in Gymnasium's registry; nothing heavy is imported until one is made."""

from __future__ import annotations

import gymnasium

NAMESPACE = "dactyl_tl"
TASKS = {"Block": "block", "Prism": "prism", "BlockLockedWrist": "block_locked_wrist"}
"""Name in the registry and task of :func:`dactyl_tl.make_env`."""

_MODULE = "dactyl_tl.envs.gymnasium"


def environment_id(name: str) -> str:
    """The registered id of a key of :data:`TASKS`."""
    return f"{NAMESPACE}/{name}-v0"


def register_environments() -> None:
    """Register every task, single and as a native batch; done when ``dactyl_tl`` is imported."""
    for name, task in TASKS.items():
        if environment_id(name) not in gymnasium.registry:
            gymnasium.register(
                id=environment_id(name),
                entry_point=f"{_MODULE}:GymnasiumEnv",
                vector_entry_point=f"{_MODULE}:GymnasiumVectorEnv",
                kwargs={"task": task},
            )
