/**
 * The rules by which one record makes AWS refuse the whole call. Pure; sources as in rules.ts.
 * [sdk] TimestampOutOfBoundsException: "if any of the records are outside of the allowed range, the entire batch is not
 * processed. You must remove invalid records and try again." That the other exceptions refuse the batch too is how an
 * exception must be read: there are no Results then.
 */
import { type AwsState, subscriptionOf, type UsageRecord } from './state.ts'

export interface Refusal {
  readonly kind: 'exception'
  readonly name: string
  readonly message: string
}

const maxQuantity = 2_147_483_647
const isQuantity = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= maxQuantity

/** What is wrong with the record; null if it gets a status of its own. */
export function poisonOf(
  state: AwsState,
  productCode: string | undefined,
  record: UsageRecord,
  now: number,
): Refusal | null {
  return (
    shape(record) ??
    allocations(record) ??
    identity(state, productCode, record) ??
    licence(state, productCode, record) ??
    dimension(state, productCode, record) ??
    time(state, productCode, record, now)
  )
}

const refuse = (name: string, message: string): Refusal => ({ kind: 'exception', name, message })

/** The constraints of the service's model. */
function shape({ Quantity = 0, Dimension, CustomerAWSAccountId, LicenseArn }: UsageRecord): Refusal | null {
  if (!isQuantity(Quantity))
    return refuse('ValidationException', `Quantity: ${Quantity} is not from 0 to ${maxQuantity}.`)
  if (Dimension.length < 1 || Dimension.length > 255) return refuse('ValidationException', 'Dimension: 1 to 255.')
  if (CustomerAWSAccountId !== undefined && !/^[0-9]{1,255}$/.test(CustomerAWSAccountId)) {
    return refuse('ValidationException', 'CustomerAWSAccountId: digits only.')
  }
  if (LicenseArn !== undefined && !/^arn:aws[a-z-]*:/.test(LicenseArn)) {
    return refuse('ValidationException', 'LicenseArn: no ARN.')
  }
  return null
}

function allocations({ Quantity = 0, UsageAllocations }: UsageRecord): Refusal | null {
  if (UsageAllocations === undefined) return null
  // The service's model: 1 to 2,500 allocations.
  if (UsageAllocations.length < 1 || UsageAllocations.length > 2500) {
    return refuse('ValidationException', 'UsageAllocations: 1 to 2500 items.')
  }
  if (!UsageAllocations.every((one) => isQuantity(one.AllocatedUsageQuantity))) {
    return refuse('ValidationException', `AllocatedUsageQuantity: 0 to ${maxQuantity}.`)
  }
  // [sdk] InvalidTagException: "The tag is invalid, or the number of tags is greater than 5." The range from the blank
  // to the equals sign is the model's own.
  const letters = /^[a-zA-Z0-9+ -=._:/@]+$/
  for (const { Tags = [] } of UsageAllocations) {
    const valid = Tags.every(
      ({ Key, Value }) => Key.length <= 100 && Value.length <= 256 && letters.test(Key) && letters.test(Value),
    )
    if (Tags.length > 5 || !valid) return refuse('InvalidTagException', 'The tag is invalid, or there are more than 5.')
  }
  // [sdk] "The sum of all UsageAllocation quantities must equal the Quantity of the UsageRecord", "each UsageAllocation
  // must have a unique set of tags".
  const sum = UsageAllocations.reduce((total, one) => total + one.AllocatedUsageQuantity, 0)
  const tagSets = new Set(
    UsageAllocations.map(({ Tags = [] }) => JSON.stringify(Tags.map(({ Key, Value }) => [Key, Value]).toSorted())),
  )
  if (sum !== Quantity || tagSets.size !== UsageAllocations.length) {
    return refuse('InvalidUsageAllocationsException', `The allocations sum to ${sum}, the quantity is ${Quantity}.`)
  }
  return null
}

function identity(state: AwsState, productCode: string | undefined, record: UsageRecord): Refusal | null {
  const { CustomerIdentifier, CustomerAWSAccountId, LicenseArn } = record
  // [sdk] of entitlements, and the seller guide of both services: the two are mutually exclusive.
  if ((CustomerIdentifier === undefined) === (CustomerAWSAccountId === undefined)) {
    return refuse('InvalidCustomerIdentifierException', 'CustomerIdentifier or CustomerAWSAccountId, one of the two.')
  }
  // [sdk] InvalidCustomerIdentifierException: "You have metered usage for a CustomerIdentifier that does not exist."
  if (
    CustomerIdentifier !== undefined &&
    !state.subscriptions.some((one) => one.customerIdentifier === CustomerIdentifier)
  ) {
    return refuse('InvalidCustomerIdentifierException', `There is no customer ${CustomerIdentifier}.`)
  }
  // [sdk] "ProductCode is required only for legacy integrations": a record without a licence needs it.
  if (LicenseArn === undefined && productCode === undefined) {
    return refuse('InvalidProductCodeException', 'A record without LicenseArn needs the ProductCode.')
  }
  return null
}

/**
 * [sdk] InvalidLicenseException: "Ensure the LicenseArn is valid, matches the customer, and usage is within the license
 * activation period." To the millisecond, which is an assumption.
 */
function licence(state: AwsState, productCode: string | undefined, record: UsageRecord): Refusal | null {
  if (record.LicenseArn === undefined) return null
  const found = subscriptionOf(state, productCode, record)
  if (found === undefined) return refuse('InvalidLicenseException', `There is no licence ${record.LicenseArn}.`)
  // [sdk] new integrations name the buyer by account: "Calls to BatchMeterUsage require CustomerAWSAccountId".
  if (record.CustomerAWSAccountId !== found.awsAccountId) {
    return refuse('InvalidLicenseException', 'The licence is of another customer.')
  }
  if (productCode !== undefined && productCode !== found.productCode) {
    return refuse('InvalidProductCodeException', 'The licence is for another product.')
  }
  const at = record.Timestamp * 1000
  if (at < found.startsAt || (found.endedAt !== null && at > found.endedAt)) {
    return refuse('InvalidLicenseException', 'The usage is outside the licence activation period.')
  }
  return null
}

/** [sdk] "The usage dimension does not match one of the UsageDimensions associated with products." */
function dimension(state: AwsState, productCode: string | undefined, record: UsageRecord): Refusal | null {
  const product = subscriptionOf(state, productCode, record)?.productCode ?? productCode
  if (product !== undefined && state.products.get(product)?.includes(record.Dimension)) return null
  return refuse('InvalidUsageDimensionException', `${product} has no dimension ${record.Dimension}.`)
}

function time(state: AwsState, productCode: string | undefined, record: UsageRecord, now: number): Refusal | null {
  const at = record.Timestamp * 1000
  const { windowHours, monthCloseHour } = state.limits
  const day = new Date(at)
  // [sdk] "On April 1 at 05:00 UTC, you can still submit records for March 31 … After 06:00 UTC on April 1, March
  // records are rejected regardless of the normal 24-hour submission window."
  const monthCloses = Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + 1, 1, monthCloseHour)
  const startsAt = subscriptionOf(state, productCode, record)?.startsAt ?? Number.NEGATIVE_INFINITY
  const outside =
    // Usage that has not happened yet cannot be metered; that no clock's lead is forgiven is an assumption.
    at > now ||
    // [sdk] "Usage records aren't accepted 24 hours or more after an event."
    now - at >= windowHours * 3_600_000 ||
    now >= monthCloses ||
    // [sdk] "Make sure the timestamp value is not before the start of the software usage."
    at < startsAt
  return outside ? refuse('TimestampOutOfBoundsException', `${day.toISOString()} is out of the allowed range.`) : null
}
