/**
 * Watches the usage of the months and writes to the customers: decides when the read models say that something
 * changed, sends what is due. Run by one leader; a second one at the same time does no harm.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '../commands/clock.ts'
import { listen } from '../postgres/listen.ts'
import { channel } from '../projections/project.ts'
import { decideAlerts } from './decide.ts'
import { monthsWorthALetter } from './rule.ts'
import { type Attempt, type SendDeps, sendNextAlert } from './send.ts'

export interface AlertsDeps extends SendDeps {
  /** For the session that listens. */
  readonly databaseUrl: string
  readonly clock: Pick<Clock, 'now'>
  readonly log: {
    info(facts: object, message: string): void
    warn(facts: object, message: string): void
  }
}

/** In milliseconds. */
export interface AlertsPace {
  readonly roundEveryMs: number
  readonly lookAtAllEveryMs: number
  readonly settleMs: number
}

/**
 * All customers are looked at when listening begins and every 5 minutes, in case a notification was lost. A letter
 * waits 10 s: longer than an append may stay unknown (8 s), after which a doubt stands that holds the letter back.
 */
const usualPace: AlertsPace = { roundEveryMs: 2_000, lookAtAllEveryMs: 300_000, settleMs: 10_000 }

/** Works until `signal` aborts; resolves then, after the letter under way, and never rejects. */
export async function keepAlerting(
  deps: AlertsDeps,
  signal: AbortSignal,
  { roundEveryMs, lookAtAllEveryMs, settleMs }: AlertsPace = usualPace,
): Promise<void> {
  const { pool, databaseUrl, clock, log } = deps
  let changed: Set<string> | 'all' = 'all'
  let lookedAtAllAt = 0
  const listening = listen(
    databaseUrl,
    channel,
    {
      onListening() {
        changed = 'all'
      },
      onNotify(payload) {
        if (payload === '') changed = 'all'
        else if (changed !== 'all') for (const customerId of customersIn(payload)) changed.add(customerId)
      },
    },
    signal,
  )

  async function decide(now: string): Promise<void> {
    if (performance.now() - lookedAtAllAt > lookAtAllEveryMs) changed = 'all'
    const customers = changed
    changed = new Set()
    try {
      await decideAlerts(pool, { months: monthsWorthALetter(now), customers, settleMs })
      if (customers === 'all') lookedAtAllAt = performance.now()
    } catch (error) {
      changed = 'all'
      throw error
    }
  }

  /** Ends with the first letter that is not taken: a mail server that is away is asked once a round. */
  async function send(now: string): Promise<void> {
    while (!signal.aborted) {
      const attempt = await sendNextAlert(deps, now)
      if (attempt === null) return
      report(log, attempt)
      if (attempt.outcome === 'failed') return
    }
  }

  while (!signal.aborted) {
    try {
      const now = clock.now()
      await decide(now)
      await send(now)
    } catch (error) {
      log.warn({ err: error }, 'mail about usage is held up')
    }
    await pause(roundEveryMs, undefined, { signal }).catch(() => {})
  }
  await listening
}

/** Ids in a notification of the read models, `{customerId: revision}`. */
const customersIn = (payload: string): string[] => Object.keys(JSON.parse(payload) as Record<string, string>)

function report(log: AlertsDeps['log'], { alert, outcome, tries, error }: Attempt): void {
  const facts = { ...alert, tries }
  if (outcome === 'sent') log.info(facts, 'a letter about usage was sent')
  if (outcome === 'given_up') log.warn(facts, 'a letter about usage was not sent before its month was over for a day')
  if (outcome === 'failed') log.warn({ ...facts, err: error }, 'a letter about usage was not taken; trying again later')
}
