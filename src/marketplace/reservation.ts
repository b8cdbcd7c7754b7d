/**
 * Who holds a licence: one event at NO_STREAM in `licence-{id}`, so that no licence is registered twice, whoever races.
 * It is the decision; what follows from it (registering, changing the customer's licence) can be done again and again.
 */
import { randomUUID } from 'node:crypto'
import { type Origin, type Patience, sendUntilKnown } from '../commands/attempt.ts'
import { LedgerUnavailable } from '../commands/errors.ts'
import { licenceIdentity } from '../commands/plans.ts'
import type { Licence } from '../events/catalogue.ts'
import { chain, emptyHead } from '../events/chain.ts'
import { licenceReservedData, licenceStream, meteringSchemaVersion, parseData } from '../events/metering.ts'
import type { EventStore } from '../eventstore/store.ts'
import { identityOf } from '../metering/rules.ts'

type Log = Pick<EventStore, 'readForward'>

export interface Holder {
  readonly customerId: string
  /** When the licence was reserved: AWS had granted it by then, and nothing was used of it before. */
  readonly reservedAt: string
}

/** @throws EventStoreUnavailable, UnreadableEvent */
export const holderOf = (store: Log, licence: Licence): Promise<Holder | null> =>
  holderOfIdentity(store, licenceIdentity(licence))

/** The same of a licence that is known by what licenceIdentity says of it. */
export async function holderOfIdentity(store: Log, identity: string): Promise<Holder | null> {
  for await (const stored of store.readForward(licenceStream(identity), 0n, 1)) {
    const { customerId, occurredAt } = parseData(stored, licenceReservedData).data
    return { customerId, reservedAt: occurredAt }
  }
  return null
}

export interface Reservation {
  readonly licence: Licence
  readonly customerId: string
  readonly now: string
  readonly origin: Origin
}

/**
 * Reserves a licence for a customer, unless somebody did before; returns who holds it.
 * @throws LedgerUnavailable when that is not known: ask again
 */
export async function reserve(
  { store, patience }: { readonly store: EventStore; readonly patience: Patience },
  { licence, customerId, now, origin }: Reservation,
): Promise<Holder> {
  const stream = licenceStream(licenceIdentity(licence))
  const data = licenceReservedData.parse({ customerId, occurredAt: now, identity: identityOf(licence) })
  const metadata = { ...origin, schema: meteringSchemaVersion }
  const { events } = chain(stream, emptyHead, [{ id: randomUUID(), type: 'LicenceReserved', data, metadata }])
  const outcome = await sendUntilKnown(store, { stream, expectedRevision: 'no_stream', events }, patience)
  switch (outcome.kind) {
    case 'appended':
      return { customerId, reservedAt: now }
    case 'conflict': {
      const holder = await holderOf(store, licence)
      if (holder === null) throw new LedgerUnavailable(`${stream} is there and cannot be read`)
      return holder
    }
    case 'refused':
      throw outcome.cause
    case 'unknown':
      throw new LedgerUnavailable(`it is not known who holds ${stream}`, { cause: outcome.cause })
  }
}
