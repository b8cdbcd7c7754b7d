/** The product as its users have it: the built command, its processes, its HTTP address. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { packageRoot } from '../../src/built.ts'
import { drawnFace } from './drawn-face.ts'
import { freePort } from './ports.ts'

export const shared = fileURLToPath(new URL('../shared/', packageRoot))
/** Weights of the preferred set, when they lie beside the repository; without them the product runs the set it ships with. */
const modelsDir = process.env.MODELS_DIR ?? (existsSync(`${shared}models`) ? `${shared}models` : undefined)
export const modelsEnv: Readonly<Record<string, string>> = modelsDir === undefined ? {} : { MODELS_DIR: modelsDir }
export const command = fileURLToPath(new URL('dist/cli.js', packageRoot))

/** A picture with a face, for tests in which the verdict means nothing. */
export const face: Buffer = await drawnFace()

/** Whether the photographs and weights outside the repository are there; says aloud what is skipped when not. */
export function haveShared(suite: string): boolean {
  const there = existsSync(`${shared}faces/boxes.json`) && modelsDir !== undefined
  if (!there) console.warn(`SKIPPED: ${suite} needs ../shared (photographs and model weights)`)
  return there
}

export const photograph = (path: string): Buffer => readFileSync(`${shared}faces/${path}`)

type Environment = Readonly<Record<string, string>>
export const environment = (env: Environment): NodeJS.ProcessEnv => {
  const { NODE_ENV: _, VITEST: __, ...inherited } = process.env
  return { ...inherited, ...modelsEnv, LOG_LEVEL: 'info', ...env }
}

/** Runs a `liveness` command to its end. Rejects when its exit code is not 0. */
export async function liveness(env: Environment, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [command, ...args], {
    env: environment(env),
    maxBuffer: 1 << 30,
  })
  return stdout
}

export interface Customer {
  readonly customer_id: string
  readonly keys: { readonly primary: string; readonly secondary: string }
}
export async function createCustomer(env: Environment, ...options: string[]): Promise<Customer> {
  return JSON.parse(await liveness(env, 'customer', 'create', ...options, '--json'))
}

export interface LoggedEvent {
  readonly type: string
  readonly revision: number
  readonly data: Record<string, unknown>
  readonly metadata: Record<string, string>
}
export async function eventsOf(env: Environment, customerId: string): Promise<LoggedEvent[]> {
  const lines = (await liveness(env, 'events', customerId, '--json')).split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line))
}

export interface Running {
  readonly url: string
  readonly process: ChildProcess
  readonly output: () => string
  /** Sends a signal to the application's process alone and waits for its end. */
  kill(signal: NodeJS.Signals): Promise<void>
}

/** Starts `liveness start` and waits until it is ready to serve. */
export async function startProduct(env: Environment): Promise<Running> {
  const port = env.PORT ?? String(await freePort())
  const child = spawn(process.execPath, [command, 'start'], {
    env: environment({ ...env, PORT: port, HOST: '127.0.0.1' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  const url = `http://127.0.0.1:${port}`
  const deadline = Date.now() + 60_000
  const healthy = () =>
    fetch(`${url}/v1/health`).then(
      (response) => response.ok,
      () => false,
    )
  while (!(await healthy())) {
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`liveness start did not serve:\n${output}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    url,
    process: child,
    output: () => output,
    async kill(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill(signal)
      await ended
    },
  }
}

export interface Answer {
  readonly requestId: string
  /** HTTP status, or null when the connection ended without an answer. */
  readonly status: number | null
  readonly body: {
    readonly metadata: Record<string, unknown>
    readonly data: Record<string, unknown>
    readonly error?: { readonly code: string; readonly message: string }
  }
}

/** One POST /v1/check/liveness. The request id is the correlation id of what it causes in the log. */
export async function check(
  url: string,
  key: string,
  image: Uint8Array,
  { format = 'jpeg', headers = {} }: { format?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const requestId = randomUUID()
  try {
    const response = await fetch(`${url}/v1/check/liveness`, {
      method: 'POST',
      headers: { 'X-API-Key': key, 'Content-Type': 'application/json', 'X-Request-Id': requestId, ...headers },
      body: JSON.stringify({ image: Buffer.from(image).toString('base64'), image_format: format }),
    })
    return { requestId, status: response.status, body: (await response.json()) as Answer['body'] }
  } catch {
    return { requestId, status: null, body: { metadata: {}, data: {} } }
  }
}

export async function usage(url: string, key: string): Promise<{ status: number; body: Answer['body'] }> {
  const response = await fetch(`${url}/v1/usage`, { headers: { 'X-API-Key': key } })
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}
