/** The whole product at once, on photographs of the caller's: start, check over HTTP, look into the log, stop. */
import { chmod, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, extname, join } from 'node:path'
import type { Logger } from 'pino'
import { z } from 'zod'
import { createCustomer } from '../cli/create-customer.ts'
import { printEvent } from '../cli/events.ts'
import { CommandError, print } from '../cli/output.ts'
import { usageSentence } from '../cli/views.ts'
import type { LoadedConfig } from '../config.ts'
import { customerStream } from '../events/catalogue.ts'
import type { StoredEvent } from '../eventstore/store.ts'
import { type App, startApp } from '../main.ts'
import { removeDataDir } from '../postgres/home.ts'
import { drawFaces } from './draw.ts'
import { demoConfig } from './settings.ts'

const rectangle = z.object({ x: z.int(), y: z.int(), width: z.int(), height: z.int() })
const checked = z.object({
  data: z.object({
    isFakeFace: z.boolean(),
    isFakeLikelihood: z.number(),
    isValidFace: z.boolean(),
    faceRectArea: rectangle,
    vFaceRect: z.array(rectangle),
    msg: z.string(),
    latency_ms: z.number(),
  }),
})
const refused = z.object({ error: z.object({ code: z.string(), message: z.string() }) })
const usageAnswer = z.object({
  data: z.object({
    year_month: z.string(),
    total_calls: z.number(),
    monthly_limit: z.number(),
    remaining_calls: z.number(),
    over_limit_calls: z.number(),
    plan: z.enum(['free', 'starter', 'standard', 'professional', 'business', 'enterprise']),
    hard_cap_enabled: z.boolean(),
  }),
})

export interface DemoOptions {
  readonly photographs: readonly string[]
  /** Folder for the copies with the rectangle drawn. */
  readonly into: string
  /** Keep the embedded data in DATA_DIR, which holds no installation yet, instead of a temporary folder. */
  readonly keep: boolean
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Runs the demonstration on an embedded stack of its own, whatever the settings name (demoConfig): it bills a customer
 * of its own.
 * @throws CommandError when a photograph was refused; the others are checked nevertheless
 */
export async function demonstrate({ config, report }: LoadedConfig, options: DemoOptions): Promise<void> {
  const folder = options.keep ? undefined : await temporaryFolder()
  let app: App | undefined
  try {
    app = await startApp({ config: demoConfig(config, folder), report }, { log: options.log })
    await checkAll(app, options)
  } finally {
    await app?.stop()
    if (folder !== undefined) await removeDataDir(folder)
  }
}

async function checkAll(app: App, { photographs, into, signal }: DemoOptions): Promise<void> {
  const { system, url } = app
  const { customer_id: customerId, keys } = await createCustomer(system, { plan: 'free', hardCap: true })
  const headers = { 'X-API-Key': keys?.primary ?? '', 'Content-Type': 'application/json' }
  let failures = 0
  const taken = new Set<string>()
  /** Photographs of different folders may share a name; none is drawn over another. */
  const copyName = (photograph: string) => {
    const stem = `${basename(photograph, extname(photograph))}-checked`
    let name = `${stem}.jpg`
    for (let n = 2; taken.has(name); n++) name = `${stem}-${n}.jpg`
    taken.add(name)
    return name
  }
  for (const photograph of photographs) {
    signal.throwIfAborted()
    const bytes = await readFile(photograph)
    const body = JSON.stringify({ image: bytes.toString('base64'), image_format: formatOf(bytes) })
    const response = await fetch(`${url}/v1/check/liveness`, { method: 'POST', headers, body, signal })
    const answer: unknown = await response.json()
    print(`${photograph}`)
    if (!response.ok) {
      failures += 1
      const { code, message } = refused.parse(answer).error
      print(`  ${response.status} ${code}: ${message}; not billed`)
      print()
      continue
    }
    const { data } = checked.parse(answer)
    const { faceRectArea: face, vFaceRect: all } = data
    const copy = join(into, copyName(photograph))
    await writeFile(copy, await drawFaces(bytes, data))
    print(
      `  ${data.isFakeFace ? 'FAKE' : 'live'}, likelihood of spoofing ${data.isFakeLikelihood}, ${data.latency_ms} ms`,
    )
    print(`  face ${face.width}×${face.height} at (${face.x}, ${face.y}), ${all.length} seen; drawn into ${copy}`)
    if (data.msg !== '') print(`  ${data.isValidFace ? '' : 'not a valid face: '}${data.msg}`)
    print()
  }
  print('The log of this customer, as stored:')
  const events: StoredEvent[] = []
  for await (const event of system.store.readForward(customerStream(customerId), 0n)) events.push(event)
  for (const event of events) printEvent(event)
  print()
  const { data } = usageAnswer.parse(await (await fetch(`${url}/v1/usage`, { headers, signal })).json())
  print(`GET /v1/usage: ${usageSentence(data)}`)
  if (failures > 0) throw new CommandError(`${failures} of ${photographs.length} photographs were refused.`)
}

/** As root the database runs as another user, who must be able to pass through. */
async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'liveness-demo-'))
  await chmod(folder, 0o711)
  return folder
}

function formatOf(bytes: Buffer): 'jpeg' | 'png' {
  return bytes.subarray(1, 4).toString('latin1') === 'PNG' ? 'png' : 'jpeg'
}
