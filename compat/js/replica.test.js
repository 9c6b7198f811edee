// Embedded replicas of libSQL through @libsql/client: they read a file, and
// write on the server.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient } from '@libsql/client';
import { connect } from '@tursodatabase/sync';
import { Server } from './server.js';

let server, dir;
before(async () => {
  server = await Server.start();
  dir = mkdtempSync(join(tmpdir(), 'agentdb-replica-'));
});
after(async () => {
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

const open = (t, database, file, access) => {
  const db = createClient({ url: `file:${join(dir, file)}`, syncUrl: `${server.url}/db/${database}`, authToken: server.token(database, access) });
  t.after(() => db.close());
  return db;
};
const values = async (db) => (await db.execute('SELECT x FROM t ORDER BY id')).rows.map((r) => r.x);

test('two embedded replicas', async (t) => {
  await server.sql('two', 'CREATE TABLE t(id INTEGER PRIMARY KEY, x)');
  const [a, b] = ['a.db', 'b.db'].map((file) => open(t, 'two', file));
  await a.sync();
  await b.sync();
  await a.execute({ sql: 'INSERT INTO t(x) VALUES (?)', args: ['a'] });
  await b.batch(["INSERT INTO t(x) VALUES ('b')", "INSERT INTO t(x) VALUES ('c')"], 'write');
  const tx = await b.transaction('write');
  await tx.execute("INSERT INTO t(x) VALUES ('d')");
  await tx.commit();
  await a.sync();
  await b.sync();
  assert.deepEqual(await values(a), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await values(b), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await server.sql('two', 'SELECT count(*) FROM t'), [[4]]);
});

test('an embedded replica that only reads', async (t) => {
  await server.sql('reads', 'CREATE TABLE t(id INTEGER PRIMARY KEY, x)', "INSERT INTO t(x) VALUES ('a')");
  const db = open(t, 'reads', 'r.db', 'read');
  await db.sync();
  assert.deepEqual(await values(db), ['a']);
  await assert.rejects(db.execute("INSERT INTO t(x) VALUES ('b')"));
});

test('an embedded replica beside Turso sync: what that keeps in the database stays out of the file', async (t) => {
  await server.sql('beside', 'CREATE TABLE t(id INTEGER PRIMARY KEY, x)');
  const early = open(t, 'beside', 'early.db');
  await early.sync();
  const turso = await connect({ path: join(dir, 'turso.db'), url: `${server.url}/db/beside`, authToken: server.token('beside'), clientName: 'turso' });
  t.after(() => turso.close());
  for (const x of ['a', 'b', 'c']) {
    await turso.exec(`INSERT INTO t(x) VALUES ('${x}')`);
    await turso.push();
    await early.sync();
    await early.execute({ sql: 'INSERT INTO t(x) VALUES (?)', args: [`${x}+`] });
    await turso.pull();
  }
  const late = open(t, 'beside', 'late.db');
  for (const db of [early, late]) {
    await db.sync();
    assert.deepEqual(await values(db), ['a', 'a+', 'b', 'b+', 'c', 'c+']);
    assert.deepEqual((await db.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%turso%' OR sql LIKE '%turso%'")).rows, []);
    assert.equal((await db.execute('PRAGMA integrity_check')).rows[0].integrity_check, 'ok');
    await assert.rejects(db.execute('SELECT * FROM turso_sync_last_change_id'), /no such table/);
  }
});
