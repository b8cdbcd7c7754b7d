/**
 * A bundle of one customer's month: both verifiers over it, and what they keep in memory. AUDIT_BUNDLE_EVENTS sets the
 * number of calls. The log is a file, for what is measured begins where the log has been read.
 */
import { execFile, fork } from 'node:child_process'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { signAnchor } from '../src/audit/anchor.ts'
import { keepAnchor } from '../src/audit/anchor-files.ts'
import { exportBundle } from '../src/audit/export.ts'
import { freeze } from '../src/commands/attempt.ts'
import { decide, isRefusal } from '../src/commands/customer.ts'
import { evolve, initialState } from '../src/commands/state.ts'
import { customerStream } from '../src/events/catalogue.ts'
import { emptyHead, type Head } from '../src/events/chain.ts'
import { meteringStream } from '../src/events/metering.ts'
import type { EventStore, NewEvent, StoredEvent } from '../src/eventstore/store.ts'
import { writeWhole } from '../src/write-whole.ts'
import { customerId, detection, keys, registration } from '../test/support/given.ts'
import type { BundleFigures } from './bundle-run.ts'
import type { Figure } from './stack.ts'

const CALLS = Number(process.env.AUDIT_BUNDLE_EVENTS ?? 100_000)
const month = '2026-02'
const from = Date.parse(`${month}-01T00:00:00.000Z`)
const stepMs = (28 * 24 * 3_600_000 - 1_000) / CALLS
const script = fileURLToPath(new URL('../test/audit/verify_bundle.py', import.meta.url))
/** Runs the verifier, then says how long it took and the most that it held, MiB. */
const measured = `import resource, runpy, sys, time
began = time.time()
try:
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    code = ended.code
seconds = time.time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:  # That counts what the process was before it became Python; this does not.
    peak = int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
except OSError:
    pass
print("MEASURED", code, seconds, peak // 1024)`

export async function benchBundle(): Promise<Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'liveness-bench-'))
  try {
    const path = join(folder, 'bundle.ndjson')
    const keyPath = join(folder, 'key.pem')
    await writeBundle(folder, path, keyPath)
    const { lines, bareMs, verifyMs, rss, differences } = await verifyInChild(path, keyPath)
    const { stdout } = await promisify(execFile)(
      process.env.AUDIT_PYTHON ?? 'python3',
      ['-c', measured, script, '--key', keyPath, path],
      { maxBuffer: 1 << 24 },
    )
    const [, code, seconds, mib] = /^MEASURED (\S+) (\S+) (\S+)$/m.exec(stdout) ?? []
    const each = (ms: number) => ((lines / ms) * 1_000).toFixed(0)
    return [
      { name: `lines read and parsed, of ${lines}, lines/s`, value: each(bareMs) },
      { name: 'verify-bundle, lines/s', value: each(verifyMs) },
      { name: 'differences it finds', value: `${differences}`, goal: '0' },
      { name: 'peak memory at 10 %, 50 % and 100 %, MiB', value: rss.join(', '), goal: 'flat' },
      { name: 'the Python verifier, lines/s', value: each(Number(seconds) * 1_000) },
      { name: 'its exit code', value: `${code}`, goal: '0' },
      { name: 'its peak memory, MiB', value: `${mib}` },
    ]
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function verifyInChild(path: string, keyPath: string): Promise<BundleFigures> {
  const child = fork(fileURLToPath(new URL('./bundle-run.ts', import.meta.url)), [path, keyPath], {
    execArgv: ['--import', 'tsx'],
  })
  const [figures] = await once(child, 'message')
  return figures as BundleFigures
}

async function writeBundle(folder: string, path: string, keyPath: string): Promise<void> {
  const { privateKey: signingKey } = generateKeyPairSync('ed25519')
  await writeFile(keyPath, createPublicKey(signingKey).export({ type: 'spki', format: 'pem' }))
  const log = join(folder, 'log.ndjson')
  const { head, offsets } = await writeLog(log)
  const store = fileStore(log, offsets)
  const position = { commit: '1', prepare: '1' }
  const through = '2026-03-01T00:10:00.000Z'
  const anchorDir = join(folder, 'anchors')
  const heads = [
    [customerStream(customerId), `${head.revision}`, head.hash] as [string, string, string],
    [meteringStream(customerId), '-1', ''] as [string, '-1', ''],
  ]
  await keepAnchor(anchorDir, signAnchor({ through, position }, heads, signingKey))
  const onBadAnchor = (error: Error) => {
    throw error
  }
  const source = { store, signingKey, anchorDir, onBadAnchor, now: () => through }
  await writeWhole(path, await exportBundle(source, customerId, month))
}

/** Decided and hashed as in the product; returns where each event begins in the file. */
async function writeLog(path: string): Promise<{ head: Head; offsets: number[] }> {
  const file = await open(path, 'w')
  const offsets: number[] = []
  let [state, head, size, waiting] = [initialState, emptyHead, 0, '']
  const origin = { correlationId: 'bench', causationId: 'bench', actor: keys.primary.keyId }
  const record = (command: Parameters<typeof decide>[1], now: string) => {
    const decision = decide(state, command, now)
    if (isRefusal(decision)) throw new Error(decision.message)
    state = decision.reduce(evolve, state)
    const frozen = freeze(
      customerStream(customerId),
      head,
      decision.map((event) => ({ event, origin })),
    )
    for (const event of frozen.attempt.events) {
      const line = `${JSON.stringify(event)}\n`
      offsets.push(size)
      size += Buffer.byteLength(line)
      waiting += line
    }
    head = frozen.head
  }
  record(registration({ monthlyLimit: 1_000, keys }), new Date(from).toISOString())
  for (let n = 0; n < CALLS; n++) {
    record(detection(), new Date(from + Math.floor(n * stepMs)).toISOString())
    if (waiting.length > 1 << 20) {
      await file.appendFile(waiting)
      waiting = ''
    }
  }
  await file.appendFile(waiting)
  await file.close()
  return { head, offsets }
}

function fileStore(path: string, offsets: readonly number[]): Pick<EventStore, 'readForward' | 'readBackward'> {
  const stream = customerStream(customerId)
  async function* readForward(
    of: string,
    first: bigint,
    count = Number.POSITIVE_INFINITY,
  ): AsyncGenerator<StoredEvent> {
    const start = of === stream ? offsets[Number(first)] : undefined
    if (start === undefined) return
    let revision = first
    const input = createReadStream(path, { start, highWaterMark: count < 10 ? 8_192 : 1 << 18 })
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      yield { ...(JSON.parse(line) as NewEvent), stream, revision, created: new Date(0) }
      revision += 1n
      if (Number(revision - first) >= count) return
    }
  }
  return {
    readForward,
    readBackward: (of) => readForward(of, BigInt(offsets.length - 1)),
  }
}
