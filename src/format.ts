/** How figures, money and instants are written. Everything is UTC; money is never rounded. */
import { Big } from 'big.js'
import type { PlanName } from './events/catalogue.ts'

const thousands = (digits: string): string => digits.replace(/\B(?=(\d{3})+$)/g, ',')

/** `1,150`. */
export const count = (calls: number): string => (calls < 0 ? '−' : '') + thousands(Math.abs(calls).toFixed())

/** `1,150 differences`, `1 difference`. */
export const counted = (number: number, noun: string): string => `${count(number)} ${noun}${number === 1 ? '' : 's'}`

/** `1,150 calls`, `1 call`. */
export const calls = (number: number): string => counted(number, 'call')

const enumeration = new Intl.ListFormat('en-GB')

/** `a`, `a and b`, `a, b and c`. */
export const listed = (items: readonly string[]): string => enumeration.format(items)

/** `$1,150.00` of a decimal string: cents always, and every further digit that the amount has. */
export function usd(amount: string): string {
  const [whole = '0', fraction = ''] = Big(amount).abs().toFixed().split('.')
  return `${Big(amount).lt(0) ? '−' : ''}$${thousands(whole)}.${fraction.padEnd(2, '0')}`
}

const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
]
const parts = (text: string) => text.slice(0, 10).split('-').map(Number)

/** `31 May 2026` of an instant or a day. */
export function dayText(instant: string): string {
  const [year, month = 1, day] = parts(instant)
  return `${day} ${months[month - 1]} ${year}`
}

/** `31 May` of an instant or a day. */
export const shortDay = (instant: string): string => dayText(instant).split(' ').slice(0, 2).join(' ')

/** `May 2026` of a month `YYYY-MM`. */
export const monthText = (month: string): string => dayText(`${month}-01`).split(' ').slice(1).join(' ')

/** `31 May 2026, 23:59 UTC`. */
export const timeText = (instant: string): string => `${dayText(instant)}, ${instant.slice(11, 16)} UTC`

/** How many days a month `YYYY-MM` has. */
export function daysIn(month: string): number {
  const [year = 0, number = 0] = parts(month)
  return new Date(Date.UTC(year, number, 0)).getUTCDate()
}

/** `31 May, 23:59 UTC`: when the credits of a month expire. */
export const monthEndText = (month: string): string => `${daysIn(month)} ${monthText(month).split(' ')[0]}, 23:59 UTC`

/** Days of the UTC month that are left, today included. */
export const daysLeft = (now: string): number => daysIn(now.slice(0, 7)) - Number(now.slice(8, 10)) + 1

/** With a capital, to begin a sentence. */
export const capitalised = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1)

/** `Standard`. */
export const planText = (plan: PlanName): string => capitalised(plan)

/**
 * Whether a plan is sold by individual contracts, whose fee the log does not know: it has the list price, where they
 * begin. Source: api-reference, "Plans and Usage Limits" ("$5,000+").
 */
export const isListPrice = (plan: PlanName): boolean => plan === 'enterprise'

/** Stands once wherever such a fee does. */
export const listPriceNote = 'The fee of the Enterprise plan is the list price; your contract says what applies.'

/** `$750.00 a month`, `from $5,000.00 a month`: the fee of a plan, a decimal string in USD. */
export const feeText = (plan: PlanName, monthlyFee: string): string =>
  `${isListPrice(plan) ? 'from ' : ''}${usd(monthlyFee)} a month`
