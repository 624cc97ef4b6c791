"""Ways to the vendor's topics: the twin's sockets, a rosbridge server, or ROS 1 itself."""

from __future__ import annotations

import json
import queue
from importlib import import_module
from typing import Any, Callable

import zmq

from hardware.lowlevel.hand import HandError
from hardware.lowlevel.vendor import Message

SEPARATOR = b"\0"
"""Between topic and JSON in a frame of the twin's."""

CONNECTING = 5.0
"""s that a connection may take."""


class TwinCarrier:
    """The twin's two sockets: it publishes at one and listens at the other.

    Args:
        topics, commands: ZeroMQ addresses.
    """

    def __init__(self, topics: str, commands: str) -> None:
        self._context = zmq.Context()
        self._inbound = self._context.socket(zmq.SUB)
        self._outbound = self._context.socket(zmq.PUB)
        self._callbacks: dict[bytes, Callable[[Message], None]] = {}
        for end, address in ((self._inbound, topics), (self._outbound, commands)):
            end.linger = 0
            end.connect(address)

    def subscribe(self, topic: str, kind: str, callback: Callable[[Message], None]) -> None:
        """See :class:`hardware.lowlevel.vendor.Carrier`."""
        self._callbacks[topic.encode()] = callback
        self._inbound.subscribe(topic.encode() + SEPARATOR)

    def advertise(self, topic: str, kind: str) -> Callable[[Message], None]:
        """See :class:`hardware.lowlevel.vendor.Carrier`."""
        head = topic.encode() + SEPARATOR
        return lambda message: self._outbound.send(head + json.dumps(message).encode(), zmq.NOBLOCK)

    def poll(self) -> None:
        """Call back for everything that has arrived; what is no message is left out."""
        while self._inbound.poll(0):
            topic, _, text = self._inbound.recv().partition(SEPARATOR)
            try:
                message = json.loads(text)
            except ValueError:
                continue
            self._callbacks[topic](message)

    def close(self) -> None:
        """Close both sockets."""
        self._context.destroy(linger=0)


class RosbridgeCarrier:
    """A rosbridge server, through roslibpy; a lost connection is an error, not waited for.

    Args:
        host, port: of the server.

    Raises:
        HandError: roslibpy is missing, or nobody answers.
    """

    def __init__(self, host: str, port: int) -> None:
        try:
            self._roslibpy = import_module("roslibpy")
        except ImportError:
            raise HandError("the rosbridge backend needs roslibpy: pip install 'roslibpy>=2.1'") from None
        # Called back by roslibpy's thread; handed over by ours.
        self._arrived: queue.SimpleQueue[tuple[Callable[[Message], None], Message]] = queue.SimpleQueue()
        self._ros = self._roslibpy.Ros(host, port, transport="asyncio")  # which sets TCP_NODELAY
        try:
            self._ros.run(timeout=CONNECTING)
        except self._roslibpy.core.RosTimeoutError:
            raise HandError(f"no rosbridge server answers at {host}:{port}") from None
        self._ros.factory.set_max_retries(0)  # what was queued for the lost one would move the hand later

    def subscribe(self, topic: str, kind: str, callback: Callable[[Message], None]) -> None:
        """See :class:`hardware.lowlevel.vendor.Carrier`."""
        listener = self._roslibpy.Topic(self._ros, topic, kind, queue_length=1)
        listener.subscribe(lambda message: self._arrived.put((callback, message)))

    def advertise(self, topic: str, kind: str) -> Callable[[Message], None]:
        """See :class:`hardware.lowlevel.vendor.Carrier`."""
        publisher = self._roslibpy.Topic(self._ros, topic, kind, queue_size=1)
        publisher.advertise()
        return lambda message: publisher.publish(self._roslibpy.Message(message))

    def poll(self) -> None:
        """Call back for everything that has arrived."""
        if not self._ros.is_connected:
            raise HandError("the connection to the rosbridge server is lost")
        _call_back(self._arrived)

    def close(self) -> None:
        """Close the connection."""
        self._ros.close()


class RosCarrier:
    """ROS 1 itself, through the rospy of the vendor's container.

    Raises:
        HandError: there is no rospy, or no ROS master answers.
    """

    def __init__(self) -> None:
        try:
            self._rospy = import_module("rospy")
            self._classes = import_module("roslib.message")
            self._fill = import_module("genpy.message").fill_message_args
        except ImportError as error:
            raise HandError(f"the ros backend needs ROS 1 ({error}): source its setup.bash") from None
        self._arrived: queue.SimpleQueue[tuple[Callable[[Message], None], Message]] = queue.SimpleQueue()
        try:
            import_module("rosgraph").Master("/dactyl_tl").getPid()
        except (OSError, ValueError) as error:
            raise HandError(f"no ROS master answers ({error}): is ROS_MASTER_URI right?") from None
        self._rospy.init_node("dactyl_tl", anonymous=True, disable_signals=True)

    def subscribe(self, topic: str, kind: str, callback: Callable[[Message], None]) -> None:
        """See :class:`hardware.lowlevel.vendor.Carrier`."""
        self._rospy.Subscriber(
            topic, self._class(kind), lambda message: self._arrived.put((callback, _plain(message))),
            queue_size=1, tcp_nodelay=True,
        )  # fmt: skip

    def advertise(self, topic: str, kind: str) -> Callable[[Message], None]:
        """See :class:`hardware.lowlevel.vendor.Carrier`."""
        build = self._class(kind)
        publisher = self._rospy.Publisher(topic, build, queue_size=1, tcp_nodelay=True)

        def publish(message: Message) -> None:
            filled = build()
            self._fill(filled, [message])
            publisher.publish(filled)

        return publish

    def poll(self) -> None:
        """Call back for everything that has arrived."""
        if self._rospy.is_shutdown():
            raise HandError("ROS has shut this node down")
        _call_back(self._arrived)

    def close(self) -> None:
        """Leave ROS."""
        self._rospy.signal_shutdown("done")

    def _class(self, kind: str) -> Any:
        found = self._classes.get_message_class(kind)
        if found is None:
            raise HandError(f"ROS has no message {kind}: install its package")
        return found


def _call_back(arrived: queue.SimpleQueue[tuple[Callable[[Message], None], Message]]) -> None:
    while not arrived.empty():
        callback, message = arrived.get()
        callback(message)


def _plain(value: Any) -> Any:
    """A ROS message as dictionaries, lists and numbers, as in rosbridge's JSON."""
    if hasattr(value, "__slots__"):
        return {name: _plain(getattr(value, name)) for name in value.__slots__}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
