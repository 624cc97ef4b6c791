"""Processes that draw: replaced when they end or hang, given up when they do so again and again."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from dactyl_tl.errors import CollectionError
from dactyl_tl.vision.artists import Artists
from dactyl_tl.vision.drawing import Drawing
from tests.processes import kill_children

DRAWING = Drawing(renderer="classic", randomized=False)


def end() -> None:
    os._exit(1)


def test_processes_that_end_again_and_again_are_an_error() -> None:
    with (
        closing(Artists(DRAWING, 1)) as artists,
        pytest.warns(UserWarning, match="is replaced"),
        pytest.raises(CollectionError, match=r"processes that draw pictures ended 3 times in a row"),
    ):
        list(artists.map(end, [()]))


def hang_once(path: Path) -> str:
    """The first time for ever."""
    if not path.exists():
        path.touch()
        time.sleep(600)
    return "done"


def test_a_process_that_hangs_is_replaced_and_says_where_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        closing(Artists(DRAWING, 1, patience_seconds=1.0)) as artists,
        pytest.warns(UserWarning, match="is replaced"),
    ):
        assert list(artists.map(hang_once, [(tmp_path / "hung",)])) == ["done"]
    assert "in hang_once" in capfd.readouterr().err


def test_a_process_that_ends_between_two_jobs_is_replaced() -> None:
    with closing(Artists(DRAWING, 1)) as artists:
        assert list(artists.map(abs, [(-1,), (-2,)])) == [1, 2]
        kill_children()
        with pytest.warns(UserWarning, match="is replaced"):
            assert list(artists.map(abs, [(-3,)])) == [3]
