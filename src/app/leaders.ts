/**
 * What one process at a time does unprompted: settle attempts in doubt, open the new month of idle customers, and write
 * to customers about their usage.
 * Any process may; an advisory lock says which one does. Two at once would do no harm (expected revisions decide).
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Logger } from 'pino'
import { keepAlerting } from '../alerts/run.ts'
import { monthOf } from '../commands/plans.ts'
import type { Mail } from '../mail/mail.ts'
import { holdAdvisoryLock } from '../postgres/leader.ts'
import { customersToOpen } from '../readmodels/customers.ts'
import type { System } from './system.ts'

const settleEveryMs = 3_000
const lookAtClockEveryMs = 5_000
const opensAtOnce = 16

export interface Leaders {
  readonly system: System
  readonly mail: Mail
  readonly publicUrl: string
  readonly log: Logger
}

/** Starts in the background; the promise of `stop` resolves when no duty is at work any more. */
export function startLeaders({ system, mail, publicUrl, log }: Leaders): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const onError = (error: unknown) => log.warn({ err: error }, 'the session of the leader broke')
  const work = holdAdvisoryLock(
    system.databaseUrl,
    'liveness:housekeeping',
    stopping.signal,
    async (lost) => {
      const { pool, databaseUrl, clock } = system
      await Promise.all([
        keepSettling(system, log, lost),
        keepOpening(system, log, lost),
        keepAlerting({ pool, databaseUrl, clock, mail, publicUrl, log }, lost),
      ])
    },
    onError,
  )
  return {
    async stop() {
      stopping.abort()
      await work
    },
  }
}

async function keepSettling({ ledgers }: System, log: Logger, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      const left = await ledgers.settleStanding(signal)
      if (left > 0) log.warn({ customers: left }, 'attempts in doubt could not be settled yet')
    } catch (error) {
      log.warn({ err: error }, 'attempts in doubt could not be looked up')
    }
    await pause(settleEveryMs, undefined, { signal }).catch(() => {})
  }
}

/** At once, and right after the beginning of each hour by the clock that bills: a month or a licence may begin there. */
async function keepOpening(system: System, log: Logger, signal: AbortSignal): Promise<void> {
  let lastHour = ''
  while (!signal.aborted) {
    try {
      const now = system.clock.now()
      const hour = now.slice(0, 13)
      if (hour !== lastHour) {
        const failed = await openDue(system, now, signal)
        if (failed === null) lastHour = hour
        else log.warn({ err: failed, hour }, 'what begins now was not written for every customer; trying again')
      }
    } catch (error) {
      log.warn({ err: error }, 'idle customers could not be looked up')
    }
    await pause(lookAtClockEveryMs, undefined, { signal }).catch(() => {})
  }
}

/** Returns the last failure, or null when there was none. */
async function openDue({ pool, ledgers }: System, now: string, signal: AbortSignal): Promise<unknown> {
  const month = monthOf(now)
  const waiting = await customersToOpen(pool, now)
  let failure: unknown = null
  const openNext = async () => {
    for (let id = waiting.shift(); id !== undefined && !signal.aborted; id = waiting.shift()) {
      const origin = { correlationId: `open-${month}`, causationId: `open-${month}`, actor: 'system' }
      await ledgers.execute(id, { command: { type: 'OpenMonth' }, origin }).catch((error) => {
        failure = error
      })
    }
  }
  await Promise.all(Array.from({ length: opensAtOnce }, openNext))
  return failure
}
