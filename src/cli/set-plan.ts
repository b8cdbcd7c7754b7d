import type { Executed } from '../commands/batch.ts'

/**
 * What `customer set-plan` says besides how the customer stands now; null: nothing. Pure.
 * @param set what the command came to
 */
export function aboutPlan(set: Executed): { readonly cancelled: string | null; readonly warning: string | null } {
  let cancelled: string | null = null
  for (const event of set.kind === 'done' ? set.events : []) {
    if (event.type !== 'ScheduledPlanChangeCancelled') continue
    const { plan, effectiveMonth } = event.data
    cancelled = `The change to ${plan} that was scheduled for ${effectiveMonth} is cancelled.`
  }
  // src/marketplace/settle.ts sets what the entitlements say, whenever AWS says anything of the subscription.
  const isBought = set.state.licence.kind !== 'none'
  return {
    cancelled,
    warning: isBought
      ? 'This customer bought in AWS Marketplace, whose next message sets plan and limit back to what was bought ' +
        'there. A limit of their own belongs into the private offer, as the value of its dimension.'
      : null,
  }
}
