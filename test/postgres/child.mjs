// A process of its own for the tests to kill, freeze or run as another user. It runs what `npm run build` made and
// writes one JSON object a line. The first argument says what it does.
import pg from 'pg'

const [, , task, ...args] = process.argv
const say = (object) => process.stdout.write(`${JSON.stringify(object)}\n`)
const built = (module) => import(new URL(`../../dist/${module}`, import.meta.url).href)

const tasks = {
  /** Serves the data directory until SIGTERM; ignores Ctrl-C. */
  async serve(dataDir) {
    const { startEmbeddedPostgres } = await built('postgres/embedded.js')
    const postgres = await startEmbeddedPostgres({ dataDir, log: (line) => process.stderr.write(`${line}\n`) })
    process.on('SIGINT', () => say({ interrupted: true }))
    process.on('SIGTERM', async () => {
      await postgres.stop()
      process.exit(0)
    })
    say({ url: postgres.url, pid: postgres.pid, dataDir: postgres.dataDir })
  },

  /** Serves the data directory and commits one row after another, telling each that was acknowledged. */
  async write(dataDir) {
    const { startEmbeddedPostgres } = await built('postgres/embedded.js')
    const postgres = await startEmbeddedPostgres({ dataDir })
    const client = new pg.Client(postgres.url)
    await client.connect()
    await client.query('create table if not exists written (n int primary key)')
    say({ pid: postgres.pid })
    for (let n = 1; ; n++) {
      await client.query('insert into written values ($1)', [n])
      say({ n })
    }
  },

  /** Competes for leadership and tells when it is won and lost. */
  async lead(url, name) {
    const { holdAdvisoryLock } = await built('postgres/leader.js')
    await holdAdvisoryLock(url, name, new AbortController().signal, async (lost) => {
      say({ leads: true })
      await new Promise((resolve) => lost.addEventListener('abort', resolve, { once: true }))
      say({ leads: false })
    })
  },

  /** Holds the lock of a data directory for as long as it lives. */
  async lock(dataDir) {
    const { lockDataDir, writeRuntime } = await built('data-dir.js')
    await lockDataDir(dataDir)
    await writeRuntime(dataDir, { pid: process.pid, httpUrl: 'http://127.0.0.1:8080' })
    say({ locked: true })
    setInterval(() => {}, 60_000)
  },
}

await tasks[task](...args)
