/** The letters about usage: true at the moment they are sent, a few short sentences, and where to read more. */
import { calls, count, monthEndText, monthText, timeText, usd } from '../format.ts'
import type { Customer } from '../readmodels/customers.ts'
import type { Usage } from '../readmodels/usage.ts'
import type { AlertKind } from './rule.ts'

export interface LetterFacts {
  readonly kind: AlertKind
  readonly usage: Pick<
    Usage,
    'month' | 'plan' | 'monthlyLimit' | 'creditCalls' | 'overageCalls' | 'hardCap' | 'overageUnitPrice'
  >
  readonly ended: Customer['ended']
  /** The UTC month that runs, `YYYY-MM`: after the month of the letter nothing can be done about that any more. */
  readonly monthNow: string
  readonly publicUrl: string
}

export function alertLetter(facts: LetterFacts): { readonly subject: string; readonly text: string } {
  const { publicUrl, usage, monthNow } = facts
  const runs = usage.month === monthNow
  const paragraphs = [
    `${opening(facts)} ${standing(facts.usage, runs)}`,
    ...(runs ? [whatNext(facts)] : []),
    `Your usage: ${publicUrl}/console/usage${runs ? '' : `/${usage.month}`}`,
    `You can stop mail about usage at ${publicUrl}/console/account`,
    'Liveness Detection API',
  ]
  return { subject: subjectOf(facts), text: `${paragraphs.join('\n\n')}\n` }
}

function subjectOf({ kind, usage: { month } }: LetterFacts): string {
  switch (kind) {
    case 'credits_80':
      return `80 % of your credits for ${monthText(month)} are used`
    case 'credits_100':
      return `All your credits for ${monthText(month)} are used`
    case 'overage':
      return `Overage has begun in ${monthText(month)}`
  }
}

function opening({ kind, usage: { month, overageCalls } }: LetterFacts): string {
  switch (kind) {
    case 'credits_80':
      return `You have used 80 % of your credits for ${monthText(month)}.`
    case 'credits_100':
      return `You have used all your credits for ${monthText(month)}.`
    case 'overage':
      return `Overage has begun in ${monthText(month)}: ${calls(overageCalls)} so far.`
  }
}

function standing({ month, monthlyLimit, creditCalls }: LetterFacts['usage'], runs: boolean): string {
  const used = `${count(creditCalls)} of ${count(monthlyLimit)} credits used.`
  const left = monthlyLimit - creditCalls
  return runs && left > 0 ? `${used} ${count(left)} left until ${monthEndText(month)}.` : used
}

/** What the limit means for the next calls, and what may be done about it. */
function whatNext({ usage, ended, publicUrl }: LetterFacts): string {
  const { month, plan, monthlyLimit, creditCalls, hardCap, overageUnitPrice } = usage
  const limit = calls(monthlyLimit)
  const price = `${usd(overageUnitPrice)} for each further call`
  const plans = `${publicUrl}/console/plan`
  const used = creditCalls >= monthlyLimit
  if (!hardCap && !ended) {
    return used
      ? `Calls keep going, ${price}. To stop them instead, switch the hard cap on: ${plans}`
      : `Past ${limit}, calls keep going, ${price}. To stop there instead, switch the hard cap on: ${plans}`
  }
  const stops = used ? 'Calls are answered with 429' : `Calls stop at ${limit} and are answered with 429 from there on`
  if (ended) return `${stops}, and from ${timeText(ended.paidUntil)} on with 401, because the subscription has ended.`
  const until = used ? `${stops} until ${monthEndText(month)}` : stops
  if (plan === 'free') return `${until}; the free plan never costs anything. Your plan: ${plans}`
  return `${until}, because the hard cap is on. To keep going, ${price}, switch it off: ${plans}`
}
