/** The customer's own pages: GET shows, POST changes through the ledger and redirects to what is now true. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { CustomerEventType } from '../../../events/catalogue.ts'
import { planText } from '../../../format.ts'
import { ApiError } from '../../envelope.ts'
import { registerAssets } from '../assets.ts'
import { flash, requireSession, signedInOf } from '../context.ts'
import { ActivityPage } from './activity.tsx'
import { registerBundles } from './bundle-routes.ts'
import type { ConsolePagesDependencies, Customer, MonthRows, Occurrence } from './dependencies.ts'
import { createDesk } from './desk.ts'
import { FirstCallPage } from './first-call.tsx'
import { capNotice } from './hard-cap.tsx'
import { registerKeys } from './key-routes.ts'
import { OverviewPage } from './overview.tsx'
import { PlanPage } from './plan.tsx'
import { monthIn, registerStatements } from './statement-routes.ts'
import { UsagePage } from './usage.tsx'

const onOverview = 6
const onActivityPage = 50
/** More changes than days of a month would not be legible as marks of a chart. */
const onChart = 31

/** What leaves a mark on the chart of a month. */
const marked: readonly CustomerEventType[] = [
  'HardCapEnabled',
  'HardCapDisabled',
  'PlanChanged',
  'MonthlyLimitChanged',
  'SubscriptionEnded',
  'SubscriptionResumed',
]

/** Registers the pages into the console, whose hooks (session, form token, headers) stand before each. */
export function registerPages(app: FastifyInstance, deps: ConsolePagesDependencies): void {
  const { reads, metering, publicUrl } = deps
  const desk = createDesk(deps)
  const signedIn = { preHandler: requireSession }

  registerAssets(app)
  registerKeys(app, deps, desk)
  registerStatements(app, deps, desk)
  registerBundles(app, deps, desk)

  /** @throws ApiError not_found */
  async function monthOfCustomer(
    customerId: string,
    month: string,
  ): Promise<{ rows: MonthRows; changes: Occurrence[] }> {
    const [rows, changes] = await Promise.all([
      reads.month(customerId, month),
      reads.activity(customerId, { month, types: marked, limit: onChart }),
    ])
    if (rows === null) throw new ApiError('not_found', 'There is no usage of that month.')
    return { rows, changes: changes.reverse() }
  }

  app.get('/console/dashboard', signedIn, async (request, reply) => {
    const customer = await desk.customer(request)
    const { accountId, customerId } = signedInOf(request)
    const [month, activity, firstCallAt] = await Promise.all([
      monthOfCustomer(customerId, customer.month),
      reads.activity(customerId, { limit: onOverview }),
      reads.firstCallAt(customerId),
    ])
    const frame = desk.frame(request, reply)
    const { csrf } = frame
    const now = deps.clock.now()
    return desk.show(
      reply,
      OverviewPage({ frame, accountId, csrf, now, customer, ...month, activity, firstCallAt, metering }),
    )
  })

  app.get('/console/activity', signedIn, async (request, reply) => {
    const { accountId, customerId } = signedInOf(request)
    const found = await reads.activity(customerId, { limit: onActivityPage + 1, before: revisionIn(request) })
    const entries = found.slice(0, onActivityPage)
    const older = found.length > onActivityPage ? (entries.at(-1)?.revision ?? null) : null
    return desk.show(reply, ActivityPage({ frame: desk.frame(request, reply), entries, accountId, older }))
  })

  async function usage(request: FastifyRequest, customer: Customer, month: string) {
    const { customerId } = signedInOf(request)
    const [shown, months] = await Promise.all([monthOfCustomer(customerId, month), reads.months(customerId)])
    const running = month === customer.month
    return { customer, ...shown, months, metering, running, now: deps.clock.now() }
  }
  app.get('/console/usage', signedIn, async (request, reply) => {
    const customer = await desk.customer(request)
    const props = await usage(request, customer, customer.month)
    return desk.show(reply, UsagePage({ frame: desk.frame(request, reply), ...props }))
  })
  app.get('/console/usage/:month', signedIn, async (request, reply) => {
    const customer = await desk.customer(request)
    const month = monthIn(request, deps.clock.now())
    const props = await usage(request, customer, month)
    return desk.show(reply, UsagePage({ frame: desk.frame(request, reply), ...props }))
  })

  app.get('/console/plan', signedIn, async (request, reply) => {
    const customer = await desk.customer(request)
    const frame = desk.frame(request, reply)
    return desk.show(reply, PlanPage({ frame, csrf: frame.csrf, customer, now: deps.clock.now() }))
  })

  app.post('/console/plan/hard-cap', signedIn, async (request, reply) => {
    const { to } = (request.body ?? {}) as { to?: unknown }
    if (to !== 'on' && to !== 'off') throw new ApiError('invalid_request', 'to must be on or off.')
    const { state, revision } = await desk.change(request, { type: to === 'on' ? 'EnableHardCap' : 'DisableHardCap' })
    await deps.shows(state.customerId, revision)
    flash(reply, capNotice({ ...state.terms, hardCap: to === 'on', ended: state.ended ?? null }))
    return reply.redirect('/console/plan', 303)
  })

  app.post('/console/plan/scheduled/cancel', signedIn, async (request, reply) => {
    const { state, revision } = await desk.change(request, { type: 'CancelScheduledPlanChange' })
    await deps.shows(state.customerId, revision)
    flash(reply, `The scheduled change is cancelled. Your plan stays ${planText(state.terms.plan)}.`)
    return reply.redirect('/console/plan', 303)
  })

  app.get('/console/first-call', signedIn, async (request, reply) => {
    const [customer, firstCallAt] = await Promise.all([
      desk.customerIfKnown(request),
      reads.firstCallAt(signedInOf(request).customerId),
    ])
    const now = deps.clock.now()
    return desk.show(reply, FirstCallPage({ frame: desk.frame(request, reply), publicUrl, customer, now, firstCallAt }))
  })
}

/** The query's `before`; undefined without one. @throws ApiError not_found */
function revisionIn({ query }: FastifyRequest): bigint | undefined {
  const { before } = query as { before?: unknown }
  if (before === undefined) return undefined
  if (typeof before !== 'string' || !/^\d{1,18}$/.test(before))
    throw new ApiError('not_found', 'There is no such page.')
  return BigInt(before)
}
