/** The ledgers of this process: made on demand, forgotten when idle and many, drained at shutdown. */
import type { Executed, LedgerRequest } from './batch.ts'
import { Ledger, type LedgerDeps } from './ledger.ts'
import type { CustomerState } from './state.ts'

export interface Ledgers {
  /**
   * Runs a command through the customer's ledger. `doubtStanding` says that Postgres holds an attempt in doubt for
   * this customer: it is settled first.
   * @throws what Ledger.execute throws
   */
  execute(customerId: string, request: LedgerRequest, options?: { doubtStanding?: boolean }): Promise<Executed>
  /** The state as last folded in this process, possibly behind other instances; undefined when nothing is known. */
  lastKnown(customerId: string): CustomerState | undefined
  /**
   * Settles every doubt that stands in Postgres, customer by customer; returns how many could not be settled yet. Ends
   * before the next customer once `signal` aborts.
   */
  settleStanding(signal?: AbortSignal): Promise<number>
  /** Waits until every command that was accepted has its outcome. */
  drained(): Promise<void>
}

const maxLedgers = 10_000

export function createLedgers(deps: LedgerDeps): Ledgers {
  const ledgers = new Map<string, Ledger>() // in the order of last use

  function ledgerOf(customerId: string): Ledger {
    const ledger = ledgers.get(customerId) ?? new Ledger(customerId, deps)
    ledgers.delete(customerId)
    ledgers.set(customerId, ledger)
    if (ledgers.size > maxLedgers) {
      // Busy ones and those in doubt stay: the map may outgrow its limit by as many as are at work.
      for (const [id, candidate] of ledgers) {
        if (!candidate.idle || candidate === ledger) continue
        ledgers.delete(id)
        break
      }
    }
    return ledger
  }

  return {
    async execute(customerId, request, { doubtStanding = false } = {}) {
      const ledger = ledgerOf(customerId)
      if (doubtStanding) ledger.doubt(await deps.doubts.standing(customerId))
      return ledger.execute(request)
    },
    lastKnown: (customerId) => ledgers.get(customerId)?.lastKnown,
    async settleStanding(signal) {
      const customers = new Set<string>()
      for (const doubt of await deps.doubts.standing()) {
        ledgerOf(doubt.customerId).doubt([doubt])
        customers.add(doubt.customerId)
      }
      let failed = 0
      for (const customerId of customers) {
        if (signal?.aborted) break
        await ledgerOf(customerId)
          .settleNow()
          .catch(() => {
            failed += 1
          })
      }
      return failed
    },
    async drained() {
      await Promise.all([...ledgers.values()].map((ledger) => ledger.drained()))
    },
  }
}
