// Object mappers on top of @libsql/client: a migration and some queries each.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LibsqlDialect } from '@libsql/kysely-libsql';
import { eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/libsql';
import { migrate } from 'drizzle-orm/libsql/migrator';
import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { Server } from './server.js';

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const connection = (name) => ({ url: `http://${server.address}`, authToken: server.token(name) });

test('drizzle', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'agentdb-drizzle-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'meta'));
  const entries = [
    ['0000_tasks', 'CREATE TABLE `tasks` (`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL, `title` text NOT NULL);\n--> statement-breakpoint\nCREATE UNIQUE INDEX `tasks_title` ON `tasks` (`title`);'],
    ['0001_done', 'ALTER TABLE `tasks` ADD `done` integer DEFAULT false NOT NULL;'],
  ];
  writeFileSync(
    join(folder, 'meta', '_journal.json'),
    JSON.stringify({ version: '7', dialect: 'sqlite', entries: entries.map(([tag], idx) => ({ idx, version: '6', when: 1e12 + idx, tag, breakpoints: true })) }),
  );
  for (const [tag, text] of entries) writeFileSync(join(folder, `${tag}.sql`), text);

  const db = drizzle({ connection: connection('drizzle') });
  await migrate(db, { migrationsFolder: folder });
  await migrate(db, { migrationsFolder: folder });
  const tasks = sqliteTable('tasks', {
    id: integer('id').primaryKey({ autoIncrement: true }),
    title: text('title').notNull(),
    done: integer('done', { mode: 'boolean' }).notNull().default(false),
  });
  const [one] = await db.insert(tasks).values({ title: 'one' }).returning();
  assert.deepEqual(one, { id: 1, title: 'one', done: false });
  await db.transaction(async (tx) => {
    await tx.insert(tasks).values([{ title: 'two' }, { title: 'three' }]);
    await tx.update(tasks).set({ done: true }).where(eq(tasks.title, 'two'));
  });
  await assert.rejects(
    db.transaction(async (tx) => {
      await tx.delete(tasks);
      await tx.insert(tasks).values([{ title: 'x' }, { title: 'x' }]);
    }),
  );
  assert.deepEqual(await db.select({ n: sql`count(*)` }).from(tasks), [{ n: 3 }]);
  const [rows] = await db.batch([db.select().from(tasks).where(eq(tasks.done, true))]);
  assert.deepEqual(rows.map((r) => r.title), ['two']);
});

test('kysely', async () => {
  const db = new Kysely({ dialect: new LibsqlDialect(connection('kysely')) });
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
  );
  assert.deepEqual(await db.selectFrom('tasks').select(['title', 'done']).orderBy('id').execute(), [
    { title: 'one', done: 0 },
    { title: 'two', done: 1 },
  ]);
  assert.ok((await db.introspection.getTables()).some((t) => t.name === 'tasks'));
  await db.destroy();
});
