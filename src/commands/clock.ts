/**
 * The clock that bills. Each instance measures its own clock against Postgres's, and takes itself out of service when
 * they differ by more than two seconds: one fast or slow clock must not put calls into another month (invariant 6).
 */
import { monthStart } from './plans.ts'

/** The clocks differ too much, or were not compared lately. Answered as 503; nothing was appended. */
export class ClockOutOfService extends Error {
  override name = 'ClockOutOfService'
}

export interface Clock {
  /** The instant now, ISO 8601 UTC. @throws ClockOutOfService */
  now(): string
  /** Resolves once Postgres's clock, asked at that moment, has passed the beginning of `yearMonth`. */
  monthHasBegun(yearMonth: string): Promise<void>
}

export interface ClockGuard extends Clock {
  /** Milliseconds that this clock is ahead of Postgres's, or null before the first measurement. */
  offsetMs(): number | null
  stop(): void
}

export interface ClockOptions {
  /** This machine's clock, in milliseconds since the epoch. */
  readonly system?: (() => number) | undefined
  /** Goes on as fast and is set by nobody, in milliseconds since whenever. The monotonic clock unless a test has its own. */
  readonly steady?: (() => number) | undefined
  /** Postgres's clock. */
  readonly database: () => Promise<Date>
  readonly onAlarm: (message: string) => void
  readonly measureEveryMs?: number
}

const allowedOffsetMs = 2_000

/** Measures at once and then every few seconds. Rejects when the first measurement fails. */
export async function startClockGuard(options: ClockOptions): Promise<ClockGuard> {
  const { system = Date.now, steady = () => performance.now(), database, onAlarm, measureEveryMs = 3_000 } = options
  let offset: number | null = null
  let measuredAt = 0
  /** What both showed then: they go on alike from there, or somebody has set this machine's. */
  let shown = { system: 0, steady: 0 }
  let inService = true
  let remeasuring = false

  const measure = async (): Promise<number> => {
    const asked = steady()
    const theirs = (await database()).getTime()
    measuredAt = performance.now()
    shown = { system: system(), steady: steady() }
    // The answer was taken somewhere between asking and hearing: the clocks surely differ by what lies outside that
    // span. Its length is the steady clock's: this machine's may have been set meanwhile.
    const after = shown.system
    const before = Math.floor(after - (shown.steady - asked))
    const ahead = theirs < before ? before - theirs : theirs > after ? after - theirs : 0
    offset = ahead
    const ok = Math.abs(ahead) <= allowedOffsetMs
    if (ok !== inService) {
      inService = ok
      onAlarm(
        ok
          ? 'The clock agrees with Postgres again: back in service.'
          : `The clock is ${ahead} ms ahead of Postgres's (allowed: ±${allowedOffsetMs} ms): out of service until they agree.`,
      )
    }
    return theirs
  }

  /** Out of turn, one at a time. */
  const remeasure = () => {
    if (remeasuring) return
    remeasuring = true
    measure()
      .catch(() => {})
      .finally(() => {
        remeasuring = false
      })
  }

  await measure()
  const timer = setInterval(() => measure().catch(() => {}), measureEveryMs)
  timer.unref()
  let lastMonth = ''

  return {
    now() {
      const stale = performance.now() - measuredAt > measureEveryMs * 4
      if (!inService || stale) {
        throw new ClockOutOfService(
          stale ? 'The clock could not be compared with Postgres lately.' : 'The clock differs from Postgres.',
        )
      }
      const instant = system()
      const jump = instant - shown.system - (steady() - shown.steady)
      if (Math.abs((offset ?? 0) + jump) > allowedOffsetMs) {
        remeasure()
        throw new ClockOutOfService(`The clock was set by ${Math.round(jump)} ms and is compared with Postgres's anew.`)
      }
      const now = new Date(instant).toISOString()
      if (now.slice(0, 7) !== lastMonth) {
        lastMonth = now.slice(0, 7)
        remeasure() // a month boundary is where a wrong clock costs most
      }
      return now
    },
    async monthHasBegun(yearMonth) {
      const begins = Date.parse(monthStart(yearMonth))
      for (;;) {
        const left =
          begins -
          (await measure().catch((cause) => {
            throw new ClockOutOfService("Postgres's clock cannot be asked.", { cause })
          }))
        if (left <= 0) return
        if (left > allowedOffsetMs) {
          throw new ClockOutOfService(`${yearMonth} begins only in ${left} ms by Postgres's clock.`)
        }
        await new Promise((resolve) => setTimeout(resolve, left))
      }
    },
    offsetMs: () => offset,
    stop: () => clearInterval(timer),
  }
}
