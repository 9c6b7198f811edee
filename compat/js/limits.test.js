// What the official clients make of a server that takes only so many requests.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '@tursodatabase/serverless';
import { retryFetch } from '@tursodatabase/sync-common';
import { Server } from './server.js';
import { all, Fleet } from './sync.js';

const limited = async (rate, fn) => {
  const server = await Server.start({ dev: true, args: ['--rate-database', rate] });
  const f = new Fleet(server);
  try {
    await fn(server, f);
  } finally {
    await f.close();
    await server.stop();
  }
};

test('@tursodatabase/serverless: the error says what to do', () =>
  limited('1:3', async (server) => {
    const db = connect({ url: `${server.url}/db/s` });
    await assert.rejects(async () => {
      for (let i = 0; i < 10; i++) await (await db.prepare('SELECT 1')).all();
    }, /too many requests|429/);
  }));

test('@tursodatabase/sync: retryFetch waits and goes on', () =>
  limited('10:4', async (server, f) => {
    await f.sql('CREATE TABLE t(x)');
    let refused = 0;
    const counting = async (url, init) => {
      const r = await fetch(url, init);
      if (r.status === 429) {
        refused++;
        assert.ok(Number(r.headers.get('retry-after')) >= 1);
      }
      return r;
    };
    const a = await f.open({ fetch: retryFetch({ fetch: counting, attempts: 6, delayMs: 150 }) });
    for (let i = 0; i < 10; i++) {
      await a.exec(`INSERT INTO t VALUES (${i})`);
      await a.push();
    }
    assert.equal((await all(a, 'SELECT x FROM t')).length, 10);
    await new Promise((done) => setTimeout(done, 500));
    assert.deepEqual(await f.sql('SELECT count(*) FROM t'), [[10]]);
    assert.ok(refused > 0);
  }));
