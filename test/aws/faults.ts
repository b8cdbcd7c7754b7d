/** What goes wrong between AWS and its caller, on demand or by chance. Chance is seeded, so that a run can be repeated. */
import { z } from 'zod'

const name = z.string().min(1)
export const fault = z.discriminatedUnion('kind', [
  /** The connection breaks before the call is carried out. */
  z.object({ kind: z.literal('lose_call') }),
  /** The call is carried out, the connection breaks before the answer. */
  z.object({ kind: z.literal('lose_answer') }),
  /** The call is carried out, the answer never comes and the connection stays. */
  z.object({ kind: z.literal('hang') }),
  /** The same, with the answer's head and its first bytes. */
  z.object({ kind: z.literal('stall') }),
  z.object({ kind: z.literal('slow'), ms: z.int().min(0) }),
  /** An error instead of the answer; carriedOut: the call took effect all the same, as behind a 500 it may. */
  z.object({
    kind: z.literal('exception'),
    name,
    status: z.int().optional(),
    message: z.string().optional(),
    carriedOut: z.boolean().optional(),
  }),
  /** The call is carried out; the answer is not the service's, such as a load balancer's page. */
  z.object({ kind: z.literal('body'), status: z.int(), body: z.string() }),
  /** Records handed back as UnprocessedRecords, by their place in the request. */
  z.object({ kind: z.literal('unprocessed'), records: z.union([z.literal('all'), z.array(z.int())]) }),
  /** The call is carried out; these records are in neither list of the answer. */
  z.object({ kind: z.literal('omit'), records: z.array(z.int()) }),
])
export type Fault = z.infer<typeof fault>

export const faultRates = z.object({
  loseCall: z.number().optional(),
  loseAnswer: z.number().optional(),
  serverError: z.number().optional(),
  /** 500 although the call was carried out. */
  serverErrorAfter: z.number().optional(),
  throttle: z.number().optional(),
  /** Per record, not per call. */
  unprocessed: z.number().optional(),
})
/** Probabilities from 0 to 1. */
export type FaultRates = z.infer<typeof faultRates>

export interface Faults {
  /** For the next calls of the operation, one each, before chance is asked. */
  next(operation: string, ...faults: Fault[]): void
  /** For all calls of BatchMeterUsage from now on. */
  rates(rates: FaultRates, seed?: number): void
  /** Forgets what `next` and `rates` said. */
  none(): void
  /** What befalls this call. */
  draw(operation: string, records: number): Fault | null
}

const internalError = { kind: 'exception', name: 'InternalServiceErrorException', status: 500 } as const

export function createFaults(): Faults {
  const planned = new Map<string, Fault[]>()
  let chances: FaultRates = {}
  let random = seededRandom(1)
  const happens = (rate = 0) => random() < rate
  return {
    next: (operation, ...faults) => planned.set(operation, [...(planned.get(operation) ?? []), ...faults]),
    rates(rates, seed = 1) {
      chances = rates
      random = seededRandom(seed)
    },
    none() {
      planned.clear()
      chances = {}
    },
    draw(operation, records) {
      const fault = planned.get(operation)?.shift()
      if (fault !== undefined) return fault
      if (operation !== 'BatchMeterUsage') return null
      if (happens(chances.loseCall)) return { kind: 'lose_call' }
      if (happens(chances.loseAnswer)) return { kind: 'lose_answer' }
      if (happens(chances.serverError)) return internalError
      if (happens(chances.serverErrorAfter)) return { ...internalError, carriedOut: true }
      if (happens(chances.throttle)) return { kind: 'exception', name: 'ThrottlingException', status: 400 }
      const unprocessed = Array.from({ length: records }, (_, index) => index).filter(() =>
        happens(chances.unprocessed),
      )
      return unprocessed.length === 0 ? null : { kind: 'unprocessed', records: unprocessed }
    },
  }
}

/** Mulberry32: 32 bits of state are plenty for choosing faults. From 0 up to 1. */
function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
