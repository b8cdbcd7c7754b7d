/** /console/plan: plan and price, what happens at the limit, and what is scheduled. */
import { refusesEveryKey } from '../../../commands/state.ts'
import { calls, feeText, isListPrice, listPriceNote, monthText, planText, timeText, usd } from '../../../format.ts'
import { Form, type Html, Page, type PageProps, Submit } from '../layout.tsx'
import type { Customer } from './dependencies.ts'
import { HardCap, overageText } from './hard-cap.tsx'
import { Block, Time } from './pieces.tsx'
import { Refused } from './standing.tsx'

/** Where a subscriber manages their subscriptions. Source: AWS Marketplace Buyer Guide, "Managing subscriptions". */
const marketplaceUrl = 'https://console.aws.amazon.com/marketplace/home#/subscriptions'

export function PlanPage(props: {
  readonly frame: Omit<PageProps, 'title' | 'place'>
  readonly csrf: string
  readonly customer: Customer
  /** ISO 8601 UTC. */
  readonly now: string
}): Html {
  const { frame, csrf, customer, now } = props
  const { plan, monthlyFee } = customer
  return (
    <Page {...frame} title="Plan" place="plan">
      <h1>Plan</h1>
      <Refused customer={customer} now={now} />
      <Block title={planText(plan)} class="main-block">
        <p class="figure">
          {isListPrice(plan) ? <span>from </span> : ''}
          <b safe>{usd(monthlyFee)}</b> <span safe>{monthly(customer)}</span>
        </p>
        {isListPrice(plan) ? <p class="hint">{listPriceNote}</p> : ''}
        <dl class="facts">
          <div>
            <dt>Credits</dt>
            <dd safe>{creditsText(customer, now)}</dd>
          </div>
          <div>
            <dt>Overage</dt>
            <dd safe>{overageText(customer)}</dd>
          </div>
          <Contract customer={customer} now={now} />
        </dl>
      </Block>
      <ScheduledChange customer={customer} csrf={csrf} />
      <Block title="Hard cap" id="hard-cap">
        <HardCap customer={customer} csrf={csrf} now={now} />
      </Block>
      <PlanChange customer={customer} />
    </Page>
  )
}

/** What stands beside the fee. */
function monthly({ ended, deactivated }: Customer): string {
  if (deactivated) return 'a month, until the account was deactivated'
  return ended ? 'a month, until the subscription ended' : 'a month'
}

function creditsText(customer: Customer, now: string): string {
  if (refusesEveryKey(customer, now)) return 'None that a call could use'
  const granted = calls(customer.monthlyLimit)
  return customer.ended
    ? `${granted} this UTC month, the last ones`
    : `${granted} each UTC month; what is left expires with it`
}

/** How long the contract runs, where that is known, or that it is over. */
function Contract({ customer, now }: { readonly customer: Customer; readonly now: string }): Html {
  const { licence, ended } = customer
  const termEnd = licence.kind === 'none' ? undefined : licence.termEnd
  if (ended) {
    const keys = refusesEveryKey(customer, now) ? 'no key works' : `your keys work until ${timeText(ended.paidUntil)}`
    return (
      <div>
        <dt>Contract</dt>
        <dd safe>{`Ended; ${keys}`}</dd>
      </div>
    )
  }
  if (termEnd === undefined) return ''
  return (
    <div>
      <dt>Contract</dt>
      <dd>
        Until <Time at={termEnd} day />
      </dd>
    </div>
  )
}

function PlanChange({ customer: { licence, ended, deactivated } }: { readonly customer: Customer }): Html {
  if (deactivated) return ''
  const title = ended ? 'Subscribe anew' : 'Change or cancel the plan'
  const what = ended
    ? 'The subscription has ended. Subscribe anew to go on.'
    : 'An upgrade takes effect at once. A downgrade or a cancellation takes effect when the contract renews or ends.'
  return (
    <Block title={title}>
      <p>{what}</p>
      {licence.kind === 'none' ? (
        <p>Your plan is managed by the operator of this service. Ask them for a change.</p>
      ) : (
        <p>
          <a href={marketplaceUrl} rel="noreferrer">
            Manage the subscription in AWS Marketplace
          </a>
        </p>
      )}
    </Block>
  )
}

/** A scheduled change, if any. An operator's own can be cancelled here; the marketplace's is cancelled in AWS. */
export function ScheduledChange({ customer, csrf }: { readonly customer: Customer; readonly csrf: string }): Html {
  const { scheduled, ended, deactivated } = customer
  if (deactivated || scheduled === null) return ''
  const { plan, monthlyLimit, monthlyFee, effectiveMonth, origin } = scheduled
  const what = plan === customer.plan ? calls(monthlyLimit) : planText(plan)
  return (
    <Block title="Scheduled change" class="soon-block">
      <p safe>
        {`From 1 ${monthText(effectiveMonth)} on your plan is ${planText(plan)}: ${calls(monthlyLimit)}, ${feeText(plan, monthlyFee)}${ended ? ', should the subscription resume' : ''}.`}
      </p>
      {origin === 'operator' ? (
        <Form action="/console/plan/scheduled/cancel" csrf={csrf}>
          <Submit kind="quiet" text={`Cancel the change to ${what}`} />
        </Form>
      ) : (
        <p>
          This change was made in AWS Marketplace and is cancelled there.{' '}
          <a href={marketplaceUrl} rel="noreferrer">
            Manage the subscription in AWS Marketplace
          </a>
        </p>
      )}
    </Block>
  )
}
