/** The relay's state in Postgres: one row per topic, written compare-and-set. */
import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { transaction } from '../postgres/pool.ts'
import { emptyRelay, RelayMoved, type RelayState, type RelayStates } from './step.ts'

interface Row {
  token: string
  commit_position: bigint | null
  prepare_position: bigint
  stream: string
  revision: bigint
  event_id: string
  event_hash: string
  event_created: Date
  counts: bigint[]
  next_offsets: bigint[]
}

export function postgresRelayStates(pool: pg.Pool, topic: string): RelayStates {
  return {
    async load() {
      const { counts, nextOffsets } = emptyRelay
      await pool.query('insert into relay (topic, counts, next_offsets) values ($1, $2, $3) on conflict do nothing', [
        topic,
        counts,
        nextOffsets,
      ])
      const { rows } = await pool.query<Row>('select * from relay where topic = $1', [topic])
      const [row] = rows
      if (row === undefined) throw new RelayMoved(`the state of the relay to ${topic} is gone`)
      return stateOf(row)
    },

    async store(before, next) {
      const { checkpoint, counts, nextOffsets } = next
      const token = randomUUID()
      await transaction(pool, async (client) => {
        // A crash may take the last checkpoints: their batches are sent again. Waiting for the disk would make every
        // append of an event store on the same disk wait with it. A reset, however, must not be forgotten.
        if (checkpoint !== null) await client.query('set local synchronous_commit to off')
        const { rowCount } = await client.query({
          name: 'relay.store',
          text: `update relay set token = $3, commit_position = $4, prepare_position = $5, stream = $6, revision = $7,
                   event_id = $8, event_hash = $9, event_created = $10, counts = $11, next_offsets = $12
                 where topic = $1 and token = $2`,
          values: [
            topic,
            before.token,
            token,
            checkpoint?.position.commit,
            checkpoint?.position.prepare,
            checkpoint?.stream,
            checkpoint?.revision,
            checkpoint?.eventId,
            checkpoint?.hash,
            checkpoint?.created,
            counts,
            nextOffsets,
          ],
        })
        if (rowCount !== 1) throw new RelayMoved(`the relay to ${topic} is not where this one left it`)
      })
      return { ...next, token }
    },
  }
}

function stateOf(row: Row): RelayState {
  const { token, commit_position, prepare_position, stream, revision, event_id, event_hash, event_created } = row
  const checkpoint =
    commit_position === null
      ? null
      : {
          position: { commit: commit_position, prepare: prepare_position },
          stream,
          revision,
          eventId: event_id,
          hash: event_hash,
          created: event_created,
        }
  return { token, checkpoint, counts: row.counts, nextOffsets: row.next_offsets }
}
