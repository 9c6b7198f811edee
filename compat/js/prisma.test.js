// Prisma's driver adapter, as its client calls it. The client itself needs
// prisma generate, which downloads an engine.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PrismaLibSql } from '@prisma/adapter-libsql';
import { Server } from './server.js';

let server;
before(async () => {
  server = await Server.start();
});
after(() => server.stop());

const open = async (t, name) => {
  const db = await new PrismaLibSql({ url: server.url, authToken: server.token(name) }).connect();
  t.after(() => db.dispose());
  await db.executeScript(`CREATE TABLE "User" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "email" TEXT NOT NULL);
    CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
    CREATE TABLE "Post" ("id" INTEGER PRIMARY KEY, "author" INTEGER NOT NULL REFERENCES "User"("id"), "at" DATETIME, "big" BIGINT, "data" BLOB);`);
  return db;
};
const arg = (scalarType) => ({ scalarType, arity: 'scalar' });
const query = (sql, ...args) => ({ sql, args: args.map((a) => a[1]), argTypes: args.map((a) => arg(a[0])) });

test('prisma: values', async (t) => {
  const db = await open(t, 'values');
  const user = await db.queryRaw(query('INSERT INTO "User"("email") VALUES (?) RETURNING "id"', ['string', 'é😀']));
  assert.deepEqual(user.rows, [[1]]);
  const n = await db.executeRaw(query('INSERT INTO "Post" VALUES (1, ?, ?, ?, ?)', ['int', 1], ['datetime', '2026-01-02T03:04:05.678Z'], ['bigint', '9007199254740991'], ['bytes', 'AP8=']));
  assert.equal(n, 1);
  const { columnNames, rows } = await db.queryRaw(query('SELECT "at", "big", "data" FROM "Post"'));
  assert.deepEqual(columnNames, ['at', 'big', 'data']);
  assert.equal(new Date(rows[0][0]).toISOString(), '2026-01-02T03:04:05.678Z');
  assert.equal(String(rows[0][1]), '9007199254740991');
  assert.deepEqual([...rows[0][2]], [0, 255]);
});

test('prisma: transactions', async (t) => {
  const db = await open(t, 'transactions');
  for (const end of ['commit', 'rollback']) {
    const tx = await db.startTransaction('SERIALIZABLE');
    await tx.executeRaw(query('INSERT INTO "User"("email") VALUES (?)', ['string', end]));
    await tx[end]();
  }
  assert.deepEqual((await db.queryRaw(query('SELECT "email" FROM "User"'))).rows, [['commit']]);
});

test('prisma: errors', async (t) => {
  const db = await open(t, 'errors');
  await db.executeRaw(query('INSERT INTO "User"("email") VALUES (?)', ['string', 'a']));
  // The adapter tells kinds apart by a number that is on no wire of Hrana.
  const fails = (sql, message) =>
    assert.rejects(db.executeRaw(query(sql)), (e) => {
      assert.match(e.cause.originalMessage, message);
      return true;
    });
  await fails(`INSERT INTO "User"("email") VALUES ('a')`, /^SQLITE_CONSTRAINT_UNIQUE: .*UNIQUE constraint failed: User\.email/);
  await fails('INSERT INTO "User"("email") VALUES (NULL)', /^SQLITE_CONSTRAINT_NOTNULL: .*NOT NULL constraint failed: User\.email/);
  await fails('INSERT INTO "Post"("author") VALUES (9)', /^SQLITE_CONSTRAINT_FOREIGNKEY: /);
  await fails('SELECT * FROM "Nope"', /no such table: Nope/);
});
