/** The roles relay and metering: overage on its way from the log to AWS Marketplace. */
import type { Logger } from 'pino'
import { postgresDoubts } from '../commands/doubts.ts'
import { type Config, ConfigError, type Role } from '../config.ts'
import type { StoredEvent } from '../eventstore/store.ts'
import { roleLog } from '../http/logging.ts'
import { queueClient } from '../marketplace/aws.ts'
import { awsBatchMeterUsage } from '../marketplace/batch-meter-usage.ts'
import type { MarketplaceDeps } from '../marketplace/settle.ts'
import type { Alarms } from '../metering/alarms.ts'
import { consumeBatch } from '../metering/consume.ts'
import { startDirectFeed } from '../metering/direct-feed.ts'
import type { Consume, MeteringFeed } from '../metering/feed.ts'
import { postgresTables } from '../metering/postgres-tables.ts'
import { hourMs, type MeteringRules } from '../metering/rules.ts'
import { ensureMeteringTables } from '../metering/schema.ts'
import { type Metering, startMetering } from '../metering/start.ts'
import { kafkaSettings } from '../relay/kafka-settings.ts'
import type { Relay } from '../relay/relay.ts'
import { logEvents } from './event-lines.ts'
import type { System } from './system.ts'

export interface MeteringRoles {
  readonly relay: Relay | undefined
  readonly feed: MeteringFeed | undefined
  readonly metering: Metering | undefined
  stop(): Promise<void>
}

/** Between the sealing of a record and its deadline, in milliseconds: ticks, rounds and the last attempt take minutes. */
const leastTimeToSendMs = 600_000

/** @throws ConfigError for settings under which no record, or none of a month's last hour, could ever be sent in time */
export function meteringRules(config: Config): MeteringRules {
  const rules = {
    graceMs: config.METERING_GRACE * 1_000,
    windowHours: config.METERING_WINDOW_HOURS,
    monthCloseHour: config.METERING_MONTH_CLOSE_HOUR,
    carryForward: config.METERING_CARRY_FORWARD,
    heartbeat: config.METERING_HEARTBEAT,
    submit: config.METERING_SUBMIT,
    region: config.MARKETPLACE_REGION,
  }
  const { graceMs, windowHours, monthCloseHour } = rules
  const hoursAfterItsEnd = { METERING_WINDOW_HOURS: windowHours - 1, METERING_MONTH_CLOSE_HOUR: monthCloseHour }
  for (const [setting, hours] of Object.entries(hoursAfterItsEnd)) {
    if (hours * hourMs >= graceMs + leastTimeToSendMs) continue
    throw new ConfigError(
      `METERING_GRACE (${config.METERING_GRACE} s) leaves less than 10 minutes to send a record before the deadline that ${setting} sets.`,
    )
  }
  return rules
}

/** kafkajs is loaded only where there is a Kafka. */
async function kafkaParts() {
  const [{ startKafkaFeed }, { startRelay }, { kafkaTopic }] = await Promise.all([
    import('../metering/kafka-feed.ts'),
    import('../relay/relay.ts'),
    import('../relay/topic.ts'),
  ])
  return { startKafkaFeed, startRelay, kafkaTopic }
}

export interface MeteringParts {
  readonly config: Config
  readonly roles: readonly Role[]
  readonly system: System
  readonly marketplace: MarketplaceDeps
  /** Of the process; each role's lines say the role. */
  readonly log: Logger
  /** The relay or metering's feed has ended for good; not called because of `stop`. */
  readonly onStopped: (role: 'relay' | 'metering', error: Error) => void
}

/** Starts what the roles name, in the background. */
export async function startMeteringRoles(parts: MeteringParts): Promise<MeteringRoles> {
  const { config, roles, system, marketplace, onStopped } = parts
  const [log, relayLog] = [roleLog(parts.log, 'metering'), roleLog(parts.log, 'relay')]
  const { pool, databaseUrl: url, store, clock, databaseClock } = system
  const kafka = kafkaSettings(config)
  const alarms: Alarms = {
    onAlarm: (alarm, message, fields) => log.error({ ...fields, alarm }, message),
    onWarn: (warning, message, fields) => log.warn({ ...fields, warning }, message),
  }
  const onTrouble = (of: Logger, part: string) => (error: Error, failures: number) =>
    of.warn({ err: error, failures }, `${part} is held up`)
  const undo: (() => Promise<void>)[] = []

  let feed: MeteringFeed | undefined
  let metering: Metering | undefined
  if (roles.includes('metering')) {
    // What can fail comes before anything runs that would have to be stopped again.
    const rules = meteringRules(config)
    await ensureMeteringTables(pool)
    const tables = postgresTables(pool)
    const deps = { tables, store, graceMs: rules.graceMs, ...alarms }
    const consume: Consume = async (partition, fed) => {
      await consumeBatch(deps, partition, fed)
      logEvents(
        log,
        'folded into metering',
        fed.flatMap(({ item }) => (item.kind === 'event' ? [item.event] : [])),
      )
    }
    const feeding = { tables, consume, ...alarms, onTrouble: onTrouble(log, 'the feed of metering') }
    feed =
      kafka === null
        ? startDirectFeed({ ...feeding, url, store, clock, databaseClock })
        : (await kafkaParts()).startKafkaFeed({ ...feeding, kafka })
    undo.push(feed.stop)
    feed.ended.then((error) => error !== null && onStopped('metering', error))
    const batchMeterUsage = awsBatchMeterUsage()
    const doubts = postgresDoubts(pool)
    metering = startMetering({ pool, url, tables, store, rules, batchMeterUsage, doubts, now: clock.now, ...alarms })
    undo.push(metering.stop)
    if (config.MARKETPLACE_QUEUE_URL !== undefined) {
      const { startLifecycleQueue } = await import('../marketplace/queue.ts')
      const queue = startLifecycleQueue({
        deps: marketplace,
        client: await queueClient(config.MARKETPLACE_QUEUE_URL, config.MARKETPLACE_REGION),
        queueUrl: config.MARKETPLACE_QUEUE_URL,
        databaseUrl: url,
        onTrouble: (error) => log.warn({ err: error }, "AWS Marketplace's messages cannot be read just now"),
      })
      undo.push(queue.stop)
    }
  }

  let relay: Relay | undefined
  if (roles.includes('relay') && kafka !== null) {
    const onAlarm = (error: Error) => relayLog.error({ err: error, alarm: 'relay' }, error.message)
    const onRelayed = (events: readonly StoredEvent[]) => logEvents(relayLog, 'relayed to Kafka', events)
    const { kafkaTopic, startRelay } = await kafkaParts()
    const topic = kafkaTopic(kafka)
    const telling = { onAlarm, onRelayed, onTrouble: onTrouble(relayLog, 'the relay') }
    relay = startRelay({ pool, url, store, topic, clock, databaseClock, ...telling })
    undo.push(relay.stop)
    relay.ended.then((error) => error !== null && onStopped('relay', error))
  }

  return {
    relay,
    feed,
    metering,
    async stop() {
      // All of them at once: each waits for its own work only.
      await Promise.all(undo.map((end) => end()))
    },
  }
}
