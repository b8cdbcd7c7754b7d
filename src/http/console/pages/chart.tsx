/** Calls per day as bars, with marks where plan or cap changed; the same numbers as a table under it. */
import { calls, count, daysIn, monthText, shortDay } from '../../../format.ts'
import type { Html } from '../layout.tsx'
import type { MonthRows, Occurrence } from './dependencies.ts'
import { eventText } from './events.ts'
import { Hatch, Scroll } from './pieces.tsx'

const plot = { top: 28, height: 160, marks: 22, days: 20 }
const floor = plot.top + plot.height

interface Day {
  readonly day: string
  readonly credit: number
  readonly overage: number
}

interface Mark {
  readonly letter: string
  readonly day: number
  readonly text: string
}

/** Letters of the changes, in the order of the log. Beyond the alphabet the days alone tell them apart. */
const marksOf = (changes: readonly Occurrence[]): Mark[] =>
  changes.map(({ event }, index) => ({
    letter: String.fromCharCode(65 + (index % 26)),
    day: Number(event.data.occurredAt.slice(8, 10)),
    text: `${shortDay(event.data.occurredAt)}: ${eventText(event)}`,
  }))

/** The day on which the last credit was used, or null: from then on a call is overage or is refused. */
function limitReachedOn(days: readonly Day[], monthlyLimit: number): string | null {
  let used = 0
  for (const { day, credit, overage } of days) {
    used += credit
    if (overage > 0 || used >= monthlyLimit) return day
  }
  return null
}

/** The smallest of 1, 2, 5, 10, 20, 50, … that is not below `most`, and divides in halves from 2 on. */
function niceTop(most: number): number {
  for (let power = 1; ; power *= 10) {
    const fitting = [2, 4, 6, 10].find((step) => step * power >= most)
    if (fitting !== undefined) return fitting * power
  }
}

export function CallsChart(props: {
  readonly month: string
  readonly rows: MonthRows
  /** Changes of plan, limit and cap in the month, the oldest first. */
  readonly changes: readonly Occurrence[]
}): Html {
  const { month, rows } = props
  const number = daysIn(month)
  const known = new Map(rows.days.map((day) => [Number(day.day.slice(8)), day]))
  const days: Day[] = Array.from({ length: number }, (_, index) => {
    const found = known.get(index + 1)
    const day = `${month}-${String(index + 1).padStart(2, '0')}`
    return { day, credit: found?.creditCalls ?? 0, overage: found?.overageCalls ?? 0 }
  })
  const top = niceTop(Math.max(1, ...days.map(({ credit, overage }) => credit + overage)))
  const marks = marksOf(props.changes)
  const reached = limitReachedOn(days, rows.usage.monthlyLimit)
  const x = (index: number) => `${((index / number) * 100).toFixed(3)}%`
  const middle = (day: number) => `${(((day - 0.5) / number) * 100).toFixed(3)}%`
  const height = floor + plot.days + (marks.length > 0 ? plot.marks : 0)
  const gutter = 16 + 7 * count(top).length // a digit of 12 px is at most 7 px wide
  const tall = (value: number) => (value / top) * plot.height
  const withCalls = days.filter(({ credit, overage }) => credit + overage > 0)
  const busiest = withCalls.reduce<Day | undefined>(
    (most, day) => (most !== undefined && most.credit + most.overage >= day.credit + day.overage ? most : day),
    undefined,
  )
  const summary =
    busiest === undefined
      ? `No calls in ${monthText(month)}.`
      : `Calls per day in ${monthText(month)}: ${calls(rows.usage.totalCalls)} on ${withCalls.length} ` +
        `${withCalls.length === 1 ? 'day' : 'days'}, most on ${shortDay(busiest.day)} with ` +
        `${count(busiest.credit + busiest.overage)}. The table below has the same numbers.`
  return (
    <>
      <div class="chart">
        <svg class="values" width={String(gutter)} height={String(height)} aria-hidden="true" focusable="false">
          {[top, top / 2].map((value) => (
            <text class="small" x={String(gutter - 8)} y={String(floor - tall(value) + 4)} text-anchor="end" safe>
              {count(value)}
            </text>
          ))}
        </svg>
        <svg class="plot" width="100%" height={String(height)} role="img" aria-label={summary}>
          <Hatch id="chart-overage" />
          {[top, top / 2].map((value) => (
            <line class="grid" x1="0" x2="100%" y1={String(floor - tall(value))} y2={String(floor - tall(value))} />
          ))}
          {days.map(({ day, credit, overage }, index) =>
            credit + overage === 0 ? (
              ''
            ) : (
              <svg x={x(index + 0.14)} width={x(0.72)} height={String(floor)}>
                <title safe>{`${shortDay(day)}: ${calls(credit + overage)}, ${count(overage)} of them overage`}</title>
                <rect class="credit" width="100%" y={String(floor - tall(credit))} height={String(tall(credit))} />
                <rect
                  class="overage"
                  width="100%"
                  y={String(floor - tall(credit + overage))}
                  height={String(tall(overage))}
                  fill="url(#chart-overage)"
                />
              </svg>
            ),
          )}
          <line class="axis" x1="0" x2="100%" y1={String(floor)} y2={String(floor)} />
          {[1, 8, 15, 22, number].map((day) => (
            <text
              class="small"
              x={day === 1 ? '0' : day === number ? '100%' : middle(day)}
              y={String(floor + 15)}
              text-anchor={day === 1 ? 'start' : day === number ? 'end' : 'middle'}
            >
              {String(day)}
            </text>
          ))}
          {reached === null ? (
            ''
          ) : (
            <ReachedLine day={Number(reached.slice(8))} of={number} x={middle(Number(reached.slice(8)))} />
          )}
          {marks.map(({ letter, day }) => (
            <text class="mark-letter" x={middle(day)} y={String(floor + plot.days + 15)} text-anchor="middle">
              {letter}
            </text>
          ))}
        </svg>
      </div>
      <ul class="legend">
        <li>
          <Swatch kind="credit" /> Paid with credits
        </li>
        <li>
          <Swatch kind="overage" /> Overage
        </li>
        {reached === null ? (
          ''
        ) : (
          <li>
            <Swatch kind="reached" /> <span safe>{`Credits used up on ${shortDay(reached)}`}</span>
          </li>
        )}
        {marks.map(({ letter, text }) => (
          <li>
            <b>{letter}</b> <span safe>{text}</span>
          </li>
        ))}
      </ul>
      <details>
        <summary>Calls per day as a table</summary>
        <Scroll label="Calls per day">
          <table>
            <caption safe>{`Calls per day, ${monthText(month)}, UTC days`}</caption>
            <thead>
              <tr>
                <th scope="col">Day</th>
                <th scope="col" class="number">
                  Credits
                </th>
                <th scope="col" class="number">
                  Overage
                </th>
                <th scope="col" class="number">
                  Calls
                </th>
              </tr>
            </thead>
            <tbody>
              {withCalls.map(({ day, credit, overage }) => (
                <tr>
                  <th scope="row" safe>
                    {shortDay(day)}
                  </th>
                  <td class="number">{count(credit)}</td>
                  <td class="number">{count(overage)}</td>
                  <td class="number">{count(credit + overage)}</td>
                </tr>
              ))}
              {withCalls.length === 0 ? (
                <tr>
                  <td colspan="4">No calls</td>
                </tr>
              ) : (
                ''
              )}
            </tbody>
          </table>
        </Scroll>
      </details>
    </>
  )
}

/** A dashed line through the day on which the credits were used up, labelled on the side where there is room. */
function ReachedLine({ day, of, x }: { readonly day: number; readonly of: number; readonly x: string }): Html {
  const left = day > of / 2
  return (
    <>
      <line class="reached" x1={x} x2={x} y1="4" y2={String(floor)} />
      <text class="small" x={x} dx={left ? '-6' : '6'} y="13" text-anchor={left ? 'end' : 'start'}>
        Credits used up
      </text>
    </>
  )
}

/** The fills of the bars, for the legend. */
function Swatch({ kind }: { readonly kind: 'credit' | 'overage' | 'reached' }): Html {
  return (
    <svg class="swatch" width="14" height="14" aria-hidden="true" focusable="false">
      {kind === 'reached' ? (
        <line class="reached" x1="7" x2="7" y1="0" y2="14" />
      ) : (
        <rect class={kind} width="14" height="14" fill={kind === 'overage' ? 'url(#chart-overage)' : undefined} />
      )}
    </svg>
  )
}
