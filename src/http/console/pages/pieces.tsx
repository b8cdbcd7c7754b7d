/** Pieces that several pages show. */
import type { PropsWithChildren } from '@kitajs/html'
import { calls, count, dayText, monthEndText, timeText, usd } from '../../../format.ts'
import { Form, type Html, Submit } from '../layout.tsx'
import type { Customer } from './dependencies.ts'

/** An instant as text, machine-readable; the script adds the reader's own time as a title. */
export function Time({ at, day = false }: { readonly at: string; readonly day?: boolean }): Html {
  return (
    <time datetime={at} safe>
      {day ? dayText(at) : timeText(at)}
    </time>
  )
}

/** A block of a page under a heading of its own. */
export function Block(props: PropsWithChildren<{ title: string; class?: string; id?: string }>): Html {
  return (
    <section class={['block', props.class]} id={props.id}>
      <h2 safe>{props.title}</h2>
      {props.children}
    </section>
  )
}

/** Around a table that may be wider than a phone: scrolls by itself, by keyboard too. */
export function Scroll(props: PropsWithChildren<{ label: string }>): Html {
  return (
    <section class="scroll" tabindex="0" aria-label={props.label}>
      {props.children}
    </section>
  )
}

/** The definition of the hatched fill. An SVG that uses it needs one of its own id. */
export function Hatch({ id }: { readonly id: string }): Html {
  return (
    <defs>
      <pattern id={id} width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect width="6" height="6" class="hatch-ground" />
        <rect width="2.5" height="6" class="hatch-line" />
      </pattern>
    </defs>
  )
}

/** What the bar and the sentences of a month need. */
export interface CreditFigures {
  readonly month: string
  readonly monthlyLimit: number
  readonly creditCalls: number
  readonly overageCalls: number
}

const percent = (part: number, whole: number): string => `${Math.min(100, (part / whole) * 100).toFixed(2)}%`

/** Used credits solid, overage past the limit hatched, ticks at 80 % and 100 % of the credits. */
export function CreditsBar({ monthlyLimit, creditCalls, overageCalls }: CreditFigures): Html {
  const whole = Math.max(monthlyLimit, creditCalls + overageCalls)
  const used = Math.round((creditCalls / monthlyLimit) * 100)
  const past = overageCalls > 0 ? `, and ${calls(overageCalls)} as overage past them` : ''
  const label = `${used} % of the credits used${past}.`
  const ticks = [80, 100].map((at) => ({ at, x: percent((monthlyLimit * at) / 100, whole) }))
  return (
    <svg class="credits-bar" width="100%" height="44" role="img" aria-label={label}>
      <Hatch id="bar-overage" />
      <rect class="ground" width="100%" height="18" rx="3" />
      <rect class="credit" width={percent(creditCalls, whole)} height="18" rx="3" />
      {overageCalls > 0 ? (
        <rect
          x={percent(creditCalls, whole)}
          width={percent(overageCalls, whole)}
          height="18"
          rx="3"
          fill="url(#bar-overage)"
          class="overage"
        />
      ) : (
        ''
      )}
      {ticks.map(({ at, x }) => (
        <>
          <line class="tick" x1={x} x2={x} y1="0" y2="24" />
          <text class="small" x={x} y="40" text-anchor={x === '100.00%' ? 'end' : 'middle'}>
            {`${at} %`}
          </text>
        </>
      ))}
    </svg>
  )
}

/** "1,150 of 5,000 used. 3,850 left until 31 May, 23:59 UTC." */
export function creditsSentence({ month, monthlyLimit, creditCalls, overageCalls }: CreditFigures): string {
  const used = `${count(creditCalls)} of ${count(monthlyLimit)} credits used.`
  const left = monthlyLimit - creditCalls
  if (left > 0) return `${used} ${count(left)} left until ${monthEndText(month)}.`
  return overageCalls > 0 ? `${used} ${calls(overageCalls)} past them as overage.` : `${used} None left.`
}

type CapTerms = Pick<Customer, 'plan' | 'monthlyLimit' | 'overageUnitPrice' | 'hardCap' | 'ended'>

/** The hard cap as a sentence about what happens at the limit. */
export function capSentence({ plan, monthlyLimit, overageUnitPrice, hardCap, ended }: CapTerms): string {
  if (ended !== null && !hardCap) return `Stops at ${calls(monthlyLimit)}, because the subscription has ended.`
  if (hardCap || plan === 'free') return `Stops at ${calls(monthlyLimit)}, never costs more.`
  return `Keeps going past ${calls(monthlyLimit)}, ${usd(overageUnitPrice)} for each further call.`
}

/** Whether the API answers 429 now. */
export function isStopped(customer: CapTerms, creditCalls: number): boolean {
  return creditCalls >= customer.monthlyLimit && (customer.hardCap || customer.ended !== null)
}

/** The hard cap in words, with the button that names the other state. On the free plan there is none. */
export function HardCap({ customer, csrf }: { readonly customer: Customer; readonly csrf: string }): Html {
  const { plan, hardCap, monthlyLimit, overageUnitPrice, deactivated } = customer
  return (
    <>
      <p class="state">
        <strong safe>{capSentence(customer)}</strong>
      </p>
      {plan === 'free' ? (
        <p>
          The hard cap is always on with the free plan: a call past the limit is answered with 429 and costs nothing.
        </p>
      ) : (
        <>
          <p safe>
            {hardCap
              ? 'The hard cap is on. At the limit the API answers 429 until the next UTC month begins.'
              : 'The hard cap is off. At the limit the API keeps answering, and each further call is overage.'}
          </p>
          {deactivated ? (
            ''
          ) : (
            <Form action="/console/plan/hard-cap" csrf={csrf}>
              <input type="hidden" name="to" value={hardCap ? 'off' : 'on'} />
              <Submit
                kind="quiet"
                text={
                  hardCap
                    ? `Switch hard cap off: keep going for ${usd(overageUnitPrice)} a call`
                    : `Switch hard cap on: stop at ${calls(monthlyLimit)}`
                }
              />
            </Form>
          )}
        </>
      )}
    </>
  )
}
