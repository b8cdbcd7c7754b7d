/** Invariants 2–6 of docs/design.md, checked on a customer's stream by bookkeeping of its own: none of the product's fold. */
import { expect } from 'vitest'
import { chainFault, emptyHead, type Head } from '../../src/events/chain.ts'
import { parseCustomerEvent } from '../../src/events/parse.ts'
import type { StoredEvent } from '../../src/eventstore/store.ts'

export interface Bill {
  /** Detection id → revisions at which it was recorded. */
  readonly recorded: Map<string, bigint[]>
  readonly voided: Set<string>
}

/** Walks a whole stream, throws on the first broken invariant, and returns what was billed. */
export function checkStream(stream: readonly StoredEvent[]): Bill {
  const bill: Bill = { recorded: new Map(), voided: new Set() }
  const funding = new Map<string, { month: string; funding: string }>()
  let head: Head = emptyHead
  let clock = ''
  let month = ''
  let sequence = 0
  let plan = ''
  let limit = 0
  let cap = false
  let ended = false
  let credit = 0
  /** UTC hour → how its calls are told to AWS. */
  const identities = new Map<string, string>()
  const valid = new Map<string, { keyId: string; expiresAt: string | undefined }>()
  for (const stored of stream) {
    expect(chainFault(head, stored), `revision ${stored.revision}`).toBeNull()
    const { event, metadata } = parseCustomerEvent(stored)
    head = { revision: stored.revision, hash: metadata.hash }
    const { occurredAt } = event.data
    expect(occurredAt >= clock, 'time runs forward along a stream (6)').toBe(true)
    clock = occurredAt
    if (event.type === 'CustomerRegistered') {
      ;({ plan, monthlyLimit: limit, hardCap: cap } = event.data)
      continue
    }
    if (event.type === 'MonthlyCreditsGranted') {
      expect(event.data.yearMonth).toBe(occurredAt.slice(0, 7))
      expect(event.data.yearMonth > month, 'a month is opened once').toBe(true)
      ;({ yearMonth: month, plan, monthlyLimit: limit } = event.data)
      sequence = 0
      credit = 0
      continue
    }
    expect(occurredAt.slice(0, 7), 'the opener is the first event of its month').toBe(month)
    switch (event.type) {
      case 'ApiKeyIssued':
      case 'ApiKeyRegenerated':
        valid.set(event.data.slot, { keyId: event.data.keyId, expiresAt: event.data.expiresAt })
        break
      case 'ApiKeyDeactivated':
        valid.delete(event.data.slot)
        break
      case 'HardCapEnabled':
        cap = true
        break
      case 'HardCapDisabled':
        cap = false
        break
      case 'PlanChanged':
      case 'MonthlyLimitChanged':
        ;({ plan, monthlyLimit: limit } = event.data)
        break
      case 'SubscriptionEnded':
        ended = true
        break
      case 'SubscriptionResumed':
        ended = false
        break
      case 'DetectionSucceeded': {
        const { detectionId, keyId, bucketKey } = event.data
        const [, licence = '', , hour = ''] = bucketKey.split('|')
        const kind = licence.startsWith('arn:') ? 'licence' : 'product'
        if (licence !== 'none') {
          expect(identities.get(hour) ?? kind, 'no hour is told to AWS by product code and by licence').toBe(kind)
          identities.set(hour, kind)
        }
        sequence += 1
        expect(event.data.sequence, 'sequence is 1..n without gap (2)').toBe(sequence)
        expect(event.data.yearMonth, 'a call is billed in the month it happened (6)').toBe(month)
        expect(event.data.plan).toBe(plan)
        const key = [...valid.values()].find((candidate) => candidate.keyId === keyId)
        expect(
          key !== undefined && !(key.expiresAt !== undefined && key.expiresAt <= occurredAt),
          'key valid (5)',
        ).toBe(true)
        expect(event.data.funding, 'credits first (4)').toBe(credit < limit ? 'credit' : 'overage')
        if (event.data.funding === 'credit') credit += 1
        else expect(plan === 'free' || cap || ended, 'no call past the limit in API-stop mode (3)').toBe(false)
        funding.set(detectionId, { month, funding: event.data.funding })
        bill.recorded.set(detectionId, [...(bill.recorded.get(detectionId) ?? []), stored.revision])
        break
      }
      case 'DetectionVoided': {
        const { detectionId } = event.data
        expect(bill.voided.has(detectionId), 'voided once').toBe(false)
        expect(bill.recorded.get(detectionId)).toEqual([BigInt(event.data.revision)])
        bill.voided.add(detectionId)
        const paid = funding.get(detectionId)
        if (paid?.month === month && paid.funding === 'credit') credit -= 1
        break
      }
    }
  }
  return bill
}
