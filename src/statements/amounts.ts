/** Money of a statement: decimal strings from the log, multiplied and added without a float in between. */
import { Big } from 'big.js'

/** What calls past the limit cost, in USD, exact. */
export function overageAmount(prices: readonly { overageCalls: number; overageUnitPrice: string }[]): string {
  return prices
    .reduce((sum, { overageCalls, overageUnitPrice }) => sum.plus(Big(overageUnitPrice).times(overageCalls)), Big(0))
    .toFixed()
}
