import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'

export interface Child {
  readonly process: ChildProcess
  readonly pid: number
  /** The next object it says, in order; rejects with its error output when it ends instead. */
  next(): Promise<Record<string, unknown>>
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<void>
}

const line = z.record(z.string(), z.unknown())

/** Starts a script that writes JSON lines (test/postgres/child.mjs). Run `npm run build` first: it loads dist/. */
export function startChild(script: URL, args: readonly string[], options: SpawnOptions = {}): Child {
  const child = spawn(process.execPath, [fileURLToPath(script), ...args], {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  child.stderr?.on('data', (chunk) => {
    errors += chunk
  })
  if (child.stdout === null) throw new Error('the child has no output')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const ended = once(child, 'exit')
  return {
    process: child,
    pid: child.pid ?? 0,
    async next() {
      const { value, done } = await lines.next()
      if (done) throw new Error(`the child ended: ${errors}`)
      return line.parse(JSON.parse(value))
    },
    async end(signal) {
      child.kill(signal)
      await ended
    },
  }
}
