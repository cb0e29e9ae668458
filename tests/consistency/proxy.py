"""TCP links that misbehave on command: between a process and a server, each way through here.

`mode` of a Proxy, changed at any time, also for the connections that stand:
  pass    bytes go through
  delay   each piece of bytes comes late
  hold    nothing goes through and nobody is told, as in a partition: connections are accepted and stay silent
  cut     connections are closed, new ones too
  reset   as cut, with a reset instead of an end
"""
import asyncio
import contextlib
import socket
import struct
import sys
import threading

MODES = ("pass", "delay", "hold", "cut", "reset")
DELAY_SECONDS = 0.15
LOOK_SECONDS = 0.02
PIECE = 64 * 1024


class Proxies:
    """A thread that all proxies of a run share."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self._proxies = []

    def add(self, port, host="127.0.0.1", at="127.0.0.1", listen=0):
        """A proxy on a port of `at` (else a free one), for the server at host:port."""
        proxy = asyncio.run_coroutine_threadsafe(Proxy.open(host, port, at, listen), self._loop).result(10)
        self._proxies.append(proxy)
        return proxy

    def close(self):
        async def end():
            for proxy in self._proxies:
                await proxy.close()
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Proxy:
    def __init__(self, host, port):
        self.host, self.to_port, self.mode = host, port, "pass"
        self.connections = 0

    @classmethod
    async def open(cls, host, port, at, listen):
        proxy = cls(host, port)
        proxy.server = await asyncio.start_server(proxy._serve, at, listen)
        proxy.port = proxy.server.sockets[0].getsockname()[1]
        return proxy

    async def close(self):
        self.server.close()
        await self.server.wait_closed()

    def _broken(self):
        return self.mode in ("cut", "reset")

    async def _serve(self, reader, writer):
        self.connections += 1
        far_writer = None
        try:
            while self.mode == "hold":
                await asyncio.sleep(LOOK_SECONDS)
            if self._broken():
                return
            far_reader, far_writer = await asyncio.open_connection(self.host, self.to_port)
            pumps = [asyncio.ensure_future(self._pump(reader, far_writer)), asyncio.ensure_future(self._pump(far_reader, writer)),
                     asyncio.ensure_future(self._until_broken())]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in filter(None, (writer, far_writer)):
                self._drop(one)

    def _drop(self, writer):
        if self.mode == "reset":
            with contextlib.suppress(OSError, AttributeError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort() if self.mode == "reset" else writer.close()

    async def _until_broken(self):
        while not self._broken():
            await asyncio.sleep(LOOK_SECONDS)

    async def _pump(self, reader, writer):
        while piece := await reader.read(PIECE):
            if self.mode == "delay":
                await asyncio.sleep(DELAY_SECONDS)
            while self.mode == "hold":
                await asyncio.sleep(LOOK_SECONDS)
            writer.write(piece)
            await writer.drain()


def main(links):
    """Links ADDRESS:PORT=ADDRESS:PORT, until standard input ends."""
    proxies = Proxies()
    for link in links:
        (at, listen), (host, port) = (end.rsplit(":", 1) for end in link.split("="))
        proxies.add(int(port), host, at, int(listen))
    print("ready", flush=True)
    sys.stdin.read()
    proxies.close()


if __name__ == "__main__":
    main(sys.argv[1:])
