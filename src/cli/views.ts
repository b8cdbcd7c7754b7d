/** Customers, keys and usage as commands show them: names as in the API's own JSON. */
import type { System } from '../app/system.ts'
import { monthOf } from '../commands/plans.ts'
import { keysOf, type ListedKey } from '../readmodels/api-keys.ts'
import { type Customer, customer } from '../readmodels/customers.ts'
import { type Usage, usageOf } from '../readmodels/usage.ts'
import { upToDate } from './operate.ts'
import { CommandError, print, printJson, printTable } from './output.ts'

export const onOff = (on: boolean): string => (on ? 'on' : 'off')

export function customerView({ customerId, plan, monthlyLimit, hardCap, ...rest }: Customer) {
  const { scheduled, ended, deactivated, registeredAt, revision } = rest
  return {
    customer_id: customerId,
    plan,
    monthly_limit: monthlyLimit,
    hard_cap: hardCap,
    status: deactivated ? 'deactivated' : ended ? `subscription ended, paid until ${ended.paidUntil}` : 'active',
    scheduled_change: scheduled
      ? {
          plan: scheduled.plan,
          monthly_limit: scheduled.monthlyLimit,
          effective_month: scheduled.effectiveMonth,
          origin: scheduled.origin,
        }
      : null,
    registered_at: registeredAt,
    revision: Number(revision),
  }
}

/** The same seven fields as `GET /v1/usage`. */
export function usageView({ month, totalCalls, monthlyLimit, remainingCalls, overLimitCalls, plan, hardCap }: Usage) {
  return {
    year_month: month,
    total_calls: totalCalls,
    monthly_limit: monthlyLimit,
    remaining_calls: remainingCalls,
    over_limit_calls: overLimitCalls,
    plan,
    hard_cap_enabled: hardCap,
  }
}

function keyView({ slot, keyId, prefix, issuedAt, expiresAt, revokedAt, revokedWhy }: ListedKey) {
  return {
    slot,
    key_id: keyId,
    prefix: `${prefix}…`,
    issued_at: issuedAt,
    expires_at: expiresAt,
    revoked_at: revokedAt,
    revoked_why: revokedWhy,
  }
}

export function noSuchCustomer(customerId: string): CommandError {
  return new CommandError(`There is no customer ${customerId}; see \`liveness customer list\`.`)
}

/** Prints one customer with keys and the month's usage. */
export async function showCustomer(system: System, customerId: string, json = false): Promise<void> {
  const now = new Date().toISOString()
  const { pool } = system
  await upToDate(system, customerId)
  const found = await customer(pool, customerId, now)
  const usage = await usageOf(pool, customerId, monthOf(now))
  if (found === null || usage === null) throw noSuchCustomer(customerId)
  const keys = (await keysOf(pool, customerId)).map(keyView)
  const view = { ...customerView(found), keys, usage: usageView(usage) }
  if (json) return printJson(view)
  print(`Customer   ${view.customer_id} (${view.status})`)
  print(`Plan       ${view.plan}, ${view.monthly_limit} calls a month, hard cap ${onOff(view.hard_cap)}`)
  const { scheduled_change: change } = view
  if (change !== null) print(`From ${change.effective_month}  ${change.plan}, ${change.monthly_limit} calls a month`)
  print(`Usage      ${usageSentence(view.usage)}`)
  print()
  printTable(
    ['SLOT', 'KEY', 'ISSUED', 'STATE'],
    keys.map((key) => [key.slot, key.prefix, key.issued_at, keyState(key, now)]),
  )
}

/** @param now ISO 8601 UTC; a key is refused from the instant of its expiry on */
export function keyState(
  { revoked_why, expires_at }: Pick<ReturnType<typeof keyView>, 'revoked_why' | 'expires_at'>,
  now: string,
): string {
  if (revoked_why !== null) return revoked_why.replace('_', ' ')
  if (expires_at === null) return 'valid'
  return `${expires_at <= now ? 'expired' : 'valid until'} ${expires_at}`
}

export function usageSentence(usage: ReturnType<typeof usageView>): string {
  const { year_month, total_calls, monthly_limit, remaining_calls, over_limit_calls } = usage
  return `${total_calls} calls in ${year_month} (UTC): ${remaining_calls} of ${monthly_limit} left, ${over_limit_calls} past the limit`
}
