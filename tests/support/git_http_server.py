#!/usr/bin/env python3
"""Serves the git repositories under a directory by smart HTTP (git http-backend), on a free loopback port it prints.

  git_http_server.py ROOT [--old] [--login USER:PASSWORD]

--old speaks protocol 0, in which a server gives no commit that no ref names. While a file ROOT/stall exists, answers with a
pack stop 20 bytes before their end and hang until the client is gone, which ROOT/gone then says.
"""
import argparse
import base64
import http.server
import os
import pathlib
import select
import subprocess
import sys

arguments = argparse.ArgumentParser()
arguments.add_argument("root", type=pathlib.Path)
arguments.add_argument("--old", action="store_true")
arguments.add_argument("--login", default="")
options = arguments.parse_args()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.read_body())

    def read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def allowed(self):
        expected = "Basic " + base64.b64encode(options.login.encode()).decode()
        return not options.login or self.headers.get("Authorization") == expected

    def answer(self, body):
        if not self.allowed():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        head, _, content = self.run_backend(body).partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if b"PACK" in content and (options.root / "stall").exists():
            self.stall(content[:-20])
        else:
            self.wfile.write(content)

    def stall(self, beginning):
        self.wfile.write(beginning)
        self.wfile.flush()
        (options.root / "stalled").touch()
        select.select([self.connection], [], [])
        (options.root / "gone").touch()
        self.close_connection = True

    def run_backend(self, body):
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(options.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        if not options.old:
            environment["GIT_PROTOCOL"] = self.headers.get("Git-Protocol", "")
        return subprocess.run(["git", "http-backend"], input=body, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the tests


server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
