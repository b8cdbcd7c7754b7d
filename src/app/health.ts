/** Whether checks can be answered, as load balancers ask it: both servers, and the clock. Answered within a second or two. */
import type { Clock } from '../commands/clock.ts'
import { customerStream } from '../events/catalogue.ts'
import { queryWithin } from '../postgres/pool.ts'
import type { KafkaSettings } from '../relay/kafka-settings.ts'
import { createProbe } from './probe.ts'
import { refusalOf } from './refusals.ts'
import type { System } from './system.ts'

export const probeMs = 1_500
/** A stream that does not exist: reading it asks the event store for an answer and for nothing else. */
const nobody = customerStream('00000000-0000-0000-0000-000000000000')

export type ServerFault = null | 'database unavailable' | 'event store unavailable'
export type Ailment = ServerFault | 'clock out of service'

/** @param servers as createServersHealth made it; where Postgres is away the clock goes too, and the server is named */
export function createHealth(servers: () => Promise<ServerFault>, clock: Pick<Clock, 'now'>): () => Promise<Ailment> {
  return async () => (await servers()) ?? (clockFault(clock) === null ? null : 'clock out of service')
}

/** Why the clock is out of service, in words for operators, or null. */
export function clockFault(clock: Pick<Clock, 'now'>): string | null {
  try {
    clock.now()
    return null
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** The two servers that everything stands on. Many may ask at the same time; one look answers them all. */
export function createServersHealth({ pool, store }: Pick<System, 'pool' | 'store'>): () => Promise<ServerFault> {
  // A connection that got no answer in time is thrown away by the pool, so looks do not use it up.
  const database = createProbe(async () => {
    await queryWithin(pool, probeMs, { text: 'select 1' })
    return true
  }, probeMs)
  const events = createProbe(async () => {
    for await (const _ of store.readForward(nobody, 0n, 1)) break
    return true
  }, probeMs)
  return async () => {
    const [postgres, eventStore] = await Promise.all([database(), events()])
    if (postgres === undefined) return 'database unavailable'
    return eventStore === undefined ? 'event store unavailable' : null
  }
}

/** Why Kafka cannot be used, in words for operators, or null: a password that is refused is another matter than silence. */
export function createKafkaHealth(settings: KafkaSettings): () => Promise<string | null> {
  const silence = 'no Kafka broker answers'
  const reasonOf = (error: unknown) => {
    const refusal = refusalOf(error)
    return refusal === null ? silence : `Kafka: ${refusal}`
  }
  const look = createProbe(async () => {
    const { askBrokers } = await import('../relay/topic.ts') // kafkajs is loaded only where there is a Kafka
    return { fault: await askBrokers(settings, probeMs).then(() => null, reasonOf) }
  }, probeMs)
  return async () => {
    const seen = await look()
    return seen === undefined ? silence : seen.fault
  }
}
