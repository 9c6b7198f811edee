// The ways in which the clients name a database: hosts, paths and tokens.
import assert from 'node:assert/strict';
import dns from 'node:dns';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createClient } from '@libsql/client';
import { connect as serverless } from '@tursodatabase/serverless';
import { connect as sync } from '@tursodatabase/sync';
import { Server } from './server.js';
import { all } from './sync.js';

const lookup = dns.lookup;
const domain = 'db.test';
let server, port, dir;

before(async () => {
  // Every name below the domain is this machine.
  dns.lookup = (host, options, done) => lookup(host.endsWith(domain) ? '127.0.0.1' : host, options, done);
  server = await Server.start({ args: ['--domain', domain, '--org', 'acme'] });
  port = server.address.split(':')[1];
  for (const db of ['notes', 'other', 'default']) await server.sql(db, 'CREATE TABLE who(name TEXT)', `INSERT INTO who VALUES ('${db}')`);
  dir = mkdtempSync(join(tmpdir(), 'agentdb-routing-'));
});
after(async () => {
  dns.lookup = lookup;
  rmSync(dir, { recursive: true, force: true });
  await server.stop();
});

const select = 'SELECT name FROM who';
let files = 0;
const clients = {
  '@libsql/client over HTTP': (where, token) => libsql('http', where, token),
  '@libsql/client over WebSocket': (where, token) => libsql('ws', where, token),
  '@libsql/client, libsql:': (where, token) => libsql('libsql', `${where}?tls=0`, token),
  '@tursodatabase/serverless': async (where, token) => (await (await serverless({ url: `http://${where}`, authToken: token }).prepare(select)).all())[0].name,
  '@tursodatabase/sync': async (where, token) => {
    const db = await sync({ url: `http://${where}`, authToken: token, path: join(dir, `${files++}.db`) });
    try {
      return (await all(db, select))[0][0];
    } finally {
      await db.close();
    }
  },
};

async function libsql(scheme, where, authToken) {
  const c = createClient({ url: `${scheme}://${where}`, authToken });
  try {
    return (await c.execute(select)).rows[0].name;
  } finally {
    c.close();
  }
}

for (const [client, ask] of Object.entries(clients)) {
  describe(client, () => {
    for (const host of ['notes', 'notes-acme', 'notes--group--acme']) {
      test(`${host}.${domain}`, async () => {
        assert.equal(await ask(`${host}.${domain}:${port}`, server.token('notes')), 'notes');
        assert.equal(await ask(`${host}.${domain}:${port}`, server.token('*')), 'notes');
        await assert.rejects(ask(`${host}.${domain}:${port}`, server.token('other')));
      });
    }
    test('a token for one database, on the bare host', async () => {
      assert.equal(await ask(server.address, server.token('notes')), 'notes');
      assert.equal(await ask(server.address, server.token('*')), 'default');
    });
    if (!client.includes('HTTP') && !client.includes('libsql:')) {
      test('a path', async () => {
        assert.equal(await ask(`${server.address}/db/notes`, server.token('notes')), 'notes');
        await assert.rejects(ask(`notes.${domain}:${port}/db/other`, server.token('notes')));
      });
    }
  });
}
