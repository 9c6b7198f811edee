"""pyturso: files that sync."""

import asyncio
import threading
import unittest

import libsql
import turso
import turso.aio.sync
import turso.sync
import turso_serverless
from turso.sync import PartialSyncOpts, PartialSyncPrefixBootstrap, PartialSyncQueryBootstrap

from running import Server


class Sync(Server):
    def setUp(self):
        self.sql = turso_serverless.connect(self.url(), isolation_level=None)
        self.addCleanup(self.sql.close)
        self.sql.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, x); CREATE TABLE big (id INTEGER PRIMARY KEY, s)")

    def file(self, name, **options):
        db = turso.sync.connect(self.path(name), remote_url=self.url(), **options)
        self.addCleanup(db.close)
        return db

    def rows(self, db):
        return db.execute("SELECT x FROM t ORDER BY x").fetchall()

    def fill(self):
        self.sql.execute("""WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 400)
            INSERT INTO big(s) SELECT printf('%0500d', n) FROM c""")
        self.sql.execute("INSERT INTO t(x) VALUES ('a')")

    def test_two_files_converge(self):
        a, b = self.file("a"), self.file("b")
        for db, first in (a, 1), (b, 100):
            db.executemany("INSERT INTO t VALUES (?, ?)", [(first + i, f"{first + i}") for i in range(10)])
            db.commit()
            db.push()
        a.execute("UPDATE t SET x = 'of a' WHERE id = 1")
        a.execute("DELETE FROM t WHERE id = 2")
        a.commit()
        a.push()
        b.pull()
        a.pull()
        self.assertEqual(self.rows(a), self.rows(self.sql))
        self.assertEqual(self.rows(b), self.rows(self.sql))
        self.assertEqual(len(self.rows(a)), 19)
        self.assertFalse(a.pull())

    def test_values(self):
        args = [None, 2**63 - 1, -(2**63), 0.1, "a\x00é😀\"\n", b"\x00\xff", b""]
        a, b = self.file("a"), self.file("b")
        a.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(args)))
        a.commit()
        a.push()
        b.pull()
        for db in self.sql, b:
            self.assertEqual([x for (x,) in db.execute("SELECT x FROM t ORDER BY id").fetchall()], args)

    def test_schema(self):
        a, b = self.file("a"), self.file("b")
        a.executescript("CREATE TABLE n (k TEXT PRIMARY KEY, v); CREATE INDEX nv ON n(v); ALTER TABLE n ADD COLUMN w DEFAULT 7")
        a.execute("INSERT INTO n(k, v) VALUES ('k', 1)")
        a.commit()
        a.push()
        b.pull()
        self.assertEqual(b.execute("SELECT * FROM n").fetchall(), [("k", 1, 7)])
        self.sql.execute("ALTER TABLE n RENAME COLUMN w TO z")
        self.sql.execute("CREATE TABLE s (x)")
        a.pull()
        self.assertEqual(a.execute("SELECT z FROM n").fetchall(), [(7,)])
        self.assertEqual(a.execute("SELECT * FROM s").fetchall(), [])

    def test_every_client_sees_the_others(self):
        remote = libsql.connect(self.url(), auth_token="none")
        db = self.file("a")
        remote.execute("INSERT INTO t(x) VALUES ('libsql')")
        remote.commit()
        self.sql.execute("INSERT INTO t(x) VALUES ('serverless')")
        db.pull()
        db.execute("INSERT INTO t(x) VALUES ('sync')")
        db.commit()
        db.push()
        want = [("libsql",), ("serverless",), ("sync",)]
        for client in remote, self.sql, db:
            self.assertEqual(self.rows(client), want)

    def test_a_file_opened_again(self):
        a = self.file("a")
        a.execute("INSERT INTO t(x) VALUES ('offline')")
        a.commit()
        a.close()
        self.sql.execute("INSERT INTO t(id, x) VALUES (9, 'server')")
        a = self.file("a")
        a.pull()
        self.assertEqual(self.rows(a), [("offline",), ("server",)])
        a.push()
        self.assertEqual(self.rows(self.sql), [("offline",), ("server",)])

    def test_chunks(self):
        self.fill()
        db = self.file("a", pull_bytes_threshold=32768)
        self.assertEqual(db.execute("SELECT count(*), sum(length(s)) FROM big").fetchone(), (400, 200000))

    def test_parts(self):
        self.fill()
        whole = self.file("whole").stats().network_received_bytes
        part = PartialSyncOpts(PartialSyncPrefixBootstrap(8192), segment_size=16384, prefetch=False)
        db = self.file("a", partial_sync_experimental=part)
        self.assertLess(db.stats().network_received_bytes, whole / 4)
        self.assertEqual(self.rows(db), [("a",)])
        self.sql.execute("DELETE FROM big WHERE id % 2")
        self.assertEqual(db.execute("SELECT count(*), sum(length(s)) FROM big").fetchone(), (400, 200000))
        db.pull()
        self.assertEqual(db.execute("SELECT count(*), sum(length(s)) FROM big").fetchone(), (200, 100000))

    def test_the_pages_of_a_query(self):
        self.fill()
        part = PartialSyncOpts(PartialSyncQueryBootstrap("SELECT * FROM t"), segment_size=16384, prefetch=False)
        db = self.file("a", partial_sync_experimental=part)
        self.assertEqual(self.rows(db), [("a",)])
        self.assertEqual(db.execute("SELECT count(*) FROM big").fetchone(), (400,))

    def test_long_poll(self):
        db = self.file("a", long_poll_timeout_ms=20_000)
        timer = threading.Timer(0.2, self.sql.execute, ["INSERT INTO t(x) VALUES ('later')"])
        timer.start()
        self.assertTrue(db.pull())
        timer.join()
        self.assertEqual(self.rows(db), [("later",)])

    def test_asyncio(self):
        async def scenario():
            db = await turso.aio.sync.connect(self.path("a"), remote_url=self.url())
            await db.execute("INSERT INTO t(x) VALUES ('async')")
            await db.commit()
            await db.push()
            await db.pull()
            await db.close()

        asyncio.run(scenario())
        self.assertEqual(self.rows(self.sql), [("async",)])

    def test_kill(self):
        db = self.file("a")
        db.execute("INSERT INTO t(x) VALUES ('one')")
        db.commit()
        db.push()
        db.execute("INSERT INTO t(x) VALUES ('two')")
        db.commit()
        self.kill()
        for sync in db.push, db.pull:
            with self.assertRaisesRegex(turso.DatabaseError, "network error"):
                sync()
        self.start(self.address)
        db.push()
        db.pull()
        self.assertEqual(self.rows(self.sql), [("one",), ("two",)])
        self.assertEqual(self.rows(db), [("one",), ("two",)])


class Tokens(Server):
    dev = False

    def test_tokens(self):
        def connect(name, token):
            db = turso.sync.connect(self.path(name), remote_url=self.url(), auth_token=token)
            self.addCleanup(db.close)
            return db

        writes = connect("a", self.token())
        writes.execute("CREATE TABLE t (x)")
        writes.commit()
        writes.push()
        reads = connect("b", self.token("read"))
        reads.execute("INSERT INTO t VALUES (1)")
        reads.commit()
        with self.assertRaises(turso.DatabaseError):
            reads.push()
        with self.assertRaisesRegex(turso.DatabaseError, "401"):
            connect("c", "nonsense")


if __name__ == "__main__":
    unittest.main()
