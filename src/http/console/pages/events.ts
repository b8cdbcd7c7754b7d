/** Events of the log in a customer's words. */
import type { CustomerEvent, Slot } from '../../../events/catalogue.ts'
import { calls, count, dayText, monthText, planText } from '../../../format.ts'

const slotText = (slot: Slot): string => (slot === 'primary' ? 'Primary' : 'Secondary')

/** What happened. */
export function eventText({ type, data }: CustomerEvent): string {
  switch (type) {
    case 'CustomerRegistered':
      return `Account opened on the ${planText(data.plan)} plan`
    case 'MonthlyCreditsGranted':
      return `${count(data.monthlyLimit)} credits granted for ${monthText(data.yearMonth)}, plan ${planText(data.plan)}`
    case 'ApiKeyIssued':
      return `${slotText(data.slot)} key issued (${data.prefix}…)`
    case 'ApiKeyRegenerated':
      return `${slotText(data.slot)} key regenerated (now ${data.prefix}…)`
    case 'ApiKeyDeactivated':
      return `${slotText(data.slot)} key deactivated: ${data.reason}`
    case 'HardCapEnabled':
      return 'Hard cap switched on'
    case 'HardCapDisabled':
      return 'Hard cap switched off'
    case 'PlanChanged':
      return `Plan changed from ${planText(data.from)} to ${planText(data.plan)}`
    case 'MonthlyLimitChanged':
      return `Monthly limit changed from ${count(data.from)} to ${calls(data.monthlyLimit)}`
    case 'PlanChangeScheduled':
      return `Change to ${planText(data.plan)} scheduled for ${monthText(data.effectiveMonth)}`
    case 'ScheduledPlanChangeCancelled':
      return `Change to ${planText(data.plan)} in ${monthText(data.effectiveMonth)} cancelled`
    case 'LicenceChanged':
      return 'AWS Marketplace licence changed'
    case 'LicenceChangeScheduled':
      return `Another AWS Marketplace licence takes over at ${data.effectiveAt.slice(11, 16)} UTC`
    case 'SubscriptionEnded':
      return `Subscription ended, credits usable until ${dayText(new Date(Date.parse(data.paidUntil) - 1).toISOString())}`
    case 'SubscriptionResumed':
      return 'Subscription resumed'
    case 'CustomerDeactivated':
      return `Account deactivated: ${data.reason}`
    case 'DetectionSucceeded':
      return `Call ${count(data.sequence)} of ${monthText(data.yearMonth)}`
    case 'DetectionReplayed':
      return 'Call answered again under its idempotency key, not billed'
    case 'DetectionVoided':
      return `Call of ${monthText(data.yearMonth)} taken back (${data.funding})`
    case 'AttemptFenced':
      return 'Unfinished write closed, nothing billed'
  }
}

/** By whom, as the customer knows them. `console:{accountId}` is the only actor that is a person of theirs. */
export function actorText(actor: string, accountId: string): string {
  if (actor === `console:${accountId}`) return 'you'
  if (actor.startsWith('console:')) return 'another console account'
  if (actor.startsWith('key:')) return 'a call with an API key'
  if (actor === 'operator') return 'the operator'
  return actor === 'marketplace' ? 'AWS Marketplace' : 'the service'
}
