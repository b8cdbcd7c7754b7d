/**
 * What AWS Marketplace says about agreements, licences and subscriptions. Pure: reads messages of both generations, and
 * tells from all that are known of a licence how that licence stands. Messages come at least once and in any order, so
 * the answer depends on which there are and never on which came first.
 *
 * Sources: AWS Marketplace Seller Guide, "Managing SaaS subscription events with Amazon EventBridge" and "Amazon
 * EventBridge events" (listings since June 2026); "Amazon SNS notifications for SaaS products" (older ones).
 */
import { z } from 'zod'

/** A message as SQS delivered it. */
export interface Delivery {
  /** SQS's id. */
  readonly messageId: string
  /** When it was sent to the queue, ISO 8601 UTC. */
  readonly sentAt: string
  readonly body: string
}

const intents = ['NEW', 'RENEW', 'REPLACE', 'AMEND'] as const
const finalStatuses = ['CANCELLED', 'EXPIRED', 'TERMINATED'] as const
const renewedStatuses = ['RENEWED', 'REPLACED'] as const

interface OfAgreement {
  readonly agreementId: string
  readonly awsAccountId: string
}
interface OfLicence extends OfAgreement {
  readonly licenceArn: string
  readonly productCode: string
}
const subscriptionActions = [
  'subscribe-success',
  'subscribe-fail',
  'unsubscribe-pending',
  'unsubscribe-success',
  'entitlement-updated',
] as const

export type Said =
  | (OfAgreement & { readonly kind: 'agreement-created' | 'agreement-amended'; readonly intent: string })
  | (OfAgreement & { readonly kind: 'agreement-ended'; readonly status: string })
  | (OfLicence & { readonly kind: 'licence-updated' | 'licence-deprovisioned' })
  | {
      readonly kind: (typeof subscriptionActions)[number]
      readonly productCode: string
      readonly customerIdentifier: string
    }
  | { readonly kind: 'unknown'; readonly reason: string }

export interface LifecycleMessage {
  /** By which a second delivery is known. */
  readonly id: string
  /** When AWS made it, ISO 8601 UTC with milliseconds. */
  readonly sentAt: string
  readonly said: Said
}

const snsEnvelope = z.object({
  Type: z.literal('Notification'),
  MessageId: z.string(),
  Timestamp: z.string().optional(),
  Message: z.string(),
})
const eventEnvelope = z.object({
  source: z.literal('aws.agreement-marketplace'),
  'detail-type': z.string(),
  id: z.string(),
  time: z.string().optional(),
  detail: z.looseObject({ requestId: z.string().optional() }),
})
const notification = z.object({
  action: z.enum(subscriptionActions),
  'product-code': z.string().min(1),
  'customer-identifier': z.string().min(1),
})

const agreementDetail = z.object({
  agreement: z.object({ id: z.string().min(1) }),
  acceptor: z.object({ accountId: z.string().regex(/^\d+$/) }),
})
const startDetail = agreementDetail.extend({
  agreement: z.object({ id: z.string().min(1), intent: z.enum(intents) }),
})
const endDetail = agreementDetail.extend({
  agreement: z.object({ id: z.string().min(1), status: z.enum([...finalStatuses, ...renewedStatuses]) }),
})
const licenceDetail = agreementDetail.extend({
  product: z.object({ code: z.string().min(1) }),
  license: z.object({ arn: z.string().min(1) }),
})

/** Reads a message; what is not understood becomes `unknown`, to be kept and reported. Never throws. */
export function readMessage(delivery: Delivery): LifecycleMessage {
  const unknown = (reason: string): LifecycleMessage => ({
    id: `sqs:${delivery.messageId}`,
    sentAt: delivery.sentAt,
    said: { kind: 'unknown', reason },
  })
  const outer = jsonIn(delivery.body)
  if (outer === undefined) return unknown('it is no JSON')
  const sns = snsEnvelope.safeParse(outer)
  const inner = sns.success ? jsonIn(sns.data.Message) : outer
  if (inner === undefined) return unknown('the SNS message in it is no JSON')

  const event = eventEnvelope.safeParse(inner)
  if (event.success) {
    const said = readEvent(event.data)
    const { id, time, detail } = event.data
    return {
      // Proposer and manufacturer are told of one request in two envelopes; requests may share an id across kinds.
      id: said.kind === 'unknown' ? `event:${id}` : `${said.kind}:${detail.requestId ?? id}`,
      sentAt: instant(time) ?? delivery.sentAt,
      said,
    }
  }
  const id = sns.success ? `sns:${sns.data.MessageId}` : `sqs:${delivery.messageId}`
  const sentAt = (sns.success ? instant(sns.data.Timestamp) : undefined) ?? delivery.sentAt
  const read = notification.safeParse(inner)
  if (!read.success) return { ...unknown(`it is no message of AWS Marketplace: ${sentence(read.error)}`), id, sentAt }
  const { action, 'product-code': productCode, 'customer-identifier': customerIdentifier } = read.data
  return { id, sentAt, said: { kind: action, productCode, customerIdentifier } }
}

/** A kind of event: how its detail reads, and what it says. */
const readers: Readonly<Record<string, (detail: unknown) => Said>> = {
  'Purchase Agreement Created': (detail) => {
    const { agreement, acceptor } = startDetail.parse(detail)
    return { ...of(agreement, acceptor), kind: 'agreement-created', intent: agreement.intent }
  },
  'Purchase Agreement Amended': (detail) => {
    const { agreement, acceptor } = startDetail.parse(detail)
    return { ...of(agreement, acceptor), kind: 'agreement-amended', intent: agreement.intent }
  },
  'Purchase Agreement Ended': (detail) => {
    const { agreement, acceptor } = endDetail.parse(detail)
    return { ...of(agreement, acceptor), kind: 'agreement-ended', status: agreement.status }
  },
  'License Updated': (detail) => ({ ...ofLicence(detail), kind: 'licence-updated' }),
  'License Deprovisioned': (detail) => ({ ...ofLicence(detail), kind: 'licence-deprovisioned' }),
}

function readEvent(event: z.infer<typeof eventEnvelope>): Said {
  const type = event['detail-type']
  const reader = readers[type.replace(/ - (Proposer|Manufacturer)$/, '')]
  if (reader === undefined) return { kind: 'unknown', reason: `the event type is ${type}` }
  try {
    return reader(event.detail)
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error
    return { kind: 'unknown', reason: `${type}: ${sentence(error)}` }
  }
}

const of = (agreement: { id: string }, acceptor: { accountId: string }): OfAgreement => ({
  agreementId: agreement.id,
  awsAccountId: acceptor.accountId,
})

function ofLicence(detail: unknown): OfLicence {
  const { agreement, acceptor, product, license } = licenceDetail.parse(detail)
  // AWS's own examples of these events lack the "arn:" that ResolveCustomer gives and that real events have.
  const licenceArn = license.arn.startsWith('aws:') ? `arn:${license.arn}` : license.arn
  return { ...of(agreement, acceptor), licenceArn, productCode: product.code }
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function instant(text: string | undefined): string | undefined {
  const time = Date.parse(text ?? '')
  return Number.isNaN(time) ? undefined : new Date(time).toISOString()
}

const sentence = (error: z.ZodError): string =>
  error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')

/**
 * How a licence (or a legacy subscription) stands.
 * - `running`: AWS's entitlements say what is bought.
 * - `ended`: no overage may be made any more, and the last hour of metering runs.
 * - `replaced`: renewed or replaced by an agreement with a licence of its own. That is no end: service goes on.
 */
export type Standing =
  | { readonly kind: 'running' }
  | { readonly kind: 'ended'; readonly reason: string }
  | { readonly kind: 'replaced'; readonly reason: string }

/** How the licence stands by all messages known of it. */
export function standingOf(messages: readonly LifecycleMessage[]): Standing {
  return legacyEnd(messages) ?? agreementEnd(messages) ?? { kind: 'running' }
}

/** Of the messages about a subscription the newest holds: one that is taken up again stays with its customer. */
function legacyEnd(messages: readonly LifecycleMessage[]): Standing | undefined {
  const rank = ({ sentAt, said }: LifecycleMessage) => `${sentAt} ${said.kind === 'subscribe-success' ? 0 : 1}`
  const newest = messages
    .filter(({ said }) => /^(un)?subscribe-/.test(said.kind))
    .reduce<LifecycleMessage | undefined>(
      (best, next) => (best === undefined || rank(next) > rank(best) ? next : best),
      undefined,
    )
  if (newest === undefined || newest.said.kind === 'subscribe-success') return undefined
  return { kind: 'ended', reason: `AWS Marketplace: ${newest.said.kind} at ${newest.sentAt}` }
}

/**
 * The end of the agreement or the deprovisioning of its licence, whichever is known first, starts the last hour: AWS's
 * pages contradict each other on which of the two does. A licence that has ended never comes back.
 */
function agreementEnd(messages: readonly LifecycleMessage[]): Standing | undefined {
  const ends = new Map<string, string>()
  const agreements = new Set<string>()
  let deprovisioned = false
  for (const { said } of messages) {
    if ('agreementId' in said) agreements.add(said.agreementId)
    if (said.kind === 'licence-deprovisioned') deprovisioned = true
    // Should an agreement have two ends, the one that stops service holds: read the same in either order.
    if (said.kind === 'agreement-ended' && !isFinal(ends.get(said.agreementId))) ends.set(said.agreementId, said.status)
  }
  // A licence that another agreement goes on with has not ended.
  if (!deprovisioned && ends.size < agreements.size) return undefined
  const final = [...ends].find(([, status]) => isFinal(status))
  if (final !== undefined) return { kind: 'ended', reason: `AWS Marketplace: agreement ${final[0]} ${final[1]}` }
  const [renewed] = ends
  if (renewed !== undefined) {
    return { kind: 'replaced', reason: `AWS Marketplace: agreement ${renewed[0]} ${renewed[1]}` }
  }
  return deprovisioned ? { kind: 'ended', reason: 'AWS Marketplace: licence deprovisioned' } : undefined
}

const isFinal = (status: string | undefined): boolean => finalStatuses.some((one) => one === status)

/** Whether the licence's agreement continues an earlier one; undefined while nothing was said of how it began. */
export function continuesAnother(messages: readonly LifecycleMessage[]): boolean | undefined {
  const begun = messages.flatMap(({ said }) => (said.kind === 'agreement-created' ? [said.intent] : []))
  if (begun.length === 0) return undefined
  return begun.some((intent) => intent === 'RENEW' || intent === 'REPLACE')
}
