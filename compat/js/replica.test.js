// Embedded replicas of libSQL through @libsql/client: they read a file, and
// write on the server.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createClient } from '@libsql/client';
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
