// @tursodatabase/sync when what comes back is not an answer: refusals of each
// kind, and answers cut at any byte. Nothing may be lost, and nothing twice.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { after, before, test } from 'node:test';
import { Server } from './server.js';
import { all, Fleet } from './sync.js';

let server;
before(async () => {
  server = await Server.start({ dev: true });
});
after(() => server.stop());

// Proxy stands before the server. fault(url, answer) says what is to happen to
// an answer: { status } instead of asking the server, { cut } after so many bytes.
class Proxy {
  fault = () => ({});
  answers = [];

  static async start() {
    const p = new Proxy();
    p.http = createServer(async (req, res) => {
      const body = [];
      for await (const b of req) body.push(b);
      const refused = p.fault(req.url, null);
      if (refused.status) {
        res.writeHead(refused.status, { 'content-type': 'application/json' });
        return res.end(JSON.stringify({ error: `refused with ${refused.status}` }));
      }
      const resp = await fetch(`${server.url}${req.url}`, { method: req.method, body: Buffer.concat(body), headers: { 'user-agent': 'x', 'accept-encoding': 'identity' } });
      const all = Buffer.from(await resp.arrayBuffer());
      p.answers.push([req.url, all.length]);
      const { cut } = p.fault(req.url, all);
      res.writeHead(resp.status, { 'content-length': all.length });
      if (cut === undefined || cut >= all.length) return res.end(all);
      if (cut === 0) return req.socket.destroy();
      res.write(all.subarray(0, cut), () => req.socket.destroy());
    });
    await new Promise((done) => p.http.listen(0, '127.0.0.1', done));
    p.url = `http://127.0.0.1:${p.http.address().port}`;
    return p;
  }

  stop() {
    this.http.closeAllConnections();
    this.http.close();
  }
}

const scenario = (name, fn) =>
  test(name, async () => {
    const f = new Fleet(server);
    const p = await Proxy.start();
    try {
      await f.sql('CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT)');
      await fn(f, p, await f.open({ url: `${p.url}/db/${f.name}` }));
    } finally {
      await f.close();
      p.stop();
    }
  });

const rows = 'SELECT x FROM t ORDER BY x';
const list = (n, prefix) => Array.from({ length: n }, (_, i) => [`${prefix}${String(i).padStart(5, '0')}`]);

for (const status of [400, 401, 403, 404, 429, 500, 502, 503]) {
  scenario(`status ${status} to a push and to a pull`, async (f, p, a) => {
    await a.exec("INSERT INTO t(x) VALUES ('first')");
    await a.push();
    await f.sql("INSERT INTO t(x) VALUES ('server')");
    await a.exec("INSERT INTO t(x) VALUES ('second')");
    for (const at of ['/pipeline', '/pull-updates']) {
      p.fault = (url) => (url.endsWith(at) ? { status } : {});
      await assert.rejects(at === '/pipeline' ? a.push() : a.pull(), (e) => e.message.includes(String(status)), at);
      assert.deepEqual(await all(a, rows), [['first'], ['second']]);
    }
    p.fault = () => ({});
    await a.push();
    await a.pull();
    assert.deepEqual(await all(a, rows), [['first'], ['second'], ['server']]);
    assert.deepEqual(await f.sql(rows), [['first'], ['second'], ['server']]);
  });
}

scenario('answers to pushes, cut after each byte', async (f, p, a) => {
  let n = 0;
  // A push is two requests; the second is the one that writes.
  for (const which of [0, 1]) {
    for (let cut = 0, ended = false; !ended; cut++) {
      await a.exec(`INSERT INTO t(x) VALUES ('p${String(n++).padStart(5, '0')}')`);
      let seen = 0;
      p.fault = (url, answer) => {
        if (!answer || !url.endsWith('/pipeline') || seen++ !== which) return {};
        ended = cut >= answer.length;
        return { cut };
      };
      const failed = await a.push().then(() => false, () => true);
      assert.equal(failed, !ended, `request ${which}, cut to ${cut} bytes`);
    }
  }
  p.fault = () => ({});
  await a.push();
  await a.pull();
  assert.ok(n > 100, `${n} pushes`);
  assert.deepEqual(await f.sql(rows), list(n, 'p'));
  assert.deepEqual(await all(a, rows), list(n, 'p'));
});

scenario('answers to pulls, cut after each byte', async (f, p, a) => {
  await f.sql("INSERT INTO t(x) VALUES ('s00000')");
  let cuts = 0;
  for (let cut = 0, ended = false; !ended; cut += cut < 200 ? 1 : 61) {
    p.fault = (url, answer) => {
      if (!answer || !url.endsWith('/pull-updates')) return {};
      ended = cut >= answer.length;
      return { cut };
    };
    if (ended) break;
    let failed = false;
    await a.pull().catch(() => (failed = true));
    if (ended) break;
    assert.ok(failed, `cut to ${cut} bytes`);
    assert.deepEqual(await all(a, rows), [], `cut to ${cut} bytes`);
    cuts++;
  }
  p.fault = () => ({});
  await a.pull();
  assert.ok(cuts > 200, `${cuts} cuts`);
  assert.deepEqual(await all(a, rows), [['s00000']]);
});

// afar stands before the server as a reverse proxy does that serves clients on
// other machines, and cuts an answer's bytes as they are on the wire: after so
// many, or that part of them (below 1), or so many before their end (below 0).
// Their number differs by some from answer to answer.
async function afar() {
  const p = { cut: undefined, seen: undefined };
  const at = (cut, n) => (cut < 0 ? n + cut : cut < 1 ? Math.floor(cut * n) : cut);
  const http = createServer((req, res) => {
    const up = request(`${server.url}${req.url}`, { method: req.method, headers: { ...req.headers, 'x-forwarded-for': '192.0.2.7' } }, async (answer) => {
      const parts = [];
      for await (const b of answer) parts.push(b);
      const all = Buffer.concat(parts);
      const cut = req.url.endsWith('/pull-updates') ? at(p.cut, all.length) : undefined;
      if (req.url.endsWith('/pull-updates')) p.seen = { headers: answer.headers, length: all.length };
      res.writeHead(answer.statusCode, answer.headers);
      if (cut === undefined || cut >= all.length) return res.end(all);
      res.write(all.subarray(0, cut), () => req.socket.destroy());
    });
    req.pipe(up);
  });
  await new Promise((done) => http.listen(0, '127.0.0.1', done));
  p.url = `http://127.0.0.1:${http.address().port}`;
  p.stop = () => {
    http.closeAllConnections();
    http.close();
  };
  return p;
}

test('large answers are compressed, have their length, and cut anywhere they change nothing', async () => {
  const f = new Fleet(server);
  const p = await afar();
  const whole = () => {
    assert.equal(p.seen.headers['content-encoding'], 'gzip');
    assert.equal(Number(p.seen.headers['content-length']), p.seen.length);
    assert.equal(p.seen.headers['transfer-encoding'], undefined);
  };
  const cuts = [1, 9, 10, 14, 60, 70, ...Array.from({ length: 12 }, (_, i) => (i + 1) / 13), -9, -8, -4, -1];
  const filler = (from) => `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${from + 999}) INSERT INTO t SELECT i, hex(randomblob(1500)) FROM n`;
  const sum = 'SELECT count(*), sum(length(x)), min(x), max(x) FROM t';
  const url = `${p.url}/db/${f.name}`;
  try {
    await f.sql('CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)', filler(1));
    const a = await f.open({ url });
    whole();
    const b = await f.open({ url });
    whole();
    for (const c of [a, b]) assert.deepEqual(await all(c, sum), await f.sql(sum));
    for (p.cut of cuts) await assert.rejects(f.open({ url }), undefined, `a bootstrap cut at ${p.cut}`);

    p.cut = undefined;
    await a.exec("INSERT INTO t VALUES (5000, 'a')"); // from now on answers have a stamp
    await a.push();
    await b.pull();
    await f.sql(filler(2001), "UPDATE t SET x = hex(randomblob(1500)) WHERE id % 7 = 0");
    const had = await all(a, sum);
    await b.pull();
    whole();
    for (p.cut of cuts) {
      await assert.rejects(a.pull(), undefined, `a pull cut at ${p.cut}`);
      assert.deepEqual(await all(a, sum), had);
    }
    p.cut = undefined;
    await a.pull();
    whole();
    for (const c of [a, b]) assert.deepEqual(await all(c, sum), await f.sql(sum));

    const parts = await f.open({ url, pullBytesThreshold: 2 << 20 });
    whole();
    assert.deepEqual(await all(parts, sum), await f.sql(sum));
  } finally {
    await f.close();
    p.stop();
  }
});
