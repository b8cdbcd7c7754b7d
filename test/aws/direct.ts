/**
 * The product's BatchMeterUsage on AWS's rules themselves, without HTTP and SDK, for the deterministic simulation: the
 * product's own code writes the request and reads the answer, and nothing waits, asks a clock or throws dice.
 */
import {
  answersOf,
  type BatchMeterUsage,
  type CallOutcome,
  outcomeOfStatus,
  requestOf,
} from '../../src/marketplace/batch-meter-usage.ts'
import type { Fault } from './faults.ts'
import { batchMeterUsage, type UsageRecordResult } from './rules.ts'
import { type AwsState, batchMeterUsageRequest, type UsageRecord } from './state.ts'

export interface DirectAws {
  state: AwsState
}

/** @param draw what befalls the next call, with so many records; null for nothing. `slow` is for the caller to play. */
export function directBatchMeterUsage(
  aws: DirectAws,
  now: () => number,
  draw: (records: number) => Fault | null,
): BatchMeterUsage {
  return async (region, usages) => {
    const request = requestOf(usages)
    const body = JSON.stringify(request, (key, value) => (key === 'Timestamp' ? Date.parse(value) / 1000 : value))
    const fault = draw(usages.length)
    if (fault?.kind === 'lose_call') return { kind: 'no_answer', detail: fault.kind }
    if (fault?.kind === 'exception' && fault.carriedOut !== true) return refusal(fault)

    const chosen = fault?.kind === 'unprocessed' ? fault.records : []
    const { state, answer } = batchMeterUsage(aws.state, batchMeterUsageRequest.parse(JSON.parse(body)), {
      now: now(),
      region,
      bytes: Buffer.byteLength(body),
      unprocessed: (index) => chosen === 'all' || chosen.includes(index),
    })
    aws.state = state
    if (fault?.kind === 'lose_answer' || fault?.kind === 'hang' || fault?.kind === 'stall') {
      return { kind: 'no_answer', detail: fault.kind }
    }
    if (fault?.kind === 'exception') return refusal(fault)
    if (fault?.kind === 'body') return outcomeOfStatus(fault.status, null, fault.body)
    if (answer.kind === 'exception') return refusal(answer)
    const omitted = fault?.kind === 'omit' ? fault.records : []
    const { Results, UnprocessedRecords } = answer.result
    return {
      kind: 'answered',
      answers: answersOf(usages, {
        Results: Results.filter((_, place) => !omitted.includes(place)).map(parsedResult),
        UnprocessedRecords: UnprocessedRecords.map(parsed),
      }),
    }
  }
}

const refusal = ({ name, message = '', status }: Named): CallOutcome =>
  outcomeOfStatus(status ?? (name === 'InternalServiceErrorException' ? 500 : 400), name, message)

type Named = Pick<Extract<Fault, { kind: 'exception' }>, 'name' | 'message' | 'status'>

/** As the SDK hands it over: times as Date. */
const parsed = ({ Timestamp, UsageAllocations: _, ...record }: UsageRecord) => ({
  ...record,
  Timestamp: new Date(Timestamp * 1000),
})
const parsedResult = ({ UsageRecord, ...result }: UsageRecordResult) => ({
  ...result,
  UsageRecord: parsed(UsageRecord),
})
