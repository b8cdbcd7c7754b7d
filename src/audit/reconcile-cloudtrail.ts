/** The metering ledger against what CloudTrail saw of BatchMeterUsage. Pure. */
import type { SentUsage } from './cloudtrail.ts'
import type { LedgerRecord } from './reconcile-ledger.ts'

export interface Unreconciled {
  /** Name of our record; null for what only AWS knows. */
  readonly recordId: string | null
  readonly customerId: string | null
  readonly fault: string
  /** What most likely made the two differ. */
  readonly cause: string
  /** A command for the operator, where one settles it. */
  readonly next: string | null
}

const hourOf = (timestamp: string): string => timestamp.slice(0, 13)
const usageKey = (licence: string, dimension: string, timestamp: string): string =>
  [licence, dimension, hourOf(timestamp)].join('|')
const isSuccess = ({ status }: SentUsage): boolean => status === 'Success'

/** CloudTrail delivers within about a quarter of an hour, and one event later than another; in milliseconds. */
const deliveryMs = 3_600_000

export function againstCloudTrail(ledger: readonly LedgerRecord[], sent: readonly SentUsage[]): Unreconciled[] {
  const byHour = new Map<string, SentUsage[]>()
  for (const usage of sent) {
    const key = usageKey(usage.licence, usage.dimension, usage.timestamp)
    byHour.set(key, [...(byHour.get(key) ?? []), usage])
  }
  const covers = coverageOf(sent)
  const books = booksOf(ledger)
  const underProduct = new Map(sent.filter(isSuccess).flatMap((usage) => buyerKey(usage).map((key) => [key, usage])))
  const found = ledger
    .filter(({ sealed: { submission } }) => submission === 'due' || submission === 'off')
    .flatMap((one) => faultsOf(one, byHour.get(keyOf(one)) ?? [], covers))
  found.push(...unreached(ledger, byHour, covers))
  for (const [key, usages] of byHour) {
    const own = books.byKey.get(key)
    found.push(...(own === undefined ? strangers(usages, books) : billedTwice(own, usages, underProduct)))
  }
  return found
}

/** What these files can say nothing of is not confirmed by them: one line for all of it. */
function unreached(
  ledger: readonly LedgerRecord[],
  byHour: ReadonlyMap<string, readonly SentUsage[]>,
  covers: (at: string) => boolean,
): Unreconciled[] {
  const open = ledger
    .filter(({ record, attemptedAt }) => record.state === 'accepted' && !attemptedAt.some(covers))
    .filter((one) => byHour.get(keyOf(one))?.some(isSuccess) !== true)
    .map(({ sealed }) => sealed.timestamp)
    .toSorted()
  if (open.length === 0) return []
  const fault = `these files do not reach the attempts of ${open.length} accepted records, of ${open[0]} to ${open.at(-1)}`
  const cause = 'more files of CloudTrail are needed, which keeps them 90 days; --month asks of one month alone'
  return [{ recordId: null, customerId: null, fault, cause, next: null }]
}

interface Books {
  readonly byKey: ReadonlyMap<string, LedgerRecord>
  /** Licence, dimension and quantity → a record. */
  readonly byQuantity: ReadonlyMap<string, LedgerRecord>
  readonly licences: ReadonlySet<string>
}

const keyOf = ({ record: { licence, dimension }, sealed }: LedgerRecord): string =>
  usageKey(licence, dimension, sealed.timestamp)

const booksOf = (ledger: readonly LedgerRecord[]): Books => ({
  byKey: new Map(
    ledger
      .filter(({ sealed: { submission } }) => submission === 'due' || submission === 'off')
      .map((one) => [keyOf(one), one]),
  ),
  byQuantity: new Map(
    ledger.map((one) => [[one.record.licence, one.record.dimension, one.sealed.quantity].join('|'), one]),
  ),
  licences: new Set(ledger.map(({ record }) => record.licence)),
})

/** Of usage under a product's code: the buyer, dimension and hour, as usage under a licence may be billed for too. */
function buyerKey({ licence, dimension, timestamp }: SentUsage): string[] {
  if (licence.startsWith('arn:')) return []
  return [usageKey(licence.slice(licence.indexOf('/') + 1), dimension, timestamp)]
}

/** Whether the files would show a call of that instant. */
function coverageOf(sent: readonly SentUsage[]): (at: string) => boolean {
  const times = sent.map(({ eventTime }) => Date.parse(eventTime))
  const from = times.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY)
  const to = times.reduce((most, at) => Math.max(most, at), Number.NEGATIVE_INFINITY)
  return (at) => Date.parse(at) >= from - deliveryMs && Date.parse(at) <= to - deliveryMs
}

function faultsOf(one: LedgerRecord, usages: readonly SentUsage[], covers: (at: string) => boolean): Unreconciled[] {
  const { record, sealed, attemptedAt } = one
  const say = (fault: string, cause: string, next: string | null = null): Unreconciled => ({
    recordId: record.recordId,
    customerId: record.customerId,
    fault,
    cause,
    next,
  })
  const same = usages.filter(
    ({ quantity, timestamp }) => quantity === sealed.quantity && timestamp === sealed.timestamp,
  )
  const others = usages.filter((usage) => !same.includes(usage))
  const success = same.find(isSuccess)
  const found: Unreconciled[] = []

  const other = others.find(isSuccess) ?? others[0]
  if (other !== undefined) {
    const taken = isSuccess(other) ? 'and AWS took it' : `and AWS answered ${other.status}`
    const cause =
      record.state === 'refused'
        ? 'AWS keeps the first quantity it was told: ours was refused because of it'
        : elsewhere(other)
    found.push(say(`${told(other)} for this hour, ${taken}; ${sealed.quantity} is sealed`, cause))
  }
  const abroad = same.find(({ region }) => region !== sealed.region)
  if (abroad !== undefined) {
    found.push(
      say(
        `${told(abroad)}, the record is for ${sealed.region}`,
        'two regions: AWS removes duplicates within one region only; MARKETPLACE_REGION was changed, or differs between instances',
      ),
    )
  }
  if (sealed.submission === 'off' && same.length > 0) {
    found.push(
      say(`${told(same[0] as SentUsage)}, and it was sealed with METERING_SUBMIT off`, elsewhere(same[0] as SentUsage)),
    )
  }
  if (record.state === 'accepted') {
    if (success === undefined && attemptedAt.some(covers)) {
      const cause =
        same.length === 0 ? 'files are missing, or it was sent to another account' : `AWS answered ${same[0]?.status}`
      found.push(say('it counts as accepted, and CloudTrail shows no acceptance', cause))
    } else if (success?.meteringRecordId != null && success.meteringRecordId !== record.meteringRecordId) {
      const is = `AWS calls it ${success.meteringRecordId}, we ${record.meteringRecordId}`
      found.push(say(is, 'it was sent twice, and AWS gave the second acceptance a name of its own'))
    }
  } else if (success !== undefined) found.push(acceptedUnknown(one, success, say))
  else if (record.state === 'unknown' && attemptedAt.length > 0 && attemptedAt.every(covers)) {
    found.push(
      say(
        `nobody knows whether AWS took it; CloudTrail shows ${same.length === 0 ? 'no such call' : `only ${statuses(same)}`}`,
        'the request was lost on its way, or refused: AWS does not bill it',
        `liveness metering write-off '${record.recordId}' --reason 'CloudTrail shows no acceptance'`,
      ),
    )
  } else if (record.state === 'unknown') {
    found.push(
      say(
        'nobody knows whether AWS took it, and these files do not reach its attempts',
        'more files of CloudTrail are needed',
      ),
    )
  }
  return found
}

function acceptedUnknown(
  { record }: LedgerRecord,
  success: SentUsage,
  say: (fault: string, cause: string, next?: string | null) => Unreconciled,
): Unreconciled {
  const fault = `AWS took it (event ${success.eventId} of ${success.eventTime}); here it is ${record.state.replace('_', ' ')}`
  if (record.state === 'unknown' && success.meteringRecordId !== null) {
    const name = `--metering-record-id '${success.meteringRecordId}'`
    return say(fault, 'the answer was lost on its way', `liveness metering accept '${record.recordId}' ${name}`)
  }
  if (record.state === 'sealed') return say(fault, 'it was sent by somebody else, or its answer is being written down')
  if (record.state === 'carried_forward') {
    return say(
      fault,
      `its calls were carried into ${record.carriedTo} too: they are billed twice, and one is to be given back`,
    )
  }
  return say(fault, 'its answer was lost, and it was given up: AWS bills what is lost or refused here')
}

/** What AWS was told of an hour that has no record here. */
function strangers(usages: readonly SentUsage[], { byQuantity, licences }: Books): Unreconciled[] {
  return usages.map((usage) => {
    const { licence, dimension, quantity, timestamp } = usage
    const twin = quantity === 0 ? undefined : byQuantity.get([licence, dimension, quantity].join('|'))
    const isOtherMonth = twin !== undefined && !twin.sealed.timestamp.startsWith(timestamp.slice(0, 7))
    const cause = isOtherMonth
      ? `wrong month: ${twin.record.recordId} has the same quantity, at ${twin.sealed.timestamp}`
      : licences.has(licence)
        ? elsewhere(usage)
        : 'no customer here holds this licence: another installation, or a customer who was never registered here'
    const fault = `${told(usage)} for ${licence}, ${dimension}, ${timestamp}: there is no such record (AWS answered ${usage.status})`
    return { recordId: null, customerId: twin?.record.customerId ?? null, fault, cause, next: null }
  })
}

/** The same hour accepted in two regions, or under a licence and under the product too. */
function billedTwice(
  { record: { recordId, customerId, dimension }, sealed }: LedgerRecord,
  usages: readonly SentUsage[],
  underProduct: ReadonlyMap<string, SentUsage>,
): Unreconciled[] {
  const of = { recordId, customerId, next: null }
  const regions = [...new Set(usages.filter(isSuccess).map(({ region }) => region))]
  const found: Unreconciled[] = []
  if (regions.length > 1) {
    found.push({ ...of, fault: `AWS took it in ${regions.join(' and in ')}`, cause: 'two regions: it is billed twice' })
  }
  const { identity, timestamp } = sealed
  const legacy = identity.kind === 'licence' && underProduct.get(usageKey(identity.awsAccountId, dimension, timestamp))
  if (legacy && usages.some(isSuccess)) {
    const fault = `AWS took this hour under the licence and under ${legacy.licence} (event ${legacy.eventId})`
    found.push({ ...of, fault, cause: 'LicenseArn and ProductCode for the same usage: it is billed twice' })
  }
  return found
}

const told = ({ quantity, caller, region, eventId, eventTime }: SentUsage): string =>
  `${quantity} were sent in ${region} by ${caller} (event ${eventId} of ${eventTime})`
const elsewhere = ({ caller }: SentUsage): string =>
  `sent by somebody else than this installation: another one of the same account, or by hand (${caller})`
const statuses = (usages: readonly SentUsage[]): string => [...new Set(usages.map(({ status }) => status))].join(', ')
