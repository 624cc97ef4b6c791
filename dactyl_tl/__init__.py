"""Dexterous in-hand manipulation: OpenAI's Dactyl (arXiv 1808.00177) on MuJoCo, TorchRL and Lightning.

>>> from dactyl_tl import make_env, load_policy
>>> env = make_env("block", num_envs=256, randomization="all", seed=0)
>>> policy = load_policy("path/to/bundle")
>>> rollout = env.rollout(100, policy)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dactyl_tl.registration import register_environments

if TYPE_CHECKING:
    from dactyl_tl.checkpoint import load_policy
    from dactyl_tl.envs import make_env
    from dactyl_tl.estimators.bundles import load_estimator

__all__ = ["load_estimator", "load_policy", "make_env"]

_SOURCES = {
    "make_env": "dactyl_tl.envs",
    "load_policy": "dactyl_tl.checkpoint",
    "load_estimator": "dactyl_tl.estimators.bundles",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: registering with Gymnasium should not cost an import of torchrl.
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_SOURCES[name]), name)


register_environments()
