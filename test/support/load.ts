/** Load from outside: clients, their notes, and what the notes must have to do with the log. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'

/** An event as the store or as `liveness events --json` gives it. */
interface Logged {
  readonly type: string
  readonly data: unknown
  readonly metadata: unknown
}

/** How a call ended for its client. */
export interface Note {
  readonly method: 'GET' | 'POST'
  readonly requestId: string
  /** HTTP status; null when the connection ended without an answer. */
  readonly status: number | null
  /** Whether the product said so, and not the balancer in its place. */
  readonly ofProduct: boolean
  readonly code: string | undefined
  readonly body: { readonly metadata: Record<string, unknown>; readonly data: Record<string, unknown> }
  /** Milliseconds since 1970 of the answer, and how long it took. */
  readonly at: number
  readonly tookMs: number
}

type Said = Note['body'] & { readonly error?: { readonly code: string } }

export const bodyOf = (image: Uint8Array): string =>
  JSON.stringify({ image: Buffer.from(image).toString('base64'), image_format: 'jpeg' })

export async function call(
  url: string,
  key: string,
  body: string | null,
  headers: Record<string, string> = {},
): Promise<Note> {
  const requestId = randomUUID()
  const since = performance.now()
  const note = (status: number | null, ofProduct: boolean, said: Partial<Said>): Note => ({
    method: body === null ? 'GET' : 'POST',
    requestId,
    status,
    ofProduct,
    code: said.error?.code,
    body: { metadata: said.metadata ?? {}, data: said.data ?? {} },
    at: Date.now(),
    tookMs: performance.now() - since,
  })
  try {
    const response = await fetch(`${url}/v1/${body === null ? 'usage' : 'check/liveness'}`, {
      method: body === null ? 'GET' : 'POST',
      headers: { 'X-API-Key': key, 'Content-Type': 'application/json', 'X-Request-Id': requestId, ...headers },
      body,
    })
    const said = (await response.json().catch(() => ({}))) as Partial<Said>
    // The product repeats the id; the balancer's own answers have none.
    return note(response.status, response.headers.get('x-request-id') === requestId, said)
  } catch {
    return note(null, false, {})
  }
}

export interface Load {
  readonly notes: readonly Note[]
  /** Ends the load; resolves when the last answer is in. */
  stop(): Promise<readonly Note[]>
}

/** A machine that does other work besides is given less to do: milliseconds that a client rests after each call. */
const restMs = Number(process.env.SOAK_REST_MS ?? 0)

/**
 * So many clients, each its next call when the last was answered; one in eleven asks for its usage.
 * @param urls a balancer's, or those of instances, which take turns
 */
export function startLoad(urls: readonly string[], key: string, image: Uint8Array, clients: number): Load {
  const body = bodyOf(image)
  const notes: Note[] = []
  let stopped = false
  const client = async (turn: number) => {
    for (let calls = turn; !stopped; calls++) {
      const note = await call(urls[calls % urls.length] ?? '', key, calls % 11 === 9 ? null : body)
      notes.push(note)
      // After a failure as a sensible client would.
      await pause(note.status === 200 ? restMs : Math.max(restMs, 100))
    }
  }
  const running = Promise.all(Array.from({ length: clients }, (_, i) => client(i)))
  return {
    notes,
    async stop() {
      stopped = true
      await running
      return notes
    },
  }
}

/** A call that is made again until it has been answered; every try is a note. */
export async function insist(url: string, key: string, body: string | null): Promise<readonly Note[]> {
  const tries: Note[] = []
  do {
    tries.push(await call(url, key, body))
  } while (tries.slice(-1).some(isRetriable))
  return tries
}

/** What a client may see while something is away: the same call may be made again in a moment. */
export const isRetriable = ({ status }: Note): boolean => status === null || [502, 503, 504].includes(status)

export interface Agreement {
  /** Calls by what their clients were told: a status, a `balancer` status, or `nothing`. */
  readonly told: Readonly<Record<string, number>>
  readonly billed: number
  readonly voided: number
  /** Answers that could not be delivered, and left one event each. */
  readonly undeliveredButBilled: number
  readonly slowestMs: number
}

/**
 * Invariants 1 and 2: every 200 is exactly one event that is not voided, every other answer of the product none, and a
 * call that was not answered at most one. Nothing is billed that nobody sent; sequences are 1..n in each month.
 */
export function agreement(notes: readonly Note[], log: readonly Logged[]): Agreement {
  const data = (event: Logged) => event.data as Record<string, string | number>
  const voided = new Set(log.filter(({ type }) => type === 'DetectionVoided').map((event) => data(event).detectionId))
  const detections = log.filter(({ type }) => type === 'DetectionSucceeded')
  const standing = new Map<string, number>()
  for (const event of detections) {
    const { correlationId } = event.metadata as { correlationId: string }
    const count = voided.has(data(event).detectionId ?? '') ? 0 : 1
    standing.set(correlationId, (standing.get(correlationId) ?? 0) + count)
  }
  const checks = notes.filter(({ method }) => method === 'POST')
  let undeliveredButBilled = 0
  for (const { requestId, status, ofProduct, code } of checks) {
    const count = standing.get(requestId) ?? 0
    if (ofProduct) {
      assert.equal(
        count,
        status === 200 ? 1 : 0,
        `${requestId} was told ${status} ${code ?? ''} and billed ${count} times`,
      )
    } else {
      assert.ok(count <= 1, `${requestId} was not answered and billed ${count} times`)
      undeliveredButBilled += count
    }
  }
  const sent = new Set(checks.map(({ requestId }) => requestId))
  const foreign = [...standing.keys()].filter((id) => !sent.has(id))
  assert.deepEqual(foreign, [], 'events that nobody sent a call for')
  for (const month of new Set(detections.map((event) => data(event).yearMonth))) {
    const sequences = detections.filter((event) => data(event).yearMonth === month).map((event) => data(event).sequence)
    assert.deepEqual(
      sequences,
      sequences.map((_, i) => i + 1),
    )
  }
  return {
    told: tally(notes),
    billed: [...standing.values()].reduce((sum, count) => sum + count, 0),
    voided: voided.size,
    undeliveredButBilled,
    slowestMs: Math.round(Math.max(0, ...notes.map(({ tookMs }) => tookMs))),
  }
}

/** Calls by method and by how they ended. */
export function tally(notes: readonly Note[]): Record<string, number> {
  const told: Record<string, number> = {}
  for (const { method, status, ofProduct } of notes) {
    const end = status === null ? 'nothing' : `${status}${ofProduct ? '' : ' of the balancer'}`
    told[`${method} ${end}`] = (told[`${method} ${end}`] ?? 0) + 1
  }
  return told
}
