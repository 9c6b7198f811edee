// Runs the embedded workloads on @tursodatabase/database through its synchronous interface (the faster of its two), with the
// same loops as the Go engines. Arguments: database path, data file (JSON, written by the harness), names of workloads or "".
import { readFileSync } from "node:fs";
import { Database } from "@tursodatabase/database/compat";

const [path, dataFile, only] = process.argv.slice(2);
const { data, sql } = JSON.parse(readFileSync(dataFile, "utf8"));
const sizes = data.sizes;
const db = new Database(path);
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.pragma("foreign_keys = 1");
for (const statement of sql.ddl.split(";")) if (statement.trim()) db.exec(statement);

const rowSum = (r) => r.id + r.author.length + Math.trunc(r.score) + r.body.length;

function inTx(fn) {
  db.exec("BEGIN");
  const out = fn();
  db.exec("COMMIT");
  return out;
}

function insert(st, rows) {
  for (const r of rows) st.run(r.author, r.score, r.body);
  return 0;
}

function repeat(n, fn) {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += fn();
  return sum;
}

const workloads = {
  "bulk insert": () => {
    const st = db.prepare(sql.bulk);
    return [sizes.rows, () => inTx(() => insert(st, data.notes.slice(0, sizes.rows)))];
  },
  "autocommit insert": () => {
    const st = db.prepare(sql.autocommit);
    return [sizes.commits, () => insert(st, data.notes.slice(0, sizes.commits))];
  },
  "point read in a transaction": () => {
    const st = db.prepare(sql.point);
    return [sizes.reads, () => inTx(() => data.ids.reduce((sum, id) => sum + rowSum(st.get(id)), 0))];
  },
  "scan": () => {
    const st = db.prepare(sql.scan);
    const scan = () => {
      let sum = 0;
      for (const r of st.iterate()) sum += rowSum(r);
      return sum;
    };
    return [sizes.scans * sizes.rows, () => repeat(sizes.scans, scan)];
  },
  "aggregate": () => {
    const st = db.prepare(sql.aggregate);
    return [sizes.aggregates, () => repeat(sizes.aggregates, () => Object.values(st.get())[0])];
  },
  "JSON": () => {
    const load = db.prepare(sql.doc);
    inTx(() => data.docs.forEach((d, i) => load.run(i + 1, d)));
    const st = db.prepare(sql.json);
    return [sizes.jsons, () => repeat(sizes.jsons, () => Object.values(st.get())[0])];
  },
};

const measures = {};
for (const [name, prepare] of Object.entries(workloads)) {
  if (only && !only.split(",").includes(name)) continue;
  const [ops, fn] = prepare();
  globalThis.gc?.();
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  const check = fn();
  const wall = Number(process.hrtime.bigint() - start);
  const used = process.cpuUsage(cpu);
  measures[name] = { wall, cpu: (used.user + used.system) * 1000, ops, check };
}
const version = JSON.parse(readFileSync(new URL("../node_modules/@tursodatabase/database/package.json", import.meta.url))).version;
console.log(JSON.stringify({ engine: "@tursodatabase/database", version: `${version}, node ${process.version}`, measures }));
db.close();
