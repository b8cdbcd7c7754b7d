/**
 * Reads that must see the caller's own write: wait until the customer's row has reached that write's stream revision.
 * Woken by NOTIFY from whichever process projects; a poll is the floor, for notifications may be lost or too long.
 */
import type pg from 'pg'
import { listen } from '../postgres/listen.ts'
import { queryWithin, requestQueryMs } from '../postgres/pool.ts'
import { channel } from '../projections/project.ts'

/** The read models did not get there in time: 503 rather than figures that are out of date. */
export class NotFreshYet extends Error {
  override name = 'NotFreshYet'
}

export interface Freshness {
  /**
   * Resolves once the customer's row stands at `revision` or later.
   * @throws NotFreshYet after `timeoutMs` (default 2 s); what Postgres throws on the first look
   */
  waitFor(customerId: string, revision: bigint, timeoutMs?: number): Promise<void>
  close(): Promise<void>
}

const pollMs = 50

interface Waiter {
  readonly revision: bigint
  readonly resolve: () => void
}

export function createFreshness({ pool, url }: { readonly pool: pg.Pool; readonly url: string }): Freshness {
  const waiting = new Map<string, Set<Waiter>>()
  const closing = new AbortController()
  const listening = listen(url, channel, { onNotify, onListening: () => void look() }, closing.signal)
  let poll: NodeJS.Timeout | undefined
  let looking = false

  function reached(customerId: string, revision: bigint): void {
    for (const waiter of waiting.get(customerId) ?? []) {
      if (waiter.revision <= revision) waiter.resolve()
    }
  }

  /** A notification is delivered after its transaction committed: no need to look again. */
  function onNotify(payload: string): void {
    if (waiting.size === 0) return
    const revisions = revisionsIn(payload)
    if (revisions === null) void look()
    else for (const [customerId, revision] of revisions) reached(customerId, revision)
  }

  /** Looks at all customers somebody waits for, one query at a time. */
  async function look(): Promise<void> {
    if (looking || waiting.size === 0) return
    looking = true
    try {
      for (const [customerId, revision] of await revisionsOf(pool, [...waiting.keys()])) reached(customerId, revision)
    } catch {
      // Postgres is away: the next look may find it, and the waiters have their deadline.
    } finally {
      looking = false
    }
  }

  return {
    async waitFor(customerId, revision, timeoutMs = 2_000) {
      const waiters = waiting.get(customerId) ?? new Set()
      let wake = (_: boolean) => {}
      const until = new Promise<boolean>((resolve) => {
        wake = resolve
      })
      const timer = setTimeout(wake, timeoutMs, false)
      const waiter = { revision, resolve: () => wake(true) }
      waiters.add(waiter)
      waiting.set(customerId, waiters)
      try {
        // Registered first, looked at afterwards: a commit in between is heard of, one before is seen.
        const [first] = await revisionsOf(pool, [customerId])
        if (first !== undefined && first[1] >= revision) return
        poll ??= setInterval(look, pollMs)
        if (!(await until)) {
          throw new NotFreshYet(`the read models are behind revision ${revision} of customer-${customerId}`)
        }
      } finally {
        clearTimeout(timer)
        waiters.delete(waiter)
        if (waiters.size === 0 && waiting.get(customerId) === waiters) waiting.delete(customerId)
        if (waiting.size === 0) {
          clearInterval(poll)
          poll = undefined
        }
      }
    },
    async close() {
      closing.abort()
      clearInterval(poll)
      await listening
    },
  }
}

async function revisionsOf(pool: pg.Pool, customerIds: readonly string[]): Promise<[string, bigint][]> {
  const { rows } = await queryWithin<{ customer_id: string; revision: bigint }>(pool, requestQueryMs, {
    name: 'revisions-of',
    text: 'select customer_id, revision from readmodel.customers where customer_id = any($1::uuid[])',
    values: [customerIds],
  })
  return rows.map(({ customer_id, revision }) => [customer_id, revision])
}

/** Customer id → revision, or null when the payload does not say. */
function revisionsIn(payload: string): [string, bigint][] | null {
  if (payload === '') return null
  return Object.entries(JSON.parse(payload) as Record<string, string>).map(([id, revision]) => [id, BigInt(revision)])
}
