/** /console/plan: plan and price, what happens at the limit, and what is scheduled. */
import { calls, monthText, planText, usd } from '../../../format.ts'
import { Form, type Html, Page, type PageProps, Submit } from '../layout.tsx'
import type { Customer } from './dependencies.ts'
import { Block, HardCap, Time } from './pieces.tsx'

/** Where a subscriber manages their subscriptions. Source: AWS Marketplace Buyer Guide, "Managing subscriptions". */
const marketplaceUrl = 'https://console.aws.amazon.com/marketplace/home#/subscriptions'

export function PlanPage(props: {
  readonly frame: Omit<PageProps, 'title' | 'place'>
  readonly csrf: string
  readonly customer: Customer
}): Html {
  const { frame, csrf, customer } = props
  const { plan, monthlyLimit, monthlyFee, overageUnitPrice, licence } = customer
  return (
    <Page {...frame} title="Plan" place="plan">
      <h1>Plan</h1>
      <Block title={planText(plan)} class="main-block">
        <p class="figure">
          <b safe>{usd(monthlyFee)}</b> <span>a month</span>
        </p>
        <dl class="facts">
          <div>
            <dt>Credits</dt>
            <dd safe>{`${calls(monthlyLimit)} each UTC month; what is left expires with it`}</dd>
          </div>
          <div>
            <dt>Overage</dt>
            <dd safe>
              {plan === 'free' ? 'None: calls stop at the limit' : `${usd(overageUnitPrice)} for each further call`}
            </dd>
          </div>
          {licence.kind === 'none' || licence.termEnd === undefined ? (
            ''
          ) : (
            <div>
              <dt>Contract</dt>
              <dd>
                Until <Time at={licence.termEnd} day />
              </dd>
            </div>
          )}
        </dl>
      </Block>
      <ScheduledChange customer={customer} csrf={csrf} />
      <Block title="Hard cap" id="hard-cap">
        <HardCap customer={customer} csrf={csrf} />
      </Block>
      <Block title="Change or cancel the plan">
        <p>
          An upgrade takes effect at once. A downgrade or a cancellation takes effect when the contract renews or ends.
        </p>
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
    </Page>
  )
}

/** A scheduled change, if any. An operator's own can be cancelled here; the marketplace's is cancelled in AWS. */
export function ScheduledChange({ customer, csrf }: { readonly customer: Customer; readonly csrf: string }): Html {
  const { scheduled } = customer
  if (scheduled === null || scheduled === undefined) return ''
  const { plan, monthlyLimit, monthlyFee, effectiveMonth, origin } = scheduled
  const what = plan === customer.plan ? calls(monthlyLimit) : planText(plan)
  return (
    <Block title="Scheduled change" class="soon-block">
      <p safe>
        {`From 1 ${monthText(effectiveMonth)} on your plan is ${planText(plan)}: ${calls(monthlyLimit)}, ${usd(monthlyFee)} a month.`}
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
