// Opens files of @tursodatabase/sync for tests.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from '@tursodatabase/sync';

// lost reports whether the client lost an answer that it had received: its worker
// thread looks for data and for the end of it in two steps, and both may come
// between these (docs/compatibility.md). Seldom: once in 70,000 pulls.
const lost = (e) => e.message.endsWith('no header returned in the pull-updates protobuf call');

// unlost does something again, once, if the client lost the answer to it.
const unlost = (f) =>
  f().catch((e) => {
    if (!lost(e)) throw e;
    console.log(`# once more: ${e.message}`);
    return f();
  });

let count = 0;

// Fleet is some clients of one database of a server.
export class Fleet {
  constructor(server) {
    this.server = server;
    this.name = `f${count++}`;
    this.url = `${server.url}/db/${this.name}`;
    this.dir = mkdtempSync(join(tmpdir(), 'agentdb-sync-'));
    this.clients = [];
    this.opened = 0;
  }

  async open(opts = {}) {
    const n = this.opened++;
    const path = opts.path ?? join(this.dir, `${n}.db`);
    const db = await unlost(() => connect({ url: this.url, clientName: `c${n}`, ...opts, path }));
    const pull = db.pull.bind(db);
    db.pull = () => unlost(pull);
    this.clients.push(db);
    return db;
  }

  // two opens two clients of a database with a schema.
  async two(schema, opts) {
    await this.sql(...schema);
    return [await this.open(opts), await this.open(opts)];
  }

  sql(...statements) {
    return this.server.sql(this.name, ...statements);
  }

  conflicts() {
    return this.sql('SELECT table_name, kind, key, losing FROM agentdb_conflicts ORDER BY id');
  }

  // settle pushes and pulls until everybody has everything, and compares what
  // a query returns everywhere.
  async settle(query) {
    for (const db of this.clients) await db.push();
    for (const db of this.clients) await db.pull();
    const want = await this.sql(query);
    for (const [i, db] of this.clients.entries()) {
      const got = (await (await db.prepare(query)).all()).map((row) => Object.values(row));
      if (JSON.stringify(got) !== JSON.stringify(want)) {
        throw new Error(`client ${i} has ${JSON.stringify(got)}, the server ${JSON.stringify(want)}`);
      }
    }
    return want;
  }

  async close() {
    for (const db of this.clients) await db.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export const all = async (db, sql, ...args) => (await (await db.prepare(sql)).all(...args)).map((row) => Object.values(row));
export const one = async (db, sql, ...args) => (await all(db, sql, ...args))[0]?.[0];
