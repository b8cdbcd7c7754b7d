/** Pieces that several pages show. */
import type { PropsWithChildren } from '@kitajs/html'
import { calls, count, dayText, monthEndText, timeText } from '../../../format.ts'
import type { Html } from '../layout.tsx'

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

/**
 * "1,150 of 5,000 used. 3,850 left until 31 May, 23:59 UTC."
 * @param usable whether a key works that could use what is left
 */
export function creditsSentence(figures: CreditFigures, usable: boolean): string {
  const { month, monthlyLimit, creditCalls, overageCalls } = figures
  const used = `${count(creditCalls)} of ${count(monthlyLimit)} credits used.`
  const left = monthlyLimit - creditCalls
  if (left > 0 && !usable) return `${used} No key works that could use the rest.`
  if (left > 0) return `${used} ${count(left)} left until ${monthEndText(month)}.`
  return overageCalls > 0 ? `${used} ${calls(overageCalls)} past them as overage.` : `${used} None left.`
}
