// Drives @tursodatabase/sync for the harness: one JSON command per line on standard input, one JSON answer per line on
// standard output. Times are taken here, around the client's own calls, so that the pipe doesn't count.
import { createInterface } from "node:readline";
import { connect } from "@tursodatabase/sync";

const open = new Map();

// fromAfar says that the request was made on another machine.
const fromAfar = (url, init) => fetch(url, { ...init, headers: { ...init.headers, "x-forwarded-for": "192.0.2.1" } });

// timed notes when the last push and the last answer to a watcher came.
const last = { push: 0, answer: 0 };
const timed = async (url, init) => {
  const answer = await fetch(url, init);
  last.answer = performance.now();
  return answer;
};

const commands = {
  async open({ db, path, url, longPollMs, far }) {
    const handle = await connect({ path, url, longPollTimeoutMs: longPollMs, ...(far && { fetch: fromAfar }), ...(longPollMs && { fetch: timed }) });
    open.set(db, handle);
    return 0;
  },
  async exec({ db, sql }) {
    await open.get(db).exec(sql);
    return 0;
  },
  // insert runs the statement once per row, each its own transaction, or all in one.
  async insert({ db, sql, rows, tx }) {
    const handle = open.get(db);
    const st = await handle.prepare(sql);
    if (tx) await handle.exec("BEGIN");
    for (const row of rows) await st.run(...row);
    if (tx) await handle.exec("COMMIT");
    await st.close();
    return rows.length;
  },
  async push({ db }) {
    await open.get(db).push();
    return 0;
  },
  async pull({ db }) {
    return (await open.get(db).pull()) ? 1 : 0;
  },
  async sync({ db }) {
    await open.get(db).push();
    await open.get(db).pull();
    return 0;
  },
  // wakeUp pushes a row while a watcher's pull waits for it, and returns how long after the push that ended.
  async wakeUp({ db, watcher, sql, row }) {
    const handle = open.get(db);
    const st = await handle.prepare(sql);
    await st.run(...row);
    await st.close();
    const arrived = open.get(watcher).pull().then((news) => {
      if (!news) throw new Error("the pull brought nothing");
      return performance.now();
    });
    arrived.catch(() => {});
    await new Promise((done) => setTimeout(done, 50)); // it waits at the server
    await handle.push();
    last.push = performance.now();
    return Math.max(0, (await arrived) - last.push) / 1000;
  },
  // answered returns how long after that push the server's answer to the watcher came.
  async answered() {
    return Math.max(0, last.answer - last.push) / 1000;
  },
  async value({ db, sql }) {
    const st = await open.get(db).prepare(sql);
    const row = await st.get();
    await st.close();
    return Object.values(row)[0];
  },
  async close({ db }) {
    await open.get(db).close();
    open.delete(db);
    return 0;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const start = performance.now();
  let answer;
  try {
    const value = await commands[command.op](command);
    answer = { seconds: (performance.now() - start) / 1000, value };
  } catch (e) {
    answer = { error: String(e?.message ?? e) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
process.exit(0);
