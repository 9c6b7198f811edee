"""Python clients of libSQL."""

import asyncio
import unittest

import libsql
import libsql_client

from running import Server


class Libsql(Server):
    """libsql, whose interface is that of sqlite3."""

    def setUp(self):
        self.db = libsql.connect(self.url("http"), auth_token="none")
        self.db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE)")
        self.db.commit()

    def test_values(self):
        args = (None, -(2**63), 0.1, "a\x00é😀", b"\x00\xff")
        self.assertEqual(self.db.execute("SELECT ?, ?, ?, ?, ?", args).fetchone(), args)

    def test_results(self):
        cursor = self.db.execute("INSERT INTO t(x) VALUES (?), (?)", ("a", "b"))
        self.assertEqual((cursor.lastrowid, cursor.rowcount), (2, 2))
        with self.assertRaisesRegex(ValueError, "UNIQUE constraint failed: t.x"):
            self.db.execute("INSERT INTO t(x) VALUES ('a')")

    def test_transactions(self):
        self.db.execute("INSERT INTO t(x) VALUES (1)")
        self.db.commit()
        self.db.execute("INSERT INTO t(x) VALUES (2)")
        self.db.rollback()
        self.assertEqual(self.db.execute("SELECT x FROM t").fetchall(), [(1,)])

    def test_scripts(self):
        self.db.executescript("INSERT INTO t(x) VALUES (1); INSERT INTO t(x) VALUES (';');")
        self.assertEqual(self.db.execute("SELECT count(*) FROM t").fetchone(), (2,))


class LibsqlClient(Server):
    """libsql-client, over WebSocket: over HTTP it speaks Hrana 1, which is gone."""

    def run_scenario(self, scenario):
        asyncio.run(self.client(self.url("ws"), scenario))

    @staticmethod
    async def client(url, scenario):
        async with libsql_client.create_client(url) as db:
            await scenario(db)

    def test_statements(self):
        async def scenario(db):
            await db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
            r = await db.execute("INSERT INTO t(x) VALUES (:x)", {"x": b"\x01"})
            self.assertEqual((r.rows_affected, r.last_insert_rowid), (1, 1))
            rows = await db.execute("SELECT id, x FROM t")
            self.assertEqual([tuple(row) for row in rows], [(1, b"\x01")])
            with self.assertRaisesRegex(libsql_client.LibsqlError, "no such table"):
                await db.execute("SELECT * FROM nope")

        self.run_scenario(scenario)

    def test_batch(self):
        async def scenario(db):
            await db.batch(["CREATE TABLE t (x UNIQUE)", libsql_client.Statement("INSERT INTO t VALUES (?)", [1])])
            with self.assertRaises(libsql_client.LibsqlError):
                await db.batch(["INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (1)"])
            self.assertEqual((await db.execute("SELECT count(*) FROM t"))[0][0], 1)

        self.run_scenario(scenario)


if __name__ == "__main__":
    unittest.main()
