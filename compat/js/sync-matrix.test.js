// What becomes of concurrent changes of @tursodatabase/sync, case by case. The
// table in docs/compatibility.md names these tests.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { retryFetch } from '@tursodatabase/sync-common';
import { Server } from './server.js';
import { all, Fleet, one } from './sync.js';

let server;
before(async () => {
  server = await Server.start({ dev: true });
});
after(() => server.stop());

// scenario is a test with a database of its own.
const scenario = (name, fn) =>
  test(name, async () => {
    const f = new Fleet(server);
    try {
      await fn(f);
    } finally {
      await f.close();
    }
  });

describe('inserts of two clients that are offline', () => {
  for (const [name, key] of [['AUTOINCREMENT', 'INTEGER PRIMARY KEY AUTOINCREMENT'], ['INTEGER PRIMARY KEY', 'INTEGER PRIMARY KEY']]) {
    scenario(`${name}: both rows stay, pushed before a pull`, async (f) => {
      const [a, b] = await f.two([`CREATE TABLE tasks(id ${key}, status TEXT)`]);
      await a.exec("INSERT INTO tasks(status) VALUES ('a')");
      await b.exec("INSERT INTO tasks(status) VALUES ('b')");
      assert.deepEqual(await f.settle('SELECT id, status FROM tasks ORDER BY id'), [[1, 'a'], [2, 'b']]);
    });
    scenario(`${name}: both rows stay, pulled before the push`, async (f) => {
      const [a, b] = await f.two([`CREATE TABLE tasks(id ${key}, status TEXT)`]);
      await a.exec("INSERT INTO tasks(status) VALUES ('a')");
      await b.exec("INSERT INTO tasks(status) VALUES ('b')");
      await a.push();
      await b.pull();
      assert.deepEqual(await f.settle('SELECT id, status FROM tasks ORDER BY id'), [[1, 'a'], [2, 'b']]);
    });
  }
  scenario('a row that got another id is updated and deleted by its old one until the next pull', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE tasks(id INTEGER PRIMARY KEY AUTOINCREMENT, status TEXT)']);
    await a.exec("INSERT INTO tasks(status) VALUES ('a')");
    await b.exec("INSERT INTO tasks(status) VALUES ('b1'), ('b2')");
    await a.push();
    await b.push();
    await b.exec("UPDATE tasks SET status = 'b1-done' WHERE id = 1");
    await b.push();
    await b.exec('DELETE FROM tasks WHERE id = 1');
    await b.exec("INSERT INTO tasks(id, status) VALUES (2, 'x') ON CONFLICT(id) DO UPDATE SET status = 'b2-done'");
    assert.deepEqual(await f.settle('SELECT id, status FROM tasks ORDER BY id'), [[1, 'a'], [2, 'b2-done']]);
  });
  scenario('no primary key: both rows stay', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE log(x TEXT)']);
    await a.exec("INSERT INTO log VALUES ('a')");
    await b.exec("INSERT INTO log VALUES ('b')");
    assert.deepEqual(await f.settle('SELECT x FROM log ORDER BY x'), [['a'], ['b']]);
  });
  scenario('distinct TEXT and INTEGER keys: all rows stay', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY)', 'CREATE TABLE i(id INTEGER PRIMARY KEY)']);
    await a.exec("INSERT INTO t VALUES ('a'); INSERT INTO i VALUES (100)");
    await b.exec("INSERT INTO t VALUES ('b'); INSERT INTO i VALUES (200)");
    assert.deepEqual(await f.settle('SELECT k FROM t UNION ALL SELECT id FROM i'), [['a'], ['b'], [100], [200]]);
  });
  scenario('children follow a parent that got another id', async (f) => {
    const [a, b] = await f.two([
      'CREATE TABLE parent(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT)',
      'CREATE TABLE child(k TEXT PRIMARY KEY, parent INTEGER REFERENCES parent(id))',
    ]);
    await a.exec("INSERT INTO parent(who) VALUES ('a'); INSERT INTO child VALUES ('ca', 1)");
    await b.exec("INSERT INTO parent(who) VALUES ('b'); INSERT INTO child VALUES ('cb', 1)");
    await a.push();
    await b.push();
    await b.exec("INSERT INTO child VALUES ('cb2', 1)"); // with a later push
    assert.deepEqual(await f.settle('SELECT k, who FROM child JOIN parent ON parent.id = parent ORDER BY k'), [['ca', 'a'], ['cb', 'b'], ['cb2', 'b']]);
  });
  scenario('the same TEXT key: merged, the overwritten row is recorded', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY, v TEXT)']);
    await a.exec("INSERT INTO t VALUES ('k', 'a')");
    await b.exec("INSERT INTO t VALUES ('k', 'b')");
    assert.deepEqual(await f.settle('SELECT k, v FROM t'), [['k', 'b']]);
    assert.deepEqual(await f.conflicts(), [['t', 'merge', '["k"]', '{"k":"k","v":"a"}']]);
  });
});

describe('updates of two clients', () => {
  const counter = ['CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, a TEXT, b TEXT)', "INSERT INTO t VALUES (1, 10, 'a', 'b')"];
  scenario('of different columns: both stay', async (f) => {
    const [a, b] = await f.two(counter);
    await a.exec("UPDATE t SET a = 'A'");
    await b.exec("UPDATE t SET b = 'B'");
    await a.push();
    await b.pull(); // rebased
    assert.deepEqual(await all(b, 'SELECT a, b FROM t'), [['A', 'B']]);
    assert.deepEqual(await f.settle('SELECT a, b FROM t'), [['A', 'B']]);
  });
  scenario('of the same column: the last push stays', async (f) => {
    const [a, b] = await f.two(counter);
    await a.exec("UPDATE t SET a = 'A1'");
    await b.exec("UPDATE t SET a = 'B1'");
    assert.deepEqual(await f.settle('SELECT a FROM t'), [['B1']]);
    assert.deepEqual(await f.conflicts(), [['t', 'overwrite', '1', '{"id":1,"n":10,"a":"A1","b":"b"}']]);
  });
  scenario('of a row that was deleted: recorded', async (f) => {
    const [a, b] = await f.two(counter);
    await a.exec('DELETE FROM t');
    await b.exec("UPDATE t SET a = 'B1'");
    assert.deepEqual(await f.settle('SELECT * FROM t'), []);
    assert.deepEqual(await f.conflicts(), [['t', 'missing', '1', '{"id":1,"a":"B1"}']]);
  });
  scenario('and a deletion: the row is gone', async (f) => {
    const [a, b] = await f.two(counter);
    await a.exec("UPDATE t SET a = 'A1'");
    await b.exec('DELETE FROM t');
    assert.deepEqual(await f.settle('SELECT * FROM t'), []);
  });
  scenario('of a counter: values, unless a transform says otherwise', async (f) => {
    const [a, b] = await f.two(counter);
    await a.exec('UPDATE t SET n = n + 5');
    await b.exec('UPDATE t SET n = n + 7');
    assert.deepEqual(await f.settle('SELECT n FROM t'), [[17]]);
    assert.deepEqual(await f.conflicts(), [['t', 'overwrite', '1', '{"id":1,"n":15,"a":"a","b":"b"}']]);
  });
  scenario('of a counter with a transform: increments add up', async (f) => {
    const transform = (m) =>
      m.tableName === 't' && m.changeType === 'update'
        ? { operation: 'rewrite', stmt: { sql: 'UPDATE t SET n = n + ? WHERE id = ?', values: [m.after.n - m.before.n, m.after.id] } }
        : null;
    const [a, b] = await f.two(counter, { transform });
    await a.exec('UPDATE t SET n = n + 5');
    await b.exec('UPDATE t SET n = n + 7');
    assert.deepEqual(await f.settle('SELECT n FROM t'), [[22]]);
  });
  scenario('by ON CONFLICT DO UPDATE and INSERT OR REPLACE: one row, nothing recorded', async (f) => {
    const [a] = await f.two(['CREATE TABLE i(id INTEGER PRIMARY KEY, v TEXT, w TEXT)', 'CREATE TABLE k(k TEXT PRIMARY KEY, v TEXT)', "INSERT INTO i VALUES (1, 'old', 'w')", "INSERT INTO k VALUES ('k', 'old')"]);
    await a.exec("INSERT INTO i VALUES (1, 'new', 'x') ON CONFLICT(id) DO UPDATE SET v = excluded.v");
    await a.exec("INSERT OR REPLACE INTO k VALUES ('k', 'new')");
    assert.deepEqual(await f.settle("SELECT id, v, w FROM i UNION ALL SELECT k, v, '' FROM k"), [[1, 'new', 'w'], ['k', 'new', '']]);
    await a.exec("INSERT OR REPLACE INTO i VALUES (1, 'newer', 'y')");
    assert.deepEqual(await f.settle('SELECT id, v, w FROM i'), [[1, 'newer', 'y']]);
    assert.deepEqual(await f.conflicts(), []);
  });
});

describe('changes that the server refuses', () => {
  scenario('UNIQUE: the others are applied, it is recorded, nothing is blocked', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY, mail TEXT UNIQUE)']);
    await a.exec("INSERT INTO t VALUES ('a', 'x@y')");
    await a.push();
    await b.exec("INSERT INTO t VALUES ('b1', 'b1@y')");
    await b.exec("INSERT INTO t VALUES ('b2', 'x@y')");
    await b.exec("INSERT INTO t VALUES ('b3', 'b3@y')");
    await b.push();
    await b.exec("INSERT INTO t VALUES ('b4', 'b4@y')");
    assert.deepEqual(await f.settle('SELECT k FROM t ORDER BY k'), [['a'], ['b1'], ['b3'], ['b4']]);
    assert.deepEqual(await f.conflicts(), [['t', 'unique', '["b2"]', '{"k":"b2","mail":"x@y"}']]);
    assert.equal(await one(b, 'SELECT count(*) FROM agentdb_conflicts'), 1);
  });
  scenario('FOREIGN KEY: no orphan is stored, it is recorded', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE p(id INTEGER PRIMARY KEY)', 'CREATE TABLE c(k TEXT PRIMARY KEY, p INTEGER REFERENCES p(id))', 'INSERT INTO p VALUES (1), (2)']);
    await a.exec('DELETE FROM p WHERE id = 1');
    await b.exec("INSERT INTO c VALUES ('lost', 1); INSERT INTO c VALUES ('good', 2)");
    assert.deepEqual(await f.settle('SELECT k, p FROM c'), [['good', 2]]);
    assert.deepEqual(await f.conflicts(), [['c', 'foreign-key', '["lost"]', '{"k":"lost","p":1}']]);
  });
  scenario('children may come before their parents', async (f) => {
    const [a] = await f.two(['CREATE TABLE p(id INTEGER PRIMARY KEY)', 'CREATE TABLE c(k TEXT PRIMARY KEY, p INTEGER REFERENCES p(id))']);
    await a.exec("INSERT INTO c VALUES ('c', 1); INSERT INTO p VALUES (1)");
    assert.deepEqual(await f.settle('SELECT k, p FROM c'), [['c', 1]]);
    assert.deepEqual(await f.conflicts(), []);
  });
  scenario('CHECK and NOT NULL that the client has not seen yet: recorded', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY, v TEXT)']);
    await a.exec("INSERT INTO t VALUES ('k', NULL)");
    await f.sql('DROP TABLE t', 'CREATE TABLE t(k TEXT PRIMARY KEY, v TEXT NOT NULL)');
    await a.push();
    assert.deepEqual(await f.conflicts(), [['t', 'not-null', '["k"]', '{"k":"k","v":null}']]);
  });
  for (const raise of ["ABORT, 'no'", "FAIL, 'no'", "ROLLBACK, 'no'", 'IGNORE']) {
    scenario(`RAISE(${raise}) that the client has not seen yet: recorded, blocks nothing`, async (f) => {
      const [a] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY, v TEXT)', "INSERT INTO t VALUES ('fixed', 'v')"]);
      await a.exec("INSERT INTO t VALUES ('bad', 'v'); INSERT INTO t VALUES ('good', 'v'); UPDATE t SET v = 'w' WHERE k = 'fixed'");
      await f.sql(
        `CREATE TRIGGER i BEFORE INSERT ON t WHEN NEW.k = 'bad' BEGIN SELECT RAISE(${raise}); END`,
        `CREATE TRIGGER u BEFORE UPDATE ON t WHEN OLD.k = 'fixed' BEGIN SELECT RAISE(${raise}); END`,
      );
      await a.push();
      await a.exec("INSERT INTO t VALUES ('later', 'v')");
      await a.push();
      assert.deepEqual(await f.settle('SELECT k, v FROM t ORDER BY k'), [['fixed', 'v'], ['good', 'v'], ['later', 'v']]);
      assert.deepEqual(await f.conflicts(), [['t', 'raise', '["bad"]', '{"k":"bad","v":"v"}'], ['t', 'raise', '["fixed"]', '{"v":"w","k":"fixed"}']]);
      // It has the triggers now.
      await a.exec("INSERT INTO t VALUES ('bad', 'v')").catch((err) => assert.match(err.message, /no/));
      assert.equal(await one(a, "SELECT count(*) FROM t WHERE k = 'bad'"), 0);
    });
  }
  scenario('a foreign key that deletes rows which the client had not seen: recorded', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE p(id INTEGER PRIMARY KEY)', 'CREATE TABLE c(k TEXT PRIMARY KEY, p INTEGER REFERENCES p(id) ON DELETE CASCADE)', 'INSERT INTO p VALUES (1)']);
    await a.exec("INSERT INTO c VALUES ('mine', 1)");
    await b.exec('DELETE FROM p');
    assert.deepEqual(await f.settle('SELECT * FROM c'), []);
    assert.deepEqual(await f.conflicts(), [['c', 'delete', '["mine"]', '{"k":"mine","p":1}']]);
  });
});

describe('triggers', () => {
  scenario('run once: a log with an INTEGER PRIMARY KEY', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY)', 'CREATE TABLE log(id INTEGER PRIMARY KEY, k TEXT)', 'CREATE TRIGGER l AFTER INSERT ON t BEGIN INSERT INTO log(k) VALUES (NEW.k); END']);
    await a.exec("INSERT INTO t VALUES ('x')");
    assert.deepEqual(await f.settle('SELECT id, k FROM log'), [[1, 'x']]);
  });
  scenario('run once: a log without a key', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY)', 'CREATE TABLE log(k TEXT)', 'CREATE TRIGGER l AFTER INSERT ON t BEGIN INSERT INTO log VALUES (NEW.k); END']);
    await a.exec("INSERT INTO t VALUES ('x')");
    assert.deepEqual(await f.settle('SELECT k FROM log'), [['x']]);
  });
  scenario('run once: on their own row', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)', 'CREATE TRIGGER l AFTER INSERT ON t BEGIN UPDATE t SET n = n + 1 WHERE id = NEW.id; END']);
    await a.exec('INSERT INTO t VALUES (1, 10)');
    assert.deepEqual(await f.settle('SELECT n FROM t'), [[11]]);
  });
});

describe('rows without a key', () => {
  scenario('an update of a new row finds it, whoever has its rowid on the server', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE log(x TEXT)', "INSERT INTO log VALUES ('old')"]);
    await a.exec("INSERT INTO log VALUES ('a1'), ('a2')");
    await b.exec("INSERT INTO log VALUES ('b1'), ('b2')");
    await b.exec("UPDATE log SET x = 'b1-upd' WHERE x = 'b1'");
    await a.push();
    await b.push();
    await b.exec("UPDATE log SET x = 'b2-upd' WHERE x = 'b2'; DELETE FROM log WHERE x = 'b1-upd'; UPDATE log SET x = 'old-upd' WHERE x = 'old'");
    assert.deepEqual(await f.settle('SELECT x FROM log ORDER BY x'), [['a1'], ['a2'], ['b2-upd'], ['old-upd']]);
  });
  scenario('an update of a new row finds it after a pull', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE log(x TEXT)']);
    await a.exec("INSERT INTO log VALUES ('a')");
    await b.exec("INSERT INTO log VALUES ('b'); UPDATE log SET x = 'b-upd'");
    await a.push();
    await b.pull();
    assert.deepEqual(await f.settle('SELECT x FROM log ORDER BY x'), [['a'], ['b-upd']]);
  });
});

describe('keys', () => {
  scenario('a column of a composite key is changed', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(a INT, b INT, v TEXT, PRIMARY KEY(a, b))', "INSERT INTO t VALUES (1, 1, 'x'), (2, 1, 'y')"]);
    await a.exec('UPDATE t SET b = 5 WHERE a = 1');
    assert.deepEqual(await f.settle('SELECT a, b, v FROM t ORDER BY a'), [[1, 5, 'x'], [2, 1, 'y']]);
  });
  scenario('a whole key is changed: the client does not say which it was, so it is recorded', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY, v TEXT)', "INSERT INTO t VALUES ('k', 'x')"]);
    await a.exec("UPDATE t SET k = 'z'");
    assert.deepEqual(await f.settle('SELECT k FROM t'), [['k']]);
    assert.deepEqual(await f.conflicts(), [['t', 'missing', '["z"]', '{"k":"z"}']]);
  });
});

describe('answers that are lost', () => {
  for (const [name, table] of [['with a key', 'CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)'], ['without one', 'CREATE TABLE t(x TEXT)']]) {
    scenario(`a push is applied once: rows ${name}`, async (f) => {
      let lose = 0;
      const lossy = async (url, init) => {
        const resp = await fetch(url, init);
        if (lose > 0 && String(url).includes('pipeline') && Buffer.from(init.body).includes('COMMIT')) {
          lose--;
          await resp.arrayBuffer();
          throw new Error('connection reset');
        }
        return resp;
      };
      await f.sql(table);
      const a = await f.open({ fetch: lossy });
      const b = await f.open({ fetch: retryFetch({ fetch: lossy, delayMs: 1 }) }); // sends the very same again
      lose = 1;
      await a.exec("INSERT INTO t(x) VALUES ('a')");
      await assert.rejects(a.push());
      await a.exec("INSERT INTO t(x) VALUES ('a2')");
      await a.push();
      lose = 1;
      await b.exec("INSERT INTO t(x) VALUES ('b')");
      await b.push();
      assert.deepEqual(await f.settle('SELECT x FROM t ORDER BY x'), [['a'], ['a2'], ['b']]);
    });
  }
});

describe('a client that is killed', () => {
  for (const [when, at] of [['before its push arrives', 'ask'], ['before the answer arrives', 'answer']]) {
    scenario(`${when}: a push is applied once`, async (f) => {
      await f.sql('CREATE TABLE t(x)', 'CREATE TABLE k(id INTEGER PRIMARY KEY, x)');
      const path = join(f.dir, 'killed.db');
      const client = `import { connect } from '@tursodatabase/sync';
        const die = () => process.kill(process.pid, 'SIGKILL');
        let pipelines = 0;
        const db = await connect({
          path: ${JSON.stringify(path)}, url: ${JSON.stringify(f.url)}, clientName: 'killed',
          fetch: async (url, init) => {
            const pushes = url.endsWith('/pipeline') && ++pipelines === 2;
            if (pushes && '${at}' === 'ask') die();
            const answer = await fetch(url, init);
            if (pushes) die();
            return answer;
          },
        });
        await db.exec("INSERT INTO t VALUES ('x'); INSERT INTO k(x) VALUES ('x')");
        await db.push();`;
      assert.throws(() => execFileSync(process.execPath, ['--input-type=module', '-e', client], { cwd: import.meta.dirname }), { signal: 'SIGKILL' });
      assert.deepEqual(await f.sql('SELECT count(*) FROM t'), [[at === 'ask' ? 0 : 1]]);
      const a = await f.open({ path, clientName: 'killed' });
      await a.push();
      await a.pull();
      assert.deepEqual(await f.settle('SELECT x FROM t UNION ALL SELECT x FROM k'), [['x'], ['x']]);
    });
  }
});

describe('the rest', () => {
  scenario('schema changes', async (f) => {
    const a = await f.open();
    const b = await f.open();
    await a.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)');
    await b.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)'); // both of them
    await a.push();
    await b.push();
    await a.pull();
    await a.exec('ALTER TABLE t ADD COLUMN y INTEGER DEFAULT 7; CREATE INDEX i ON t(x)');
    await a.exec("INSERT INTO t(x) VALUES ('one')");
    await a.push();
    await a.exec('DROP INDEX i; CREATE TABLE gone(x); DROP TABLE gone');
    await a.push();
    await a.exec('ALTER TABLE t DROP COLUMN y; ALTER TABLE t ADD COLUMN z');
    assert.deepEqual(await f.settle('SELECT id, x, z FROM t'), [[1, 'one', null]]);
    assert.deepEqual(await f.sql("SELECT name FROM sqlite_schema WHERE name IN ('gone', 'i')"), []);
  });
  scenario('RENAME, views and triggers stay with the client, which never sends them; rows that need them are recorded', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY, x)']);
    await a.exec('CREATE VIEW v AS SELECT 1; ALTER TABLE t RENAME COLUMN x TO y');
    await a.push();
    assert.deepEqual(await f.sql("SELECT count(*) FROM sqlite_schema WHERE name = 'v' OR sql LIKE '%y%KEY, y%'"), [[0]]);
    await a.exec("INSERT INTO t(k, y) VALUES ('k', 'y')");
    await a.push();
    assert.deepEqual((await f.conflicts()).map((c) => c[1]), ['schema']);
  });
  scenario('WITHOUT ROWID: read at a client, not written there', async (f) => {
    const [a] = await f.two(['CREATE TABLE t(k TEXT PRIMARY KEY, x) WITHOUT ROWID', "INSERT INTO t VALUES ('k', 1)"]);
    await f.sql('UPDATE t SET x = 2');
    await a.pull();
    assert.deepEqual(await all(a, 'SELECT * FROM t'), [['k', 2]]);
    await assert.rejects(a.exec('UPDATE t SET x = 3'), /WITHOUT ROWID tables is not supported/);
    assert.deepEqual(await f.settle('SELECT * FROM t'), [['k', 2]]);
  });
  scenario('an INTEGER PRIMARY KEY is changed: the client itself fails to push, from then on', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE t(id INTEGER PRIMARY KEY, x)', "INSERT INTO t VALUES (1, 'x')"]);
    await a.exec('UPDATE t SET id = 5');
    for (let i = 0; i < 2; i++) await assert.rejects(a.push(), /cdc_mode must be set/);
    await b.exec("INSERT INTO t(x) VALUES ('y')");
    await b.push();
    assert.deepEqual(await f.sql('SELECT id, x FROM t ORDER BY id'), [[1, 'x'], [2, 'y']]);
  });
  scenario('sqlite3 reads the file of a client that is not running: its pulls fail from then on, its pushes arrive', async (f) => {
    await f.sql('CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)');
    const path = join(f.dir, 'read.db');
    const client = `import { connect } from '@tursodatabase/sync';
      const db = await connect({ path: ${JSON.stringify(path)}, url: ${JSON.stringify(f.url)}, clientName: 'read' });
      await db.exec("INSERT INTO t(x) VALUES ('first')");
      await db.push();
      await db.pull();
      await db.close();`;
    execFileSync(process.execPath, ['--input-type=module', '-e', client], { cwd: import.meta.dirname });
    assert.equal(execFileSync('sqlite3', [path, 'SELECT x FROM t']).toString(), 'first\n');
    const a = await f.open({ path, clientName: 'read' });
    await f.sql("INSERT INTO t(x) VALUES ('server')");
    for (let i = 0; i < 2; i++) await assert.rejects(a.pull(), /unable to checkpoint synced portion of WAL/);
    await a.exec("INSERT INTO t(x) VALUES ('second')");
    await a.push();
    assert.deepEqual(await f.sql('SELECT x FROM t ORDER BY x'), [['first'], ['second'], ['server']]);
  });
  scenario('all types of values', async (f) => {
    const [a, b] = await f.two(['CREATE TABLE v(k INTEGER PRIMARY KEY, x)']);
    const insert = await a.prepare('INSERT INTO v(x) VALUES (?)');
    insert.safeIntegers?.(true);
    for (const x of [null, 0n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 0.5, -1e300, 5e-324, '', 'a\u0000b', '😀', Buffer.from([]), Buffer.from([0, 255])]) await insert.run(x);
    const query = "SELECT k, typeof(x), CASE typeof(x) WHEN 'real' THEN x ELSE hex(x) END FROM v ORDER BY k";
    const rows = await all(a, query);
    assert.deepEqual(await f.settle(query), rows);
    assert.equal((await all(b, query)).length, 13);
  });
  scenario('four clients, 25 pushes each, at the same time', async (f) => {
    await f.sql('CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, who TEXT)');
    const clients = await Promise.all([0, 1, 2, 3].map(() => f.open()));
    await Promise.all(
      clients.map(async (db, i) => {
        for (let n = 0; n < 25; n++) {
          await db.exec(`INSERT INTO t(who) VALUES ('${i}-${n}')`);
          if (n % 7 === 3) await db.pull();
          await db.push();
        }
      }),
    );
    const rows = await f.settle('SELECT id, who FROM t ORDER BY id');
    assert.equal(new Set(rows.map((r) => r[1])).size, 100);
    assert.equal(rows.length, 100);
  });
  scenario('the answer to a push is small', async (f) => {
    let bytes = 0;
    const [a] = await f.two(['CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)'], {
      fetch: async (url, init) => {
        const resp = await fetch(url, init);
        bytes += Number(resp.headers.get('content-length'));
        return resp;
      },
    });
    await a.push();
    bytes = 0;
    for (let i = 0; i < 100; i++) await a.exec(`INSERT INTO t(x) VALUES ('${i}')`);
    await a.push();
    assert.ok(bytes < 900, `${bytes} bytes`);
  });
});
