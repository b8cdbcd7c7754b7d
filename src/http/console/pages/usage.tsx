/** /console/usage and /console/usage/{month}: the chart of a month, and every month with its statement. */
import { refusesEveryKey } from '../../../commands/state.ts'
import { count, monthText, planText, usd } from '../../../format.ts'
import { overageAmount } from '../../../statements/amounts.ts'
import { type Html, Page, type PageProps } from '../layout.tsx'
import { CallsChart } from './chart.tsx'
import type { ConsolePagesDependencies, Customer, MonthRows, MonthTotals, Occurrence } from './dependencies.ts'
import { sentToAws } from './overview.tsx'
import { Block, CreditsBar, creditsSentence, Scroll } from './pieces.tsx'
import { Standing } from './standing.tsx'

export function UsagePage(props: {
  readonly frame: Omit<PageProps, 'title' | 'place'>
  readonly customer: Customer
  readonly rows: MonthRows
  readonly now: string
  /** Whether the month shown is the one that runs. */
  readonly running: boolean
  readonly changes: readonly Occurrence[]
  readonly months: readonly MonthTotals[]
  readonly metering: ConsolePagesDependencies['metering']
}): Html {
  const { frame, customer, rows, now, running, changes, months, metering } = props
  const { month, overageCalls } = rows.usage
  const cost = usd(overageAmount(rows.lines))
  return (
    <Page {...frame} title={`Usage, ${monthText(month)}`} place="usage">
      <h1>Usage and statements</h1>
      {running ? <Standing customer={customer} rows={rows} now={now} /> : ''}
      <div id="usage" data-refresh={running ? '20' : undefined}>
        <Block title={monthText(month)} class="main-block">
          <p class="figure">
            <b>{count(rows.usage.totalCalls)}</b> <span>{rows.usage.totalCalls === 1 ? 'call' : 'calls'}</span>
          </p>
          <CreditsBar {...rows.usage} />
          <p safe>{running ? creditsSentence(rows.usage, !refusesEveryKey(customer, now)) : endedSentence(rows)}</p>
          {overageCalls === 0 ? (
            ''
          ) : (
            <p
              safe
            >{`Overage ${running ? 'so far' : 'in all'}: ${cost}. ${running ? sentToAws(customer, metering) : ''}`}</p>
          )}
          <CallsChart month={month} rows={rows} changes={changes} />
        </Block>
      </div>
      <Block title="Months and statements">
        <Scroll label="Months and statements">
          <table>
            <caption>UTC months, the newest first</caption>
            <thead>
              <tr>
                <th scope="col">Month</th>
                <th scope="col">Plan</th>
                <th scope="col" class="number">
                  Credits used
                </th>
                <th scope="col" class="number">
                  Overage
                </th>
                <th scope="col" class="number">
                  Overage cost
                </th>
                <th scope="col">Statement</th>
              </tr>
            </thead>
            <tbody>
              {months.map((totals) => (
                <tr>
                  <th scope="row">
                    <a
                      href={`/console/usage/${totals.month}`}
                      aria-current={totals.month === month ? 'true' : undefined}
                    >
                      {monthText(totals.month)}
                    </a>
                  </th>
                  <td>{planText(totals.plan)}</td>
                  <td class="number">{`${count(totals.creditCalls)} of ${count(totals.monthlyLimit)}`}</td>
                  <td class="number">{count(totals.overageCalls)}</td>
                  <td class="number">{usd(overageAmount(totals.prices))}</td>
                  <td class="links">
                    <a
                      href={`/console/usage/${totals.month}/statement`}
                      aria-label={`Show the statement of ${monthText(totals.month)}`}
                    >
                      Show
                    </a>{' '}
                    <a
                      href={`/console/usage/${totals.month}/statement.csv`}
                      aria-label={`Statement of ${monthText(totals.month)} as CSV`}
                    >
                      CSV
                    </a>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
        <p class="hint">
          Overage is what is charged past your credits. The plan's fee is charged by your contract and is not in this
          table.
        </p>
      </Block>
    </Page>
  )
}

function endedSentence({ usage: { creditCalls, monthlyLimit, overageCalls } }: MonthRows): string {
  const used = `${count(creditCalls)} of ${count(monthlyLimit)} credits were used`
  if (overageCalls > 0) return `${used}, and ${count(overageCalls)} more calls were overage.`
  const expired = monthlyLimit - creditCalls
  return expired > 0 ? `${used}, ${count(expired)} expired.` : `${used}.`
}
