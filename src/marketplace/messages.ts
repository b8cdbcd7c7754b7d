/** The messages as they are kept in Postgres, and the licences that wait for a human. */
import type pg from 'pg'
import { licenceIdentity } from '../commands/plans.ts'
import { type Delivery, type LifecycleMessage, readMessage } from './lifecycle.ts'
import { type MarketplaceLicence, type Party, partyOf } from './party.ts'

export type MessageState = 'waiting' | 'handled' | 'unknown' | 'human' | 'failed'

/** What became of something, and in words why. */
export interface Outcome {
  readonly state: Exclude<MessageState, 'unknown'>
  readonly outcome: string
}

/**
 * Keeps a message before anything is done about it; returns how it stands, also when it was delivered before. One that
 * an older program kept without understanding it is read anew.
 */
export async function keep(pool: pg.Pool, delivery: Delivery, message: LifecycleMessage): Promise<MessageState> {
  const { said } = message
  const party = partyOf(said)
  await pool.query(
    `insert into marketplace_messages (id, delivery_id, sent_at, body, kind, agreement_id, aws_account_id, licence_arn,
       product_code, customer_identifier, state, outcome)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
     on conflict (id) do update set kind = excluded.kind, agreement_id = excluded.agreement_id,
       aws_account_id = excluded.aws_account_id, licence_arn = excluded.licence_arn, product_code = excluded.product_code,
       customer_identifier = excluded.customer_identifier, state = excluded.state, outcome = excluded.outcome
       where marketplace_messages.state = 'unknown'`,
    [
      message.id,
      delivery.messageId,
      message.sentAt,
      delivery.body,
      said.kind,
      'agreementId' in said ? said.agreementId : null,
      'awsAccountId' in said ? said.awsAccountId : null,
      'licenceArn' in said ? said.licenceArn : null,
      party?.productCode ?? null,
      'customerIdentifier' in said ? said.customerIdentifier : null,
      said.kind === 'unknown' ? 'unknown' : 'waiting',
      said.kind === 'unknown' ? said.reason : '',
    ],
  )
  const { rows } = await pool.query<{ state: MessageState }>('select state from marketplace_messages where id = $1', [
    message.id,
  ])
  return rows[0]?.state ?? 'waiting'
}

/** Whom a message is about: named in it, or known by its agreement from another message; undefined while it is not. */
export async function partyOfMessage(pool: pg.Pool, { said }: LifecycleMessage): Promise<Party | undefined> {
  const named = partyOf(said)
  if (named !== undefined || !('agreementId' in said)) return named
  const { rows } = await pool.query<{ licence_arn: string; aws_account_id: string; product_code: string }>(
    `select licence_arn, aws_account_id, product_code from marketplace_messages
     where agreement_id = $1 and licence_arn is not null order by received_at, id limit 1`,
    [said.agreementId],
  )
  const [row] = rows
  if (row === undefined) return undefined
  const { licence_arn: licenceArn, aws_account_id: awsAccountId, product_code: productCode } = row
  return { productCode, licence: { kind: 'licence', awsAccountId, licenceArn } }
}

/** All that AWS has said about a licence: messages that name it or one of its agreements, or the legacy subscription. */
export async function messagesOf(pool: pg.Pool, licence: MarketplaceLicence): Promise<LifecycleMessage[]> {
  const [where, values] =
    licence.kind === 'licence'
      ? [
          `licence_arn = $1 or agreement_id in (
             select agreement_id from marketplace_messages where licence_arn = $1 and agreement_id is not null)`,
          [licence.licenceArn],
        ]
      : ['product_code = $1 and customer_identifier = $2', [licence.productCode, licence.customerIdentifier ?? '']]
  const { rows } = await pool.query<{ delivery_id: string; sent_at: Date; body: string }>(
    `select delivery_id, sent_at, body from marketplace_messages where ${where} order by sent_at, id`,
    [...values],
  )
  return rows.map(({ delivery_id, sent_at, body }) =>
    readMessage({ messageId: delivery_id, sentAt: sent_at.toISOString(), body }),
  )
}

/** Notes what became of messages, where they are not done with yet. */
export async function noteOutcome(
  pool: pg.Pool,
  messages: readonly Pick<LifecycleMessage, 'id'>[],
  { state, outcome }: Outcome,
): Promise<void> {
  await pool.query(
    `update marketplace_messages set state = $2, outcome = $3,
       handled_at = case when $2 = 'handled' then clock_timestamp() end
     where id = any($1) and state in ('waiting', 'human', 'failed')`,
    [messages.map(({ id }) => id), state, outcome],
  )
}

/** Closes a message that was not understood; returns false where it is no such one. */
export async function closeUnknown(pool: pg.Pool, id: string, outcome: string): Promise<boolean> {
  const { rowCount } = await pool.query(
    `update marketplace_messages set state = 'handled', outcome = $2, handled_at = clock_timestamp()
     where id = $1 and state = 'unknown'`,
    [id, outcome],
  )
  return rowCount === 1
}

export interface KeptMessage {
  readonly id: string
  readonly deliveryId: string
  readonly sentAt: Date
  readonly receivedAt: Date
  readonly kind: string
  readonly state: MessageState
  readonly outcome: string
  readonly body: string
}

/** Messages in the order they arrived; `unhandled`: only those that are not done with. */
export async function listMessages(pool: pg.Pool, { unhandled = false } = {}): Promise<KeptMessage[]> {
  const { rows } = await pool.query<KeptMessage>(
    `select id, delivery_id as "deliveryId", sent_at as "sentAt", received_at as "receivedAt", kind, state, outcome, body
     from marketplace_messages where not $1 or state <> 'handled' order by received_at, id`,
    [unhandled],
  )
  return rows
}

/** How many messages stand in each state, for metrics. */
export async function countMessages(pool: pg.Pool): Promise<Readonly<Record<MessageState, number>>> {
  const { rows } = await pool.query<{ state: MessageState; count: number }>(
    'select state, count(*)::int as count from marketplace_messages group by state',
  )
  const none: Record<MessageState, number> = { waiting: 0, handled: 0, unknown: 0, human: 0, failed: 0 }
  return { ...none, ...Object.fromEntries(rows.map(({ state, count }) => [state, count])) }
}

/** Ends that have waited for more than an hour: AWS takes usage for about one hour after an end. */
export async function overdueEnds(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `select id from marketplace_messages
     where state = 'waiting' and kind in ('agreement-ended', 'licence-deprovisioned', 'unsubscribe-pending')
       and received_at < clock_timestamp() - interval '1 hour' order by received_at`,
  )
  return rows.map(({ id }) => id)
}

/** A licence of which nobody but a human can say whose it is. */
export interface Undecided {
  readonly party: Party
  readonly reason: string
  /** Customers of the same AWS account. */
  readonly candidates: readonly string[]
  readonly since: Date
}

/** Returns whether it is new, so that one alarm tells of it. */
export async function keepUndecided(
  pool: pg.Pool,
  { party, reason, candidates }: Omit<Undecided, 'since'>,
): Promise<boolean> {
  const { rowCount } = await pool.query(
    `insert into marketplace_undecided (licence_id, licence, product_code, reason, candidates)
     values ($1, $2, $3, $4, $5) on conflict (licence_id) do nothing`,
    [licenceIdentity(party.licence), party.licence, party.productCode, reason, [...candidates]],
  )
  return rowCount === 1
}

export async function forgetUndecided(pool: pg.Pool, licence: MarketplaceLicence): Promise<void> {
  await pool.query('delete from marketplace_undecided where licence_id = $1', [licenceIdentity(licence)])
}

export async function listUndecided(pool: pg.Pool): Promise<Undecided[]> {
  const { rows } = await pool.query<{
    licence: MarketplaceLicence
    product_code: string
    reason: string
    candidates: string[]
    since: Date
  }>('select licence, product_code, reason, candidates, since from marketplace_undecided order by since, licence_id')
  return rows.map(({ licence, product_code, reason, candidates, since }) => ({
    party: { productCode: product_code, licence },
    reason,
    candidates,
    since,
  }))
}
