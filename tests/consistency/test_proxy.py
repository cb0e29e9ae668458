"""A link does what it is told, to new connections and to those that stand."""
import socket
import socketserver
import threading
import time
import unittest

from proxy import DELAY_SECONDS, Proxies


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1000):
            self.request.sendall(data)


class Links(unittest.TestCase):
    def setUp(self):
        socketserver.ThreadingTCPServer.daemon_threads = True
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.proxies = Proxies()
        self.proxy = self.proxies.add(self.server.server_address[1])

    def tearDown(self):
        self.proxies.close()
        self.server.shutdown()
        self.server.server_close()

    def connect(self, seconds=2.0):
        connection = socket.create_connection(("127.0.0.1", self.proxy.port), 5)
        connection.settimeout(seconds)
        self.addCleanup(connection.close)
        return connection

    def said(self, connection, word=b"hello"):
        """What comes back: the word, "" for an end, "reset", or "silence"."""
        try:
            connection.sendall(word)
            return connection.recv(1000).decode()
        except socket.timeout:
            return "silence"
        except OSError:
            return "reset"

    def test_bytes_pass(self):
        self.assertEqual("hello", self.said(self.connect()))

    def test_bytes_come_late(self):
        connection, self.proxy.mode = self.connect(), "delay"
        began = time.monotonic()
        self.assertEqual("hello", self.said(connection))
        self.assertGreaterEqual(time.monotonic() - began, 2 * DELAY_SECONDS)

    def test_a_held_link_is_silent_and_goes_on_where_it_stood(self):
        connection = self.connect(0.3)
        self.assertEqual("hello", self.said(connection))
        self.proxy.mode = "hold"
        self.assertEqual("silence", self.said(connection))
        fresh = self.connect(0.3)
        self.assertEqual("silence", self.said(fresh, b"fresh"))
        self.proxy.mode = "pass"
        self.assertEqual("hello", connection.recv(1000).decode())
        self.assertEqual("fresh", fresh.recv(1000).decode())

    def test_a_cut_link_ends_what_stands_and_what_comes(self):
        for mode, ends in (("cut", {"", "reset"}), ("reset", {"reset", ""})):
            self.proxy.mode = "pass"
            connection = self.connect()
            self.assertEqual("hello", self.said(connection))
            self.proxy.mode = mode
            time.sleep(0.2)
            self.assertIn(self.said(connection), ends)
            self.assertIn(self.said(self.connect()), ends)
        self.proxy.mode = "pass"
        self.assertEqual("hello", self.said(self.connect()))


if __name__ == "__main__":
    unittest.main()
