// @libsql/client over HTTP and WebSocket. The client drops the last part of a
// path over HTTP, so that the token says which database is meant.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createClient } from '@libsql/client';
import { Server } from './server.js';

let server;
let databases = 0;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const protocols = ['http', 'ws'];

for (const protocol of protocols) {
  describe(`@libsql/client ${protocol}`, () => {
    // open returns clients of a new database.
    const open = (t, options = {}) => {
      const name = `${protocol}${databases++}`;
      const url = `${protocol}://${server.address}`;
      const client = (access = 'full') => {
        const c = createClient({ url, authToken: server.token(name, access), ...options });
        t.after(() => c.close());
        return c;
      };
      return { name, client, db: client() };
    };

    test('values', async (t) => {
      const { db } = open(t, { intMode: 'bigint' });
      const args = [null, 9223372036854775807n, -9223372036854775808n, 0.1, -0.5, 'a\u0000é😀"\\\n', new Uint8Array([0, 255, 1]), new Uint8Array([]), true];
      const r = await db.execute({ sql: 'SELECT ? a, ? b, ? c, ? d, ? e, ? f, ? g, ? h, ? i', args });
      const row = r.rows[0];
      assert.deepEqual(r.columns, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']);
      assert.equal(row.a, null);
      assert.equal(row.b, 9223372036854775807n);
      assert.equal(row.c, -9223372036854775808n);
      assert.equal(row.d, 0.1);
      assert.equal(row.e, -0.5);
      assert.equal(row.f, args[5]);
      assert.deepEqual(new Uint8Array(row.g), args[6]);
      assert.deepEqual(new Uint8Array(row.h), args[7]);
      assert.equal(Number(row.i), 1);
    });

    test('named arguments', async (t) => {
      const { db } = open(t);
      const r = await db.execute({ sql: 'SELECT :a, $b, @c', args: { a: 1, b: 'two', c: null } });
      assert.deepEqual([...Array(3).keys()].map((i) => r.rows[0][i]), [1, 'two', null]);
    });

    test('results', async (t) => {
      const { db } = open(t);
      await db.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT)');
      const ins = await db.execute("INSERT INTO t(x) VALUES ('a'), ('b')");
      assert.equal(ins.rowsAffected, 2);
      assert.equal(ins.lastInsertRowid, 2n);
      const upd = await db.execute("UPDATE t SET x = 'c'");
      assert.equal(upd.rowsAffected, 2);
      const ret = await db.execute("INSERT INTO t(x) VALUES ('d') RETURNING id, x");
      assert.deepEqual(ret.rows.map((r) => [r.id, r.x]), [[3, 'd']]);
      assert.deepEqual((await db.execute('SELECT id FROM t')).columnTypes, ['INTEGER']);
    });

    test('batch is all or nothing', async (t) => {
      const { db } = open(t);
      const r = await db.batch(['CREATE TABLE t (x UNIQUE)', { sql: 'INSERT INTO t VALUES (?)', args: ['a'] }, 'SELECT * FROM t'], 'write');
      assert.equal(r.length, 3);
      assert.equal(r[2].rows[0].x, 'a');
      await assert.rejects(db.batch(["INSERT INTO t VALUES ('b')", "INSERT INTO t VALUES ('a')", "INSERT INTO t VALUES ('c')"], 'write'), (e) => {
        assert.equal(e.code, 'SQLITE_CONSTRAINT_UNIQUE');
        return true;
      });
      const all = await db.execute('SELECT x FROM t');
      assert.deepEqual(all.rows.map((r) => r.x), ['a']);
      const reads = await db.batch(['SELECT 1 AS n', 'SELECT 2 AS n'], 'read');
      assert.deepEqual(reads.map((r) => r.rows[0].n), [1, 2]);
    });

    test('transactions', async (t) => {
      const { db, client } = open(t);
      await db.execute('CREATE TABLE t (x)');
      const tx = await db.transaction('write');
      await tx.execute("INSERT INTO t VALUES ('a')");
      await tx.batch(["INSERT INTO t VALUES ('b')", "INSERT INTO t VALUES ('c')"]);
      assert.equal((await tx.execute('SELECT count(*) AS n FROM t')).rows[0].n, 3);
      assert.equal((await client().execute('SELECT count(*) AS n FROM t')).rows[0].n, 0);
      const waits = client().execute("INSERT INTO t VALUES ('d') RETURNING (SELECT count(*) FROM t) AS n");
      await tx.commit();
      assert.equal((await waits).rows[0].n, 4);
      const back = await db.transaction('deferred');
      await back.execute('DELETE FROM t');
      await back.rollback();
      const left = await db.transaction('write');
      await left.execute('DELETE FROM t');
      left.close();
      const read = await db.transaction('read');
      assert.equal((await read.execute('SELECT count(*) AS n FROM t')).rows[0].n, 4);
      await db.execute('DELETE FROM t');
      assert.equal((await read.execute('SELECT count(*) AS n FROM t')).rows[0].n, 4);
      read.close();
    });

    test('a transaction survives a failed statement', async (t) => {
      const { db } = open(t);
      await db.execute('CREATE TABLE t (x UNIQUE)');
      const tx = await db.transaction('write');
      await tx.execute('INSERT INTO t VALUES (1)');
      await assert.rejects(tx.execute('INSERT INTO t VALUES (1)'), { code: 'SQLITE_CONSTRAINT_UNIQUE' });
      await tx.execute('INSERT INTO t VALUES (2)');
      await tx.commit();
      assert.equal((await db.execute('SELECT count(*) AS n FROM t')).rows[0].n, 2);
    });

    test('executeMultiple', async (t) => {
      const { db } = open(t);
      await db.executeMultiple("CREATE TABLE t (x); INSERT INTO t VALUES (';'); -- done\nINSERT INTO t VALUES (2);");
      assert.equal((await db.execute('SELECT count(*) AS n FROM t')).rows[0].n, 2);
      await assert.rejects(db.executeMultiple('INSERT INTO t VALUES (3); INSERT INTO nope VALUES (1); INSERT INTO t VALUES (4)'), /no such table: nope/);
      assert.equal((await db.execute('SELECT count(*) AS n FROM t')).rows[0].n, 3);
    });

    test('migrate', async (t) => {
      const { db } = open(t);
      await db.executeMultiple('CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p); INSERT INTO p VALUES (1); INSERT INTO c VALUES (1)');
      await db.migrate(['CREATE TABLE p2 (id INTEGER PRIMARY KEY, x)', 'INSERT INTO p2(id) SELECT id FROM p', 'DROP TABLE p', 'ALTER TABLE p2 RENAME TO p']);
      assert.deepEqual((await db.execute('SELECT * FROM p')).columns, ['id', 'x']);
      await assert.rejects(db.execute('INSERT INTO c VALUES (2)'), { code: 'SQLITE_CONSTRAINT_FOREIGNKEY' });
    });

    test('errors have codes', async (t) => {
      const { db } = open(t);
      await db.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, x NOT NULL, y CHECK (y > 0))');
      await db.execute('INSERT INTO t VALUES (1, 1, 1)');
      for (const [sql, code] of [
        ['INSERT INTO t VALUES (1, 1, 1)', 'SQLITE_CONSTRAINT_PRIMARYKEY'],
        ['INSERT INTO t VALUES (2, NULL, 1)', 'SQLITE_CONSTRAINT_NOTNULL'],
        ['INSERT INTO t VALUES (2, 1, -1)', 'SQLITE_CONSTRAINT_CHECK'],
        ['SELECT * FROM nope', 'SQLITE_ERROR'],
        ["ATTACH 'x' AS y", 'SQLITE_AUTH'],
      ]) {
        await assert.rejects(db.execute(sql), { code }, sql);
      }
    });

    test('tokens', async (t) => {
      const { db, client } = open(t);
      await db.execute('CREATE TABLE t (x)');
      assert.equal((await client('read').execute('SELECT count(*) AS n FROM t')).rows[0].n, 0);
      await assert.rejects(client('read').execute('INSERT INTO t VALUES (1)'), { code: 'SQLITE_READONLY' });
      const stranger = createClient({ url: `${protocol}://${server.address}`, authToken: 'nonsense' });
      t.after(() => stranger.close());
      await assert.rejects(stranger.execute('SELECT 1'), (e) => e.name === 'LibsqlError');
    });

    test('many at once', async (t) => {
      const { db } = open(t);
      await db.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, x)');
      await Promise.all(Array.from({ length: 100 }, (_, i) => db.execute({ sql: 'INSERT INTO t(x) VALUES (?)', args: [i] })));
      const r = await db.execute('SELECT count(DISTINCT x) AS n, max(id) AS m FROM t');
      assert.deepEqual([r.rows[0].n, r.rows[0].m], [100, 100]);
      const many = await db.execute('WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n, printf(\'%0100d\', n) AS s FROM c');
      assert.equal(many.rows.length, 20000);
      assert.equal(many.rows[19999].n, 20000);
    });
  });
}
