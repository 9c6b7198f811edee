"""turso-serverless: SQL over HTTP with cursors."""

import unittest

import turso_serverless

from running import Server


class Serverless(Server):
    def setUp(self):
        self.db = turso_serverless.connect(self.url())
        self.addCleanup(self.db.close)
        self.db.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE)")

    def all(self):
        other = turso_serverless.connect(self.url())
        self.addCleanup(other.close)
        return other.execute("SELECT x FROM t ORDER BY id").fetchall()

    def test_values(self):
        args = (None, 2**63 - 1, -(2**63), 0.1, "a\x00é😀\"\n", b"\x00\xff", b"")
        self.assertEqual(self.db.execute("SELECT ?, ?, ?, ?, ?, ?, ?", args).fetchone(), args)
        row = self.db.execute("SELECT :a AS a, :b AS b, 9e999", {"a": 1, ":b": "two"})
        self.assertEqual([d[0] for d in row.description][:2], ["a", "b"])
        self.assertEqual(row.fetchone(), (1, "two", float("inf")))

    def test_results(self):
        cursor = self.db.execute("INSERT INTO t(x) VALUES (?), (?)", ("a", "b"))
        self.assertEqual((cursor.lastrowid, cursor.rowcount), (2, 2))
        self.assertEqual(self.db.execute("INSERT INTO t(x) VALUES ('c') RETURNING id, x").fetchall(), [(3, "c")])
        self.assertEqual(self.db.executemany("INSERT INTO t(x) VALUES (?)", [(i,) for i in range(50)]).rowcount, 50)

    def test_transactions(self):
        self.db.execute("INSERT INTO t(x) VALUES ('a')")
        self.assertTrue(self.db.in_transaction)
        self.assertEqual(self.all(), [])
        self.db.commit()
        self.assertFalse(self.db.in_transaction)
        with self.assertRaises(turso_serverless.IntegrityError), self.db:
            self.db.execute("INSERT INTO t(x) VALUES ('b')")
            self.db.execute("INSERT INTO t(x) VALUES ('a')")
        self.assertFalse(self.db.in_transaction)
        self.assertEqual(self.all(), [("a",)])

    def test_a_transaction_survives_a_failed_statement(self):
        self.db.execute("INSERT INTO t(x) VALUES ('a')")
        with self.assertRaisesRegex(turso_serverless.IntegrityError, "UNIQUE constraint failed: t.x"):
            self.db.execute("INSERT INTO t(x) VALUES ('a')")
        self.assertTrue(self.db.in_transaction)
        self.db.execute("INSERT INTO t(x) VALUES ('b')")
        self.db.commit()
        self.assertEqual(self.all(), [("a",), ("b",)])

    def test_errors(self):
        for sql, pattern in [
            ("SELEC 1", "syntax error"),
            ("SELECT * FROM nope", "no such table: nope"),
            ("SELECT 1; SELECT 2", "more than one statement"),
            ("ATTACH 'x' AS y", "not possible"),
        ]:
            with self.assertRaisesRegex(turso_serverless.DatabaseError, pattern):
                self.db.execute(sql)

    def test_too_large(self):
        # The client reads no answer before it has sent all.
        with self.assertRaisesRegex(turso_serverless.Error, "413.*--max-body"):
            self.db.execute("INSERT INTO t(x) VALUES (?)", (bytes(64 << 20),))
        self.assertEqual(self.all(), [])

    def test_kill(self):
        self.db.execute("INSERT INTO t(x) VALUES ('kept')")
        self.db.commit()
        self.db.execute("INSERT INTO t(x) VALUES ('lost')")
        self.kill()
        with self.assertRaises(turso_serverless.Error):
            self.db.execute("SELECT 1")
        self.start(self.address)
        self.assertFalse(self.db.in_transaction)
        self.db.execute("INSERT INTO t(x) VALUES ('later')")
        self.db.commit()
        self.assertEqual(self.all(), [("kept",), ("later",)])


class Tokens(Server):
    dev = False

    def test_tokens(self):
        def connect(token):
            db = turso_serverless.connect(self.url(), auth_token=token, isolation_level=None)
            self.addCleanup(db.close)
            return db

        connect(self.token()).execute("CREATE TABLE t (x)")
        reads = connect(self.token("read"))
        self.assertEqual(reads.execute("SELECT count(*) FROM t").fetchone(), (0,))
        with self.assertRaisesRegex(turso_serverless.DatabaseError, "(?i)read"):
            reads.execute("INSERT INTO t VALUES (1)")
        for token in "nonsense", None:
            with self.assertRaisesRegex(turso_serverless.Error, "HTTP status 401"):
                connect(token).execute("SELECT 1")


if __name__ == "__main__":
    unittest.main()
