// @libsql/hrana-client: Hrana 3 in protobuf, over HTTP and WebSocket, which other
// clients leave out.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BatchCond, openHttp, openWs } from '@libsql/hrana-client';
import { Server } from './server.js';

let server;
let databases = 0;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const openers = {
  'http, protobuf': (token) => openHttp(`http://${server.address}`, token, undefined, undefined, 3),
  'websocket, protobuf': (token) => openWs(`ws://${server.address}`, token, 3),
};

for (const [name, opener] of Object.entries(openers)) {
  describe(`@libsql/hrana-client ${name}`, () => {
    // open returns a stream on a new database.
    const open = async (t) => {
      const client = opener(server.token(`hrana${databases++}`));
      client.intMode = 'bigint';
      t.after(() => client.close());
      await client.getVersion();
      return { client, stream: client.openStream() };
    };

    test('values', async (t) => {
      const { client, stream } = await open(t);
      assert.equal(await client.getVersion(), 3);
      const args = [null, -9223372036854775808n, 9223372036854775807n, 0.1, 'a\u0000é😀', new Uint8Array([0, 255]).buffer];
      const r = await stream.query(['SELECT ?, ?, ?, ?, ?, ?, 9e999', args]);
      assert.deepEqual([...Array(6).keys()].map((i) => r.rows[0][i]), args);
      assert.equal(r.rows[0][6], Infinity);
      const named = await stream.queryRow(['SELECT :a AS x, @b AS y', { a: 1n, b: 'two' }]);
      assert.deepEqual([named.row.x, named.row.y], [1n, 'two']);
    });

    test('results', async (t) => {
      const { stream } = await open(t);
      await stream.run('CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT UNIQUE)');
      const r = await stream.run("INSERT INTO t(x) VALUES ('a'), ('b')");
      assert.equal(r.affectedRowCount, 2);
      assert.equal(r.lastInsertRowid, 2n);
      const q = await stream.query('SELECT id, x FROM t ORDER BY id');
      assert.deepEqual(q.columnNames, ['id', 'x']);
      assert.deepEqual(q.columnDecltypes, ['INTEGER', 'TEXT']);
      assert.deepEqual(q.rows.map((row) => [row.id, row.x]), [[1n, 'a'], [2n, 'b']]);
      await assert.rejects(stream.run("INSERT INTO t(x) VALUES ('a')"), { code: 'SQLITE_CONSTRAINT_UNIQUE' });
    });

    test('a large cursor', async (t) => {
      const { stream } = await open(t);
      const batch = stream.batch(true);
      const rows = batch.step().query('WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n, hex(zeroblob(500)) FROM c LIMIT 20000');
      await batch.execute();
      assert.equal((await rows).rows.at(-1)[0], 20000n);
      assert.equal((await stream.queryValue('SELECT 1')).value, 1n);
    });
    for (const useCursor of [false, true]) {
      test(useCursor ? 'a batch by cursor' : 'a batch', async (t) => {
        const { stream } = await open(t);
        await stream.run('CREATE TABLE t (x UNIQUE)');
        const batch = stream.batch(useCursor);
        const begin = batch.step();
        const done = [begin.run('BEGIN')];
        const good = batch.step().condition(BatchCond.ok(begin));
        done.push(good.run('INSERT INTO t VALUES (1)'));
        const bad = batch.step().condition(BatchCond.and(batch, [BatchCond.ok(good), BatchCond.not(BatchCond.isAutocommit(batch))]));
        const failed = assert.rejects(bad.run('INSERT INTO t VALUES (1)'), /UNIQUE/);
        const skipped = batch.step().condition(BatchCond.or(batch, [BatchCond.ok(bad), BatchCond.error(good)])).query('SELECT 1');
        const rows = batch.step().condition(BatchCond.error(bad)).query('SELECT x FROM t');
        const commit = batch.step();
        done.push(commit.run('COMMIT'));
        await batch.execute();
        await Promise.all(done);
        await failed;
        assert.equal(await skipped, undefined);
        assert.deepEqual((await rows).rows.map((r) => r.x), [1n]);
      });
    }

    test('stored SQL, describe and sequence', async (t) => {
      const { client, stream } = await open(t);
      await stream.sequence('CREATE TABLE t (x TEXT); INSERT INTO t VALUES (1)');
      const owner = name.startsWith('http') ? stream : client;
      const text = owner.storeSql('SELECT x FROM t WHERE x = ?');
      assert.equal((await stream.queryRow([text, ['1']])).row.x, '1');
      const d = await stream.describe(text);
      assert.deepEqual(d.paramNames, [undefined]);
      assert.deepEqual(d.columns, [{ name: 'x', decltype: 'TEXT' }]);
      assert.deepEqual([d.isExplain, d.isReadonly], [false, true]);
      text.close();
      assert.equal(await stream.getAutocommit(), true);
      await stream.run('BEGIN');
      assert.equal(await stream.getAutocommit(), false);
      await stream.run('ROLLBACK');
    });
  });
}
