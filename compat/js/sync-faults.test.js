// @tursodatabase/sync when things go wrong, in fleets, and with its options.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as serverless } from '@tursodatabase/serverless';
import { connect } from '@tursodatabase/sync';
import { binary, Server } from './server.js';
import { all, Fleet, one } from './sync.js';

let server;
before(async () => {
  server = await Server.start({ dev: true });
});
after(() => server.stop());

const scenario = (name, fn) =>
  test(name, async () => {
    const f = new Fleet(server);
    try {
      await fn(f);
    } finally {
      await f.close();
    }
  });

const filler = (rows, size) => `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows}) INSERT INTO big(x) SELECT hex(randomblob(${size / 2})) FROM n`;
// pulled is how many bytes of pages and rows the server has sent.
const pulled = async (server) => Number((await (await fetch(`${server.url}/metrics`)).text()).match(/^agentdb_pulled_bytes_total (\S+)$/m)[1]);
const sum = 'SELECT count(*), sum(length(x)), max(x) FROM big';

describe('faults', () => {
  // An empty answer is what the client believes to have, when it loses one.
  scenario('an answer that the client loses: it fails, and the next time works', async (f) => {
    await f.sql('CREATE TABLE t(x TEXT)', "INSERT INTO t VALUES ('first')");
    let lose = true;
    const opts = {
      path: join(f.dir, 'a.db'),
      url: f.url,
      clientName: 'a',
      fetch: async (url, init) => {
        const answer = await fetch(url, init);
        const body = await answer.arrayBuffer();
        return new Response(lose ? new Uint8Array() : body, { status: answer.status });
      },
    };
    await assert.rejects(connect(opts), /no header returned in the pull-updates protobuf call/);
    lose = false;
    const a = await connect(opts);
    f.clients.push(a);
    await f.sql("INSERT INTO t VALUES ('server')");
    await a.exec("INSERT INTO t VALUES ('client')");
    lose = true;
    await assert.rejects(a.pull(), /no header returned in the pull-updates protobuf call/);
    lose = false;
    assert.deepEqual(await f.settle('SELECT x FROM t ORDER BY x'), [['client'], ['first'], ['server']]);
  });
  scenario('the server is killed: what it answered is there, clients go on', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)']);
    await b.exec("INSERT INTO t(x) VALUES ('b')");
    for (let i = 0; i < 5; i++) {
      await a.exec(`INSERT INTO t(x) VALUES ('a${i}')`);
      await a.push();
    }
    await server.kill();
    await assert.rejects(b.push());
    await server.again();
    // It doesn't know any more what they had seen: new rows still are new rows.
    await a.exec("UPDATE t SET x = 'a0-upd' WHERE id = 1");
    const rows = await f.settle('SELECT id, x FROM t ORDER BY id');
    assert.deepEqual(rows.map((r) => r[1]).sort(), ['a0-upd', 'a1', 'a2', 'a3', 'a4', 'b']);
  });

  test('a server that was restored from a backup: all have its state, and what they had not pushed', async () => {
    const s = await Server.start({ dev: true });
    const f = new Fleet(s);
    try {
      const [a, b] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY)']);
      await a.exec("INSERT INTO t VALUES ('before')");
      await f.settle('SELECT k FROM t');
      await s.kill();
      cpSync(join(s.dir, 'data'), join(s.dir, 'backup'), { recursive: true });
      await s.again();
      await a.exec("INSERT INTO t VALUES ('after')");
      await f.settle('SELECT k FROM t');
      await b.exec("INSERT INTO t VALUES ('pending')");
      await s.kill();
      rmSync(join(s.dir, 'data'), { recursive: true });
      cpSync(join(s.dir, 'backup'), join(s.dir, 'data'), { recursive: true });
      await s.again();
      await f.sql("INSERT INTO t VALUES ('since')");
      await a.pull();
      await b.pull();
      assert.deepEqual(await f.settle('SELECT k FROM t ORDER BY k'), [['before'], ['pending'], ['since']]);
    } finally {
      await f.close();
      await s.stop();
    }
  });

  scenario('an answer that is cut anywhere is an error, and changes nothing', async (f) => {
    await f.sql('CREATE TABLE big(id INTEGER PRIMARY KEY, x TEXT)', filler(300, 4000));
    let cut = 0;
    const proxy = createServer(async (req, res) => {
      const body = [];
      for await (const b of req) body.push(b);
      const resp = await fetch(`${server.url}${req.url}`, { method: 'POST', body: Buffer.concat(body), headers: { 'user-agent': 'x', 'accept-encoding': 'identity' } });
      const all = Buffer.from(await resp.arrayBuffer());
      res.writeHead(resp.status, { 'content-length': resp.headers.get('content-length') });
      if (req.url.endsWith('pull-updates') && cut > 0 && cut < all.length) {
        res.write(all.subarray(0, cut), () => req.socket.destroy());
      } else {
        res.end(all);
      }
    });
    await new Promise((done) => proxy.listen(0, '127.0.0.1', done));
    const a = await f.open({ url: `http://127.0.0.1:${proxy.address().port}/db/${f.name}` });
    await f.sql(filler(20, 4000));
    const had = await all(a, sum);
    const page = 4096 + 6;
    for (cut of [1, 40, 60, 60 + page, 60 + 2 * page, 60 + 2 * page + 100]) {
      await assert.rejects(a.pull(), undefined, `cut to ${cut} bytes`);
      assert.deepEqual(await all(a, sum), had);
    }
    cut = 0;
    await a.pull();
    assert.deepEqual(await all(a, sum), await f.sql(sum));
    proxy.closeAllConnections();
    proxy.close();
  });

  test('tokens', async () => {
    const s = await Server.start();
    const f = new Fleet(s);
    try {
      const a = await f.open({ authToken: s.token(f.name) });
      await a.exec("CREATE TABLE t(k TEXT PRIMARY KEY); INSERT INTO t VALUES ('k')");
      await a.push();
      const r = await f.open({ authToken: s.token(f.name, 'read') });
      assert.equal(await one(r, 'SELECT k FROM t'), 'k');
      await r.exec("INSERT INTO t VALUES ('r')");
      await assert.rejects(r.push(), /reading only/);
      await assert.rejects(f.open({ authToken: s.token('other') }), /403/);
      await assert.rejects(f.open({ authToken: 'nonsense' }), /401/);
    } finally {
      await f.close();
      await s.stop();
    }
  });

  scenario('a database that pages cannot carry is refused with the reason', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY)']);
    await f.sql('CREATE VIRTUAL TABLE docs USING fts5(body)');
    await assert.rejects(a.pull(), /docs is a virtual table/);
    await a.exec("INSERT INTO t VALUES ('k')");
    await a.push(); // pushes go on
    assert.deepEqual(await f.sql('SELECT k FROM t'), [['k']]);
  });
});

describe('options', () => {
  scenario('long poll', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY)'], { longPollTimeoutMs: 20_000 });
    const pulled = b.pull();
    await new Promise((done) => setTimeout(done, 100));
    await b.exec("INSERT INTO t VALUES ('b')"); // while it waits
    await b.push();
    await pulled;
    await a.exec("INSERT INTO t VALUES ('a')");
    const next = b.pull();
    await a.push();
    const start = performance.now();
    await next;
    assert.ok(performance.now() - start < 2000);
    const short = await f.open({ longPollTimeoutMs: 50 });
    await short.pull();
    assert.equal(await short.pull(), false);
  });

  scenario('a bootstrap in parts, while others write', async (f) => {
    await f.sql('CREATE TABLE big(id INTEGER PRIMARY KEY, x TEXT)', filler(2000, 2000));
    let requests = 0;
    const a = await f.open({
      pullBytesThreshold: 512 << 10,
      fetch: async (url, init) => {
        if (requests++ === 2) await f.sql('DELETE FROM big WHERE id % 2', filler(100, 2000));
        return fetch(url, init);
      },
    });
    assert.ok(requests > 5, `${requests} requests`);
    assert.equal(await one(a, 'PRAGMA integrity_check'), 'ok');
    assert.equal(await one(a, 'SELECT count(*) FROM big'), 2000);
    await f.settle(sum);
  });

  for (const [name, bootstrapStrategy] of [['a prefix', { kind: 'prefix', length: 128 << 10 }], ['a query', { kind: 'query', query: 'SELECT * FROM big WHERE id < 10' }]]) {
    for (const prefetch of [false, true]) {
      scenario(`a part of the database: ${name}${prefetch ? ', with prefetch' : ''}`, async (f) => {
        await f.sql('CREATE TABLE big(id INTEGER PRIMARY KEY, x TEXT)', filler(2000, 2000));
        const had = await f.sql('SELECT x FROM big WHERE id = 1500');
        const a = await f.open({ partialSyncExperimental: { bootstrapStrategy, prefetch } });
        await f.sql("UPDATE big SET x = 'new' WHERE id IN (5, 1500)");
        assert.deepEqual(await all(a, 'SELECT x FROM big WHERE id = 1500'), had); // as it was at its revision
        await a.pull();
        assert.equal(await one(a, 'SELECT x FROM big WHERE id = 1500'), 'new');
        assert.equal(await one(a, 'SELECT x FROM big WHERE id = 5'), 'new');
        assert.deepEqual(await all(a, sum), await f.sql(sum));
      });
    }
  }

  test('a revision that is not kept any more: its pages are refused, whole files get all pages', { timeout: 60_000 }, async () => {
    const s = await Server.start({ dev: true, args: ['--retention', '1s'] });
    const f = new Fleet(s);
    const pull = (body) => fetch(`${f.url}/pull-updates`, { method: 'POST', body, headers: { 'accept-encoding': 'identity' } });
    try {
      await f.sql('CREATE TABLE big(id INTEGER PRIMARY KEY, x TEXT)', filler(100, 2000));
      const whole = await f.open();
      await whole.exec("INSERT INTO big VALUES (3000, 'unsent')");
      const first = Buffer.from(await (await pull()).arrayBuffer());
      const revision = first.subarray(2, 3 + first[2]); // its length, and its text
      for (let i = 0; ; i++) {
        const answer = await pull(Buffer.concat([Buffer.from([0x12]), revision]));
        if (answer.status !== 200) {
          assert.equal(answer.status, 409);
          assert.match(await answer.text(), /keeps its pages no more: open the database with a new file/);
          break;
        }
        assert.ok(i < 100, 'it is still kept');
        await f.sql(`UPDATE big SET x = 'new ${i}' WHERE id = 5`);
        await new Promise((done) => setTimeout(done, 200));
      }
      await whole.pull();
      assert.deepEqual(await f.settle(sum), await f.sql(sum));
      assert.deepEqual(await f.sql('SELECT x FROM big WHERE id = 3000'), [['unsent']]);
    } finally {
      await f.close();
      await s.stop();
    }
  });

  // The client's own doing, whatever the reason is.
  scenario('a page that a partial file cannot fetch: the client waits for ever, and for nothing', async (f) => {
    await f.sql('CREATE TABLE big(id INTEGER PRIMARY KEY, x TEXT)', filler(2000, 2000));
    const client = `import { connect } from '@tursodatabase/sync';
      let refuse = false;
      const db = await connect({
        path: ${JSON.stringify(join(f.dir, 'part.db'))}, url: ${JSON.stringify(f.url)}, clientName: 'part',
        partialSyncExperimental: { bootstrapStrategy: { kind: 'prefix', length: 128 << 10 } },
        fetch: (url, init) => (refuse ? new Response('refused', { status: 409 }) : fetch(url, init)),
      });
      refuse = true;
      const read = db.prepare('SELECT sum(length(x)) FROM big').then((st) => st.all());
      const waits = new Promise((done) => setTimeout(() => done('waits'), 2000));
      console.log(await Promise.race([read.catch((e) => e.message), waits]));
      process.exit();`;
    assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', client], { cwd: import.meta.dirname }).toString(), 'waits\n');
  });

  scenario('a query brings the pages that it reads', async (f) => {
    await f.sql('CREATE TABLE big(id INTEGER PRIMARY KEY, x TEXT)', filler(2000, 2000), 'CREATE INDEX by_x ON big(x, id)', 'CREATE TABLE small(a, b)', "INSERT INTO small VALUES (1, 'one'), (2, 'two')");
    const opened = async (opts) => {
      const before = await pulled(f.server);
      const db = await f.open(opts);
      return [db, (await pulled(f.server)) - before];
    };
    const [whole, all1] = await opened();
    for (const query of ['SELECT * FROM small', 'SELECT * FROM big WHERE id < 10', 'SELECT s.b, big.x FROM small s JOIN big ON big.id = s.a']) {
      const [part, some] = await opened({ partialSyncExperimental: { bootstrapStrategy: { kind: 'query', query } } });
      assert.ok(some < all1 / 50, `${some} bytes of ${all1}`);
      const before = await pulled(f.server);
      assert.deepEqual(await all(part, query), await all(whole, query));
      assert.ok((await pulled(f.server)) - before < all1 / 20, `${query} read ${(await pulled(f.server)) - before} bytes more`);
      await part.exec('INSERT INTO small VALUES (3, \'three\')');
      await part.push();
      await part.pull();
      assert.deepEqual(await all(part, 'SELECT count(*), sum(length(x)) FROM big'), await f.sql('SELECT count(*), sum(length(x)) FROM big'));
      assert.deepEqual(await all(part, 'SELECT * FROM small ORDER BY a'), await f.sql('SELECT * FROM small ORDER BY a'));
      await f.sql('DELETE FROM small WHERE a = 3');
    }
    const bad = f.open({ partialSyncExperimental: { bootstrapStrategy: { kind: 'query', query: 'DELETE FROM small' } } });
    await assert.rejects(bad, /query of the partial sync fails/);
  });

  scenario('encryption by the server is refused, rather than promised', async (f) => {
    await f.sql('CREATE TABLE t(x)');
    const remoteEncryption = { key: Buffer.alloc(32).toString('base64'), cipher: 'aes256gcm' };
    await assert.rejects(f.open({ remoteEncryption }), /422.*doesn't encrypt with keys of clients/s);
    await assert.rejects(serverless({ url: f.url, remoteEncryptionKey: remoteEncryption.key }).all('SELECT 1'), /doesn't encrypt with keys of clients/);
  });

  scenario('pushes in parts', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)'], { pushOperationsThreshold: 10 });
    await b.exec("INSERT INTO t(x) VALUES ('b')");
    await b.push();
    for (let i = 0; i < 95; i++) await a.exec(`INSERT INTO t(x) VALUES ('${i}')`);
    await a.push();
    assert.equal((await f.settle('SELECT id, x FROM t ORDER BY id')).length, 96);
  });

  scenario('writes on the server', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)'], { remoteWritesExperimental: true });
    await (await a.prepare('INSERT INTO t(x) VALUES (?)')).run('a');
    await b.exec("INSERT INTO t(x) VALUES ('b')");
    const put = (fails) =>
      a.transaction(async () => {
        for (const x of ['c', 'd']) await (await a.prepare('INSERT INTO t(x) VALUES (?)')).run(x);
        if (fails) throw new Error('fails');
      })();
    await assert.rejects(put(true), /^Error: fails/);
    await put(false);
    assert.deepEqual((await all(a, 'SELECT x FROM t ORDER BY id')).flat(), ['a', 'b', 'c', 'd']); // it reads what it wrote
    await assert.rejects(a.exec('INSERT INTO t(id) VALUES (1)'), /UNIQUE constraint failed: t.id/);
    assert.deepEqual(await f.settle('SELECT id, x FROM t ORDER BY id'), [[1, 'a'], [2, 'b'], [3, 'c'], [4, 'd']]);
  });
});

describe('fleets', () => {
  scenario('twenty clients that are offline', async (f) => {
    await f.sql('CREATE TABLE tasks(id INTEGER PRIMARY KEY AUTOINCREMENT, status TEXT, n INTEGER)', "INSERT INTO tasks(status, n) VALUES ('first', 0)");
    const clients = await Promise.all(Array.from({ length: 20 }, () => f.open()));
    let rows = 1;
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        clients.map(async (db, i) => {
          for (let n = 0; n < 1 + ((i + round) % 3); n++) {
            await db.exec(`INSERT INTO tasks(status, n) VALUES ('${round}-${i}-${n}', 0)`);
            rows++;
          }
          await db.exec(`UPDATE tasks SET n = n + 1 WHERE status = '${round}-${i}-0'`);
          if ((i + round) % 4 === 1) await db.pull();
          await db.push();
          if ((i + round) % 3 === 1) await db.pull();
        }),
      );
    }
    const got = await f.settle('SELECT id, status, n FROM tasks ORDER BY id');
    assert.equal(got.length, rows);
    assert.equal(new Set(got.map((r) => r[1])).size, rows);
    for (const [, status, n] of got) assert.equal(n, /^\d+-\d+-0$/.test(status) ? 1 : 0, status);
  });

  scenario('agentdb, Turso sync and SQL over HTTP on one database', async (f) => {
    const agent = (sql, file = 'agent.db') => execFileSync(binary, ['shell', join(f.dir, file), sql, '--url', f.url, '--mode', 'json']).toString();
    agent('CREATE TABLE tasks(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT); CREATE TABLE notes(k TEXT PRIMARY KEY, v TEXT)');
    const a = await f.open();
    const b = await connect({ path: join(f.dir, 'b.db'), url: f.url, clientName: 'b' });
    f.clients.push(b);
    for (let round = 0; round < 3; round++) {
      await a.exec(`INSERT INTO tasks(who) VALUES ('a${round}'); INSERT INTO notes VALUES ('a${round}', 'a') ON CONFLICT(k) DO UPDATE SET v = 'aa'`);
      await b.exec(`INSERT INTO tasks(who) VALUES ('b${round}')`);
      agent(`INSERT INTO tasks(who) VALUES ('agent${round}'); UPDATE notes SET v = 'agent' WHERE k = 'a${round - 1}'`);
      await f.sql(`INSERT INTO tasks(who) VALUES ('sql${round}')`, `DELETE FROM notes WHERE k = 'a${round - 2}'`);
      await f.settle('SELECT id, who FROM tasks ORDER BY id');
    }
    const tasks = await f.settle('SELECT id, who FROM tasks ORDER BY id');
    assert.equal(new Set(tasks.map((r) => r[1])).size, 12);
    assert.equal(tasks.length, 12);
    const notes = await f.settle('SELECT k, v FROM notes ORDER BY k');
    assert.deepEqual(JSON.parse(agent('SELECT id, who FROM tasks ORDER BY id')).map(Object.values), tasks);
    assert.deepEqual(JSON.parse(agent('SELECT k, v FROM notes ORDER BY k')).map(Object.values), notes);
    // Nobody sees the tables that are not theirs.
    for (const file of ['agent.db', 'late.db']) {
      assert.deepEqual(JSON.parse(agent('SELECT id, who FROM tasks ORDER BY id', file)).map(Object.values), tasks);
      assert.deepEqual(JSON.parse(agent("SELECT count(*) AS n FROM sqlite_schema WHERE name LIKE 'turso%'", file))[0].n, 0);
    }
    assert.deepEqual(await all(a, "SELECT name FROM sqlite_schema WHERE name LIKE 'agentdb%'"), [['agentdb_conflicts']]);
  });
});
