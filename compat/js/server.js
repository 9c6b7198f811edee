// Starts the server's binary for tests, and talks to it without a client.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const binary = process.env.AGENTDB ?? join(import.meta.dirname, 'bin', 'agentdb');

export class Server {
  // start starts a server on a free port. With dev it asks for no tokens.
  static async start({ dev = false, args = [] } = {}) {
    const s = new Server();
    s.dir = mkdtempSync(join(tmpdir(), 'agentdb-compat-'));
    s.dev = dev;
    s.args = args;
    await s.run('127.0.0.1:0');
    return s;
  }

  async run(listen) {
    this.log = '';
    const args = ['serve', '--listen', listen, '--data', join(this.dir, 'data'), '--log-level', 'warn', ...this.args];
    if (this.dev) args.push('--dev');
    this.process = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.process.stderr.on('data', (b) => (this.log += b));
    this.exited = new Promise((done) => this.process.once('exit', done));
    this.address = await new Promise((resolve, reject) => {
      let out = '';
      this.process.once('error', reject);
      this.process.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${this.log}`)));
      this.process.stdout.on('data', (b) => {
        out += b;
        const m = out.match(/http:\/\/(127\.0\.0\.1:\d+)/);
        if (m) resolve(m[1]);
      });
    });
    this.url = `http://${this.address}`;
  }

  // kill ends the server as a power cut would, and again starts it anew.
  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  async again() {
    await this.run(this.address);
  }

  token(database, access = 'full') {
    const out = execFileSync(binary, ['token', 'create', database, '--access', access, '--data', join(this.dir, 'data')]);
    return out.toString().trim();
  }

  // sql runs statements on a database and returns the rows of the last one.
  async sql(database, ...statements) {
    const headers = this.dev ? {} : { authorization: `Bearer ${this.token(database)}` };
    const requests = statements.map((sql) => ({ type: 'execute', stmt: { sql } }));
    const resp = await fetch(`${this.url}/db/${database}/v2/pipeline`, { method: 'POST', headers, body: JSON.stringify({ requests }) });
    if (resp.status !== 200) throw new Error(`${resp.status} ${await resp.text()}`);
    const { results } = await resp.json();
    for (const r of results) if (r.type === 'error') throw new Error(r.error.message);
    return results.at(-1).response.result.rows.map((row) => row.map((v) => (v.type === 'integer' ? Number(v.value) : (v.value ?? v.base64 ?? null))));
  }

  async stop() {
    this.process.kill('SIGTERM');
    await this.exited;
    rmSync(this.dir, { recursive: true, force: true });
  }
}
