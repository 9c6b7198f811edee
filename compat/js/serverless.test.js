// @tursodatabase/serverless, and its interface like that of @libsql/client.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect } from '@tursodatabase/serverless';
import { createClient } from '@tursodatabase/serverless/compat';
import { Server } from './server.js';

let server;
let databases = 0;
before(async () => {
  server = await Server.start({ dev: true });
});
after(() => server.stop());

const open = () => connect({ url: `${server.url}/db/s${databases++}` });

describe('@tursodatabase/serverless', () => {
  test('run, get, all and iterate', async () => {
    const db = open();
    await db.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT); INSERT INTO t(x) VALUES (\'one\')');
    const r = await db.run('INSERT INTO t(x) VALUES (?), (?)', ['two', 'three']);
    assert.equal(r.changes, 2);
    assert.equal(Number(r.lastInsertRowid), 3);
    assert.equal((await db.get('SELECT x FROM t WHERE id = ?', [2])).x, 'two');
    assert.deepEqual((await db.all('SELECT id FROM t ORDER BY id')).map((r) => r.id), [1, 2, 3]);
    const seen = [];
    for await (const row of db.iterate('SELECT x FROM t ORDER BY id')) seen.push(row.x);
    assert.deepEqual(seen, ['one', 'two', 'three']);
    await db.close();
  });

  test('rows that arrive while they are read', async () => {
    const db = open();
    const rows = (n) => `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n, hex(zeroblob(20000)) AS x FROM c LIMIT ${n}`;
    let n = 0;
    for await (const row of db.iterate(rows(2500))) if (row.n !== ++n || row.x.length !== 40000) assert.fail(`row ${row.n}`);
    assert.equal(n, 2500); // more than an answer that is sent at once may hold
    for await (const row of db.iterate(rows(100))) if (row.n === 5) break;
    const put = db.transaction(async () => {
      await db.run('CREATE TABLE t (x)');
      n = 0;
      for await (const row of db.iterate(rows(100))) n += Number(row.n > 0);
      await db.run('INSERT INTO t VALUES (?)', [n]);
    });
    await put();
    assert.equal((await db.get('SELECT x FROM t')).x, 100);
    await db.close();
  });

  test('prepared statements', async () => {
    const db = open();
    await db.exec('CREATE TABLE t (a INTEGER, b BLOB)');
    const ins = await db.prepare('INSERT INTO t VALUES (:a, :b)');
    assert.equal(ins.reader, false);
    await ins.run({ a: 1, b: Buffer.from([1, 2]) });
    const sel = await db.prepare('SELECT a, b FROM t WHERE a = ?');
    assert.equal(sel.reader, true);
    assert.deepEqual(sel.columns().map((c) => c.name), ['a', 'b']);
    const row = await sel.get([1]);
    assert.deepEqual([...new Uint8Array(row.b)], [1, 2]);
    assert.deepEqual([...(await sel.raw().get([1]))].length, 2);
  });

  test('values', async () => {
    const db = open();
    db.defaultSafeIntegers(true);
    const r = await db.get("SELECT ? AS a, ? AS b, ? AS c, ? AS d, 9e999 AS e", [9007199254740993n, 0.25, 'é\u0000😀', null]);
    assert.equal(r.a, 9007199254740993n);
    assert.equal(r.b, 0.25);
    assert.equal(r.c, 'é\u0000😀');
    assert.equal(r.d, null);
    assert.equal(r.e, Infinity);
  });

  test('transactions', async () => {
    const db = open();
    await db.exec('CREATE TABLE t (x UNIQUE)');
    const put = db.transaction(async (xs) => {
      for (const x of xs) await db.run('INSERT INTO t VALUES (?)', [x]);
    });
    await put([1, 2]);
    await assert.rejects(put([3, 1]), /UNIQUE/);
    assert.equal(db.inTransaction, false);
    assert.deepEqual((await db.all('SELECT x FROM t')).map((r) => r.x), [1, 2]);
    await put.concurrent([4]);
    await put.immediate([5]);
    assert.equal((await db.get('SELECT count(*) AS n FROM t')).n, 4);
  });

  test('the state of a transaction is known', async () => {
    const db = open();
    await db.exec('CREATE TABLE t (x)');
    await db.exec('BEGIN IMMEDIATE');
    assert.equal(db.inTransaction, true);
    await db.run('INSERT INTO t VALUES (1)');
    assert.equal(db.inTransaction, true);
    await db.exec('COMMIT');
    assert.equal(db.inTransaction, false);
    assert.equal((await db.get('SELECT count(*) AS n FROM t')).n, 1);
  });

  test('batch', async () => {
    const db = open();
    await db.batch(['CREATE TABLE t (x UNIQUE)', { sql: 'INSERT INTO t VALUES (?)', args: [1] }], 'immediate');
    await assert.rejects(db.batch(['INSERT INTO t VALUES (2)', 'INSERT INTO t VALUES (1)', 'INSERT INTO t VALUES (3)'], 'immediate'), /UNIQUE/);
    assert.equal(db.inTransaction, false);
    assert.equal((await db.get('SELECT count(*) AS n FROM t')).n, 1);
    await db.batch(['INSERT INTO t VALUES (9)'], 'concurrent');
    assert.equal((await db.get('SELECT max(x) AS n FROM t')).n, 9);
  });

  test('errors', async () => {
    const db = open();
    await assert.rejects(db.all('SELECT * FROM nope'), /no such table: nope/);
    await assert.rejects(db.exec('SELEKT'), /syntax error/);
    assert.equal((await db.get('SELECT 1 AS one')).one, 1);
  });

  test('an abandoned transaction is rolled back', { timeout: 30_000 }, async () => {
    const url = `${server.url}/db/s${databases++}`;
    const [a, b] = [connect({ url }), connect({ url })];
    await a.exec('CREATE TABLE t (x)');
    await a.exec('BEGIN IMMEDIATE');
    await a.run('INSERT INTO t VALUES (1)');
    const start = Date.now();
    assert.equal((await b.get('SELECT count(*) AS n FROM t')).n, 0);
    await b.run('INSERT INTO t VALUES (3)');
    assert.ok(Date.now() - start < 9_000);
    await assert.rejects(a.run('INSERT INTO t VALUES (2)'));
    assert.deepEqual((await a.all('SELECT x FROM t')).map((r) => r.x), [3]);
  });

  test('what was answered survives kill -9', { timeout: 60_000 }, async (t) => {
    const s = await Server.start({ dev: true });
    t.after(() => s.stop());
    const url = `${s.url}/db/kill`;
    await connect({ url }).exec('CREATE TABLE t (x INTEGER PRIMARY KEY, y)');
    for (let round = 0; round < 3; round++) {
      const answered = [];
      const writers = Array.from({ length: 8 }, async (_, w) => {
        const db = connect({ url });
        try {
          for (let i = 0; ; i++) {
            const x = (round * 8 + w) * 1_000_000 + i;
            await db.batch([`INSERT INTO t VALUES (${x}, 'a')`, `UPDATE t SET y = 'b' WHERE x = ${x}`], 'immediate');
            answered.push(x);
          }
        } catch {
          // the server is gone
        }
      });
      await new Promise((r) => setTimeout(r, 300));
      await s.kill();
      await Promise.all(writers);
      await s.again();
      const rows = await connect({ url }).all('SELECT x, y FROM t');
      const have = new Set(rows.map((r) => r.x));
      assert.ok(answered.length > 0);
      assert.deepEqual(answered.filter((x) => !have.has(x)), []);
      assert.ok(rows.every((r) => r.y === 'b'), 'half a transaction');
    }
  });

  test('a server that is killed does not end a result', { timeout: 30_000 }, async (t) => {
    const s = await Server.start({ dev: true });
    t.after(() => s.stop());
    const db = connect({ url: `${s.url}/db/kill` });
    const rows = 'WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n, hex(zeroblob(20000)) AS x FROM c LIMIT 20000';
    const gathered = db.all(rows).then((all) => assert.fail(`${all.length} rows`), (e) => e); // the client gathers them
    await new Promise((done) => setTimeout(done, 500));
    await s.kill();
    assert.match(String(await gathered), /terminated|socket/);
    await s.again();
    assert.equal((await connect({ url: `${s.url}/db/kill` }).get('SELECT 1 AS x')).x, 1);
  });

  test('compat', async () => {
    const db = createClient({ url: `${server.url}/db/s${databases++}` });
    await db.batch(['CREATE TABLE t (id INTEGER PRIMARY KEY, x)', { sql: 'INSERT INTO t(x) VALUES (?)', args: ['a'] }], 'write');
    const r = await db.execute({ sql: 'SELECT * FROM t WHERE x = ?', args: ['a'] });
    assert.deepEqual(r.columns, ['id', 'x']);
    assert.equal(r.rows[0].x, 'a');
    db.close();
  });
});
