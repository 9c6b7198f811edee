// @tursodatabase/api: every method of the client of Turso's Platform API.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import dns from 'node:dns';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createClient as libsql } from '@libsql/client';
import { createClient } from '@tursodatabase/api';
import { connect as serverless } from '@tursodatabase/serverless';
import { binary, Server } from './server.js';

const lookup = dns.lookup;
let server, token, turso;

before(async () => {
  // Names below localhost are this machine, by RFC 6761; not every resolver knows.
  dns.lookup = (host, options, done) => lookup(host.endsWith('.localhost') ? '127.0.0.1' : host, options, done);
  server = await Server.start();
  token = execFileSync(binary, ['token', 'api', 'test', '--data', join(server.dir, 'data')]).toString().trim();
  turso = createClient({ org: 'default', token, baseUrl: `${server.url}/v1/` });
});
after(async () => {
  dns.lookup = lookup;
  await server.stop();
});

const refused = (status, message) => (e) => {
  assert.equal(e.name, 'TursoClientError');
  assert.equal(e.status, status, e.message);
  assert.match(e.message, message);
  return true;
};

describe('organizations', () => {
  test('list', async () => {
    const orgs = await turso.organizations.list();
    assert.deepEqual(orgs.map(({ name, slug, type, overages, blocked_reads, blocked_writes }) => [name, slug, type, overages, blocked_reads, blocked_writes]),
      [['default', 'default', 'personal', false, false, false]]);
  });
  test('update', async () => {
    assert.equal((await turso.organizations.update({ overages: true })).overages, true);
    assert.equal((await turso.organizations.list())[0].overages, true);
  });
  test('delete', async () => {
    const r = await fetch(`${server.url}/v1/organizations`, { method: 'POST', headers: { authorization: `Bearer ${token}` }, body: '{"name":"shortlived"}' });
    assert.equal(r.status, 200);
    await createClient({ org: 'shortlived', token, baseUrl: `${server.url}/v1/` }).organizations.delete();
    assert.deepEqual((await turso.organizations.list()).map((o) => o.slug), ['default']);
    await assert.rejects(turso.organizations.delete(), refused(409, /stays/));
  });
  test('members', async () => {
    assert.deepEqual(await turso.organizations.members(), [{ username: 'admin', email: '', role: 'owner' }]);
  });
  test('addMember, removeMember', async () => {
    assert.deepEqual(await turso.organizations.addMember('ada', 'admin').then(({ member, role }) => [member, role]), ['ada', 'admin']);
    await turso.organizations.addMember('bob');
    assert.deepEqual((await turso.organizations.members()).map((m) => [m.username, m.role]), [['ada', 'admin'], ['admin', 'owner'], ['bob', 'member']]);
    assert.equal((await turso.organizations.removeMember('ada')).member, 'ada');
    await turso.organizations.removeMember('bob');
    await assert.rejects(turso.organizations.removeMember('ada'), refused(404, /ada/));
    await assert.rejects(turso.organizations.removeMember('admin'), refused(409, /owner/));
  });
  test('inviteUser, listInvites, deleteInvite', async () => {
    const invited = await turso.organizations.inviteUser('eve@example.com', 'viewer');
    assert.deepEqual([invited.email, invited.role, invited.organization], ['eve@example.com', 'viewer', 'default']);
    assert.ok(invited.token);
    assert.deepEqual((await turso.organizations.listInvites()).map((i) => [i.email, i.role]), [['eve@example.com', 'viewer']]);
    await turso.organizations.deleteInvite('eve@example.com');
    assert.deepEqual(await turso.organizations.listInvites(), []);
    await assert.rejects(turso.organizations.deleteInvite('eve@example.com'), refused(404, /eve/));
  });
  test('invoices', async () => assert.deepEqual(await turso.organizations.invoices(), []));
});

test('locations.list', async () => {
  assert.deepEqual(await turso.locations.list(), [{ code: 'local', description: 'This server' }]);
});

describe('groups', () => {
  test('create, get, list, delete', async () => {
    const g = await turso.groups.create('fleet', 'ams', { extensions: 'all' });
    assert.deepEqual([g.name, g.primary, g.locations], ['fleet', 'ams', ['ams']]);
    assert.deepEqual(await turso.groups.get('fleet'), g);
    assert.deepEqual((await turso.groups.list()).map((x) => x.name), ['default', 'fleet']);
    await assert.rejects(turso.groups.create('fleet', 'ams'), refused(409, /fleet already exists/));
    await turso.databases.create('inside', { group: 'fleet' });
    assert.equal((await turso.groups.delete('fleet')).name, 'fleet');
    await assert.rejects(turso.groups.get('fleet'), refused(404, /fleet/));
    await assert.rejects(turso.databases.get('inside'), refused(404, /inside/));
  });
  test('addLocation, removeLocation', async () => {
    await turso.groups.create('places', 'ams');
    assert.deepEqual((await turso.groups.addLocation('places', 'lhr')).locations, ['ams', 'lhr']);
    assert.deepEqual((await turso.groups.removeLocation('places', 'lhr')).locations, ['ams']);
    await assert.rejects(turso.groups.removeLocation('places', 'ams'), refused(422, /primary/));
  });
  test('createToken, rotateTokens', async () => {
    await turso.groups.create('both', 'ams');
    const dbs = [await turso.databases.create('both1', { group: 'both' }), await turso.databases.create('both2', { group: 'both' })];
    await turso.databases.create('neither');
    const { jwt } = await turso.groups.createToken('both', { expiration: '1h', authorization: 'full-access' });
    for (const db of dbs) await opens(db, jwt);
    await refuses('neither', jwt, 403);
    const own = (await turso.databases.createToken('both1')).jwt;
    await turso.groups.rotateTokens('both');
    await refuses('both1', jwt, 401);
    await refuses('both1', own, 401);
    await opens(dbs[1], (await turso.groups.createToken('both')).jwt);
  });
});

// opens writes to a database and reads it, with every client.
async function opens({ name, hostname }, jwt) {
  const c = libsql({ url: `http://${hostname}`, authToken: jwt });
  await c.execute('CREATE TABLE IF NOT EXISTS t(x)');
  await c.execute('INSERT INTO t VALUES (1)');
  c.close();
  const s = serverless({ url: `${server.url}/db/${name}`, authToken: jwt });
  assert.ok((await (await s.prepare('SELECT count(*) AS n FROM t')).get()).n > 0);
}

// refuses asks for a database, and expects that status.
async function refuses(name, jwt, status) {
  const r = await fetch(`${server.url}/db/${name}/v2/pipeline`, {
    method: 'POST', headers: { authorization: `Bearer ${jwt}` }, body: '{"requests":[{"type":"execute","stmt":{"sql":"SELECT 1"}}]}',
  });
  assert.equal(r.status, status, await r.text());
}

const rows = async (name, jwt, sql) => {
  const s = serverless({ url: `${server.url}/db/${name}`, authToken: jwt });
  return (await (await s.prepare(sql)).all()).map((r) => ({ ...r }));
};

describe('databases', () => {
  test('create, get, list, delete', async () => {
    const made = await turso.databases.create('plain');
    assert.equal(made.name, 'plain');
    assert.match(made.id, /^[0-9a-f-]{36}$/);
    assert.equal(made.hostname, `plain.localhost:${server.address.split(':')[1]}`);
    const got = await turso.databases.get('plain');
    assert.deepEqual([got.name, got.type, got.group, got.sleeping, got.archived, got.block_reads, got.block_writes, got.is_schema],
      ['plain', 'logical', 'default', false, false, false, false, false]);
    await turso.databases.create('plain2', { group: 'default', size_limit: '10mb' });
    const names = async (o) => (await turso.databases.list(o)).map((d) => d.name).filter((n) => n.startsWith('plain'));
    assert.deepEqual(await names(), ['plain', 'plain2']);
    assert.deepEqual(await names({ group: 'default' }), ['plain', 'plain2']);
    assert.deepEqual(await names({ group: 'none' }), []);
    assert.deepEqual(await names({ type: 'schema' }), []);
    assert.deepEqual(await names({ schema: 'plain' }), []);
    assert.deepEqual(await turso.databases.delete('plain2'), { database: 'plain2' });
    assert.deepEqual(await names(), ['plain']);
  });
  test('create by the ID of a group', async () => {
    const g = await turso.groups.create('byid', 'ams');
    await turso.databases.create('inbyid', { groupId: g.uuid });
    assert.equal((await turso.databases.get('inbyid')).group, 'byid');
    await assert.rejects(turso.databases.create('x', { groupId: '00000000-0000-4000-8000-000000000000' }), refused(404, /group/));
  });
  test('create from another at a time', async () => {
    await turso.databases.create('past');
    const jwt = (await turso.databases.createToken('past')).jwt;
    await rows('past', jwt, 'CREATE TABLE t(x)');
    await rows('past', jwt, "INSERT INTO t VALUES ('before')");
    await new Promise((done) => setTimeout(done, 20));
    const then = new Date();
    await new Promise((done) => setTimeout(done, 20));
    await rows('past', jwt, "INSERT INTO t VALUES ('after')");
    await turso.databases.create('fork1', { seed: { type: 'database', name: 'past', timestamp: then } });
    await turso.databases.create('fork2', { seed: { type: 'database', name: 'past' } });
    const read = async (name) => (await rows(name, (await turso.databases.createToken(name)).jwt, 'SELECT x FROM t ORDER BY x')).map((r) => r.x);
    assert.deepEqual(await read('fork1'), ['before']);
    assert.deepEqual(await read('fork2'), ['after', 'before']);
    await refuses('fork1', jwt, 403);
    await assert.rejects(turso.databases.create('fork3', { seed: { type: 'database', name: 'nothing' } }), refused(404, /nothing/));
    await assert.rejects(turso.databases.create('fork3', { seed: { type: 'database', name: 'past', timestamp: '2001-01-01T00:00:00Z' } }), refused(422, /no revision at 2001-01-01/));
  });
  test('create from a dump', async () => {
    const form = new FormData();
    form.append('file', new Blob(['BEGIN; CREATE TABLE t(x); INSERT INTO t VALUES (42); COMMIT;']), 'dump.sql');
    const r = await fetch(`${server.url}/v1/organizations/default/databases/dumps`, { method: 'POST', headers: { authorization: `Bearer ${token}` }, body: form });
    const { dump_url: url } = await r.json();
    await turso.databases.create('dumped', { seed: { type: 'dump', url } });
    assert.deepEqual(await rows('dumped', (await turso.databases.createToken('dumped')).jwt, 'SELECT x FROM t'), [{ x: 42 }]);
    await assert.rejects(turso.databases.create('dumped2', { seed: { type: 'dump', url } }), refused(404, /upload it again/));
    await assert.rejects(turso.databases.create('dumped2', { seed: { type: 'dump', url: 'http://169.254.169.254/' } }), refused(400, /dump_url/));
  });
  test('updateVersion', async () => {
    await turso.databases.create('version');
    assert.deepEqual(await turso.databases.updateVersion('version'), {});
  });
  test('listInstances, getInstance', async () => {
    const made = await turso.databases.create('instances');
    const list = await turso.databases.listInstances('instances');
    assert.deepEqual(list, [{ uuid: made.id, name: 'local', type: 'primary', region: 'local', hostname: made.hostname }]);
    assert.deepEqual(await turso.databases.getInstance('instances', 'local'), list[0]);
    await assert.rejects(turso.databases.getInstance('instances', 'ams'), refused(404, /ams/));
  });
  test('usage', async () => {
    const made = await turso.databases.create('usage');
    await opens(made, (await turso.databases.createToken('usage')).jwt);
    const u = await turso.databases.usage('usage', { from: new Date(0), to: new Date() });
    assert.equal(u.uuid, made.id);
    assert.ok(u.usage.storage_bytes >= 4096);
    assert.ok(u.usage.rows_written >= 1);
    assert.equal(u.instances.length, 1);
    assert.deepEqual(u.instances[0].usage, u.usage);
    const before = await turso.databases.usage('usage', { from: new Date(0), to: new Date(1000) });
    assert.deepEqual([before.usage.rows_read, before.usage.rows_written], [0, 0]);
  });
  test('createToken, rotateTokens', async () => {
    const made = await turso.databases.create('tokens');
    await turso.databases.create('others');
    const full = (await turso.databases.createToken('tokens', { expiration: 'never', authorization: 'full-access' })).jwt;
    await opens(made, full);
    await refuses('others', full, 403);
    const read = (await turso.databases.createToken('tokens', { expiration: '2w1d', authorization: 'read-only' })).jwt;
    assert.deepEqual(await rows('tokens', read, 'SELECT x FROM t'), [{ x: 1 }]);
    await assert.rejects(rows('tokens', read, 'INSERT INTO t VALUES (2)'), /readonly/);
    await turso.databases.rotateTokens('tokens');
    await refuses('tokens', full, 401);
    await refuses('tokens', read, 401);
    await opens(made, (await turso.databases.createToken('tokens')).jwt);
    await assert.rejects(turso.databases.createToken('tokens', { expiration: 'soon' }), refused(400, /soon/));
  });
  test('errors', async () => {
    await assert.rejects(turso.databases.get('missing'), refused(404, /^could not find database with name missing: record not found$/));
    await turso.databases.create('twice');
    await assert.rejects(turso.databases.create('twice'), refused(409, /^database with name twice already exists$/));
    await assert.rejects(turso.databases.create('../x'), refused(400, /name/));
    await assert.rejects(turso.databases.create('x', { group: 'nowhere' }), refused(404, /nowhere/));
    await assert.rejects(turso.databases.create('x', { is_schema: true }), refused(422, /schema/));
    await assert.rejects(turso.databases.create('x', { remote_encryption: { encryption_key: 'k', encryption_cipher: 'c' } }), refused(422, /encryption/));
    await assert.rejects(createClient({ org: 'default', token: 'x', baseUrl: `${server.url}/v1/` }).databases.list(), refused(401, /token/));
    await assert.rejects(createClient({ org: 'other', token, baseUrl: `${server.url}/v1/` }).databases.list(), refused(404, /other/));
    await assert.rejects(createClient({ org: 'default', token: server.token('twice'), baseUrl: `${server.url}/v1/` }).databases.list(), refused(401, /token/));
    await refuses('twice', token, 401);
  });
});

test('apiTokens', async () => {
  const made = await turso.apiTokens.create('ci');
  assert.equal(made.name, 'ci');
  await assert.rejects(turso.apiTokens.create('ci'), refused(409, /ci/));
  assert.deepEqual((await turso.apiTokens.list()).map((t) => t.name), ['ci', 'test']);
  const ci = createClient({ org: 'default', token: made.token, baseUrl: `${server.url}/v1/` });
  assert.equal((await ci.organizations.list()).length, 1);
  assert.equal((await ci.apiTokens.validate(made.token)).expiry, -1);
  assert.deepEqual(await turso.apiTokens.revoke('ci'), { token: 'ci' });
  await assert.rejects(ci.organizations.list(), refused(401, /token/));
  assert.deepEqual((await turso.apiTokens.list()).map((t) => t.name), ['test']);
});
