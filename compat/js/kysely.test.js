// Kysely on top of @libsql/client, the one it brings and the newest.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient } from '@libsql/client';
import { LibsqlDialect } from '@libsql/kysely-libsql';
import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { Server } from './server.js';

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const connection = (protocol, name) => ({ url: `${protocol}://${server.address}`, authToken: server.token(name) });

test('kysely', () => scenario(connection('http', 'own')));
test('kysely, the newest client', () => scenario({ client: createClient(connection('http', 'newest')) }));
test('kysely, the newest client over WebSocket', () => scenario({ client: createClient(connection('ws', 'socket')) }));

async function scenario(config) {
  const db = new Kysely({ dialect: new LibsqlDialect(config) });
  const migrator = new Migrator({
    db,
    provider: {
      getMigrations: async () => ({
        '1_tasks': {
          up: (db) => db.schema.createTable('tasks').addColumn('id', 'integer', (c) => c.primaryKey()).addColumn('title', 'text', (c) => c.notNull().unique()).execute(),
        },
        '2_done': { up: (db) => db.schema.alterTable('tasks').addColumn('done', 'integer', (c) => c.defaultTo(0)).execute() },
      }),
    },
  });
  const { error, results } = await migrator.migrateToLatest();
  assert.equal(error, undefined);
  assert.deepEqual(results.map((r) => r.status), ['Success', 'Success']);
  await db.insertInto('tasks').values([{ title: 'one' }, { title: 'two' }]).execute();
  await db.transaction().execute(async (tx) => {
    await tx.updateTable('tasks').set({ done: 1 }).where('title', '=', 'two').execute();
  });
  await assert.rejects(
    db.transaction().execute(async (tx) => {
      await tx.deleteFrom('tasks').execute();
      await tx.insertInto('tasks').values([{ title: 'x' }, { title: 'x' }]).execute();
    }),
    { code: 'SQLITE_CONSTRAINT_UNIQUE' },
  );
  assert.deepEqual(await db.selectFrom('tasks').select(['title', 'done']).orderBy('id').execute(), [
    { title: 'one', done: 0 },
    { title: 'two', done: 1 },
  ]);
  assert.ok((await db.introspection.getTables()).some((t) => t.name === 'tasks'));
  await db.destroy();
  config.client?.close();
}
