"""A rosbridge server in front of the twin hand: ROS's topics as JSON over a websocket."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Mapping
from typing import Any

from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol

LOOPBACK = "127.0.0.1"


class RosbridgeServer:
    """Serves until closed, in a thread of its own.

    Args:
        port: To listen at, on this machine only; 0 for any.

    Raises:
        OSError: The port is taken.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.arrived: queue.SimpleQueue[tuple[str, Mapping[str, Any]]] = queue.SimpleQueue()
        self.clients: set[_Client] = set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(self._bind())
        self._thread = threading.Thread(target=self._run, name="twin: rosbridge", daemon=True)
        self._thread.start()

    def publish(self, topic: str, message: Mapping[str, Any]) -> None:
        """Send to all that subscribe to ``topic``."""
        text = json.dumps({"op": "publish", "topic": topic, "msg": message}).encode()
        self._loop.call_soon_threadsafe(self._send, topic, text)

    def close(self) -> None:
        """End all connections and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _send(self, topic: str, text: bytes) -> None:
        for client in self.clients:
            if topic in client.topics and client.state == client.STATE_OPEN:
                client.sendMessage(text)

    async def _bind(self) -> asyncio.Server:
        factory = WebSocketServerFactory(loop=self._loop)
        factory.protocol = _Client
        factory.bridge = self
        server = await self._loop.create_server(factory, LOOPBACK, self.port or None)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._server.close()
        for client in list(self.clients):
            client.dropConnection(abort=True)
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


class _Client(WebSocketServerProtocol):
    """One connection."""

    def onOpen(self) -> None:
        self.topics: set[str] = set()
        self.factory.bridge.clients.add(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        message = json.loads(payload)
        operation, topic = message.get("op"), message.get("topic", "")
        if operation == "subscribe":
            self.topics.add(topic)
        elif operation == "unsubscribe":
            self.topics.discard(topic)
        elif operation == "publish":
            self.factory.bridge.arrived.put((topic, message["msg"]))
        elif operation not in ("advertise", "unadvertise"):
            status = {"op": "status", "level": "error", "msg": f"unknown operation {operation!r}"}
            self.sendMessage(json.dumps(status).encode())

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.factory.bridge.clients.discard(self)
