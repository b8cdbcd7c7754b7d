/** The product's processes and the balancer before them, as an operator starts them: the built command, by its roles. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { packageRoot } from '../../../src/built.ts'
import { freePort } from '../../support/ports.ts'
import { signal } from '../../support/processes.ts'
import { modelsEnv } from '../../support/product.ts'

const command = fileURLToPath(new URL('dist/cli.js', packageRoot))
const later = fileURLToPath(new URL('later.mjs', import.meta.url))
export const caddyfile = fileURLToPath(new URL('deploy/Caddyfile', packageRoot))

export type Line = Readonly<Record<string, unknown>> & { readonly msg: string; readonly level: number }

export interface Member {
  readonly name: string
  readonly process: ChildProcess
  readonly pid: number
  /** Of the API; nothing listens there without the role. */
  readonly url: string
  readonly operationsUrl: string
  /** What it logged. */
  readonly lines: readonly Line[]
  /** What it wrote that is no JSON, to stdout and stderr: there should be nothing. */
  readonly otherOutput: readonly string[]
  freeze(): void
  thaw(): void
  /** Sends a signal and waits for the end; returns how many milliseconds that took. */
  end(how: NodeJS.Signals): Promise<number>
}

export interface MemberOptions {
  readonly roles: string
  readonly env: Readonly<Record<string, string>>
  readonly port?: number
  /** How far its clock is ahead of this machine's, in milliseconds; 0: it is the built command itself. */
  readonly clockShiftMs: number
}

/** Starts a process; `untilStarted` waits for it. */
export async function launchMember(name: string, { roles, env, port, clockShiftMs }: MemberOptions): Promise<Member> {
  const { NODE_ENV: _, VITEST: __, ...inherited } = process.env
  const [apiPort, operationsPort] = [port ?? (await freePort()), await freePort()]
  const program = clockShiftMs === 0 ? [command, 'start', '--roles', roles] : [later]
  const child = spawn(process.execPath, program, {
    env: {
      ...inherited,
      ...modelsEnv,
      ...env,
      ROLES: roles,
      CLOCK_SHIFT_MS: `${clockShiftMs}`,
      HOST: '127.0.0.1',
      PORT: `${apiPort}`,
      OPERATIONS_PORT: `${operationsPort}`,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // as on machines of their own: Ctrl-C is the test's, and so is a share of the processor
  })
  endWithUs(child)
  const ended = once(child, 'exit')
  const lines: Line[] = []
  const otherOutput: string[] = []
  createInterface({ input: child.stdout }).on('line', (text) => {
    try {
      lines.push(JSON.parse(text) as Line)
    } catch {
      otherOutput.push(text)
    }
  })
  createInterface({ input: child.stderr }).on('line', (text) => void otherOutput.push(text))
  return {
    name,
    process: child,
    pid: child.pid ?? 0,
    url: `http://127.0.0.1:${apiPort}`,
    operationsUrl: `http://127.0.0.1:${operationsPort}`,
    lines,
    otherOutput,
    freeze: () => signal(child.pid, 'SIGSTOP'),
    thaw: () => signal(child.pid, 'SIGCONT'),
    async end(how) {
      const since = performance.now()
      if (child.exitCode === null && child.signalCode === null) child.kill(how)
      await ended
      return performance.now() - since
    },
  }
}

/** @throws Error with its last lines when it ends, or says nothing of having started within three minutes */
export async function untilStarted(member: Member): Promise<Member> {
  const started = () => member.lines.some(({ msg }) => msg === 'started')
  for (const deadline = performance.now() + 180_000; !started(); await pause(50)) {
    if (member.process.exitCode === null && performance.now() < deadline) continue
    const last = [...member.lines.slice(-10).map((line) => JSON.stringify(line)), ...member.otherOutput.slice(-10)]
    throw new Error(`${member.name} did not start:\n${last.join('\n')}`)
  }
  return member
}

/** Whether there is a Caddy to balance with; says aloud what is skipped when not. */
export function haveBalancer(suite: string): boolean {
  const there = spawnSync('caddy', ['version']).status === 0 && existsSync(caddyfile)
  if (!there) console.warn(`SKIPPED: ${suite} needs Debian's caddy`)
  return there
}

/** The product's own balancer before these API instances. */
export async function startBalancer(upstreams: readonly string[]): Promise<{ url: string; stop(): Promise<void> }> {
  const [port, healthPort] = [await freePort(), await freePort()]
  const child = spawn('caddy', ['run', '--config', caddyfile, '--adapter', 'caddyfile'], {
    env: {
      ...process.env,
      SITE_ADDRESS: `http://127.0.0.1:${port}`,
      UPSTREAMS: upstreams.map((url) => new URL(url).host).join(' '),
      HEALTH_PORT: `${healthPort}`,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  endWithUs(child)
  const ended = once(child, 'exit')
  let said = ''
  child.stderr.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-4_000)
  })
  const answers = () => fetch(`http://127.0.0.1:${port}/metrics`).then(Boolean, () => false)
  for (const deadline = performance.now() + 20_000; !(await answers()); await pause(50)) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error(`caddy did not start: ${said}`)
  }
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}

const children = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** A process of ours must not outlive the test, frozen or not. */
function endWithUs(child: ChildProcess): void {
  children.add(child)
  child.once('exit', () => children.delete(child))
}
