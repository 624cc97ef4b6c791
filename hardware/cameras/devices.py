"""Basler cameras as pylon knows them: which are connected, and how one is set up.

pypylon comes with Basler's own licence and 240 MB, so it is an extra, imported when a camera is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dactyl_tl.contract import CAMERAS
from hardware.cameras.frames import HEIGHT, WIDTH
from hardware.cameras.settings import FIRST, SOFTWARE, CameraSettings
from hardware.errors import HardwareError

EMULATED = "BaslerCamEmu"
"""Class of pylon's emulated cameras, of which there are as many as ``PYLON_CAMEMU`` says when pypylon is
imported."""

LINK = "BslUSBSpeedMode"
"""Speed at which a USB camera is connected."""

COLOURS = ("Red", "Green", "Blue")

RGB = ("RGB8", "RGB8Packed")
"""Names of the pixel format of newer and older cameras."""


@dataclass(frozen=True)
class Connected:
    """A camera that pylon sees.

    Attributes:
        serial: Number.
        name: User-defined, may be empty.
        model: As of the vendor.
        kind: Pylon's class of devices, as "BaslerUsb".
        info: Pylon's own description, to create it from.
    """

    serial: str
    name: str
    model: str
    kind: str
    info: Any

    def __str__(self) -> str:
        return f"{self.model} {self.serial}" + (f" {self.name!r}" if self.name else "")


def load_pylon() -> tuple[Any, Any]:
    """The modules ``pylon`` and ``genicam`` of pypylon.

    Raises:
        HardwareError: It is not installed.
    """
    try:
        from pypylon import genicam, pylon
    except ImportError as error:
        raise HardwareError(f"Basler cameras need pypylon: pip install pypylon ({error})") from error
    return pylon, genicam


def connected() -> list[Connected]:
    """Cameras that pylon sees, by serial number.

    Raises:
        HardwareError: pypylon is not installed, or cannot look.
    """
    pylon, genicam = load_pylon()
    try:
        found = pylon.TlFactory.GetInstance().EnumerateDevices()
    except genicam.GenericException as error:
        raise HardwareError(f"pylon cannot look for cameras: {first_line(error)}") from error
    cameras = [
        Connected(
            each.GetSerialNumber(),
            each.GetUserDefinedName(),
            each.GetModelName(),
            each.GetDeviceClass(),
            each,
        )
        for each in found
    ]
    return sorted(cameras, key=lambda camera: camera.serial)


def choose(names: Mapping[str, str], found: Sequence[Connected]) -> dict[str, Connected]:
    """Which of the cameras ``found`` is which, in the order of :data:`dactyl_tl.contract.CAMERAS`.

    Args:
        names: Serial number or user-defined name of each.
        found: What is connected.

    Raises:
        HardwareError: One is missing, several have its name, or two names are one camera's.
    """
    chosen: dict[str, Connected] = {}
    for camera in CAMERAS:
        wanted = names[camera]
        fitting = [each for each in found if wanted in (each.serial, each.name)]
        if not fitting:
            there = ", ".join(map(str, found)) or "no camera at all"
            raise HardwareError(f"{camera} ({wanted}) is not connected; pylon sees {there}")
        if len(fitting) > 1:
            raise HardwareError(
                f"{camera} ({wanted}) is ambiguous: {', '.join(map(str, fitting))}; name its serial number"
            )
        for other, taken in chosen.items():
            if taken.serial == fitting[0].serial:
                raise HardwareError(f"{camera} ({wanted}) and {other} are one camera, {taken}")
        chosen[camera] = fitting[0]
    return chosen


def attach(camera: Connected) -> Any:
    """Open a camera: pylon's ``InstantCamera``.

    Raises:
        HardwareError: Another program has it, or it does not answer.
    """
    pylon, genicam = load_pylon()
    try:
        device = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateDevice(camera.info))
        device.Open()
    except genicam.GenericException as error:
        raise HardwareError(
            f"{camera} cannot be opened, has another program got it? {first_line(error)}"
        ) from error
    return device


def link(device: Any) -> str:
    """Speed of the link to an open camera, as "SuperSpeed"; "unknown" where it does not say."""
    _, genicam = load_pylon()
    node = getattr(device, LINK)
    return str(node.Value) if genicam.IsReadable(node) else "unknown"


def has_clock(device: Any) -> bool:
    """Whether an open camera's clock can be read."""
    return bool(device.TimestampLatch.IsWritable())


def configure(device: Any, camera: str, settings: CameraSettings, kind: str) -> list[str]:
    """Set up an open camera from its factory settings on, so that nothing is left from another use.

    Args:
        device: Pylon's ``InstantCamera``.
        camera: Which of :data:`dactyl_tl.contract.CAMERAS` it is.
        settings: For all.
        kind: Pylon's class of devices.

    Returns:
        names of settings that an emulated camera does not have.

    Raises:
        HardwareError: A camera lacks a setting or refuses its value; the message says what it takes.
    """
    nodes = _Nodes(device, camera, emulated=kind == EMULATED)
    nodes.put("UserSetSelector", "Default")
    nodes.run("UserSetLoad")
    nodes.put("PixelFormat", nodes.first_of("PixelFormat", RGB))
    nodes.put("OffsetX", 0)
    nodes.put("OffsetY", 0)
    nodes.put("Width", WIDTH)
    nodes.put("Height", HEIGHT)
    if kind != EMULATED:  # an emulated one's sensor is as large as its pictures
        nodes.centre("OffsetX", "SensorWidth", WIDTH)
        nodes.centre("OffsetY", "SensorHeight", HEIGHT)
    for automatic in ("ExposureAuto", "GainAuto", "BalanceWhiteAuto"):
        nodes.put(automatic, "Off")
    nodes.put("ExposureMode", "Timed")
    nodes.put("ExposureTime", settings.exposure * 1e6)
    nodes.put("Gain", settings.gain)
    for colour, ratio in zip(COLOURS, settings.white_balance, strict=True):
        nodes.put("BalanceRatioSelector", colour)
        nodes.put("BalanceRatio", ratio)
    _set_trigger(nodes, camera, settings)
    if camera in settings.emulated and kind == EMULATED:
        nodes.put("TestImageSelector", "Off")
        nodes.put("ImageFilename", settings.emulated[camera])
        nodes.put("ImageFileMode", "On")
    return nodes.missing


def _set_trigger(nodes: _Nodes, camera: str, settings: CameraSettings) -> None:
    nodes.put("AcquisitionMode", "Continuous")
    nodes.put("TriggerSelector", "FrameStart")
    if settings.trigger == FIRST and camera == CAMERAS[0]:
        nodes.put("TriggerMode", "Off")
        nodes.put("AcquisitionFrameRateEnable", True)
        nodes.put("AcquisitionFrameRate", settings.rate)
        nodes.put("LineSelector", settings.output_line)
        nodes.put("LineMode", "Output")
        nodes.put("LineSource", "ExposureActive")
        return
    nodes.put("AcquisitionFrameRateEnable", False)
    nodes.put("TriggerMode", "On")
    if settings.trigger == SOFTWARE:
        nodes.put("TriggerSource", "Software")
    else:
        nodes.put("TriggerSource", settings.input_line)
        nodes.put("TriggerActivation", "RisingEdge")


class _Nodes:
    """Settings of an open camera, by the names that the vendor gives them."""

    def __init__(self, device: Any, camera: str, *, emulated: bool) -> None:
        _, self._genicam = load_pylon()
        self._device, self._camera, self._emulated = device, camera, emulated
        self.missing: list[str] = []

    def put(self, name: str, value: Any) -> None:
        """Set ``name``."""
        node = getattr(self._device, name)
        if not self._offered(name, self._genicam.IsAvailable(node)):
            return
        try:
            if self._genicam.IsWritable(node):
                node.Value = value
            if (is_now := node.Value) != value and not _close(is_now, value):
                raise HardwareError(f"{self._camera}: {name} is {is_now} and cannot be set to {value}")
        except self._genicam.GenericException as error:
            raise HardwareError(f"{self._camera}: {name}={value}: {first_line(error)}") from error

    def first_of(self, name: str, values: Sequence[str]) -> str:
        """The first of ``values`` that ``name`` can have; the first of all if it can have none."""
        offered = getattr(self._device, name).Symbolics
        return next((each for each in values if each in offered), values[0])

    def run(self, name: str) -> None:
        """Execute a command."""
        node = getattr(self._device, name)
        if self._offered(name, self._genicam.IsWritable(node)):
            try:
                node.Execute()
            except self._genicam.GenericException as error:
                raise HardwareError(f"{self._camera}: {name}: {first_line(error)}") from error

    def centre(self, offset: str, sensor: str, size: int) -> None:
        """Read the middle of the sensor, as nearly as its steps allow."""
        node = getattr(self._device, offset)
        if not self._offered(offset, self._genicam.IsWritable(node)):
            return
        if not self._offered(sensor, self._genicam.IsReadable(getattr(self._device, sensor))):
            return
        middle = (getattr(self._device, sensor).Value - size) // 2
        self.put(offset, min(node.Max, middle - middle % node.Inc))

    def _offered(self, name: str, available: bool) -> bool:
        if available:
            return True
        if not self._emulated:
            raise HardwareError(f"{self._camera} has no setting {name}: is it an acA640-750uc?")
        if name not in self.missing:
            self.missing.append(name)
        return False


def _close(is_now: Any, value: Any) -> bool:
    """Whether a number is what was asked for, but for the steps in which cameras count."""
    numbers = isinstance(is_now, int | float) and isinstance(value, int | float)
    return numbers and abs(is_now - value) <= max(0.01 * abs(value), 0.01)


def first_line(error: Exception) -> str:
    """What an error of pylon says, without where in its sources."""
    return str(error).split(" : ")[0].strip()
