/** Whatever the ledger told its callers, the auditor's replay says of the log alone: state, counters and money. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { foldWhilePassing, replayMonth, replayStream } from '../../src/audit/replay.ts'
import type { CustomerCommand } from '../../src/commands/customer.ts'
import { createLedgers } from '../../src/commands/ledgers.ts'
import { counters, openMonth } from '../../src/commands/state.ts'
import { customerStream, type DataOf, type Licence, type PlanName } from '../../src/events/catalogue.ts'
import { memoryDoubts } from '../support/doubts.ts'
import { customerId, detection, keys, newKey, registration } from '../support/given.ts'
import { createMemoryStore } from '../support/memory-store.ts'
import { allOf } from './world.ts'

type Asked = 'detect' | 'void' | 'capOn' | 'capOff' | 'regenerate' | 'end' | 'resume' | 'observe' | 'open'
const licence: Licence = { kind: 'product', productCode: 'prod', awsAccountId: '123456789012' }
const step = fc.record({
  minutes: fc.oneof({ weight: 4, arbitrary: fc.nat(90) }, fc.integer({ min: 1_000, max: 45_000 })),
  /** Commands that arrive together: the ledger commits them in one append. */
  asked: fc.array(
    fc.oneof(
      { weight: 5, arbitrary: fc.constant<Asked>('detect') },
      fc.constantFrom<Asked>('void', 'capOn', 'capOff', 'regenerate', 'end', 'resume', 'observe', 'open'),
      fc.record({
        plan: fc.constantFrom<PlanName>('free', 'starter', 'business'),
        limit: fc.integer({ min: 1, max: 6 }),
      }),
    ),
    { minLength: 1, maxLength: 6 },
  ),
})

const never = () => {}
const micros = (price: string): bigint => {
  const [whole = '0', part = ''] = price.split('.')
  return BigInt(whole + part.padEnd(6, '0'))
}

test('what the ledger told after each command is what the replay says, in state, counters and amounts', async () => {
  let [overage, voided, refused] = [0, 0, 0]
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 25 }), async (steps) => {
      const store = createMemoryStore()
      let now = Date.parse('2026-01-30T22:00:00.000Z')
      const clock = { now: () => new Date(now).toISOString(), monthHasBegun: async () => {} }
      const patience = { sendMs: 1_000, attemptMs: 2_000 }
      const ledgers = createLedgers({ store, loadSnapshot: async () => null, doubts: memoryDoubts(), clock, patience })
      const execute = (command: CustomerCommand) =>
        ledgers.execute(customerId, { command, origin: { correlationId: 'r', causationId: 'c', actor: 'operator' } })
      let keyId = keys.primary.keyId
      /** Calls that were told as billed and not taken back. */
      const billed = new Map<string, { data: DataOf<'DetectionSucceeded'>; revision: bigint }>()
      const gone = new Map<string, number>()

      const commandOf = (asked: Asked | { plan: PlanName; limit: number }): CustomerCommand => {
        if (typeof asked === 'object') {
          const { plan, limit } = asked
          return {
            type: 'SetPlan',
            plan,
            origin: 'operator',
            reason: 'x',
            ...(plan === 'free' ? {} : { monthlyLimit: limit }),
          }
        }
        switch (asked) {
          case 'detect':
            return detection({ keyId })
          case 'void': {
            const [last] = [...billed.values()].slice(-1)
            if (last === undefined) return { type: 'Observe' }
            const { detectionId, yearMonth, funding, bucketKey } = last.data
            billed.delete(detectionId)
            gone.set(yearMonth, (gone.get(yearMonth) ?? 0) + 1)
            const revision = Number(last.revision)
            return { type: 'VoidDetections', detections: [{ detectionId, revision, yearMonth, funding, bucketKey }] }
          }
          case 'regenerate': {
            const key = newKey()
            keyId = key.keyId
            return { type: 'RegenerateApiKey', slot: 'primary', key }
          }
          case 'capOn':
          case 'capOff':
            return { type: asked === 'capOn' ? 'EnableHardCap' : 'DisableHardCap' }
          case 'end':
            return { type: 'EndSubscription', licence, reason: 'x' }
          case 'resume':
            return { type: 'ResumeSubscription', licence }
          case 'open':
            return { type: 'OpenMonth' }
          default:
            return { type: 'Observe' }
        }
      }

      const replay = async () => {
        const faults: unknown[] = []
        const all = await allOf(replayStream(store, customerId, (fault) => faults.push(fault)))
        expect(faults).toEqual([])
        return all
      }

      await execute(registration({ licence, plan: 'starter', monthlyLimit: 3 }))
      for (const { minutes, asked } of steps) {
        now += minutes * 60_000
        const told = await Promise.all(asked.map((one) => execute(commandOf(one))))
        const all = await replay()
        for (const executed of told) {
          const there = all.find(({ revision }) => revision === executed.revision)?.state
          if (there === undefined) throw new Error(`nothing stands at revision ${executed.revision}`)
          // A refusal, and a question, are answered as of now: in a month whose opener nobody has written yet.
          const state = openMonth(there, clock.now())
          expect(JSON.parse(JSON.stringify(openMonth(executed.state, clock.now())))).toEqual(
            JSON.parse(JSON.stringify(state)),
          )
          expect(counters(executed.state)).toEqual(counters(state))
          if (executed.kind === 'refused') refused += 1
          if (executed.kind !== 'done') continue
          for (const event of executed.events) {
            if (event.type !== 'DetectionSucceeded') continue
            const place = all.find(
              ({ event: logged }) => logged.type === event.type && logged.data.detectionId === event.data.detectionId,
            )
            billed.set(event.data.detectionId, { data: event.data, revision: place?.revision ?? -1n })
          }
        }
      }

      const months = new Set((await replay()).map(({ event }) => event.data.occurredAt.slice(0, 7)))
      for (const month of months) {
        const { events, statement } = foldWhilePassing(
          month,
          replayMonth(store, customerId, month, never),
          never,
          customerStream(customerId),
        )
        for await (const _ of events);
        const calls = [...billed.values()].map(({ data }) => data).filter(({ yearMonth }) => yearMonth === month)
        const past = calls.filter(({ funding }) => funding === 'overage')
        const result = statement()
        expect(result).toMatchObject({
          creditCalls: calls.length - past.length,
          overageCalls: past.length,
          voidedCalls: gone.get(month) ?? 0,
        })
        const sum = past.reduce((total, { overageUnitPrice }) => total + micros(overageUnitPrice), 0n)
        expect(micros(result?.overageAmount ?? '')).toBe(sum)
        overage += past.length
        voided += gone.get(month) ?? 0
      }
    }),
    { numRuns: 25 },
  )
  // What was generated is worth its name.
  expect(Math.min(overage, voided, refused)).toBeGreaterThan(5)
}, 60_000)
