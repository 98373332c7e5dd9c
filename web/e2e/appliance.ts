import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
const BINARY = resolve(process.env.FILBERT_BIN ?? join(ROOT, "target/release/filbert"));

function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => done(port));
    });
  });
}

/** The true executable with a fresh data directory. */
export class Appliance {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
    private readonly dir: string,
  ) {}

  static async start(): Promise<Appliance> {
    const dir = mkdtempSync(join(tmpdir(), "filbert-e2e-"));
    const port = await freePort();
    const child = spawn(BINARY, ["serve", "--data", join(dir, "data"), "--listen", `127.0.0.1:${port}`], {
      cwd: dir,
      env: { ...process.env, FILBERT_LLAMA__MODELS_DIR: process.env.FILBERT_MODELS ?? join(ROOT, "models"), FILBERT_LOG__LEVEL: "warn" },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const url = `http://127.0.0.1:${port}`;
    for (let tries = 0; tries < 400; tries += 1) {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
      const ready = await fetch(`${url}/readyz`).then(
        (r) => r.ok,
        () => false,
      );
      if (ready) return new Appliance(url, child, dir);
      await new Promise((r) => setTimeout(r, 50));
    }
    child.kill("SIGKILL");
    throw new Error("the server did not get ready");
  }

  async stop(): Promise<void> {
    const ended = new Promise((r) => this.child.once("exit", r));
    this.child.kill("SIGTERM");
    await ended;
    rmSync(this.dir, { recursive: true, force: true });
  }
}
