"""Videos are read back."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from dactyl_tl.rendering.video import VideoWriter, caption, grid


def test_a_video_plays_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "fade.mp4"
    with VideoWriter(path) as video:
        for level in (0, 120, 240):
            video.write(np.full((49, 65, 3), level, np.uint8))
        assert not path.exists()  # not before it is complete
    frames = imageio.imread(path)
    assert frames.shape == (3, 48, 64, 3)
    assert np.abs(frames.reshape(3, -1).mean(axis=1) - (0, 120, 240)).max() < 6
    assert imageio.immeta(path)["fps"] == pytest.approx(12.5)
    assert [file.name for file in tmp_path.iterdir()] == ["fade.mp4"]


def test_a_writer_without_frames_leaves_no_file(tmp_path: Path) -> None:
    VideoWriter(tmp_path / "none.mp4").close()
    assert not list(tmp_path.iterdir())


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "odd.mp4") as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(ValueError, match="does not fit"):
            video.write(np.zeros((16, 32, 3), np.uint8))


def test_a_grid_places_rows_and_columns() -> None:
    sheet = grid([np.full((10, 20, 3), value, np.uint8) for value in (10, 20, 30)], gap=2)
    assert sheet.shape == (22, 42, 3)
    assert (sheet[0, 0, 0], sheet[0, 22, 0], sheet[12, 0, 0], sheet[12, 22, 0]) == (10, 20, 30, 255)
    with pytest.raises(ValueError, match="equally large"):
        grid([])


def test_a_caption_darkens_its_corner_only() -> None:
    plain = np.full((120, 160, 3), 200, np.uint8)
    written = caption(plain, "3 rotations")
    assert written[:30, :100].min() < 80
    np.testing.assert_array_equal(written[60:], plain[60:])
    assert caption(plain, "", faded=True).mean() > 215


def test_a_long_caption_takes_more_lines_instead_of_going_beyond_the_edge() -> None:
    plain = np.full((480, 480, 3), 200, np.uint8)
    written = caption(plain, "touching: " + ", ".join(["little side"] * 5))
    dark = np.flatnonzero((written < 80).any((0, 2)))
    assert 440 < dark.max() < 470
    one_line = caption(plain, "touching: little side")
    lowest, lowest_of_one = (np.flatnonzero((each < 80).any((1, 2))).max() for each in (written, one_line))
    assert lowest > lowest_of_one + 15
