// A server for tests that hands Turso's sync clients a log of rows instead of
// pages. Pushes go to agentdb as they are; the log is what is different in the
// tables of agentdb's database since the client's revision.
import { createServer } from 'node:http';

const varint = (n) => {
  const out = [];
  for (n = BigInt.asUintN(64, BigInt(n)); n > 127n; n >>= 7n) out.push(Number(n & 127n) | 128);
  return Buffer.from([...out, Number(n)]);
};

// Protocol buffers: fields are [number, value], buffers and strings with their length.
const message = (...fields) =>
  Buffer.concat(
    fields.flatMap(([no, v]) => {
      if (typeof v === 'number') return [varint(no << 3), varint(v)];
      const b = Buffer.from(v);
      return [varint((no << 3) | 2), varint(b.length), b];
    }),
  );
const delimited = (b) => Buffer.concat([varint(b.length), b]);
const zigzag = (n) => (n < 0 ? -2 * n - 1 : 2 * n);

function fields(b) {
  const out = {};
  let at = 0;
  const next = () => {
    let n = 0;
    for (let shift = 0; ; shift += 7) {
      n += (b[at] & 127) * 2 ** shift;
      if (b[at++] < 128) return n;
    }
  };
  while (at < b.length) {
    const key = next();
    const n = next();
    if ((key & 7) === 2) at += n;
    out[key >> 3] = (key & 7) === 2 ? b.subarray(at - n, at) : n;
  }
  return out;
}

// sqlite encodes numbers of rows and records as SQLite's file format has them.
const sqlite = {
  varint(n) {
    const out = [Number(BigInt(n) & 127n)];
    for (n = BigInt(n) >> 7n; n > 0n; n >>= 7n) out.unshift(Number(n & 127n) | 128);
    return Buffer.from(out);
  },
  record(values) {
    const types = [];
    const body = values.map((v) => {
      if (v === null) return types.push(0), Buffer.alloc(0);
      if (typeof v === 'number') {
        types.push(6);
        const b = Buffer.alloc(8);
        return b.writeBigInt64BE(BigInt(v)), b;
      }
      const b = Buffer.from(v);
      return types.push(13 + 2 * b.length), b;
    });
    const head = Buffer.concat(types.map(sqlite.varint));
    return Buffer.concat([sqlite.varint(head.length + 1), head, ...body]);
  },
};

function crc32c(b) {
  let crc = ~0;
  for (const byte of b) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const le = (size, n) => {
  const b = Buffer.alloc(size);
  return size === 8 ? b.writeBigUInt64LE(BigInt(n)) : size === 4 ? b.writeInt32LE(n | 0) : b.writeUInt16LE(n), b;
};

const literal = (v) => (v === null ? 'NULL' : typeof v === 'number' ? v : `'${v.replaceAll("'", "''")}'`);

// frame is one transaction of the log. ops are {tag, table, rowid, record}.
function frame(ops, time) {
  const names = [...new Set(ops.map((o) => o.table))].filter((t) => t !== 'sqlite_schema');
  const payload = ops.map((o) => {
    const id = o.table === 'sqlite_schema' ? -1 : -2 - names.indexOf(o.table);
    const body = Buffer.concat([sqlite.varint(o.rowid), o.record ?? Buffer.alloc(0)]);
    return Buffer.concat([Buffer.from([o.tag, 0]), le(4, id), sqlite.varint(body.length), body]);
  });
  const about = delimited(message([1, 1], [2, time], ...names.map((n) => [12, n]), ...names.map((_, i) => [13, message([1, zigzag(-2 - i)], [2, i])])));
  const extension = Buffer.concat([le(2, 1), le(2, 0), le(4, about.length), about]);
  const recovery = Buffer.concat(payload);
  const out = Buffer.concat([le(4, 0x5845564d), le(8, recovery.length), le(4, ops.length), le(8, time), le(8, extension.length), le(4, 1), le(4, 1), extension, recovery]);
  return Buffer.concat([out, le(4, crc32c(out)), le(4, 0x4554564d)]);
}

const upsert = 0;
const erase = 1;

export class RowLog {
  // start serves some tables of a database. made is the SQL that makes the files
  // that clients begin with. The next pull gets a new one if whole is set;
  // schema holds rows of sqlite_schema that the log brings.
  static async start(server, name, tables, made) {
    const l = new RowLog();
    Object.assign(l, { server, name, tables, made, revisions: [], schema: [], marks: new Map(), images: 0 });
    l.http = createServer(async (req, resp) => {
      const body = Buffer.concat(await req.toArray());
      const pulls = req.url.endsWith('/pull-updates');
      try {
        resp.end(pulls ? await l.pull(fields(body)) : await l.push(req.url, body.toString()));
      } catch (e) {
        resp.writeHead(500).end(String(e));
      }
    });
    await new Promise((done) => l.http.listen(0, '127.0.0.1', done));
    l.url = `http://127.0.0.1:${l.http.address().port}`;
    return l;
  }

  stop() {
    this.http.close();
    this.http.closeAllConnections();
  }

  sql(...statements) {
    return this.server.sql(this.name, ...statements);
  }

  // push passes a push on, and keeps the mark that says how far it goes.
  async push(path, body) {
    for (const { batch } of JSON.parse(body).requests) {
      const mark = batch?.steps.find((s) => s.stmt.sql.startsWith('INSERT INTO turso_sync_last_change_id'));
      if (mark) this.marks.set(mark.stmt.args[0].value, { batch: { steps: [batch.steps[0], batch.steps[1], mark, batch.steps.at(-1)] }, type: 'batch' });
    }
    return this.forward(this.name, path, body);
  }

  async forward(name, path, body) {
    const r = await fetch(`${this.server.url}/db/${name}${path}`, { method: 'POST', body, headers: { 'accept-encoding': 'identity' } });
    return Buffer.from(await r.arrayBuffer());
  }

  // revision reads the tables, and returns the number of this state of them.
  async revision() {
    const state = { sqlite_schema: Object.fromEntries(this.schema.map((row, i) => [1000 + i, row])) };
    for (const t of this.tables) {
      state[t] = Object.fromEntries((await this.sql(`SELECT rowid AS number, * FROM ${t}`)).map(([rowid, ...row]) => [rowid, row]));
    }
    if (JSON.stringify(state) !== JSON.stringify(this.revisions.at(-1))) this.revisions.push(state);
    return this.revisions.length - 1;
  }

  async pull(req) {
    const to = await this.revision();
    if (req[3] === undefined) return this.image(to);
    if (this.whole) {
      this.whole = false;
      return this.image(to, [6, 1]);
    }
    const ops = this.changes(this.revisions[Number(String(req[3]))], this.revisions[to]);
    const header = [[1, String(to)], [2, 1], [5, 1]];
    if (ops.length === 0) return delimited(message(...header, [8, 2]));
    const log = frame(ops, to);
    const range = message([1, 1], [2, 0], [3, log.length], [5, Buffer.alloc(4)]);
    return Buffer.concat([delimited(message(...header, [7, message([1, 'lml3'], [3, range])], [8, 2])), log]);
  }

  changes(from, to) {
    const ops = [];
    for (const table of Object.keys(to)) {
      const [had, has] = [from[table] ?? {}, to[table]];
      for (const rowid of Object.keys(had)) if (!(rowid in has)) ops.push({ tag: erase, table, rowid });
      for (const [rowid, row] of Object.entries(has)) {
        if (JSON.stringify(had[rowid]) !== JSON.stringify(row)) ops.push({ tag: upsert, table, rowid, record: sqlite.record(row) });
      }
    }
    return ops;
  }

  // image answers with the pages of a database of these tables alone.
  async image(revision, ...mode) {
    const clean = `${this.name}-${this.images++}`;
    const rows = this.tables.flatMap((table) => Object.values(this.revisions[revision][table]).map((row) => `INSERT OR REPLACE INTO ${table} VALUES (${row.map(literal)})`));
    const trigger = (sql) => sql.startsWith('CREATE TRIGGER');
    await this.server.sql(clean, ...this.made.filter((sql) => !trigger(sql)), ...rows, ...this.made.filter(trigger));
    for (const mark of this.marks.values()) await this.forward(clean, '/v2/pipeline', JSON.stringify({ requests: [mark] }));
    const b = await this.forward(clean, '/pull-updates');
    const header = fields(b.subarray(1, 1 + b[0])); // it has less than 128 bytes
    return Buffer.concat([delimited(message([1, String(revision)], [2, header[2]], [3, ''], ...mode, [8, 2])), b.subarray(1 + b[0])]);
  }
}
