/** /console/dashboard: where you stand this month, and what you may do next. */

import { refusesEveryKey } from '../../../commands/state.ts'
import {
  calls,
  capitalised,
  count,
  daysLeft,
  feeText,
  isListPrice,
  listPriceNote,
  monthEndText,
  monthText,
  planText,
  usd,
} from '../../../format.ts'
import { overageAmount } from '../../../statements/amounts.ts'
import { type Html, Page, type PageProps } from '../layout.tsx'
import { ActivityList } from './activity.tsx'
import { CallsChart } from './chart.tsx'
import type { ConsolePagesDependencies, Customer, MonthRows, Occurrence } from './dependencies.ts'
import { capSentence } from './hard-cap.tsx'
import { Block, CreditsBar, creditsSentence } from './pieces.tsx'
import { ScheduledChange } from './plan.tsx'
import { Standing } from './standing.tsx'

export interface OverviewProps {
  readonly frame: Omit<PageProps, 'title' | 'place'>
  readonly accountId: string
  readonly csrf: string
  readonly now: string
  readonly customer: Customer
  readonly rows: MonthRows
  readonly changes: readonly Occurrence[]
  readonly activity: readonly Occurrence[]
  readonly firstCallAt: string | null
  readonly metering: ConsolePagesDependencies['metering']
}

export function OverviewPage(props: OverviewProps): Html {
  const { frame, customer, rows, now, csrf, activity, accountId } = props
  const { month } = rows.usage
  const usable = !refusesEveryKey(customer, now)
  return (
    <Page {...frame} title="Overview" place="overview">
      <h1>Overview</h1>
      <Standing customer={customer} rows={rows} now={now} />
      {props.firstCallAt === null && usable ? (
        <section class="block next">
          <h2>Make your first call</h2>
          <p>No call yet. Take a photograph and send it: the page below has the lines to copy.</p>
          <p>
            <a class="button" href="/console/first-call">
              Show the first call
            </a>
          </p>
        </section>
      ) : (
        ''
      )}
      <div id="usage" data-refresh="20">
        <Block title={`Credits, ${monthText(month)}`} class="main-block">
          <p class="figure">
            <b>{count(usable ? rows.usage.remainingCalls : 0)}</b>{' '}
            <span>{creditsLeft(rows.usage.remainingCalls, usable)}</span>
          </p>
          <CreditsBar {...rows.usage} />
          <p safe>{creditsSentence(rows.usage, usable)}</p>
        </Block>
        <div class="tiles">
          <OverageTile rows={rows} customer={customer} metering={props.metering} />
          <section class="block">
            <h2>Plan</h2>
            <p class="value" safe>
              {planText(customer.plan)}
            </p>
            <p safe>{planSentence(customer)}</p>
            {isListPrice(customer.plan) ? <p class="hint">{listPriceNote}</p> : ''}
            <p>
              <a href="/console/plan">Show plan</a>
            </p>
          </section>
          <section class="block">
            <h2>Hard cap</h2>
            <p class="value">{customer.hardCap ? 'On' : 'Off'}</p>
            <p safe>{capSentence(customer, now)}</p>
            <p>
              <a href="/console/plan#hard-cap">
                {customer.plan === 'free' || customer.deactivated ? 'Show hard cap' : 'Change hard cap'}
              </a>
            </p>
          </section>
          <section class="block">
            <h2>Month ends in</h2>
            <p class="value">{daysLeft(now) === 1 ? 'Less than a day' : `${daysLeft(now)} days`}</p>
            <p safe>{`Credits expire on ${monthEndText(month)}.`}</p>
          </section>
        </div>
        <ScheduledChange customer={customer} csrf={csrf} />
        <Block title="Calls per day">
          <CallsChart month={month} rows={rows} changes={props.changes} />
          <p>
            <a href="/console/usage">Show usage and statements</a>
          </p>
        </Block>
      </div>
      <Block title="Recent activity">
        <ActivityList entries={activity} accountId={accountId} />
        <p>
          <a href="/console/activity">Show all activity</a>
        </p>
      </Block>
    </Page>
  )
}

/** What the big figure counts. */
function creditsLeft(remaining: number, usable: boolean): string {
  if (!usable) return 'credits usable'
  return remaining === 1 ? 'credit left' : 'credits left'
}

/** What the plan is, or was. */
function planSentence({ plan, monthlyFee, monthlyLimit, ended, deactivated }: Customer): string {
  const terms = `${feeText(plan, monthlyFee)} for ${calls(monthlyLimit)}.`
  if (deactivated) return `The account is deactivated. It was ${terms}`
  return ended ? `The subscription has ended. It was ${terms}` : capitalised(terms)
}

function OverageTile({ rows, customer, metering }: Pick<OverviewProps, 'rows' | 'customer' | 'metering'>): Html {
  const { overageCalls } = rows.usage
  const paid = rows.lines.filter((line) => line.overageCalls > 0)
  const sum = paid.map((line) => `${count(line.overageCalls)} × ${usd(line.overageUnitPrice)}`).join(' + ')
  return (
    <section class="block">
      <h2>Overage so far</h2>
      <p class="value" safe>
        {usd(overageAmount(rows.lines))}
      </p>
      <p safe>{overageCalls === 0 ? 'No call past your credits.' : `${sum}.`}</p>
      {overageCalls === 0 ? '' : <p safe>{sentToAws(customer, metering)}</p>}
    </section>
  )
}

/** When overage reaches AWS. */
export function sentToAws(
  { licence, ended }: Pick<Customer, 'licence' | 'ended'>,
  metering: OverviewProps['metering'],
): string {
  if (licence.kind === 'none') return 'Not sent to AWS: this account has no AWS Marketplace licence.'
  if (!metering.submitted) return 'Recorded hour by hour. Sending to AWS Marketplace is switched off here.'
  if (ended) return 'Sent to AWS Marketplace hour by hour, the rest when the subscription ended.'
  return `Sent to AWS Marketplace about ${Math.ceil(metering.graceSeconds / 60)} minutes after each hour ends.`
}
