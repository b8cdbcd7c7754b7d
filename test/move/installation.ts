/** A data directory as months of the embedded stack leave it, and servers to move it to. */
import { createHash, randomBytes } from 'node:crypto'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { inject } from 'vitest'
import { prepareDatabase } from '../../src/app/prepare.ts'
import { secretsOf } from '../../src/app/secrets.ts'
import { chooseKeys } from '../../src/app/secrets-keys.ts'
import { startStack } from '../../src/app/stack.ts'
import { statementDocument } from '../../src/audit/document.ts'
import { foldWhilePassing, replayMonth } from '../../src/audit/replay.ts'
import { loadConfig } from '../../src/config.ts'
import { customerStream } from '../../src/events/catalogue.ts'
import { connectEventStore } from '../../src/eventstore/client.ts'
import { recordedEvent } from '../../src/eventstore/embedded/protocol.ts'
import { startEmbeddedEventStore } from '../../src/eventstore/embedded/start.ts'
import { foldReadModels } from '../../src/move/fold-target.ts'
import { connect } from '../../src/postgres/pool.ts'
import { february } from '../audit/february.ts'
import { freshDatabase } from '../support/postgres.ts'

const quiet = pino({ level: 'silent' })

/** What stands in the event store's table: to be compared byte by byte, but for position and time. */
export async function rawLog(databaseUrl: string) {
  const pool = connect(databaseUrl, { max: 1 })
  try {
    const { rows } = await pool.query<{ stream: string; revision: bigint; type: string; message: Buffer }>(
      'select stream, revision, type, message from eventstore.event order by position',
    )
    return rows.map(({ stream, revision, type, message }) => {
      const { id, data, metadata } = recordedEvent(message)
      return [stream, `${revision}`, type, id, `${Buffer.from(data)}`, `${Buffer.from(metadata)}`].join('\t')
    })
  } finally {
    await pool.end()
  }
}

/** What customers and auditors are told: all rows of the read models, and a customer's statements of February and of `month`. */
export async function told(url: string, eventStoreUrl: string, customerId: string, month: string) {
  const pool = connect(url)
  const store = connectEventStore(eventStoreUrl)
  try {
    const { rows: views } = await pool.query<{ view: string }>(
      "select viewname as view from pg_views where schemaname = 'readmodel' order by 1",
    )
    const readModels = views.map(async ({ view }) => {
      const { rows } = await pool.query<{ row: string }>(`select t::text as row from readmodel.${view} t order by 1`)
      return [view, ...rows.map(({ row }) => row)]
    })
    const statements = ['2026-02', month].map(async (month) => {
      const unexpected = (fault: unknown) => {
        throw new Error(JSON.stringify(fault))
      }
      const replayed = replayMonth(store, customerId, month, unexpected)
      const { events, statement } = foldWhilePassing(month, replayed, unexpected, customerStream(customerId))
      for await (const _ of events);
      const found = statement()
      return found === null ? null : statementDocument(found)
    })
    return { readModels: await Promise.all(readModels), statements: await Promise.all(statements) }
  } finally {
    await store.close()
    await pool.end()
  }
}

/** Runs `work` with the embedded servers of a data directory. */
export async function withServers<T>(
  dataDir: string,
  work: (servers: { url: string; logUrl: string; eventStoreUrl: string }) => Promise<T>,
): Promise<T> {
  const { config } = loadConfig({ DATA_DIR: dataDir }, '/nowhere')
  const stack = await startStack(config, quiet, { movedToo: true })
  try {
    const { databaseUrl: url, eventStoreUrl, logDatabaseUrl: logUrl = '' } = stack
    return await work({ url, logUrl, eventStoreUrl })
  } finally {
    await stack.stop()
  }
}

const hourMs = 3_600_000
const monthOf = (time: number) => new Date(time).toISOString().slice(0, 7)

/** Two records of the last hours, in one month: one that AWS has accepted, one that waits to be sent. */
export async function today() {
  const { world, customerId } = await february()
  const { player } = world
  const detect = (minutes: number) =>
    player.play([{ customer: 0, minutes, action: { kind: 'detect', key: undefined } }])
  // From five minutes past an hour on, so that neither group of calls lies across an hour's end; and both before a month's
  // end or both after it: the second would be paid by the new month's credits, and nothing would wait.
  const fourHoursAgo = Math.floor(Date.now() / hourMs - 4) * hourMs + 5 * 60_000
  const inOneMonth = monthOf(fourHoursAgo) === monthOf(fourHoursAgo + 2 * hourMs)
  const begin = inOneMonth ? fourHoursAgo : fourHoursAgo - 2 * hourMs
  const gapMinutes = Math.ceil((begin - Date.parse(player.now)) / 60_000)
  for (let i = 0; i < 6; i++) await detect(i === 0 ? gapMinutes : 1)
  await world.meter({ hours: 1.25 })
  for (let i = 0; i < 3; i++) await detect(i === 0 ? 90 : 1)
  await world.meter({ hours: 1.25, send: false })
  return { world, customerId, month: monthOf(begin) }
}

/** Fills `dataDir`. Every table that is no read model holds something. */
export async function fillDataDir(dataDir: string) {
  const { world, customerId, month } = await today()
  const { config } = loadConfig({ DATA_DIR: dataDir }, '/nowhere')
  mkdirSync(dataDir, { recursive: true })
  writeFileSync(join(dataDir, 'audit-signing.key'), world.privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const { secretsKeys } = await secretsOf(config)
  cpSync(world.anchorDir, join(dataDir, 'anchors'), { recursive: true })
  await withServers(dataDir, async ({ url, eventStoreUrl }) => {
    const store = connectEventStore(eventStoreUrl)
    for (const { stream, revision, id, type, data, metadata } of world.store.all()) {
      const event = { id, type, data, metadata } as Parameters<typeof store.send>[0]['events'][number]
      const expectedRevision = revision === 0n ? 'no_stream' : revision - 1n
      const outcome = await store.send({ stream, expectedRevision, events: [event] }, 10_000)
      if (outcome.kind !== 'appended') throw new Error(`the log could not be written: ${outcome.kind}`)
    }
    await prepareDatabase(url)
    const pool = connect(url)
    await foldReadModels({ pool, url, store, signal: new AbortController().signal })
    await store.close()
    await chooseKeys(pool, secretsKeys)
    await pool.query(tableRows, [customerId, randomBytes(32), createHash('sha256').update('x').digest()])
    await pool.end()
  })
  return { world, customerId, month }
}

/** One statement with a row for each table; microseconds, bytes, arrays and JSON among them. */
const tableRows = `
  with a as (insert into accounts (customer_id, email, totp_secret, totp_last_step)
             values ($1, 'Käthe@example.com', 'v1.x', 9007199254740993) returning account_id),
  b as (insert into account_links select account_id, $2, 'activation', now() + interval '1 hour' from a),
  c as (insert into recovery_codes select account_id, $2 from a),
  d as (insert into console_sessions select gen_random_uuid(), $2, account_id, 'full', null, clock_timestamp(),
               now() + interval '1 hour' from a),
  e as (insert into password_resets select 'hash', account_id, $3, 2, now() from a),
  f as (insert into email_changes select account_id, 'new@example.com', $2, $3, true, false, now() from a),
  g as (insert into failed_attempts values ('subject', 3)),
  h as (insert into usage_alerts (customer_id, year_month, kind, state, next_try_at)
        values ($1, '2026-02', 'overage', 'sent', now())),
  i as (insert into marketplace_messages (id, delivery_id, sent_at, body, kind) values ('m', 'd', now(), '{"a": 1}', 'k')),
  j as (insert into marketplace_undecided (licence_id, licence, product_code, reason, candidates)
        values ('l', '{"kind": "licence"}', 'p', 'r', array[$1::uuid])),
  k as (insert into marketplace_tokens (token_hash, licence, product_code) values ('t', '{}', 'p')),
  l as (insert into relay (topic, commit_position, prepare_position, stream, revision, event_id, event_hash, event_created,
                           counts, next_offsets)
        values ('t', 7, 7, 's', 1, $1, 'h', now(), '{1,2}', '{3,4}'))
  insert into attempts_in_doubt (first_event_id, customer_id, expected_revision, detection_ids)
  values (gen_random_uuid(), gen_random_uuid(), 3, array[gen_random_uuid()])`

/** Stands for the servers to move to. */
export async function startTarget() {
  const logUrl = await freshDatabase(inject('postgresUrl'))
  const server = await startEmbeddedEventStore({ databaseUrl: logUrl })
  const databaseUrl = await freshDatabase(inject('postgresUrl'))
  return { logUrl, databaseUrl, eventStoreUrl: server.url, stop: () => server.stop() }
}

export const removeFolder = (folder: string) => rmSync(folder, { recursive: true, force: true })
