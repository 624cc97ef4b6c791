from functools import partial

import pytest

from dactyl_tl import make_env


def build(engine, task="block", **settings):
    settings = {"num_envs": 4, "seed": 0, "engine": engine, "initial_states": {"steps": 0}} | settings
    return make_env(task, **settings)


@pytest.fixture(params=["native", "warp"])
def quick_env(request):
    """Builds small environments whose episodes start at once, on either engine."""
    return partial(build, request.param)


@pytest.fixture
def native_env():
    """The same on the CPU engine, which simulates initial states for those alone that begin."""
    return partial(build, "native")


@pytest.fixture
def warp_env():
    """The same on the GPU engine, which simulates a stock of initial states for all."""
    return partial(build, "warp")
