"""libsql: embedded replicas, which read a file and write on the server."""

import os
import shutil
import subprocess
import sys
import unittest

import libsql
import turso_serverless

from running import Server


class Replica(Server):
    def setUp(self):
        self.sql = turso_serverless.connect(self.url(), isolation_level=None)
        self.addCleanup(self.sql.close)

    def replica(self, name, **options):
        db = libsql.connect(self.path(name), sync_url=self.url(), auth_token="none", **options)
        db.sync()
        return db

    def rows(self, db):
        return db.execute("SELECT x FROM t ORDER BY id").fetchall()

    def test_writes_go_to_the_server(self):
        db = self.replica("a")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x UNIQUE)")
        db.commit()
        db.execute("INSERT INTO t(x) VALUES (?)", ("a",))
        db.execute("INSERT INTO t(x) VALUES (?)", (b"\x00\xff",))
        db.commit()
        self.assertEqual(self.rows(db), [("a",), (b"\x00\xff",)])
        self.assertEqual(self.rows(self.sql), [("a",), (b"\x00\xff",)])
        db.execute("DELETE FROM t")
        db.rollback()
        with self.assertRaisesRegex(ValueError, "UNIQUE constraint failed"):
            db.execute("INSERT INTO t(x) VALUES ('a')")
        db.rollback()
        self.assertEqual(len(self.rows(db)), 2)

    def test_two_replicas(self):
        self.sql.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        a, b = self.replica("a"), self.replica("b")
        for i in range(5):
            db = (a, b)[i % 2]
            db.execute("INSERT INTO t(x) VALUES (?)", (i,))
            db.commit()
        self.sql.execute("DELETE FROM t WHERE x = 3")
        self.assertEqual(self.rows(a), [(0,), (1,), (2,), (3,), (4,)])
        for db in a, b:
            db.sync()
            self.assertEqual(self.rows(db), [(0,), (1,), (2,), (4,)])

    def test_generations(self):
        self.sql.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        old = self.replica("old")
        self.sql.execute("BEGIN")
        self.sql.executemany("INSERT INTO t(x) VALUES (?)", [("x" * 300,)] * 500)
        self.sql.execute("COMMIT")
        self.sql.executescript("".join(f"INSERT INTO t(x) VALUES ({i});" for i in range(400)))
        for db in old, self.replica("new"):
            db.sync()
            self.assertEqual(db.execute("SELECT count(*), max(id) FROM t").fetchone(), (900, 900))
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))

    def test_a_file_opened_again(self):
        self.sql.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        self.replica("a").close()
        self.sql.execute("INSERT INTO t(x) VALUES (1)")
        # By another process: one keeps the file open.
        script = "import sys, libsql; db = libsql.connect(sys.argv[1], sync_url=sys.argv[2], auth_token='none'); db.sync(); print(db.execute('SELECT x FROM t').fetchall())"
        out = subprocess.check_output([sys.executable, "-c", script, self.path("a"), self.url()], text=True)
        self.assertEqual(out.strip(), "[(1,)]")

    def test_a_restored_server(self):
        self.sql.executescript("CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t(x) VALUES (1);")
        db = self.replica("a")
        self.kill()
        os.rename(self.data, self.data + ".gone")
        self.start(self.address)
        with self.assertRaisesRegex(ValueError, "open the database with a new file"):
            db.sync()

    def test_a_restored_server_with_as_many_commits(self):
        self.sql.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        self.kill()
        shutil.copytree(self.data, self.data + ".copy")
        self.start(self.address)
        db = self.replica("a")
        self.reconnect().execute("INSERT INTO t(x) VALUES ('before')")
        db.sync()
        self.kill()
        shutil.rmtree(self.data)
        os.rename(self.data + ".copy", self.data)
        open(os.path.join(self.data, "restored"), "w").close()
        self.start(self.address)
        self.reconnect().execute("INSERT INTO t(x) VALUES ('after')")
        with self.assertRaisesRegex(ValueError, "open the database with a new file"):
            db.sync()
        self.assertEqual(self.rows(self.replica("b")), [("after",)])

    def reconnect(self):
        sql = turso_serverless.connect(self.url(), isolation_level=None)
        self.addCleanup(sql.close)
        return sql

    @unittest.skip("the server takes no pages from clients: it merges rows, and pages can't be merged")
    def test_offline_writes(self):
        db = self.replica("a", offline=True)
        db.execute("CREATE TABLE t (x)")
        db.commit()
        db.sync()

    def test_offline_writes_are_refused(self):
        self.sql.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
        self.sql.executescript("INSERT INTO t(x) VALUES (0);" * 100)
        db = self.replica("a", offline=True)
        self.assertEqual(len(self.rows(db)), 100)
        db.execute("INSERT INTO t(x) VALUES (1)")
        db.commit()
        with self.assertRaisesRegex(ValueError, "open it without 'offline'"):
            db.sync()


if __name__ == "__main__":
    unittest.main()
