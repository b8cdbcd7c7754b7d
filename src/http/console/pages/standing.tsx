/** Where a customer stands with the API: what keeps calls from being answered, or will before long. */
import { refusesEveryKey } from '../../../commands/state.ts'
import { calls, count, monthEndText, timeText } from '../../../format.ts'
import { type Html, Notice } from '../layout.tsx'
import type { Customer, MonthRows } from './dependencies.ts'
import { capSentence, isStopped } from './hard-cap.tsx'

/** A customer at `now`, ISO 8601 UTC. */
interface Moment {
  readonly customer: Customer
  readonly now: string
}

/** Why every call is answered with 401, and what may be done about it; nothing while keys work, or are not known yet. */
export function Refused({ customer, now }: Pick<Moment, 'now'> & { readonly customer: Customer | null }): Html {
  if (customer === null || !refusesEveryKey(customer, now)) return ''
  const { deactivated, ended } = customer
  const why =
    ended && !deactivated
      ? `the subscription has ended, and your keys have stopped. Since ${timeText(ended.paidUntil)} every call is answered with 401. To go on, subscribe anew in AWS Marketplace.`
      : 'this account is deactivated. Every call is answered with 401. Contact us if you want to use it again.'
  return <Notice kind="stopped" text={`Stopped: ${why}`} />
}

export function Standing({ customer, rows, now }: Moment & { readonly rows: MonthRows }): Html {
  const { creditCalls, monthlyLimit, overageCalls } = rows.usage
  if (refusesEveryKey(customer, now)) return <Refused customer={customer} now={now} />
  if (isStopped(customer, creditCalls)) {
    const reached = `Stopped: the limit of ${calls(monthlyLimit)} is reached.`
    return <Notice kind="stopped" text={`${reached} ${stoppedUntil(customer, rows)}`} />
  }
  if (customer.ended) {
    const until = timeText(customer.ended.paidUntil)
    return (
      <Notice
        kind="soon"
        text={`Soon: the subscription has ended. Your keys work until ${until}; from then on every call is answered with 401.`}
      />
    )
  }
  if (overageCalls === 0 && creditCalls >= monthlyLimit * 0.8) {
    const left = monthlyLimit - creditCalls
    const used = left > 0 ? `80 % of your credits are used, ${count(left)} left.` : 'all your credits are used.'
    return <Notice kind="soon" text={`Soon: ${used} ${capSentence(customer, now)}`} />
  }
  return ''
}

/** How calls are answered from the limit on, and what may be done about it. */
function stoppedUntil({ plan, ended }: Customer, { usage: { month } }: MonthRows): string {
  if (ended) {
    return `Calls are answered with 429, and from ${timeText(ended.paidUntil)} on with 401: the subscription has ended.`
  }
  const until = `Calls are answered with 429 until ${monthEndText(month)}.`
  return plan === 'free' ? until : `${until} Switch the hard cap off to go on at once.`
}
