/** The hard cap in words: what happens at the limit, the button that names the other state, and what is true after it. */
import { refusesEveryKey } from '../../../commands/state.ts'
import { calls, usd } from '../../../format.ts'
import { Form, type Html, Submit } from '../layout.tsx'
import type { Customer } from './dependencies.ts'

type CapTerms = Pick<Customer, 'plan' | 'monthlyLimit' | 'overageUnitPrice' | 'hardCap' | 'ended' | 'deactivated'>

const hasEnded = ({ ended }: Pick<Customer, 'ended'>): boolean => ended !== null

/** The hard cap as a sentence about what happens at the limit, at `now` (ISO 8601 UTC). */
export function capSentence(customer: CapTerms, now: string): string {
  const { plan, monthlyLimit, overageUnitPrice, hardCap, deactivated } = customer
  if (refusesEveryKey(customer, now)) {
    return `Every call is answered with 401, because the ${deactivated ? 'account is deactivated' : 'subscription has ended'}.`
  }
  if (hasEnded(customer) && !hardCap) return `Stops at ${calls(monthlyLimit)}, because the subscription has ended.`
  if (hardCap || plan === 'free') return `Stops at ${calls(monthlyLimit)}, never costs more.`
  return `Keeps going past ${calls(monthlyLimit)}, ${usd(overageUnitPrice)} for each further call.`
}

/** Whether the API answers 429 now. */
export function isStopped(
  customer: Pick<Customer, 'monthlyLimit' | 'hardCap' | 'ended'>,
  creditCalls: number,
): boolean {
  return creditCalls >= customer.monthlyLimit && (customer.hardCap || hasEnded(customer))
}

/** What a call past the limit costs, as a fact of the plan. */
export function overageText(customer: CapTerms): string {
  const { plan, hardCap, overageUnitPrice, deactivated } = customer
  const price = `${usd(overageUnitPrice)} for each further call`
  if (deactivated) return 'None: the account is deactivated'
  if (hasEnded(customer)) return 'None: the subscription has ended'
  if (plan === 'free') return 'None: calls stop at the limit'
  return hardCap ? `None while the hard cap is on; ${price} with it off` : price
}

/**
 * The hard cap in words, with the button that names the other state. On the free plan there is none. After the end of a
 * subscription nothing is overage; what the customer sets then holds again when the subscription resumes.
 */
export function HardCap(props: { readonly customer: Customer; readonly csrf: string; readonly now: string }): Html {
  const { customer, csrf, now } = props
  const { plan, hardCap, deactivated } = customer
  return (
    <>
      <p class="state">
        <strong safe>{capSentence(customer, now)}</strong>
      </p>
      {deactivated ? '' : <p safe>{stateSentence(customer)}</p>}
      {deactivated || plan === 'free' ? (
        ''
      ) : (
        <Form action="/console/plan/hard-cap" csrf={csrf}>
          <input type="hidden" name="to" value={hardCap ? 'off' : 'on'} />
          <Submit kind="quiet" text={otherState(customer)} />
        </Form>
      )}
    </>
  )
}

function stateSentence(customer: CapTerms): string {
  const { plan, hardCap } = customer
  if (plan === 'free') {
    return 'The hard cap is always on with the free plan: a call past the limit is answered with 429 and costs nothing.'
  }
  if (hasEnded(customer)) {
    return hardCap
      ? 'No call is overage after the end of a subscription. When it resumes, the hard cap is on: at the limit the API then answers 429.'
      : 'No call is overage after the end of a subscription. When it resumes, the hard cap is off: past the limit each call is then overage.'
  }
  return hardCap
    ? 'The hard cap is on. At the limit the API answers 429 until the next UTC month begins.'
    : 'The hard cap is off. At the limit the API keeps answering, and each further call is overage.'
}

function otherState(customer: CapTerms): string {
  const { hardCap, monthlyLimit, overageUnitPrice } = customer
  if (hasEnded(customer)) return `Switch hard cap ${hardCap ? 'off' : 'on'} for when the subscription resumes`
  return hardCap
    ? `Switch hard cap off: keep going for ${usd(overageUnitPrice)} a call`
    : `Switch hard cap on: stop at ${calls(monthlyLimit)}`
}

/** What is true after the hard cap was switched to what it is now. */
export function capNotice(customer: Omit<CapTerms, 'deactivated'>): string {
  const { hardCap, monthlyLimit, overageUnitPrice } = customer
  if (hasEnded(customer)) {
    return hardCap
      ? 'The hard cap is on for when the subscription resumes.'
      : 'The hard cap is off for when the subscription resumes. Until then no call is overage.'
  }
  return hardCap
    ? `The hard cap is on. The API stops at ${calls(monthlyLimit)} a month.`
    : `The hard cap is off. The API keeps going past ${calls(monthlyLimit)}, ${usd(overageUnitPrice)} for each further call.`
}
