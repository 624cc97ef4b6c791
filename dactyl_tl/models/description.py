"""What a file must state about a policy, so that it is never used for what it was not trained for."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dactyl_tl import contract
from dactyl_tl.models.config import NetworkConfig, PoseNetworkConfig

CHECKPOINT_ENTRY = "dactyl_tl"
"""Entry of a training checkpoint that holds :func:`describe` of its policy."""


ESTIMATOR_ENTRY = "dactyl_tl_estimator"
"""The same of a pose network, :func:`describe_estimator`."""


def contract_description() -> dict[str, Any]:
    """What a policy and a hand must agree on, as it stands in a bundle."""
    return {
        "contract_version": contract.CONTRACT_VERSION,
        "control_period": contract.CONTROL_PERIOD,
        "joints": list(contract.JOINTS),
        "actuators": list(contract.ACTUATORS),
        "bins": contract.NUM_BINS,
        # Pairs, not a mapping: their order matters, and mappings compare equal in any.
        "policy_inputs": [[name, contract.OBSERVATION_SIZES[name]] for name in contract.POLICY_INPUTS],
    }


def describe(config: NetworkConfig) -> dict[str, Any]:
    """The contract a policy was trained under and the network's sizes, in JSON types."""
    network = asdict(config)
    # A choice of the machine that trains. Whoever acts steps the same weights without it.
    del network["backend"]
    return {**contract_description(), "network": network}


def describe_estimator(config: PoseNetworkConfig) -> dict[str, Any]:
    """The contract a pose network was trained under and its sizes, in JSON types."""
    sizes = {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()
    }
    return {"contract_version": contract.CONTRACT_VERSION, "kind": "pose estimator", "network": sizes}
