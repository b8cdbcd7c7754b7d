/** The world as one process sees it: each call takes time, may be the process's last, and does nothing after that. */
import type { Doubts } from '../../src/commands/doubts.ts'
import type { EventStore } from '../../src/eventstore/store.ts'
import type { MeteringTables, MeteringTransaction } from '../../src/metering/tables.ts'
import type { SimProcess } from './world.ts'

export const storeOf = (process: SimProcess, store: EventStore): EventStore => ({
  ...store,
  send: (attempt, deadlineMs) => process.io(() => store.send(attempt, deadlineMs)),
  async *readForward(...args) {
    await process.io(() => {})
    yield* store.readForward(...args)
  },
  async *readBackward(...args) {
    await process.io(() => {})
    yield* store.readBackward(...args)
  },
  async *readAll(options) {
    await process.io(() => {})
    yield* store.readAll(options)
  },
})

export const doubtsOf = (process: SimProcess, doubts: Doubts): Doubts => ({
  record: (doubt) => process.io(() => doubts.record(doubt)),
  remove: (id) => process.io(() => doubts.remove(id)),
  standing: (id) => process.io(() => doubts.standing(id)),
})

/** A process that dies within a transaction leaves nothing of it; one that dies after the commit leaves all of it. */
export function tablesOf(process: SimProcess, tables: MeteringTables): MeteringTables {
  const throughProcess = <T extends object>(target: T): T =>
    new Proxy(target, {
      get(of, name, receiver) {
        const member: unknown = Reflect.get(of, name, receiver)
        if (typeof member !== 'function') return member
        return (...args: unknown[]) => process.io(() => member.apply(of, args))
      },
    })
  return {
    ...throughProcess(tables),
    transaction: (work) => process.io(() => tables.transaction((tx: MeteringTransaction) => work(throughProcess(tx)))),
    customersToSeal: (graceMs) => process.io(() => tables.customersToSeal(graceMs)),
    customersToAdjust: () => process.io(() => tables.customersToAdjust()),
    recordsToSend: (limit, after) => process.io(() => tables.recordsToSend(limit, after)),
    monthsToClose: (graceMs) => process.io(() => tables.monthsToClose(graceMs)),
    meteredCustomers: (partitions) => process.io(() => tables.meteredCustomers(partitions)),
    partitions: () => process.io(() => tables.partitions()),
  }
}
