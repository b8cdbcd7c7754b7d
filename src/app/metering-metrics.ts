import { Gauge, type Registry } from 'prom-client'
import { countMessages } from '../marketplace/messages.ts'
import type { MeteringRoles } from './metering.ts'
import { addGauge } from './metrics.ts'
import type { System } from './system.ts'

/** Milliseconds for which the tables' answer is good: several gauges are read in one scrape. */
const goodForMs = 1_000

/** How far overage is on its way to AWS: what an operator is woken by. */
export function createMeteringMetrics(
  registry: Registry,
  { pool }: Pick<System, 'pool'>,
  { relay, feed, metering }: MeteringRoles,
): void {
  const registers = [registry]
  if (relay !== undefined) {
    gauge('liveness_relay_leading', '1 where this process relays the log to Kafka.', () =>
      relay.lag().leading ? 1 : 0,
    )
    gauge(
      'liveness_relay_waiting_events',
      'Events received from the log and not yet acknowledged by Kafka.',
      () => relay.lag().waiting,
    )
    gauge(
      'liveness_relay_lag_seconds',
      'Age of the oldest event received from the log that Kafka has not acknowledged.',
      () => relay.lag().ageMs / 1_000,
    )
    gauge('liveness_relay_failures', 'Failures in a row since the last acknowledgement.', () => relay.lag().failures)
  }
  if (feed === undefined || metering === undefined) return
  gauge('liveness_metering_waiting_items', 'Items of the feed that are known to wait.', () => feed.lag().waiting)
  gauge(
    'liveness_metering_stopped_partitions',
    'Partitions that go no further until somebody has looked.',
    () => feed.lag().stopped.length,
  )
  gauge('liveness_metering_leading', '1 where this process seals, sends and closes.', () =>
    metering.leading() ? 1 : 0,
  )

  let asked: { readonly at: number; readonly status: ReturnType<typeof metering.status> } | undefined
  const status = () => {
    if (asked === undefined || performance.now() - asked.at > goodForMs) {
      asked = { at: performance.now(), status: metering.status() }
    }
    return asked.status
  }
  const secondsUntil = (instant: string) => (Date.parse(instant) - Date.now()) / 1_000

  gauge(
    'liveness_metering_watermark_age_seconds',
    'Age of the time up to which every partition is folded.',
    async () => {
      const { watermarkAgeMs } = await status()
      return watermarkAgeMs === null ? Number.NaN : watermarkAgeMs / 1_000
    },
  )
  gauge(
    'liveness_metering_nearest_deadline_seconds',
    'Seconds until a record that waits can be sent no more.',
    async () => {
      const { nearestDeadline } = await status()
      return nearestDeadline === null ? Number.NaN : secondsUntil(nearestDeadline)
    },
  )
  new Gauge({
    name: 'liveness_metering_records',
    help: 'Metering records that are not at an end, by state.',
    labelNames: ['state'],
    registers,
    async collect() {
      const counts = await status().catch(() => null)
      this.reset()
      if (counts === null) return
      this.set({ state: 'open' }, counts.open.records)
      this.set({ state: 'sealed' }, counts.sealed.records)
      this.set({ state: 'unknown' }, counts.trouble.unknown.records)
      this.set({ state: 'refused' }, counts.trouble.refused.records)
      this.set({ state: 'not_subscribed' }, counts.trouble.notSubscribed.records)
    },
  })
  new Gauge({
    name: 'liveness_marketplace_messages',
    help: "AWS Marketplace's messages that were kept, by what became of them.",
    labelNames: ['state'],
    registers,
    async collect() {
      const counts = await countMessages(pool).catch(() => null)
      this.reset()
      for (const [state, count] of Object.entries(counts ?? {})) this.set({ state }, count)
    },
  })

  function gauge(name: string, help: string, value: () => number | Promise<number>): void {
    addGauge(registry, name, help, value)
  }
}
