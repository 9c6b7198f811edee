// Fleets of @tursodatabase/sync that write, push and pull at random while the
// server is killed now and then. Each client changes its own rows only, so what
// the last push of a row says has to be in the table, or in agentdb_conflicts.
// RUNS is the number of fleets for each kind of table, SEED the first of them.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Server } from './server.js';
import { Fleet } from './sync.js';

const runs = Number(process.env.RUNS ?? 3);
const seed = Number(process.env.SEED ?? 0);

// random returns a generator of numbers below n.
function random(state) {
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

// Writer is a client that remembers what it has written last, by row.
class Writer {
  constructor(i) {
    this.name = `c${i}`;
    this.rows = new Map();
    this.count = 0;
    this.unsent = false;
    this.sent = new Set(); // all values that were pushed
  }

  async open(fleet) {
    this.db = await fleet.open({
      fetch: (url, init) => {
        if (String(url).endsWith('/v2/pipeline')) {
          const { requests } = JSON.parse(Buffer.from(init.body).toString());
          for (const step of requests[0].batch.steps) for (const arg of step.stmt.args) this.sent.add(arg.value);
        }
        return fetch(url, init);
      },
    });
    return this;
  }

  async write(pick, at) {
    const own = [...this.rows.keys()];
    const what = pick(10);
    if (what < 5 || own.length === 0) {
      const tag = `${this.name}-${this.count++}`;
      await this.run('INSERT INTO t(tag, v) VALUES (?, ?)', tag, `${tag}=${at}`);
      this.rows.set(tag, `${tag}=${at}`);
      return;
    }
    const tag = own[pick(own.length)];
    if (what < 8) {
      if (await this.run('UPDATE t SET v = ? WHERE tag = ?', `${tag}=${at}`, tag)) this.rows.set(tag, `${tag}=${at}`);
    } else if (await this.run('DELETE FROM t WHERE tag = ?', tag)) {
      this.rows.delete(tag);
    }
  }

  async run(sql, ...args) {
    const { changes } = await (await this.db.prepare(sql)).run(...args);
    this.unsent ||= changes > 0;
    return changes;
  }

  async push() {
    await this.db.push();
    this.unsent = false;
  }
}

async function fleet(server, schema, polite, pick) {
  const f = new Fleet(server);
  try {
    await f.sql(schema, "INSERT INTO t(tag, v) VALUES ('first', '0')");
    const writers = [];
    for (let i = 0; i < 4; i++) writers.push(await new Writer(i).open(f));
    for (let at = 0; at < 120; at++) {
      const w = writers[pick(4)];
      const what = pick(100);
      if (what < 60) {
        await w.write(pick, at);
      } else if (what < 78) {
        if (polite && w.unsent) await w.push();
        await w.db.pull();
      } else if (what < 98) {
        await w.push();
      } else {
        await server.kill();
        await server.again();
      }
    }
    for (let i = 0; i < 2; i++) {
      for (const w of writers) await w.push();
      for (const w of writers) await w.db.pull();
    }
    const have = new Map(await f.sql('SELECT tag, v FROM t'));
    assert.equal(have.get('first'), '0');
    const recorded = JSON.stringify(await f.conflicts());
    const wrong = writers.flatMap((w) => [...w.rows].filter(([tag, v]) => have.get(tag) !== v && w.sent.has(v) && !recorded.includes(v)));
    assert.deepEqual(wrong, [], 'neither stored nor recorded');
    return { all: writers.every((w) => [...w.rows].every(([tag, v]) => have.get(tag) === v)), recorded };
  } finally {
    await f.close();
  }
}

const keyed = 'CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT, v TEXT)';
const keyless = 'CREATE TABLE t(tag TEXT, v TEXT)';
describe('nothing that was pushed is lost silently', () => {
  for (const [name, schema, polite] of [
    ['a key, pushed before each pull', keyed, true],
    ['a key, pulled with unsent changes', keyed, false],
    ['no key, pushed before each pull', keyless, true],
    ['no key, pulled with unsent changes', keyless, false],
  ]) {
    test(name, async () => {
      const server = await Server.start({ dev: true });
      try {
        for (let i = seed; i < seed + runs; i++) {
          const { all, recorded } = await fleet(server, schema, polite, random(i * 7919));
          if (polite && schema === keyed) assert.ok(all, `fleet ${i}: not all rows are as their clients left them; recorded: ${recorded}`);
        }
      } finally {
        await server.stop();
      }
    });
  }
});
