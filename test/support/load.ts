/** Load from outside with the client's own notes, and the comparison of those notes with the log. */
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'vitest'
import { type Answer, check, type LoggedEvent } from './product.ts'

export interface Load {
  readonly answers: readonly Answer[]
  /** Ends the load; resolves when the last answer is in. */
  stop(): Promise<readonly Answer[]>
}

/** `clients` clients that send the photograph again and again, each its next one when the last was answered. */
export function startLoad(urls: readonly string[], key: string, image: Uint8Array, clients: number): Load {
  const answers: Answer[] = []
  let stopped = false
  const client = async (index: number) => {
    for (let turn = index; !stopped; turn++) {
      const answer = await check(urls[turn % urls.length] ?? '', key, image)
      answers.push(answer)
      // Like a sensible client: after a failure not at once again.
      if (answer.status !== 200) await pause(50)
    }
  }
  const running = Promise.all(Array.from({ length: clients }, (_, i) => client(i)))
  return {
    answers,
    async stop() {
      stopped = true
      await running
      return answers
    },
  }
}

/** What the comparison found, for the report. */
export interface Agreement {
  readonly ok: number
  readonly refused: number
  readonly unanswered: number
  readonly unansweredButBilled: number
  readonly voided: number
}

/**
 * Invariant 1: every 200 is exactly one event that is not voided, every other answer none, and a call without an
 * answer at most one. Sequences of every month are 1..n. Nothing in the log that nobody sent.
 */
export function expectAgreement(answers: readonly Answer[], log: readonly LoggedEvent[]): Agreement {
  const voided = new Set(log.filter(({ type }) => type === 'DetectionVoided').map(({ data }) => data.detectionId))
  const detections = log.filter(({ type }) => type === 'DetectionSucceeded')
  const billed = new Map<string, number>()
  for (const { data, metadata } of detections) {
    const id = metadata.correlationId ?? ''
    billed.set(id, (billed.get(id) ?? 0) + (voided.has(data.detectionId) ? 0 : 1))
  }
  let unansweredButBilled = 0
  for (const { requestId, status, body } of answers) {
    const count = billed.get(requestId) ?? 0
    if (status === null) {
      expect(count).toBeLessThanOrEqual(1)
      unansweredButBilled += count
    } else {
      expect(count, `${requestId} was answered ${status} ${body.error?.message ?? ''}`).toBe(status === 200 ? 1 : 0)
    }
  }
  const sent = new Set(answers.map(({ requestId }) => requestId))
  expect([...billed.keys()].filter((id) => !sent.has(id))).toEqual([])
  for (const month of new Set(detections.map(({ data }) => data.yearMonth))) {
    const sequences = detections.filter(({ data }) => data.yearMonth === month).map(({ data }) => data.sequence)
    expect(sequences).toEqual(sequences.map((_, i) => i + 1))
  }
  const count = (wanted: (status: number | null) => boolean) => answers.filter(({ status }) => wanted(status)).length
  return {
    ok: count((status) => status === 200),
    refused: count((status) => status !== 200 && status !== null),
    unanswered: count((status) => status === null),
    unansweredButBilled,
    voided: voided.size,
  }
}
