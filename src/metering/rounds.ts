/** The leader's rounds of sealing and closing: who is due, and the decision under the customer's lock. */
import type { AlarmName } from '../alarms.ts'
import type { Doubts } from '../commands/doubts.ts'
import type { MeteringEvent } from '../events/metering.ts'
import { type Alarms, tellOf } from './alarms.ts'
import { type CustomerBooks, type DecideFor, forEachCustomer, howeverMany } from './books.ts'
import { closesAt, decideClose } from './close.ts'
import type { Endings } from './endings.ts'
import { addMs, hourOf, type MeteringRules } from './rules.ts'
import { completeThrough, decideAdjustments, decideSeals, type SealContext, tooLarge } from './seal.ts'
import type { CustomerMeter, MeteringTables, PartitionRow } from './tables.ts'

export interface RoundDeps {
  readonly tables: Pick<
    MeteringTables,
    'customersToSeal' | 'customersToAdjust' | 'meteredCustomers' | 'monthsToClose' | 'partitions'
  >
  readonly decideFor: DecideFor
  readonly doubts: Pick<Doubts, 'standing'>
  /** Absent: the rows alone say which licences have ended. */
  readonly endings?: Endings | undefined
  readonly rules: MeteringRules
  /** Events of a customer's stream that a seal waits for no feed to bring; default 10,000. */
  readonly readAheadAtMost?: number | undefined
  /** ISO 8601. */
  readonly now: () => string
  readonly alarms: Alarms
  readonly onTrouble: (customerId: string, error: unknown) => void
}

export interface Rounds {
  /** Seals what is due, makes heartbeats, notes late voids. */
  seal(signal: AbortSignal): Promise<void>
  /** Closes the months that AWS has closed. */
  close(signal: AbortSignal): Promise<void>
}

/** Something is to be sealed before its hour is over, and waits for no feed. */
const hasEarly = ({ records }: CustomerBooks): boolean =>
  records.some(({ state, sealEarly }) => state === 'open' && sealEarly !== null)

export function createRounds(deps: RoundDeps): Rounds {
  const { tables, decideFor, doubts, endings, rules, readAheadAtMost = 10_000, now, alarms, onTrouble } = deps
  /** Alarms that were raised; each record and month raises its own once. */
  const told = new Set<string>()
  /** Partition → the hour up to which heartbeats were looked for. */
  const beaten = new Map<number, string>()

  const context = ({ partition }: CustomerMeter, partitions: readonly PartitionRow[]): SealContext => ({
    rules,
    now: now(),
    judgedThrough: partitions.find((row) => row.partition === partition)?.judgedThrough ?? '',
  })

  /**
   * While an attempt is in doubt, what it billed may still be voided: nothing of the customer is fixed. One that was
   * settled a moment ago has its void in the customer's stream, if not yet in what the feed has brought: so this is
   * asked first, and the stream read to its end for each seal.
   */
  const isInDoubt = async (customerId: string) => (await doubts.standing(customerId)).length > 0

  async function seal(signal: AbortSignal): Promise<void> {
    // Read before the books are: what is judged only grows, and it was folded before it was judged.
    const partitions = await tables.partitions()
    const toSeal = new Set(await tables.customersToSeal(rules.graceMs))
    const news = rules.heartbeat ? newlyJudged(partitions, now()) : new Map<number, string>()
    if (news.size > 0) for (const id of await tables.meteredCustomers([...news.keys()])) toSeal.add(id)
    const toAdjust = await tables.customersToAdjust()
    const ended = new Map(endings?.standing())

    await forEachCustomer(new Set([...ended.keys(), ...toSeal, ...toAdjust]), signal, onTrouble, async (customerId) => {
      const ending = ended.get(customerId)
      const maySeal = (ending !== undefined || toSeal.has(customerId)) && !(await isInDoubt(customerId))
      let isSettled = false
      const decide = (books: CustomerBooks) => {
        const adjustments = decideAdjustments(books, now())
        if (!maySeal) return adjustments
        const sealed = seals(books, context(books.meter, partitions))
        isSettled = sealed.length === 0 && !hasEarly(books)
        return [...adjustments, ...sealed]
      }
      const isUrgent = (books: CustomerBooks) => ending !== undefined || hasEarly(books)
      const ahead = (books: CustomerBooks) => (isUrgent(books) ? howeverMany : readAheadAtMost)
      tellOf((await decideFor(customerId, decide, maySeal ? { ahead } : {})) ?? [], [], alarms)
      if (ending !== undefined && isSettled) endings?.settled(customerId, ending)
    })
    if (!signal.aborted) for (const [partition, hour] of news) beaten.set(partition, hour)
  }

  function seals(books: CustomerBooks, context: SealContext): MeteringEvent[] {
    for (const { recordId } of tooLarge(books, context)) {
      tellOnce(recordId, 'metering_too_large', `${recordId} holds more calls than AWS takes and is not sealed`, {
        recordId,
      })
    }
    return decideSeals(books, context)
  }

  /** Partitions of which another hour is over by now: heartbeats are looked for in them, and in no others. */
  function newlyJudged(partitions: readonly PartitionRow[], now: string): Map<number, string> {
    const hours = partitions.flatMap(({ partition, judgedThrough }): [number, string][] => {
      const through = completeThrough({ judgedThrough, now })
      return through === '' ? [] : [[partition, hourOf(addMs(through, -rules.graceMs))]]
    })
    return new Map(hours.filter(([partition, hour]) => beaten.get(partition) !== hour))
  }

  async function close(signal: AbortSignal): Promise<void> {
    const partitions = await tables.partitions()
    const months = (await tables.monthsToClose(rules.graceMs)).filter(
      ({ yearMonth }) => closesAt(yearMonth, rules) <= now(),
    )
    await forEachCustomer(
      new Set(months.map(({ customerId }) => customerId)),
      signal,
      onTrouble,
      async (customerId) => {
        if (await isInDoubt(customerId)) return
        const due = months.filter((month) => month.customerId === customerId)
        const events = await decideFor(customerId, (books) =>
          due.flatMap(({ yearMonth }) => {
            const decided = decideClose(books, yearMonth, context(books.meter, partitions))
            if (!('message' in decided)) return decided
            const message = `The books of ${customerId} for ${yearMonth} do not add up: ${decided.message}`
            tellOnce(`${customerId} ${yearMonth}`, 'metering_imbalance', message, { customerId, yearMonth })
            return []
          }),
        )
        tellOf(events ?? [], [], alarms)
      },
    )
  }

  function tellOnce(
    subject: string,
    kind: AlarmName,
    message: string,
    fields: Readonly<Record<string, unknown>>,
  ): void {
    if (told.has(subject)) return
    told.add(subject)
    alarms.onAlarm(kind, message, fields)
  }

  return { seal, close }
}
