import { Counter, Histogram, type Registry } from 'prom-client'
import type { EventStore, SendOutcome } from '../eventstore/store.ts'

const seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const outcomes: readonly SendOutcome['kind'][] = ['appended', 'conflict', 'refused', 'unknown']

/** `customer-…` → `customer`: the rest names somebody. */
const categoryOf = (stream: string): string => stream.split('-', 1)[0] ?? ''

/** The same store, and a function that puts what is known of its appends into a registry. */
export function observedStore(store: EventStore): { store: EventStore; register: (registry: Registry) => void } {
  const appends = new Counter({
    name: 'liveness_appends_total',
    help: 'Appends sent to the event store, by kind of stream and by how each ended. A conflict is decided again.',
    labelNames: ['category', 'outcome'],
    registers: [],
  })
  const time = new Histogram({
    name: 'liveness_append_seconds',
    help: 'Time of one append to the event store, whatever its outcome.',
    labelNames: ['category'],
    buckets: seconds,
    registers: [],
  })
  // A counter that begins with its first failure shows no increase: those of the log that bills begin at 0.
  for (const outcome of outcomes) appends.inc({ category: 'customer', outcome }, 0)
  return {
    store: {
      ...store,
      async send(attempt, deadlineMs) {
        const category = categoryOf(attempt.stream)
        const end = time.startTimer({ category })
        const outcome = await store.send(attempt, deadlineMs)
        end()
        appends.inc({ category, outcome: outcome.kind })
        return outcome
      },
    },
    register(registry) {
      registry.registerMetric(appends)
      registry.registerMetric(time)
    },
  }
}
