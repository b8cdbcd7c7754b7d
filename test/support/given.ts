/** given(history).when(command, now).records(events): the decider's tests in the words of its rules. */
import { expect } from 'vitest'
import { type CustomerCommand, decide, isRefusal, type RefusalKind } from '../../src/commands/customer.ts'
import { type CustomerState, evolve, initialState } from '../../src/commands/state.ts'
import type { CustomerEvent, Verdict } from '../../src/events/catalogue.ts'

export const customerId = '11111111-1111-4111-8111-111111111111'
export const verdict: Verdict = {
  isFakeFace: false,
  likelihoodMillionths: 12_345,
  isValidFace: true,
  brightnessHundredths: 14_230,
  face: { x: 120, y: 80, width: 200, height: 200 },
  faces: [{ x: 120, y: 80, width: 200, height: 200 }],
  msg: '',
  latencyMs: 42,
}

let serial = 0
/** A fresh UUID, the same in every run. */
export const uuid = (): string => `00000000-0000-4000-8000-${(++serial).toString(16).padStart(12, '0')}`
const hash = () => uuid().replaceAll('-', '').padEnd(64, '0')
export const newKey = () => ({ keyId: uuid(), keyHash: hash(), prefix: 'lc_abc12' })

export const keys = { primary: newKey(), secondary: newKey() }

export const registration = (
  options: Partial<Extract<CustomerCommand, { type: 'RegisterCustomer' }>> = {},
): CustomerCommand => ({
  type: 'RegisterCustomer',
  customerId,
  plan: 'standard',
  hardCap: false,
  licence: { kind: 'none' },
  keys,
  ...options,
})

export const detection = (
  options: Partial<Extract<CustomerCommand, { type: 'RecordDetection' }>> = {},
): CustomerCommand => ({
  type: 'RecordDetection',
  detectionId: uuid(),
  keyId: keys.primary.keyId,
  verdict,
  modelSet: 'ensemble',
  modelVersion: '1',
  ...options,
})

/** Runs commands one after another, each at its instant; every one must be granted. */
export function history(...steps: readonly (readonly [now: string, command: CustomerCommand])[]): CustomerState {
  return steps.reduce((state, [now, command]) => {
    const decision = decide(state, command, now)
    if (isRefusal(decision)) throw new Error(`the history refuses ${command.type}: ${decision.message}`)
    return decision.reduce(evolve, state)
  }, initialState)
}

export function given(state: CustomerState) {
  return {
    when(command: CustomerCommand, now: string) {
      const decision = decide(state, command, now)
      return {
        records(...events: { type: CustomerEvent['type']; data?: Record<string, unknown> }[]) {
          if (isRefusal(decision)) throw new Error(`refused: ${decision.message}`)
          expect(decision.map(({ type }) => type)).toEqual(events.map(({ type }) => type))
          for (const [i, event] of events.entries()) expect(decision[i]?.data).toMatchObject(event.data ?? {})
          return decision.reduce(evolve, state)
        },
        refused(kind: RefusalKind) {
          expect(decision).toMatchObject({ refusal: kind })
        },
      }
    },
  }
}
