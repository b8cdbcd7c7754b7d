/**
 * SECRETS_KEY and its change. Which of a process's keys writes is said by the database, so all processes change over
 * together; each accepts both. docs/operations.md has the steps.
 */
import { createHmac, randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { createSeal, type SecretsKeys, sealPrefix } from '../accounts/seal.ts'
import { rememberedMs } from '../commands/idempotency.ts'
import { ConfigError } from '../config.ts'
import { transaction } from '../postgres/pool.ts'

/** Names a key in the database without telling it. */
const fingerprintOf = (key: Buffer): string =>
  createHmac('sha256', key).update('fingerprint of SECRETS_KEY').digest('hex')

/** How often a process looks which key writes, in milliseconds. Not seen for six times as long, it is gone. */
const lookEveryMs = 10_000
const goneAfter = "interval '60 seconds'"
/** Until then somebody may come back with an idempotency key of before the change; an hour for clocks and slowness. */
const previousNeededMs = rememberedMs + 3_600_000

/** The database was never started on: it knows no SECRETS_KEY. */
export class NeverUsed extends Error {
  override name = 'NeverUsed'
}

interface Installation {
  readonly known: string
  readonly previous: string | null
  readonly rotatedAt: Date | null
  readonly now: Date
}

async function installationOf(client: pg.Pool | pg.ClientBase, lock: '' | 'for update' = ''): Promise<Installation> {
  const { rows } = await client.query<Installation>(
    `select secrets_key_fingerprint as known, previous_fingerprint as previous, rotated_at as "rotatedAt",
            clock_timestamp() as now
     from installation ${lock}`,
  )
  if (rows[0] === undefined) throw new NeverUsed('the database knows no SECRETS_KEY: nothing was started on it yet')
  return rows[0]
}

/** Looks, and makes nothing. @throws NeverUsed */
export async function refuseNeverUsed(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ there: boolean }>("select to_regclass('installation') is not null as there")
  if (rows[0]?.there !== true) throw new NeverUsed('the database holds nothing of ours: nothing was started on it yet')
  await installationOf(pool)
}

/**
 * The keys in the order in which they are to be used: the one that writes first. On first use it is the first given.
 * @throws ConfigError where the key that everybody writes with, or one that is still needed, is not among them
 */
export async function chooseKeys(pool: pg.Pool, given: SecretsKeys): Promise<Buffer[]> {
  const [first] = given
  if (first === undefined) throw new Error('there is no SECRETS_KEY')
  await pool.query('insert into installation (secrets_key_fingerprint) values ($1) on conflict do nothing', [
    fingerprintOf(first),
  ])
  const { known, previous, rotatedAt, now } = await installationOf(pool)
  const fingerprints = given.map(fingerprintOf)
  if (!fingerprints.includes(known)) {
    throw new ConfigError(
      'SECRETS_KEY is not the one this database was first used with, or was last changed to. Set that one: the file ' +
        'secrets.key of its data directory holds it, unless `secrets rotate` was run there; then it is the SECRETS_KEY ' +
        'that was set for that.',
    )
  }
  if (previous !== null && rotatedAt !== null && !fingerprints.includes(previous)) {
    const until = new Date(rotatedAt.getTime() + previousNeededMs)
    if (now < until) {
      throw new ConfigError(
        `SECRETS_KEY was changed on ${rotatedAt.toISOString()}: SECRETS_KEY_PREVIOUS must hold the one before it until ` +
          `${until.toISOString()}, for idempotency keys of the day are known by it.`,
      )
    }
    if ((await sealedOtherwise(pool, given)) > 0) {
      throw new ConfigError(
        'Secrets of authenticators are still sealed with the SECRETS_KEY of before: set it as SECRETS_KEY_PREVIOUS and ' +
          'run `liveness secrets rotate` again.',
      )
    }
  }
  return inOrder(given, known)
}

const inOrder = (given: SecretsKeys, known: string): Buffer[] =>
  given.toSorted((a, b) => Number(fingerprintOf(b) === known) - Number(fingerprintOf(a) === known))

/** Kept in the order in which they are to be used, for as long as the process runs. */
export interface KeptKeys {
  readonly keys: SecretsKeys
  stop(): Promise<void>
}

/**
 * Says in the database which keys this process has, and follows a change. `onLost`: the key that everybody writes with is
 * none of them any more.
 * @throws as chooseKeys
 */
export async function keepKeys(
  pool: pg.Pool,
  given: SecretsKeys,
  onLost: (error: ConfigError) => void,
  everyMs = lookEveryMs,
): Promise<KeptKeys> {
  const keys = await chooseKeys(pool, given)
  const instance = randomUUID()
  const stopping = new AbortController()

  async function look(): Promise<void> {
    await pool.query(
      `insert into secrets_in_use (instance, fingerprints) values ($1, $2)
       on conflict (instance) do update set seen_at = clock_timestamp()`,
      [instance, keys.map(fingerprintOf)],
    )
    const { known } = await installationOf(pool)
    if (keys[0] !== undefined && fingerprintOf(keys[0]) === known) return
    if (!keys.some((key) => fingerprintOf(key) === known)) {
      stopping.abort()
      onLost(
        new ConfigError('SECRETS_KEY was changed, and this process has not got the new one: set it and start again.'),
      )
      return
    }
    // In place: whoever uses them holds this array.
    keys.splice(0, keys.length, ...inOrder(keys, known))
  }

  await look()
  const work = (async () => {
    while (!stopping.signal.aborted) {
      await pause(everyMs, undefined, { signal: stopping.signal }).catch(() => {})
      // Postgres that cannot be reached is told of elsewhere; nobody can change a key meanwhile.
      if (!stopping.signal.aborted) await look().catch(() => {})
    }
  })()
  return {
    keys,
    async stop() {
      stopping.abort()
      await work
      await pool.query('delete from secrets_in_use where instance = $1', [instance]).catch(() => {})
    },
  }
}

export interface Rotated {
  /** False when this key was the one that writes already. */
  readonly changed: boolean
  /** Secrets of authenticators sealed anew. */
  readonly resealed: number
  /** Until when SECRETS_KEY_PREVIOUS must stay. */
  readonly previousNeededUntil: Date
}

/**
 * Makes `next` the key that writes, and seals anew what `previous` has sealed. Safe to repeat.
 * @throws NeverUsed; ConfigError when the keys are not these, or a running process lacks `next`
 */
export async function rotateKeys(
  pool: pg.Pool,
  { next, previous }: { readonly next: Buffer; readonly previous: Buffer },
  settleMs = 1.5 * lookEveryMs,
): Promise<Rotated> {
  const [to, from] = [fingerprintOf(next), fingerprintOf(previous)]
  const { changed, instances } = await transaction(pool, async (client) => {
    const { known } = await installationOf(client, 'for update')
    if (known !== to && known !== from) {
      throw new ConfigError('Neither SECRETS_KEY nor SECRETS_KEY_PREVIOUS is the key of this installation.')
    }
    await client.query(`delete from secrets_in_use where seen_at < clock_timestamp() - ${goneAfter}`)
    const { rows } = await client.query<{ all: bigint; lacking: bigint }>(
      'select count(*) as all, count(*) filter (where not $1 = any(fingerprints)) as lacking from secrets_in_use',
      [to],
    )
    const lacking = rows[0]?.lacking ?? 0n
    if (lacking > 0n) {
      throw new ConfigError(
        `${lacking} running processes do not know the new key. Start each with SECRETS_KEY and SECRETS_KEY_PREVIOUS as ` +
          'they are set here, then run this again; a process that was killed is forgotten after a minute.',
      )
    }
    if (known === from) {
      await client.query(
        `update installation set secrets_key_fingerprint = $1, previous_fingerprint = $2, rotated_at = clock_timestamp()`,
        [to, from],
      )
    }
    return { changed: known === from, instances: rows[0]?.all ?? 0n }
  })
  let resealed = await sealAnew(pool, [next, previous])
  if (instances > 0n) {
    // Until they have looked, the others seal with the key of before.
    await pause(settleMs)
    resealed += await sealAnew(pool, [next, previous])
  }
  const { rotatedAt, now } = await installationOf(pool)
  return { changed, resealed, previousNeededUntil: new Date((rotatedAt ?? now).getTime() + previousNeededMs) }
}

const sealedColumns = [
  { table: 'accounts', key: 'account_id', column: 'totp_secret' },
  { table: 'console_sessions', key: 'session_id', column: 'pending_secret' },
] as const

async function sealAnew(pool: pg.Pool, keys: readonly [Buffer, Buffer]): Promise<number> {
  const { seal, unseal } = createSeal(keys)
  let resealed = 0
  for (const { table, key, column } of sealedColumns) {
    const { rows } = await pool.query<{ id: string; owner: string; sealed: string }>(
      `select ${key} as id, account_id as owner, ${column} as sealed from ${table}
       where ${column} is not null and not starts_with(${column}, $1)`,
      [sealPrefix(keys[0])],
    )
    for (const { id, owner, sealed } of rows) {
      const { rowCount } = await pool.query(`update ${table} set ${column} = $3 where ${key} = $1 and ${column} = $2`, [
        id,
        sealed,
        seal(unseal(sealed, owner), owner),
      ])
      resealed += rowCount ?? 0
    }
  }
  return resealed
}

/** How many authenticators none of the keys opens. */
async function sealedOtherwise(pool: pg.Pool, keys: SecretsKeys): Promise<bigint> {
  const { rows } = await pool.query<{ count: bigint }>(
    `select count(*) from accounts
     where totp_secret is not null and not exists (select from unnest($1::text[]) p where starts_with(totp_secret, p))`,
    [keys.map(sealPrefix)],
  )
  return rows[0]?.count ?? 0n
}
