/** An hour of metered customers who called nobody: a zero for each is sealed, attempted and answered. */

import type { CallOutcome, RecordAnswer } from '../src/marketplace/batch-meter-usage.ts'
import { consumeBatch } from '../src/metering/consume.ts'
import { feedBatch } from '../src/metering/direct-feed.ts'
import { decideForIn } from '../src/metering/metering-log.ts'
import { postgresTables } from '../src/metering/postgres-tables.ts'
import { createRounds } from '../src/metering/rounds.ts'
import { hourMs, type MeteringRules } from '../src/metering/rules.ts'
import { ensureMeteringTables } from '../src/metering/schema.ts'
import { createSubmitter } from '../src/metering/submit.ts'
import type { DirectFeedRow } from '../src/metering/tables.ts'
import { fedPrefixes } from '../src/relay/feed.ts'
import { appendTick } from '../src/relay/ticks.ts'
import { rules as usual } from '../test/metering/books.ts'
import { createCustomerLog } from '../test/support/customer-log.ts'
import { memoryDoubts } from '../test/support/doubts.ts'
import { type Figure, startStack } from './stack.ts'

const CUSTOMERS = Number(process.env.BENCH_CUSTOMERS ?? 500)
const HOURS = 3
const rules: MeteringRules = { ...usual, heartbeat: true }
const { graceMs } = rules

export async function benchSealing(): Promise<Figure[]> {
  const stack = await startStack()
  const { pool, store } = stack
  let time = Date.parse('2027-03-10T10:30:00.000Z')
  const now = () => new Date(time).toISOString()
  const tell = (_: string, message: string) => console.error(message)
  const signal = new AbortController().signal
  try {
    await ensureMeteringTables(pool)
    const tables = postgresTables(pool)
    await createCustomerLog(store, CUSTOMERS, { now, isMetered: true }).write(1, 1)
    let row: DirectFeedRow | null = null
    const feed = async () => {
      await appendTick({ store, clock: { now }, databaseClock: async () => new Date(time) })
      const events = []
      for await (const event of store.readAll({ prefixes: fedPrefixes, after: row?.position })) events.push(event)
      const deps = { tables, store, graceMs, onAlarm: tell }
      row = await feedBatch(row, events, { tables, consume: (partition, fed) => consumeBatch(deps, partition, fed) })
    }
    let calls = 0
    const deps = {
      tables,
      decideFor: decideForIn({ tables, store, actor: 'system', onAlarm: tell }),
      doubts: memoryDoubts(),
      rules,
      now,
      alarms: { onAlarm: tell, onWarn: tell },
      onTrouble: (customerId: string, error: unknown) => console.error(customerId, error),
      batchMeterUsage: async (_: string, usages: readonly { readonly recordId: string }[]): Promise<CallOutcome> => {
        calls += 1
        const accepted = (recordId: string): [string, RecordAnswer] => [
          recordId,
          { kind: 'accepted', meteringRecordId: recordId },
        ]
        return { kind: 'answered', answers: new Map(usages.map(({ recordId }) => accepted(recordId))) }
      },
    }
    const rounds = createRounds(deps)
    const submitter = createSubmitter(deps)
    let [sealing, sending] = [0, 0]
    for (let hour = 0; hour <= HOURS; hour++) {
      time += hourMs
      await feed()
      const startedAt = performance.now()
      await rounds.seal(signal)
      const sealedAt = performance.now()
      const waiting = async () => (await tables.recordsToSend(1)).length > 0
      while (await waiting()) await submitter.step(signal)
      if (hour === 0) continue // warm-up
      sealing += sealedAt - startedAt
      sending += performance.now() - sealedAt
    }
    const each = (ms: number) => (ms / HOURS / CUSTOMERS).toFixed(2)
    return [
      { name: `a zero sealed, of ${CUSTOMERS} customers, ms each`, value: each(sealing) },
      { name: 'attempted and answered, ms each', value: each(sending) },
      { name: 'calls to AWS for one hour', value: (calls / (HOURS + 1)).toFixed(0) },
    ]
  } finally {
    await stack.stop()
  }
}
