/**
 * The leader's steps on what they really stand on: the stand-in for AWS over the real SDK, metering streams in an event
 * store, and a clock that a test moves. Records come from `calls`, where the consumer would have folded them.
 */
import { vi } from 'vitest'
import { ClockOutOfService } from '../../src/commands/clock.ts'
import { type MeteringEvent, meteringStream, parseMeteringEvent } from '../../src/events/metering.ts'
import { awsBatchMeterUsage, type BatchMeterUsage } from '../../src/marketplace/batch-meter-usage.ts'
import type { DecideFor } from '../../src/metering/books.ts'
import { decideForIn } from '../../src/metering/metering-log.ts'
import type { MeteringRecord } from '../../src/metering/record.ts'
import { createRounds } from '../../src/metering/rounds.ts'
import { addMs, hourMs, hourOf, type MeteringRules } from '../../src/metering/rules.ts'
import { createSubmitter } from '../../src/metering/submit.ts'
import { startAwsStandIn } from '../aws/stand-in.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { memoryTables } from '../support/memory-tables.ts'
import { rules as usual } from './books.ts'
import { endSubscription, foldedCalls, foldedCustomer, judge } from './folded.ts'

export interface Told {
  readonly level: 'alarm' | 'warn'
  readonly kind: string
  readonly message: string
}

type Rest<T extends unknown[]> = T extends [unknown, ...infer R] ? R : never

export type LeaderWorld = Awaited<ReturnType<typeof leaderWorld>>

export async function leaderWorld(start: string, settings: Partial<MeteringRules> = {}) {
  const clock = { now: start, inService: true }
  const aws = await startAwsStandIn({ now: () => Date.parse(clock.now) })
  for (const [name, value] of Object.entries(aws.env)) vi.stubEnv(name, value)
  aws.addProduct('product', ['standard_over'])
  // The clock stands still between a test's steps, so every call is in the same second.
  aws.setLimits({ callsPerSecond: 1_000 })
  const store = createMemoryStore()
  const tables = memoryTables()
  const doubts = memoryDoubts()
  const told: Told[] = []
  const troubles: string[] = []
  const running = new AbortController().signal
  const now = () => {
    if (!clock.inService) throw new ClockOutOfService('as a test wants it')
    return clock.now
  }

  /** One leader; two of them are two processes. */
  function leader(change: Partial<MeteringRules> = {}, wrap: (decideFor: DecideFor) => DecideFor = (same) => same) {
    const rules = { ...usual, ...settings, ...change }
    const alarms = {
      onAlarm: (kind: string, message: string) => told.push({ level: 'alarm', kind, message }),
      onWarn: (kind: string, message: string) => told.push({ level: 'warn', kind, message }),
    }
    const patience = { sendMs: 500, attemptMs: 2_000 }
    const deps = {
      tables,
      decideFor: wrap(decideForIn({ tables, store, patience, actor: 'system', onAlarm: alarms.onAlarm })),
      doubts,
      rules,
      now,
      batchMeterUsage: batchMeterUsage(),
      alarms,
      onTrouble: (subject: string, error: unknown) => troubles.push(`${subject}: ${String(error)}`),
    }
    const rounds = createRounds(deps)
    const submitter = createSubmitter(deps)
    return {
      seal: (signal = running) => rounds.seal(signal),
      submit: (signal = running) => submitter.step(signal),
      close: (signal = running) => rounds.close(signal),
    }
  }
  const batchMeterUsage = (): BatchMeterUsage => awsBatchMeterUsage()

  return {
    clock,
    aws,
    store,
    tables,
    doubts,
    told,
    troubles,
    leader,
    kinds: () => told.map(({ kind }) => kind),

    customer: (...args: Rest<Rest<Parameters<typeof foldedCustomer>>>) => foldedCustomer(tables, aws, ...args),
    calls: (...args: Rest<Parameters<typeof foldedCalls>>) => foldedCalls(tables, ...args),
    end: (...args: Rest<Parameters<typeof endSubscription>>) => endSubscription(tables, ...args),

    /** The clock goes on, and the newest watermark with it. */
    async at(instant: string) {
      clock.now = instant
      await judge(tables, instant)
    },
    /** Runs the leader's steps at every so many milliseconds until the instant. */
    async lead(steps: ReturnType<typeof leader>, until: string, everyMs = hourMs / 4) {
      for (let at = addMs(clock.now, everyMs); at <= until; at = addMs(at, everyMs)) {
        await this.at(at)
        await steps.seal()
        await steps.submit()
      }
    },

    record: (recordId: string): MeteringRecord => {
      const found = (tables.dump().records as MeteringRecord[]).find((one) => one.recordId === recordId)
      if (found === undefined) throw new Error(`there is no record ${recordId}`)
      return found
    },
    records: () => tables.dump().records as MeteringRecord[],
    log: (customerId: string): MeteringEvent[] =>
      store.stream(meteringStream(customerId)).map((stored) => parseMeteringEvent(stored).event),
    types: (customerId: string): string[] => store.stream(meteringStream(customerId)).map(({ type }) => type),
    /** Quantities that AWS bills, by hour. */
    billed: () => aws.ledger().map(({ hour, quantity }) => [hourOf(hour).slice(0, 13), quantity]),
    async stop() {
      await aws.stop()
      vi.unstubAllEnvs()
    },
  }
}
