/** Which letters about usage a month has earned. Pure. */
import { createHash } from 'node:crypto'
import { monthOf } from '../commands/plans.ts'
import type { Usage } from '../readmodels/usage.ts'

/** In the order in which a month earns them. */
export const alertKinds = ['credits_80', 'credits_100', 'overage'] as const
export type AlertKind = (typeof alertKinds)[number]

/** One letter: each customer gets at most one of a kind and UTC month. */
export interface Alert {
  readonly customerId: string
  /** `YYYY-MM`, UTC. */
  readonly month: string
  readonly kind: AlertKind
}

export type AlertFigures = Pick<Usage, 'creditCalls' | 'overageCalls' | 'monthlyLimit'>

/**
 * Calls by what paid for them, voided ones left out. 80 % and 100 % are of the limit that holds now, so after an upgrade
 * a month may pass them a second time; the letter is the same one and is not sent again. Integers: no rounding.
 */
export function isReached(kind: AlertKind, { creditCalls, overageCalls, monthlyLimit }: AlertFigures): boolean {
  switch (kind) {
    case 'credits_80':
      return creditCalls * 100 >= monthlyLimit * 80
    case 'credits_100':
      return creditCalls >= monthlyLimit
    case 'overage':
      return overageCalls > 0
  }
}

const dayMs = 24 * 3_600_000

/** Months whose letters are still worth reading: the one that runs, and for a day the one before. */
export function monthsWorthALetter(now: string): readonly string[] {
  const yesterday = new Date(Date.parse(now) - dayMs).toISOString()
  return [...new Set([monthOf(now), monthOf(yesterday)])]
}

/** The same whenever this letter is sent, so that mail programs show a repeated one once. Tells nobody whose it is. */
export function messageIdOf({ customerId, month, kind }: Alert, publicUrl: string): string {
  const whose = createHash('sha256').update(customerId).digest('hex').slice(0, 16)
  return `<alert.${month}.${kind}.${whose}@${new URL(publicUrl).hostname}>`
}
