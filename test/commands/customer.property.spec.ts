import fc from 'fast-check'
import { expect, test } from 'vitest'
import { freeze } from '../../src/commands/attempt.ts'
import { type CustomerCommand, decide, isRefusal } from '../../src/commands/customer.ts'
import { counters, evolve, initialState, openMonth } from '../../src/commands/state.ts'
import { type CustomerEvent, type Licence, planNames } from '../../src/events/catalogue.ts'
import { emptyHead } from '../../src/events/chain.ts'
import { customerId, detection, newKey, registration, uuid } from '../support/given.ts'
import { checkStream } from '../support/invariants.ts'

const day = 24 * 3_600_000
const start = Date.parse('2027-12-20T00:00:00.000Z') // leap year and year end lie ahead

const slot = fc.constantFrom('primary' as const, 'secondary' as const)
const licences: readonly Licence[] = [
  { kind: 'product', productCode: 'product', customerIdentifier: 'buyer' },
  { kind: 'licence', awsAccountId: '123456789012', licenceArn: 'arn:aws:license-manager::1:license:l-1' },
  { kind: 'licence', awsAccountId: '123456789012', licenceArn: 'arn:aws:license-manager::1:license:l-2' },
]
const licence = fc.constantFrom<Licence>({ kind: 'none' }, ...licences)
/** A command made when it is run: it may name the keys that are in the slots by then. */
const command = fc.oneof(
  { weight: 12, arbitrary: slot.map((s) => ({ detectWith: s })) },
  { weight: 1, arbitrary: fc.constant({ detectWith: 'nobody' as const }) },
  fc.constant<CustomerCommand>({ type: 'EnableHardCap' }),
  fc.constant<CustomerCommand>({ type: 'DisableHardCap' }),
  fc.constant<CustomerCommand>({ type: 'OpenMonth' }),
  fc.constant<CustomerCommand>({ type: 'CancelScheduledPlanChange' }),
  licence.map((one): CustomerCommand => ({ type: 'EndSubscription', licence: one, reason: 'end' })),
  licence.map((one): CustomerCommand => ({ type: 'ResumeSubscription', licence: one })),
  fc.constantFrom(...licences).map((one): CustomerCommand => ({ type: 'ChangeLicence', licence: one, reason: 'r' })),
  slot.map((s) => ({ regenerate: s })),
  fc.tuple(fc.constantFrom(...planNames), fc.option(fc.integer({ min: 1, max: 8 }), { nil: undefined })).map(
    ([plan, monthlyLimit]): CustomerCommand => ({
      type: 'SetPlan',
      plan,
      monthlyLimit,
      origin: 'operator',
      reason: 'r',
    }),
  ),
  fc.constant({ voidLast: true as const }),
)
const clockStep = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: -2_000, max: 5_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: 60_000, max: 70 * 60_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 5 * day, max: 40 * day }) },
)

test('any history keeps invariants 2–6, and a cold start at any opener reaches the same state', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('free' as const, 'starter' as const, 'standard' as const),
      fc.integer({ min: 1, max: 6 }),
      fc.boolean(),
      licence,
      fc.array(fc.tuple(clockStep, command), { maxLength: 60 }),
      (plan, monthlyLimit, hardCap, first, steps) => {
        let now = start
        let state = initialState
        const events: CustomerEvent[] = []
        let refusedWithCredit = false
        const run = (next: CustomerCommand) => {
          const at = new Date(now).toISOString()
          const decision = decide(state, next, at)
          if (isRefusal(decision)) {
            const open = openMonth(state, at)
            refusedWithCredit ||= decision.refusal === 'quota_exceeded' && counters(open).remainingCalls > 0
            return
          }
          for (const event of decision) {
            state = evolve(state, event)
            events.push(event)
          }
        }
        run(registration({ plan, monthlyLimit, hardCap, licence: first }))
        for (const [step, choice] of steps) {
          now += step
          if ('detectWith' in choice) {
            const keyId = choice.detectWith === 'nobody' ? uuid() : (state.keys[choice.detectWith]?.keyId ?? uuid())
            run(detection({ keyId }))
          } else if ('regenerate' in choice) {
            run({ type: 'RegenerateApiKey', slot: choice.regenerate, key: newKey() })
          } else if ('voidLast' in choice) {
            const voided = new Set(events.flatMap((e) => (e.type === 'DetectionVoided' ? [e.data.detectionId] : [])))
            const revision = events.findLastIndex(
              (e) => e.type === 'DetectionSucceeded' && !voided.has(e.data.detectionId),
            )
            const last = events[revision]
            if (last?.type !== 'DetectionSucceeded') continue
            const { detectionId, yearMonth, funding, bucketKey } = last.data
            run({ type: 'VoidDetections', detections: [{ detectionId, revision, yearMonth, funding, bucketKey }] })
          } else run(choice)
        }

        const origin = { correlationId: 'c', causationId: 'c', actor: 'operator' }
        const { attempt } = freeze(
          `customer-${customerId}`,
          emptyHead,
          events.map((event) => ({ event, origin })),
        )
        checkStream(
          attempt.events.map((event, i) => ({
            ...event,
            stream: attempt.stream,
            revision: BigInt(i),
            created: new Date(),
          })),
        )
        expect(refusedWithCredit, 'no credit stays unsold while calls are refused (3)').toBe(false)
        const opener = events.findLastIndex((event) => event.type === 'MonthlyCreditsGranted')
        expect(events.slice(opener).reduce(evolve, initialState)).toEqual(state)
      },
    ),
    { numRuns: 400 },
  )
})
