/** /console/usage/{month}/statement: a month as it stands in the log, made to be printed on one A4 page. */
import {
  calls,
  count,
  daysIn,
  dayText,
  feeText,
  isListPrice,
  listPriceNote,
  monthText,
  planText,
  timeText,
  usd,
} from '../../../format.ts'
import { type Html, Page, type PageProps } from '../layout.tsx'
import { HowToVerify } from './bundle.tsx'
import type { LoggedEvent, MonthStatement } from './dependencies.ts'
import { actorText, eventText } from './events.ts'
import { Scroll, Time } from './pieces.tsx'

/**
 * How many changes fit on the printed page: measured at 180 mm × 269 mm, where a plan and its line of calls take the room
 * of two and the note on a list price that of one. The rest is on screen and in the CSV.
 */
const printedChanges = (statement: MonthStatement): number =>
  Math.max(2, 11 - statement.lines.length - statement.terms.length - (hasListPrice(statement) ? 1 : 0))

const hasListPrice = ({ terms }: MonthStatement): boolean => terms.some(({ plan }) => isListPrice(plan))

export function StatementPage(props: {
  readonly frame: Omit<PageProps, 'title' | 'place'>
  readonly statement: MonthStatement
  readonly email: string
  readonly accountId: string
  readonly now: string
}): Html {
  const { frame, statement, email, accountId, now } = props
  const { customerId, month, terms, lines, hours, changes, digest, sequences } = statement
  const running = month >= now.slice(0, 7)
  return (
    <Page {...frame} title={`Statement ${monthText(month)}`} place="usage">
      <article class="statement">
        <header>
          <h1>{`Statement, ${monthText(month)}`}</h1>
          <p class="screen-only actions">
            <button type="button" class="main" data-print hidden>
              Print statement
            </button>
            <a href={`/console/usage/${month}/statement.csv`}>Download every event as CSV</a>
            <a href={`/console/usage/${month}/bundle`}>Download the signed bundle</a>
            <a href={`/console/usage/${month}`}>Show usage</a>
          </p>
          {running ? (
            <p
              class="notice soon"
              safe
            >{`Not final: ${monthText(month)} has not ended. This is how it stood at ${timeText(now)}.`}</p>
          ) : (
            ''
          )}
          <dl class="facts">
            <div>
              <dt>Customer</dt>
              <dd>
                <span safe>{email}</span>
                <br />
                <code safe>{customerId}</code>
              </dd>
            </div>
            <div>
              <dt>Period</dt>
              <dd>{`1 to ${daysIn(month)} ${monthText(month)}, UTC`}</dd>
            </div>
            <div>
              <dt>Plan and price</dt>
              <dd>
                {terms.map((held, index) => (
                  <div safe>
                    {`${index === 0 ? '' : `from ${timeText(held.since)}: `}${planText(held.plan)}, ${feeText(held.plan, held.monthlyFee)}, ` +
                      `${calls(held.monthlyLimit)}, overage ${usd(held.overageUnitPrice)} a call`}
                  </div>
                ))}
              </dd>
            </div>
            <div>
              <dt>Hard cap</dt>
              <dd>{`${statement.hardCap ? 'On' : 'Off'} ${running ? 'now' : 'at the end of the month'}`}</dd>
            </div>
          </dl>
        </header>
        <section>
          <h2>Calls</h2>
          <Scroll label="Calls">
            <table>
              <thead>
                <tr>
                  <th scope="col">Plan</th>
                  <th scope="col" class="number">
                    Credits
                  </th>
                  <th scope="col" class="number">
                    Overage
                  </th>
                  <th scope="col" class="number">
                    Unit price
                  </th>
                  <th scope="col" class="number">
                    Amount
                  </th>
                  <th scope="col" class="number">
                    Revisions
                  </th>
                </tr>
              </thead>
              <tbody>
                {lines.map((line) => (
                  <tr>
                    <th scope="row">{planText(line.plan)}</th>
                    <td class="number">{count(line.creditCalls)}</td>
                    <td class="number">{count(line.overageCalls)}</td>
                    <td class="number">{usd(line.overageUnitPrice)}</td>
                    <td class="number">{usd(line.amount)}</td>
                    <td class="number">{`${line.first.revision}–${line.last.revision}`}</td>
                  </tr>
                ))}
                {lines.length === 0 ? (
                  <tr>
                    <td colspan="6">No calls</td>
                  </tr>
                ) : (
                  ''
                )}
              </tbody>
              <tfoot>
                <tr>
                  <th scope="row">Total</th>
                  <td class="number">{count(statement.creditCalls)}</td>
                  <td class="number">{count(statement.overageCalls)}</td>
                  <td></td>
                  <td class="number">
                    <strong>{usd(statement.overageAmount)}</strong>
                  </td>
                  <td></td>
                </tr>
              </tfoot>
            </table>
          </Scroll>
          <p class="hint">
            {sequences === null ? '' : `Calls are numbered ${count(sequences.first)} to ${count(sequences.last)}. `}
            {statement.voidedCalls === 0 ? '' : `${calls(statement.voidedCalls)} taken back and not charged. `}
            Amounts are US dollars of overage. The plan's fee is charged by your contract and is not in the total.
            {hasListPrice(statement) ? ` ${listPriceNote}` : ''}
          </p>
        </section>
        <Hours hours={hours} />
        <Changes changes={changes} printed={printedChanges(statement)} accountId={accountId} />
        <section>
          <h2>Digest</h2>
          <p>
            <code class="hash" safe>
              {digest.hash}
            </code>
          </p>
          <p class="hint" safe>
            {`SHA-256 of the month's last event: revision ${digest.last.revision} of customer-${customerId}, event ${digest.last.eventId}. ` +
              `The statement is the sum of ${count(digest.events)} events, revisions ${digest.first.revision} to ${digest.last.revision}.`}
          </p>
          <HowToVerify running={running} />
        </section>
      </article>
    </Page>
  )
}

/** What metering records are made of. Up to 744 lines: on screen only. */
function Hours({ hours }: Pick<MonthStatement, 'hours'>): Html {
  if (hours.length === 0) return ''
  return (
    <section class="screen-only">
      <h2>Overage by hour</h2>
      <details>
        <summary>{`${count(hours.length)} ${hours.length === 1 ? 'hour' : 'hours'} with overage`}</summary>
        <Scroll label="Overage by hour">
          <table>
            <thead>
              <tr>
                <th scope="col">Hour, UTC</th>
                <th scope="col" class="number">
                  Overage
                </th>
                <th scope="col" class="number">
                  Amount
                </th>
                <th scope="col">First and last event</th>
              </tr>
            </thead>
            <tbody>
              {hours.map((hour) => (
                <tr>
                  <th scope="row">{`${dayText(hour.hour)}, ${hour.hour.slice(11, 13)}:00`}</th>
                  <td class="number">{count(hour.overageCalls)}</td>
                  <td class="number">{usd(hour.amount)}</td>
                  <td>
                    <code safe>{`${hour.first.revision} ${hour.first.eventId}`}</code>
                    <br />
                    <code safe>{`${hour.last.revision} ${hour.last.eventId}`}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </Scroll>
      </details>
    </section>
  )
}

function Changes(props: {
  readonly changes: readonly LoggedEvent[]
  readonly printed: number
  readonly accountId: string
}): Html {
  const { changes, printed, accountId } = props
  const more = changes.length - printed
  return (
    <section>
      <h2>Credits, plan, hard cap and keys</h2>
      <Scroll label="Credits, plan, hard cap and keys">
        <table class="changes">
          <thead>
            <tr>
              <th scope="col">When, UTC</th>
              <th scope="col">What</th>
              <th scope="col">By</th>
              <th scope="col" class="number">
                Revision
              </th>
            </tr>
          </thead>
          <tbody>
            {changes.map(({ event, actor, revision, eventId }, index) => (
              <tr class={index >= printed ? 'screen-only' : undefined}>
                <td>
                  <Time at={event.data.occurredAt} />
                </td>
                <td>
                  <span safe>{eventText(event)}</span>
                  <code class="id" safe>
                    {eventId}
                  </code>
                </td>
                <td safe>{actorText(actor, accountId)}</td>
                <td class="number">{String(revision)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      {more > 0 ? <p class="print-only hint">{`And ${more} more, in the CSV.`}</p> : ''}
    </section>
  )
}
