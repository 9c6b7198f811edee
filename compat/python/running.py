"""Starts the server's binary, AGENTDB, for tests."""

import os
import re
import subprocess
import tempfile
import unittest

BINARY = os.environ["AGENTDB"]


class Server(unittest.TestCase):
    """A server, a directory, and a database for each test."""

    dev = True  # asks for no tokens

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory()
        cls.data = os.path.join(cls.dir.name, "data")
        cls.start("127.0.0.1:0")

    @classmethod
    def start(cls, listen):
        flags = ["--dev"] if cls.dev else []
        cls.process = subprocess.Popen(
            [BINARY, "serve", *flags, "--listen", listen, "--data", cls.data, "--log-level", "warn"],
            stdout=subprocess.PIPE, text=True)
        for line in cls.process.stdout:
            if m := re.search(r"http://(127\.0\.0\.1:\d+)", line):
                cls.address = m[1]
                break

    @classmethod
    def kill(cls):
        """Ends the server as a power cut would."""
        cls.process.kill()
        cls.process.communicate()

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        cls.process.communicate()
        cls.dir.cleanup()

    def name(self):
        return self.id().split(".", 1)[1].lower().replace(".", "-").replace("_", "-")

    def url(self, protocol="http"):
        return f"{protocol}://{self.address}/db/{self.name()}-{protocol}"

    def path(self, name):
        """A file of this test."""
        return os.path.join(self.dir.name, f"{self.name()}-{name}.db")

    def token(self, access="full"):
        out = subprocess.check_output(
            [BINARY, "token", "create", f"{self.name()}-http", "--access", access, "--data", self.data],
            stderr=subprocess.DEVNULL, text=True)
        return out.strip()
