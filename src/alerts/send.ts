/** Sends one letter about usage that is due. */
import type pg from 'pg'
import { monthOf } from '../commands/plans.ts'
import type { Letter, Mail } from '../mail/mail.ts'
import { customer } from '../readmodels/customers.ts'
import { usageOf } from '../readmodels/usage.ts'
import { alertLetter } from './letter.ts'
import { type Alert, type AlertKind, isReached, messageIdOf, monthsWorthALetter } from './rule.ts'

export interface SendDeps {
  readonly pool: pg.Pool
  readonly mail: Pick<Mail, 'send'>
  readonly publicUrl: string
}

/** `failed`: the letter was not taken and will be tried again. `withdrawn`: what it says is no longer true. */
export type Outcome = 'sent' | 'failed' | 'silent' | 'withdrawn' | 'given_up'

export interface Attempt {
  readonly alert: Alert
  readonly outcome: Outcome
  readonly tries: number
  readonly error?: unknown
}

/** Null when none is due. `now`: ISO 8601 UTC. @throws what Postgres throws */
export async function sendNextAlert(deps: SendDeps, now: string): Promise<Attempt | null> {
  const { pool, mail } = deps
  const claimed = await claim(pool)
  if (claimed === null) return null
  const { alert, tries } = claimed
  const made = await letterOf(deps, alert, now)
  if (typeof made === 'string') {
    if (made === 'withdrawn') await withdraw(pool, alert)
    else await close(pool, alert, made)
    return { alert, tries, outcome: made }
  }
  try {
    await mail.send(made)
  } catch (error) {
    return { alert, tries, outcome: 'failed', error }
  }
  await close(pool, alert, 'sent')
  return { alert, tries, outcome: 'sent' }
}

/**
 * Takes the letter that has waited longest. Its next try is set before it is sent: whoever dies in between leaves it
 * to the next leader then, and nobody else takes it before. Pauses from 2 minutes, longer than a mail server can hold
 * up one letter, doubling to 6 hours. While a doubt of the customer stands, a call that counts may yet be voided.
 */
async function claim(pool: pg.Pool): Promise<{ alert: Alert; tries: number } | null> {
  const { rows } = await pool.query<{ customer_id: string; year_month: string; kind: AlertKind; tries: number }>({
    name: 'usage-alerts.claim',
    text: `with next as (
        select customer_id, year_month, kind from usage_alerts w
        where state = 'due' and next_try_at <= clock_timestamp()
          and not exists (select from attempts_in_doubt d where d.customer_id = w.customer_id)
        order by next_try_at limit 1 for update skip locked)
      update usage_alerts t set tries = t.tries + 1,
        next_try_at = clock_timestamp() + least(interval '2 minutes' * 2 ^ least(t.tries, 10), interval '6 hours')
      from next
      where t.customer_id = next.customer_id and t.year_month = next.year_month and t.kind = next.kind
      returning t.customer_id, t.year_month, t.kind, t.tries`,
  })
  const [row] = rows
  if (row === undefined) return null
  return { alert: { customerId: row.customer_id, month: row.year_month, kind: row.kind }, tries: row.tries }
}

/** The letter as of now, or why there is none. */
async function letterOf(
  { pool, publicUrl }: SendDeps,
  alert: Alert,
  now: string,
): Promise<Letter | 'silent' | 'withdrawn' | 'given_up'> {
  const { customerId, month, kind } = alert
  if (!monthsWorthALetter(now).includes(month)) return 'given_up'
  const [wanted, usage, whose] = await Promise.all([
    addressOf(pool, customerId),
    usageOf(pool, customerId, month),
    customer(pool, customerId, now),
  ])
  if (usage === null || whose === null || !isReached(kind, usage)) return 'withdrawn'
  if (wanted === null || whose.deactivated) return 'silent'
  const { ended } = whose
  const text = alertLetter({ kind, usage, ended, monthNow: monthOf(now), publicUrl })
  return { to: wanted, ...text, messageId: messageIdOf(alert, publicUrl) }
}

/** Where the customer wants these letters; null when they do not. */
async function addressOf(pool: pg.Pool, customerId: string): Promise<string | null> {
  const { rows } = await pool.query<{ email: string }>(
    'select email from accounts where customer_id = $1 and alerts_enabled',
    [customerId],
  )
  return rows[0]?.email ?? null
}

const thisOne = `customer_id = $1 and year_month = $2 and kind = $3 and state = 'due'`

async function close(
  pool: pg.Pool,
  { customerId, month, kind }: Alert,
  state: 'sent' | 'silent' | 'given_up',
): Promise<void> {
  await pool.query(`update usage_alerts set state = $4, closed_at = clock_timestamp() where ${thisOne}`, [
    customerId,
    month,
    kind,
    state,
  ])
}

/** As if it had not been decided: when the month gets there again, the letter is due. */
async function withdraw(pool: pg.Pool, { customerId, month, kind }: Alert): Promise<void> {
  await pool.query(`delete from usage_alerts where ${thisOne}`, [customerId, month, kind])
}
