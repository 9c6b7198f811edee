// Drizzle with its tools: drizzle-kit writes the migrations, Drizzle applies
// them through @libsql/client.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { createClient } from '@libsql/client';
import { eq, relations, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/libsql';
import { migrate } from 'drizzle-orm/libsql/migrator';
import { blob, index, integer, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { Server } from './server.js';

const users = sqliteTable('users', {
  id: integer().primaryKey({ autoIncrement: true }),
  email: text().notNull().unique(),
  at: integer({ mode: 'timestamp_ms' }),
});
const posts = sqliteTable(
  'posts',
  {
    id: integer().primaryKey(),
    author: integer().notNull().references(() => users.id, { onDelete: 'cascade' }),
    body: text({ mode: 'json' }).notNull().default({}),
    score: real(),
    data: blob({ mode: 'buffer' }),
    big: blob({ mode: 'bigint' }),
  },
  (t) => [index('by_author').on(t.author)],
);
const schema = {
  users,
  posts,
  usersRelations: relations(users, ({ many }) => ({ posts: many(posts) })),
  postsRelations: relations(posts, ({ one }) => ({ author: one(users, { fields: [posts.author], references: [users.id] }) })),
};

// The same tables for drizzle-kit, without and with what the second migration
// changes: body becomes NOT NULL, so that the table has to be made anew.
const tables = (body) => `
  import { blob, index, integer, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';
  export const users = sqliteTable('users', { id: integer().primaryKey({ autoIncrement: true }), email: text().notNull().unique(), at: integer({ mode: 'timestamp_ms' }) });
  export const posts = sqliteTable('posts', { id: integer().primaryKey(), author: integer().notNull().references(() => users.id, { onDelete: 'cascade' }),
    body: text({ mode: 'json' })${body}, score: real(), data: blob({ mode: 'buffer' }), big: blob({ mode: 'bigint' }) }, (t) => [index('by_author').on(t.author)]);`;

// A project below this directory, since drizzle-kit looks for packages there.
const project = join(import.meta.dirname, 'bin', 'drizzle');
const kit = async (...args) => {
  const bin = join(import.meta.dirname, 'node_modules', 'drizzle-kit', 'bin.cjs');
  const { stdout } = await promisify(execFile)(process.execPath, [bin, ...args], { cwd: project, env: { ...process.env, NO_COLOR: '1' } });
  return stdout;
};
const configure = (fields) => writeFileSync(join(project, 'drizzle.config.js'), `export default ${JSON.stringify({ schema: './schema.js', out: './out', ...fields })};`);

let server;
before(async () => {
  server = await Server.start();
  rmSync(project, { recursive: true, force: true });
  mkdirSync(project, { recursive: true });
  configure({ dialect: 'sqlite' });
  for (const body of ['', '.notNull().default({})']) {
    writeFileSync(join(project, 'schema.js'), tables(body));
    await kit('generate');
  }
});
after(() => server.stop());

const migrationsFolder = join(project, 'out');
// firstOnly is a folder with the first of the migrations.
const firstOnly = () => {
  const folder = join(project, 'first');
  mkdirSync(join(folder, 'meta'), { recursive: true });
  const journal = JSON.parse(readFileSync(join(migrationsFolder, 'meta', '_journal.json')));
  assert.equal(journal.entries.length, 2);
  journal.entries.length = 1;
  writeFileSync(join(folder, 'meta', '_journal.json'), JSON.stringify(journal));
  const name = `${journal.entries[0].tag}.sql`;
  writeFileSync(join(folder, name), readFileSync(join(migrationsFolder, name)));
  return folder;
};

for (const protocol of ['http', 'ws']) {
  describe(`drizzle over ${protocol}`, () => {
    const connection = (name) => ({ url: `${protocol}://${server.address}`, authToken: server.token(`${name}-${protocol}`) });
    const open = async (t, name) => {
      const client = createClient(connection(name));
      t.after(() => client.close());
      const db = drizzle(client, { schema });
      await migrate(db, { migrationsFolder });
      return db;
    };

    test('a table made anew keeps its rows, and those that refer to it', async (t) => {
      const client = createClient(connection('anew'));
      t.after(() => client.close());
      const db = drizzle(client);
      await migrate(db, { migrationsFolder: firstOnly() });
      await db.run(sql`INSERT INTO users(email) VALUES ('a')`);
      await db.run(sql`INSERT INTO posts(author, body) VALUES (1, '[1]')`);
      await migrate(db, { migrationsFolder });
      await migrate(db, { migrationsFolder });
      assert.equal((await db.all(sql`SELECT * FROM __drizzle_migrations`)).length, 2);
      assert.deepEqual((await db.select().from(posts)).map((p) => p.body), [[1]]);
      await assert.rejects(db.run(sql`INSERT INTO posts(author) VALUES (9)`), (e) => e.cause.code === 'SQLITE_CONSTRAINT_FOREIGNKEY');
      await db.delete(users);
      assert.equal((await db.select().from(posts)).length, 0);
    });

    test('values and relations', async (t) => {
      const db = await open(t, 'values');
      const at = new Date(1.7e12);
      const [u] = await db.insert(users).values({ email: 'é😀', at }).returning();
      const post = { id: 1, author: u.id, body: { a: [1, null] }, score: -0.5, data: Buffer.from([0, 255]), big: 2n ** 70n };
      await db.insert(posts).values(post);
      assert.deepEqual(await db.select().from(posts), [post]);
      const found = await db.query.users.findFirst({ with: { posts: { columns: { id: true, body: true } } }, where: eq(users.email, 'é😀') });
      assert.deepEqual(found, { ...u, at, posts: [{ id: 1, body: post.body }] });
      const n = await db.insert(users).values({ email: 'é😀' }).onConflictDoUpdate({ target: users.email, set: { at: null } });
      assert.equal(n.rowsAffected, 1);
      assert.deepEqual(await db.select({ at: users.at, n: sql`count(*)` }).from(users).leftJoin(posts, eq(posts.author, users.id)), [{ at: null, n: 1 }]);
    });

    test('transactions', async (t) => {
      const db = await open(t, 'tx');
      await db.transaction(async (tx) => {
        await tx.insert(users).values({ email: 'a' });
        await assert.rejects(tx.transaction(async (inner) => {
          await inner.insert(users).values({ email: 'b' });
          inner.rollback();
        }));
        await tx.insert(users).values({ email: 'c' });
      });
      await assert.rejects(db.transaction(async (tx) => {
        await tx.delete(users);
        tx.rollback();
      }));
      assert.deepEqual((await db.select().from(users)).map((u) => u.email), ['a', 'c']);
      await assert.rejects(db.batch([db.insert(users).values({ email: 'd' }), db.insert(users).values({ email: 'a' })]));
      assert.equal(await db.$count(users), 2);
    });

    test('errors have codes', async (t) => {
      const db = await open(t, 'errors');
      await db.insert(users).values({ email: 'a' });
      const code = (want) => (e) => {
        assert.equal(e.cause.code, want);
        return true;
      };
      await assert.rejects(db.insert(users).values({ email: 'a' }), code('SQLITE_CONSTRAINT_UNIQUE'));
      await assert.rejects(db.insert(users).values({ id: 1, email: 'b' }), code('SQLITE_CONSTRAINT_PRIMARYKEY'));
      await assert.rejects(db.insert(users).values({ email: sql`NULL` }), code('SQLITE_CONSTRAINT_NOTNULL'));
      await assert.rejects(db.insert(posts).values({ author: 9 }), code('SQLITE_CONSTRAINT_FOREIGNKEY'));
      await assert.rejects(db.all(sql`SELECT * FROM nope`), code('SQLITE_ERROR'));
    });
  });
}

test('drizzle-kit push finds the schema, and changes it', async () => {
  const dbCredentials = { url: server.url, authToken: server.token('push') };
  configure({ dialect: 'turso', tablesFilter: ['!agentdb_*'], dbCredentials });
  await kit('push', '--force');
  assert.match(await kit('push', '--force'), /No changes detected/);
  writeFileSync(join(project, 'schema.js'), `${tables('.notNull().default({})')} export const more = sqliteTable('more', { id: integer().primaryKey() });`);
  await kit('push', '--force');
  assert.deepEqual(await server.sql('push', "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'agentdb_%' ORDER BY name"), [['more'], ['posts'], ['users']]);
});
