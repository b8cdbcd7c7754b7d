import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { identityOf, type ProcessIdentity, whereabouts } from '../process-identity.ts'

/**
 * Stops a server of this data directory that outlived its application (SIGKILL), and makes a pid file that was left
 * behind harmless. Called before each start, only by the holder of the folder's lock.
 *
 * An orphan is stopped rather than adopted: it may run with other settings, its end would go unnoticed, and a stop and
 * a start take a tenth of a second.
 */
export async function clearTheWay(pgdata: string, log: (line: string) => void): Promise<void> {
  const pidFile = join(pgdata, 'postmaster.pid')
  if (!existsSync(pidFile)) return
  const lines = (await readFile(pidFile, 'utf8')).split('\n')
  const pid = Number(lines[0])
  const identity = pid > 0 ? identityOf(pid) : null
  if (identity !== null && isServerOf(pid, pgdata)) {
    log(`stopping the Postgres (process ${pid}) that an earlier run left behind`)
    await stopServer(identity)
  }
  if (!existsSync(pidFile)) return
  // Postgres refuses to start while any process of its user has the number in its pid file, be it a stranger's or a
  // zombie's. The file must stay, though: it names the shared memory by which Postgres sees that children of the dead
  // server still run. So the number is replaced by one beyond the largest any system gives out.
  await writeFile(pidFile, ['2147483646', ...lines.slice(1)].join('\n'), { flag: 'r+' })
}

/** Ends connections and stops in order (SIGINT); after 20 s at once (SIGQUIT, recovery at the next start). */
async function stopServer(identity: ProcessIdentity): Promise<void> {
  for (const [signal, patienceMs] of [
    ['SIGINT', 20_000],
    ['SIGQUIT', 10_000],
    ['SIGKILL', 5_000],
  ] as const) {
    signalIfThere(identity.pid, signal)
    signalIfThere(identity.pid, 'SIGCONT') // a frozen server hears nothing else
    for (const deadline = Date.now() + patienceMs; Date.now() < deadline; await delay(10)) {
      if (whereabouts(identity) !== 'running') return
    }
  }
  throw new Error(`Postgres (process ${identity.pid}) of an earlier run does not stop.`)
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

/** Whether the process was started as `postgres -D pgdata`; the server's own children rewrite their command lines. */
function isServerOf(pid: number, pgdata: string): boolean {
  try {
    if (process.platform !== 'linux') {
      const line = execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
      return line.includes(`/bin/postgres -D ${pgdata} `)
    }
    const [program, flag, directory] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return basename(program ?? '') === 'postgres' && flag === '-D' && directory === pgdata
  } catch {
    return false // it ended meanwhile
  }
}
