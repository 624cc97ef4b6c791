"""Memory that training takes, and what to turn when there is not enough of it."""

from __future__ import annotations

import resource

import torch

from dactyl_tl.configuration import Settings

GB = 1e9


def peak_host() -> float:
    """Largest resident memory of this process so far, GB; workers have memory of their own."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB


def peak_gpu(device: torch.device) -> float:
    """Largest memory that torch's tensors took on ``device`` since :func:`forget_peak_gpu`, GB."""
    return torch.cuda.max_memory_allocated(device) / GB


def used_gpu(device: torch.device) -> float:
    """Memory of ``device`` that is taken now by all programs and libraries, simulations included, GB."""
    free, total = torch.cuda.mem_get_info(device)
    return (total - free) / GB


def forget_peak_gpu(device: torch.device) -> None:
    """Measure the peak from here on."""
    torch.cuda.reset_peak_memory_stats(device)


def out_of_memory(settings: Settings, learning: bool, device: torch.device) -> str:
    """What to say when ``device`` had no more memory: the settings to change, and their values.

    Args:
        settings: of the run.
        learning: whether it happened in an update; otherwise while collecting.
        device: the learner's.
    """
    collection, ppo = settings.collection, settings.ppo
    frames = collection.rollout_frames
    update = (
        f"raise ppo.minibatches (now {ppo.minibatches}, {frames // ppo.minibatches} of the "
        f"{frames} frames of a rollout each)"
    )
    rollout = (
        f"lower collection.num_envs (now {collection.num_envs}) or collection.steps (now {collection.steps})"
    )
    phase, advice = (
        ("learning", f"{update}; if that does not help, {rollout}") if learning else ("collecting", rollout)
    )
    return f"out of memory on {device} while {phase}{_in_use(device)}; {advice}"


def _in_use(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    total = torch.cuda.get_device_properties(device).total_memory / GB
    return f" ({peak_gpu(device):.1f} of {total:.1f} GB were in use)"
