"""From frames of markers to fingertips and object in the hand-base frame, as the policy was trained on them.

Everything is expressed in the frame fitted to the three reference markers (Appendix B.1); a lost marker
repeats its last reading for a while, as in training. No clock is read here: the caller says what time it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dactyl_tl.contract import FINGERS
from hardware.capture.frames import Frame
from hardware.capture.rig import Rig
from hardware.capture.rigid import Pose, check_layout, fit, fit_without_outliers, rms
from hardware.capture.tracks import Limits, T, Track, exchanged

AHEAD = 1.0
"""s: a frame whose device time runs this far ahead of its arrival is damaged."""


@dataclass(frozen=True)
class Reading:
    """What motion capture shows at one instant.

    Attributes:
        fingertips: (5, 3) m in the hand-base frame, in the order of ``FINGERS``; None until all were seen.
        fingertip_ages_ns: of each fingertip's reading; None where it was never seen.
        object_position: (3,) m, and ``object_orientation`` (4,) wxyz, w not negative; None until seen.
        object_age_ns, base_age_ns, stream_age_ns: of the object's reading, of the fit of the hand base and of
            the newest frame; None before the first. The stream's counts how much later than usual it came.
        held: names of those whose last reading is repeated.
        lost: names of those without a reading young enough: fingers, "object", "base", "stream". Hold the
            hand while there is any.
        base_residual, object_residual: rms of the last fits, m; NaN before.
        base_shift: rms distance of the reference markers from where they were calibrated, m; NaN where they
            were not.
        base_moved: whether that is too far.
        rejected: readings so far that jumped, or that did not fit, or that carried a wrong label.
    """

    fingertips: np.ndarray | None
    fingertip_ages_ns: tuple[int | None, ...]
    object_position: np.ndarray | None
    object_orientation: np.ndarray | None
    object_age_ns: int | None
    base_age_ns: int | None
    stream_age_ns: int | None
    held: tuple[str, ...]
    lost: tuple[str, ...]
    base_residual: float
    object_residual: float
    base_shift: float
    base_moved: bool
    rejected: int


class Tracker:
    """Follows the markers of a rig.

    Raises:
        ConfigurationError: the object's layout is too symmetric for its residual limit.
    """

    def __init__(self, rig: Rig, limits: Limits | None = None) -> None:
        self.rig = rig
        self.limits = limits = limits or Limits()
        if rig.object_markers:
            check_layout(rig.object_layout, 2.0 * limits.object_residual)
        self._newest: Frame | None = None
        self._offset = math.inf
        self._lag = 0.0
        self._rejected = 0
        self._residuals = {"base": math.nan, "object": math.nan}
        self.reset()

    def reset(self) -> None:
        """Forget where everything was, wrong labels too; readings begin anew."""
        self._base: Track[Pose] = Track(self.limits)
        self._references: np.ndarray | None = None  # (3, 3) m, averaged
        self._references_time = 0.0
        self._object: Track[Pose] = Track(self.limits)
        self._fingertips: list[Track[np.ndarray]] = [Track(self.limits) for _ in FINGERS]

    def update(self, frames: Iterable[Frame], now_ns: int) -> Reading:
        """Take in frames, oldest first, and say what is known at ``now_ns`` (the clock of ``received_ns``).

        A marker that is told as lost is believed anew wherever it then stays for a few frames; so a jump
        always shows as a loss first. One under a wrong label stays lost until the labels are right or
        :meth:`reset`.
        """
        for frame in frames:
            if self._is_new(frame):
                self._take(frame)
        return self._read(now_ns)

    def _is_new(self, frame: Frame) -> bool:
        if not math.isfinite(frame.device_time):
            return False
        arrived = frame.received_ns * 1e-9
        last = self._newest
        if last is None:
            self._offset = arrived - frame.device_time
        else:
            elapsed = frame.device_time - last.device_time
            if frame.sequence <= last.sequence or elapsed <= 0.0:
                return False
            if elapsed > (frame.received_ns - last.received_ns) * 1e-9 + AHEAD:
                return False
            self._offset = min(self._offset + self.limits.drift * elapsed, arrived - frame.device_time)
        self._lag = arrived - frame.device_time - self._offset
        self._newest = frame
        return True

    def _take(self, frame: Frame) -> None:
        self._fit_base(frame)
        base = self._base.reading
        if base is None or frame.received_ns - self._base.read_ns > self.limits.hold_ns:
            return
        self._take_fingertips(frame, base)
        if self.rig.object_markers:
            self._fit_object(frame, base)

    def _fit_base(self, frame: Frame) -> None:
        seen = _positions(frame, self.rig.references)
        if len(seen) < len(self.rig.references):
            return
        points = np.array([seen[id_] for id_ in self.rig.references])
        _, residuals = fit(self.rig.reference_layout, points)
        if rms(residuals) > self.limits.base_residual:
            self._rejected += 1
            return
        calm = self._calm_down(points, frame.device_time)
        pose, _ = fit(self.rig.reference_layout, calm)
        if self._offer(self._base, points, pose, frame):
            self._residuals["base"] = rms(residuals)
            self._references, self._references_time = calm, frame.device_time

    def _calm_down(self, points: np.ndarray, time: float) -> np.ndarray:
        average = self._references
        if average is None or rms(np.linalg.norm(points - average, axis=1)) > self.limits.base_still:
            return points
        share = -math.expm1(-(time - self._references_time) / self.limits.base_calm)
        return average + share * (points - average)

    def _take_fingertips(self, frame: Frame, base: Pose) -> None:
        ids = [self.rig.fingertips[finger] for finger in FINGERS]
        found = _positions(frame, ids)
        if not found:
            return
        places = base.into(np.array(list(found.values())))
        far = np.linalg.norm(places - self.limits.reach_centre, axis=1) > self.limits.reach
        self._rejected += int(far.sum())
        seen = {ids.index(id_): at for id_, at, out in zip(found, places, far, strict=True) if not out}
        known = [index for index in seen if self._fingertips[index].points is not None]
        if known:
            tracks = np.concatenate([self._fingertips[index].points for index in known])  # type: ignore[misc]
            labels = exchanged(tracks, np.array([seen[index] for index in known]), self.limits.slack)
            for wrong, place in labels.items():
                self._fingertips[known[wrong]].follow(seen[known[place]][None], frame.device_time)
            for wrong in labels:
                self._rejected += 1
                del seen[known[wrong]]
        for index, at in seen.items():
            self._offer(self._fingertips[index], at[None], at, frame)

    def _fit_object(self, frame: Frame, base: Pose) -> None:
        ids = list(self.rig.object_markers)
        seen = _positions(frame, ids)
        if len(seen) < 3:
            return
        layout = np.array([self.rig.object_markers[id_] for id_ in seen])
        measured = base.into(np.array(list(seen.values())))
        found = fit_without_outliers(layout, measured, self.limits.object_residual)
        if found is None:
            self._rejected += 1
            return
        pose, residuals, _ = found
        if self._offer(self._object, pose.apply(self.rig.object_layout), pose, frame):
            self._residuals["object"] = rms(residuals)

    def _offer(self, track: Track[T], points: np.ndarray, reading: T, frame: Frame) -> bool:
        known = track.points is not None
        believed = track.offer(points, reading, frame.device_time, frame.received_ns)
        self._rejected += known and not believed
        return believed

    def _read(self, now_ns: int) -> Reading:
        stream_age = None
        if self._newest is not None:
            stream_age = max(0, now_ns - self._newest.received_ns + int(self._lag * 1e9))
        lost = ["stream"] if stream_age is None or stream_age > self.limits.stream_ns else []
        named: dict[str, Track[Pose] | Track[np.ndarray]] = {"base": self._base}
        named.update(zip(FINGERS, self._fingertips, strict=True))
        if self.rig.object_markers:
            named["object"] = self._object
        held, ages = [], {}
        for name, track in named.items():
            ages[name] = None if track.reading is None else max(0, now_ns - track.read_ns)
            age = ages[name]
            if age is None or age > self.limits.hold_ns:
                lost.append(name)
                track.forget()
            elif self._newest is not None and track.read_ns != self._newest.received_ns:
                held.append(name)
        tips = [track.reading for track in self._fingertips if track.reading is not None]
        pose = self._object.reading
        shift = self._base_shift()
        return Reading(
            fingertips=np.array(tips) if len(tips) == len(FINGERS) else None,
            fingertip_ages_ns=tuple(ages[finger] for finger in FINGERS),
            object_position=None if pose is None else pose.position.copy(),
            object_orientation=None if pose is None else pose.quaternion,
            object_age_ns=ages.get("object"),
            base_age_ns=ages["base"],
            stream_age_ns=stream_age,
            held=tuple(held),
            lost=tuple(lost),
            base_residual=self._residuals["base"],
            object_residual=self._residuals["object"],
            base_shift=shift,
            base_moved=shift > self.limits.base_shift,
            rejected=self._rejected,
        )

    def _base_shift(self) -> float:
        pose, calibrated = self._base.reading, self.rig.reference_positions
        if pose is None or calibrated is None:
            return math.nan
        return rms(np.linalg.norm(pose.apply(self.rig.reference_layout) - calibrated, axis=1))


def _positions(frame: Frame, ids: Iterable[int]) -> dict[int, np.ndarray]:
    """Of the markers ``ids``, those that are valid and finite, whatever an adapter says: id -> (3,) m."""
    found = {}
    for id_ in ids:
        marker = frame.markers.get(id_)
        if marker is not None and marker.valid and np.isfinite(marker.position).all():
            found[id_] = marker.position
    return found
