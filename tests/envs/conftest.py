import pytest

from dactyl_tl import make_env


@pytest.fixture
def quick_env():
    """Builds small environments whose episodes start at once."""

    def build(task="block", **settings):
        settings = {"num_envs": 4, "seed": 0, "initial_states": {"steps": 0}} | settings
        return make_env(task, **settings)

    return build
