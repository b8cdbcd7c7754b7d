import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'

/**
 * Names one run of one process for good. A pid alone does not: the number is given to another process sooner or later,
 * so the time the process started stands beside it, and the place in which the number means anything.
 */
export interface ProcessIdentity {
  readonly pid: number
  /** When the process started, in the operating system's own words; compared, never computed with. */
  readonly started: string
  /** The boot and pid namespace (a container has its own) in which `pid` counts. */
  readonly host: string
}

/** The identity of a running process, by default this one. Null when there is none, or only a zombie. */
export function identityOf(pid = process.pid): ProcessIdentity | null {
  const started = process.platform === 'linux' ? startedLinux(pid) : startedByPs(pid)
  return started === null ? null : { pid, started, host: here() }
}

/** Whether that run is still going on; 'elsewhere' when it belongs to a place whose processes cannot be seen from here. */
export function whereabouts(identity: ProcessIdentity): 'running' | 'gone' | 'elsewhere' {
  if (identity.host !== here()) return 'elsewhere'
  return identityOf(identity.pid)?.started === identity.started ? 'running' : 'gone'
}

function here(): string {
  if (process.platform !== 'linux') return hostname()
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/pid')}`
}

/** Field 22 of /proc/PID/stat (proc(5)), in clock ticks since boot. The name in field 2 may hold spaces and brackets. */
function startedLinux(pid: number): string | null {
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return null
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, started] = [fields[0], fields[19]]
  return state === 'Z' || state === 'X' ? null : (started ?? null)
}

function startedByPs(pid: number): string | null {
  try {
    const line = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim()
    return line === '' || line.startsWith('Z') ? null : line.replace(/^\S+\s+/, '')
  } catch {
    return null
  }
}
