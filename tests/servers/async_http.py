"""HTTP/1.1 for asyncio, as little as a simulated kubelet needs: JSON over kept connections, and answers that go on."""
import asyncio
import contextlib
import json

MAX_LINE = 16 << 20
SECONDS = 30


class Broken(Exception):
    """The connection ended or spoke nonsense."""


class Client:
    """One server; at most `width` requests at once, each on a connection of its own that is kept for the next."""

    def __init__(self, host, port, tls=None, width=32, headers=""):
        self.host, self.port, self.tls, self.headers = host, port, tls, headers
        self.idle = []
        self.turn = asyncio.Semaphore(width)

    async def _connect(self):
        async with asyncio.timeout(SECONDS):
            return await asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=MAX_LINE)

    def _head(self, method, path, data, kind, headers):
        return (f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: application/json\r\nContent-Length: {len(data)}\r\nContent-Type: {kind}\r\n"
                f"{self.headers}{headers}\r\n").encode() + data

    async def request(self, method, path, body=None, kind="application/json", headers=""):
        """Status and the answer, JSON read where it is JSON. A kept connection that has ended meanwhile is made anew, once."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        head = self._head(method, path, data, kind, headers)
        async with self.turn:
            while True:
                kept = bool(self.idle)
                try:
                    reader, writer = self.idle.pop() if kept else await self._connect()
                except (OSError, asyncio.TimeoutError) as why:
                    raise Broken(f"{self.host}:{self.port}: {why}") from why
                try:
                    writer.write(head)
                    async with asyncio.timeout(SECONDS):  # unlike wait_for it never loses a cancellation
                        status, fields = await read_head(reader)
                        said = await read_body(reader, fields)
                except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, Broken) as why:
                    writer.close()
                    if kept and not isinstance(why, asyncio.TimeoutError):
                        continue
                    raise Broken(f"{method} {path}: {why!r}") from why
                except BaseException:
                    writer.close()
                    raise
                if fields.get("connection") == "close":
                    writer.close()
                else:
                    self.idle.append((reader, writer))
                with contextlib.suppress(ValueError):
                    said = json.loads(said) if said else {}
                return status, said

    @contextlib.asynccontextmanager
    async def lines(self, path):
        """The status of a GET and, when that is 200, its lines until it ends."""
        reader, writer = await self._connect()
        try:
            writer.write(self._head("GET", path, b"", "application/json", self.headers))
            async with asyncio.timeout(SECONDS):
                status, fields = await read_head(reader)
            yield status, read_lines(reader, fields)
        finally:
            writer.close()

    def close(self):
        for _, writer in self.idle:
            writer.close()
        self.idle.clear()


async def read_head(reader):
    first = (await reader.readline()).decode("latin-1").split(" ", 2)
    if len(first) < 2:
        raise Broken("the connection ended")
    fields = {}
    while line := (await reader.readline()).decode("latin-1").strip():
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return int(first[1]), fields


async def chunks(reader):
    while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
        yield await reader.readexactly(size)
        await reader.readline()
    await reader.readline()


async def read_body(reader, fields):
    if fields.get("transfer-encoding") == "chunked":
        return b"".join([chunk async for chunk in chunks(reader)])
    return await reader.readexactly(int(fields.get("content-length", 0)))


async def read_lines(reader, fields):
    if fields.get("transfer-encoding") != "chunked":
        return
    rest = b""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
        async for chunk in chunks(reader):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line:
                    yield line
