/**
 * The plan catalogue and the arithmetic of months, credits and overage. Pure. Changing the catalogue changes nothing
 * that is already in the log: every event carries the terms it was decided with.
 * Source of plans and prices: api-reference, "Plans and Usage Limits"; the free plan: docs/design.md.
 */
import type { Licence, PlanName } from '../events/catalogue.ts'

export interface Terms {
  readonly plan: PlanName
  readonly monthlyLimit: number
  /** USD a month, decimal string. */
  readonly monthlyFee: string
  /** USD a call past the limit, decimal string. */
  readonly overageUnitPrice: string
}

interface PlanEntry {
  readonly credits: number
  readonly monthlyFee: string
  readonly overageUnitPrice: string
  /** AWS Marketplace dimension of the plan's overage; at most 15 characters, immutable once listed. */
  readonly overageDimension: string
}

const catalogue: Readonly<Record<PlanName, PlanEntry>> = {
  free: { credits: 100, monthlyFee: '0', overageUnitPrice: '0', overageDimension: 'free_over' },
  starter: { credits: 1_000, monthlyFee: '180', overageUnitPrice: '0.18', overageDimension: 'starter_over' },
  standard: { credits: 5_000, monthlyFee: '750', overageUnitPrice: '0.15', overageDimension: 'standard_over' },
  professional: { credits: 10_000, monthlyFee: '1200', overageUnitPrice: '0.12', overageDimension: 'prof_over' },
  business: { credits: 30_000, monthlyFee: '2400', overageUnitPrice: '0.08', overageDimension: 'business_over' },
  enterprise: { credits: 100_000, monthlyFee: '5000', overageUnitPrice: '0.05', overageDimension: 'enterprise_over' },
}

/** The plan that an AWS Marketplace contract dimension names: a listing's contract dimensions are the plans' names. */
export function planOfDimension(dimension: string): PlanName | undefined {
  return Object.hasOwn(catalogue, dimension) ? (dimension as PlanName) : undefined
}

/** The terms of a plan today; `monthlyLimit` replaces the plan's credits under an individual contract. */
export function termsOf(plan: PlanName, monthlyLimit?: number): Terms {
  const { credits, monthlyFee, overageUnitPrice } = catalogue[plan]
  return { plan, monthlyLimit: monthlyLimit ?? credits, monthlyFee, overageUnitPrice }
}

/** Plans from the smallest to the largest; a change upwards is an upgrade and takes effect at once. */
export function isUpgrade(from: PlanName, to: PlanName): boolean {
  const order = Object.keys(catalogue)
  return order.indexOf(to) > order.indexOf(from)
}

/** UTC month `YYYY-MM` of an ISO 8601 UTC instant. */
export const monthOf = (instant: string): string => instant.slice(0, 7)

/** First instant of a UTC month. */
export const monthStart = (yearMonth: string): string => `${yearMonth}-01T00:00:00.000Z`

/** First instant after a UTC month. */
export const monthEnd = (yearMonth: string): string => monthStart(nextMonth(yearMonth))

/** Start of the UTC hour after the one of an instant. */
export const nextHour = (instant: string): string =>
  new Date(Date.parse(`${instant.slice(0, 13)}:00:00.000Z`) + 3_600_000).toISOString()

/** The UTC month after `yearMonth`. */
export function nextMonth(yearMonth: string): string {
  const [year = 0, month = 0] = yearMonth.split('-').map(Number)
  return new Date(Date.UTC(year, month, 1)).toISOString().slice(0, 7)
}

/**
 * The hour bucket that an overage call of this instant would be metered in: customer, licence (or legacy product and
 * account), dimension of the plan, UTC hour. Written into each detection so that no later code can decide otherwise.
 */
export function bucketKey(customerId: string, licence: Licence, plan: PlanName, occurredAt: string): string {
  return [customerId, licenceIdentity(licence), catalogue[plan].overageDimension, `${occurredAt.slice(0, 13)}Z`].join(
    '|',
  )
}

/** What a licence is known by: its ARN, or the legacy product code with the account or customer identifier. */
export function licenceIdentity(licence: Licence): string {
  switch (licence.kind) {
    case 'none':
      return 'none'
    case 'licence':
      return licence.licenceArn
    case 'product':
      return `${licence.productCode}/${licence.awsAccountId ?? licence.customerIdentifier ?? ''}`
  }
}

/** First UTC month that begins at or after the contract's renewal, or the next one where no contract date is known. */
export function downgradeMonth(licence: Licence, at: string): string {
  const following = nextMonth(monthOf(at))
  const termEnd = licence.kind === 'none' ? undefined : licence.termEnd
  if (termEnd === undefined || termEnd <= monthStart(following)) return following
  return termEnd === monthStart(monthOf(termEnd)) ? monthOf(termEnd) : nextMonth(monthOf(termEnd))
}
