/** The processes of a metering test: the product's by their roles, and the stand-in for AWS. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { startChild } from '../../support/child.ts'

export interface Line {
  /** pino's: 40 a warning, 50 an error. */
  readonly level: number
  readonly msg: string
  readonly alarm?: string | undefined
  readonly warning?: string | undefined
}
const line = z.looseObject({
  level: z.int(),
  msg: z.string(),
  alarm: z.string().optional(),
  warning: z.string().optional(),
})

export interface Role {
  readonly name: string
  readonly process: ChildProcess
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<void>
}

type Environment = Readonly<Record<string, string>>

/** Runs test/e2e/metering/role.mjs and waits until it is ready; what it logs goes to `lines`. */
export async function startRole(name: string, env: Environment, lines: Line[]): Promise<Role> {
  // NODE_ENV and VITEST change libraries' defaults, which the product in use does not have.
  const { NODE_ENV: _, VITEST: __, ...inherited } = process.env
  const script = fileURLToPath(new URL('role.mjs', import.meta.url))
  const child = spawn(process.execPath, [script], {
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'exit')
  let errors = ''
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const ready = new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (text) => {
      if (text === 'ready') return resolve()
      // A process that is killed may leave half a line.
      const said = text.endsWith('}') ? line.safeParse(JSON.parse(text)) : undefined
      if (said?.success) lines.push(said.data)
    })
    ended.then(([code, signal]) => reject(new Error(`${name} ended (${signal ?? code}) before it ran: ${errors}`)))
  })
  await ready
  return {
    name,
    process: child,
    async end(signal) {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      await ended
    },
  }
}

const said = z.object({ control: z.url(), env: z.record(z.string(), z.string()) })
const usage = z.object({
  region: z.string(),
  subscriptionId: z.string(),
  by: z.enum(['licence', 'product']),
  dimension: z.string(),
  hour: z.string(),
  quantity: z.int(),
  meteringRecordId: z.string(),
  timestamp: z.number(),
  acceptedAt: z.number(),
})
const call = z.object({ operation: z.string(), outcome: z.string() })

export type Aws = Awaited<ReturnType<typeof startAws>>

/** The stand-in of test/aws/main.ts, which says there what it takes. */
export async function startAws() {
  const child = startChild(new URL('../../aws/main.ts', import.meta.url), [], {
    env: { ...process.env, NODE_OPTIONS: '--import tsx' },
  })
  const { control, env } = said.parse(await child.next())
  const ask = async (method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`${control}/_/${path}`, {
      method,
      // A kept connection may be closed by the other side at the moment it is used again.
      headers: { connection: 'close' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (!response.ok) throw new Error(await response.text())
    return response.json()
  }
  return {
    /** Leads the SDK's clients here. */
    env,
    tell: (path: string, body: unknown): Promise<unknown> => ask('POST', path, body),
    ledger: async () => z.array(usage).parse(await ask('GET', 'ledger')),
    billedTwice: async () => z.array(z.unknown()).parse(await ask('GET', 'billed-twice')),
    calls: async () => z.array(call).parse(await ask('GET', 'calls')),
    stop: () => child.end('SIGTERM'),
  }
}
